/**
 * Our narrow interface over @clickhouse/client: what backwork asks of a telemetry store, embedded behind its door or a
 * server. Its promise is in the errors. An INSERT that resolves is stored; one that throws says whether it is certainly
 * not, or may be (R6, R7 of the reliability reference).
 *
 *   store-unreachable      no connection was made: certainly not applied
 *   store-temporary        ClickHouse answered with an error code that a later attempt may not meet
 *   store-permanent        … that every attempt will meet
 *   store-unknown-outcome  timeout, broken connection, an answer that is not proof: ask the table
 */
import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { Readable } from 'node:stream';
import { json, text } from 'node:stream/consumers';
import { type ClickHouseClient, ClickHouseError, type ClickHouseSettings, createClient } from '@clickhouse/client';
import { BackworkError, messageOf } from '../base/errors.ts';
import { DOOR_DISPLAY_NAME } from './door-answer.ts';
import { classifyStoreError } from './store-errors.ts';

export interface NativeInsert {
  readonly table: string;
  /** Whole Native blocks, all of one partition. Not read after the promise has settled. */
  readonly blocks: readonly Uint8Array[];
  /** Rows of all blocks together. */
  readonly rowCount: number;
  readonly queryId: string;
  readonly timeoutMs: number;
  /** All of it was handed to the connection; not called when the connection fails before. For tests. */
  readonly onSent?: () => void;
}

export interface ClickHouse {
  /**
   * One `INSERT … FORMAT Native` of whole blocks, stored as one part. Resolves only when the status is 200, there is no
   * exception in header, trailer or body, and the summary's written rows equal `rowCount`; else throws one of the four
   * errors above.
   */
  insertNative(insert: NativeInsert): Promise<void>;
  /** Rows as objects (JSONEachRow). Parameters as `{name:Type}` in the text. */
  query<Row>(sql: string, params?: Record<string, unknown>): Promise<Row[]>;
  /** The engine's bytes in any format. The stream fails when an exception comes after its begin. */
  stream(sql: string, format: string): Promise<NodeJS.ReadableStream>;
  /** A statement without a result. */
  command(sql: string): Promise<void>;
  /** Whether the store answers, and takes our password. Never throws. */
  ping(): Promise<boolean>;
  /** Which of these ids still wait or run: the door's own list, or a server's system.processes. */
  running(queryIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Whether the door answers there; asked once, then remembered. */
  isDoor(): Promise<boolean>;
  close(): Promise<void>;
}

export interface ClickHouseTarget {
  /** `http(s)://host:port`, with a path when a proxy needs one. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** What every INSERT must have: ClickHouse 26.7's defaults are not ours (architecture sections 4 and 6). */
const INSERT_SETTINGS: Readonly<Record<string, string | number>> = {
  async_insert: 0,
  deduplicate_insert: 'disable',
  min_insert_block_size_rows: 100_000_000,
  min_insert_block_size_bytes: 0,
  max_insert_block_size: 100_000_000,
  wait_end_of_query: 1,
};

/** Longest that a query, a command or a question may take. An INSERT brings its own limit. */
const REQUEST_TIMEOUT_MS = 300_000;
const PING_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 16;
/** Below the 3 s after which servers close idle connections. */
const IDLE_SOCKET_MS = 2_000;

/** Nothing is connected until the first call. */
export function connectClickHouse(target: ClickHouseTarget): ClickHouse {
  const client = createClient({
    url: target.url,
    username: target.user,
    password: target.password,
    database: target.database,
    application: 'backwork',
    request_timeout: REQUEST_TIMEOUT_MS,
    max_open_connections: CONNECTIONS_MAX,
    keep_alive: { enabled: true, idle_socket_ttl: IDLE_SOCKET_MS },
    // An error is thrown and reported by us; the client's own log would print queries.
    log: { level: OFF },
  });
  return new Connection(client, target);
}

/** ClickHouseLogLevel.OFF of @clickhouse/client, whose type is an enum. */
const OFF = 127;

class Connection implements ClickHouse {
  readonly #client: ClickHouseClient;
  readonly #target: ClickHouseTarget;
  #door: boolean | undefined;

  constructor(client: ClickHouseClient, target: ClickHouseTarget) {
    this.#client = client;
    this.#target = target;
  }

  async insertNative(insert: NativeInsert): Promise<void> {
    const abort = AbortSignal.timeout(insert.timeoutMs);
    const { onSent } = insert;
    const values = Readable.from(insert.blocks, { objectMode: false });
    // In the turn after its end the request's last chunk is with the socket as well.
    if (onSent !== undefined) values.once('end', () => setImmediate(onSent));
    const result = await this.#client
      .exec({
        query: `INSERT INTO ${identifier(insert.table)} FORMAT Native`,
        values,
        query_id: insert.queryId,
        abort_signal: abort,
        clickhouse_settings: INSERT_SETTINGS as ClickHouseSettings,
      })
      .catch((error: unknown) => {
        throw withoutData(storeError(error, abort));
      });
    const unknown = (reason: string) => new BackworkError('store-unknown-outcome', `INSERT: ${reason}`);
    const body = await text(result.stream).catch((error: unknown) => {
      throw unknown(`the answer broke off: ${messageOf(error)}`);
    });
    const trailers = (result.stream as Partial<IncomingMessage>).trailers ?? {};
    if (result.http_status_code !== 200) throw unknown(`HTTP status ${result.http_status_code}`);
    if ('x-clickhouse-exception-code' in trailers) throw unknown('an exception in the trailer');
    if (body.length > 0) throw unknown('an answer with a body, which success does not have');
    const written = Number(result.summary?.written_rows);
    if (written !== insert.rowCount) throw unknown(`written_rows is ${written}, sent were ${insert.rowCount}`);
  }

  async query<Row>(sql: string, params: Record<string, unknown> = {}): Promise<Row[]> {
    try {
      const result = await this.#client.query({ query: sql, format: 'JSONEachRow', query_params: params });
      return await result.json<Row>();
    } catch (error) {
      throw storeError(error);
    }
  }

  async stream(sql: string, format: string): Promise<NodeJS.ReadableStream> {
    if (!/^\w+$/.test(format)) throw new BackworkError('invalid-input', 'a format is a word');
    try {
      // As the URL's default, so that a FORMAT in the query wins.
      const settings = { default_format: format } as ClickHouseSettings;
      return (await this.#client.exec({ query: sql, clickhouse_settings: settings })).stream;
    } catch (error) {
      throw storeError(error);
    }
  }

  async command(sql: string): Promise<void> {
    try {
      const settings: ClickHouseSettings = { wait_end_of_query: 1 };
      await this.#client.command({ query: sql, clickhouse_settings: settings });
    } catch (error) {
      throw storeError(error);
    }
  }

  async ping(): Promise<boolean> {
    try {
      // With SELECT: /ping answers without asking for the password.
      const abort = AbortSignal.timeout(PING_TIMEOUT_MS);
      const result = await this.#client.exec({ query: 'SELECT 1 FORMAT TSV', abort_signal: abort });
      const answer = await text(result.stream);
      this.#door = result.response_headers['x-clickhouse-server-display-name'] === DOOR_DISPLAY_NAME;
      return answer === '1\n';
    } catch {
      return false;
    }
  }

  async isDoor(): Promise<boolean> {
    if (this.#door === undefined) {
      const response = await this.#get('/ping');
      response.resume();
      this.#door = response.headers['x-clickhouse-server-display-name'] === DOOR_DISPLAY_NAME;
    }
    return this.#door;
  }

  async running(queryIds: readonly string[]): Promise<ReadonlySet<string>> {
    if (queryIds.length === 0) return new Set();
    const ids = (await this.isDoor()) ? await this.#runningInDoor() : await this.#runningInServer(queryIds);
    return new Set(queryIds.filter((id) => ids.includes(id)));
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #runningInDoor(): Promise<readonly string[]> {
    const response = await this.#get('/running');
    if (response.statusCode !== 200) {
      response.resume();
      throw new BackworkError('store-temporary', `GET /running: HTTP status ${response.statusCode}`);
    }
    return (await json(response)) as string[];
  }

  async #runningInServer(queryIds: readonly string[]): Promise<readonly string[]> {
    const sql = 'SELECT query_id AS id FROM system.processes WHERE has({ids:Array(String)}, query_id)';
    return (await this.query<{ id: string }>(sql, { ids: queryIds })).map((row) => row.id);
  }

  /** A path beside the query interface, which the client does not ask for. */
  async #get(path: string): Promise<IncomingMessage> {
    const { url, user, password } = this.#target;
    const get = url.startsWith('https:') ? httpsGet : httpGet;
    return await new Promise((resolve, reject) => {
      const options = { auth: `${user}:${password}`, timeout: PING_TIMEOUT_MS, agent: false as const };
      const request = get(`${url.replace(/\/+$/, '')}${path}`, options, resolve);
      request.on('timeout', () => request.destroy(new Error(`no answer within ${PING_TIMEOUT_MS} ms`)));
      request.on('error', (error) => reject(storeError(error)));
    });
  }
}

/** A table's name in SQL. */
function identifier(name: string): string {
  return `\`${name.replace(/[\\`]/g, '\\$&')}\``;
}

/** System errors of a connection that was never made. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function storeError(error: unknown, abort?: AbortSignal): BackworkError {
  if (error instanceof BackworkError) return error;
  if (error instanceof ClickHouseError) {
    const storeCode = Number(error.code);
    const code = classifyStoreError(storeCode);
    const message = `ClickHouse error ${storeCode} (${error.type}): ${error.message}`;
    return new BackworkError(code, message, { storeCode, retryable: code !== 'store-permanent', cause: error });
  }
  const code = systemCode(error);
  if (code !== undefined && NOT_CONNECTED.has(code)) {
    return new BackworkError('store-unreachable', `the store cannot be reached (${code})`, {
      retryable: true,
      cause: error,
    });
  }
  const reason = abort?.aborted === true ? 'no answer in time' : messageOf(error);
  return new BackworkError('store-unknown-outcome', `the store did not answer: ${reason}`, { cause: error });
}

/** ClickHouse's text about an INSERT may quote values of its rows, which no message of ours does. */
function withoutData(error: BackworkError): BackworkError {
  const { cause, code, retryable, storeCode } = error;
  if (storeCode === undefined) return error;
  const type = cause instanceof ClickHouseError ? cause.type : 'unnamed';
  const message = `INSERT refused: ClickHouse error ${storeCode} (${type})`;
  return new BackworkError(code, message, { storeCode, retryable, cause });
}

/** Of a host with several addresses, every attempt has failed: the codes are inside. */
function systemCode(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) {
    const codes = error.errors.map((inner: unknown) => systemCode(inner));
    return codes.every((code) => code !== undefined && NOT_CONNECTED.has(code)) ? codes[0] : undefined;
  }
  return (error as NodeJS.ErrnoException).code;
}
