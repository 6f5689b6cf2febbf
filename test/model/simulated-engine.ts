/**
 * A telemetry store as backwork sees ClickHouse behind its door, in memory: its parts are files on the simulated disk,
 * written beside, synced, and renamed into the table's directory without a sync of that (as ClickHouse does). What it
 * promises about an INSERT it promises as ClickHouse does: all of a block or nothing, and no word about those whose
 * connection broke.
 *
 * The network between store and engine is here too: connections that are refused, cut before or after the INSERT was
 * applied, answers that say the wrong thing or come too late.
 */
import { BackworkError } from '../../src/base/errors.ts';
import type { ClickHouse, NativeInsert } from '../../src/engine/clickhouse.ts';
import { readWhole, type SpoolFiles } from '../../src/ingest/spool/spool-files.ts';
import type { Random } from './random.ts';
import { readRows, type StoredRow, TABLES } from './simulated-rows.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

export const ENGINE_DIR = '/data/engine/store';

/** What becomes of one INSERT. */
export type InsertFate =
  | 'ordinary'
  | 'cut-before'
  | 'cut-after'
  | 'refused'
  | 'refused-but-applied'
  | 'wrong-answer'
  | 'slow';

export interface EngineHooks {
  readonly fateOf: () => InsertFate;
  /** Anything that must never happen. */
  readonly violated: (what: string) => void;
}

/** One INSERT on its way. */
interface Connection {
  readonly client: Owner;
  open: boolean;
  readonly answer: PromiseWithResolvers<void>;
}

interface Part {
  readonly name: string;
  readonly rows: readonly StoredRow[];
}

/** One life of the engine's process. */
export class SimulatedEngine {
  private readonly owner: Owner;
  private readonly time: VirtualTime;
  private readonly files: SpoolFiles;
  private readonly random: Random;
  private readonly hooks: EngineHooks;
  private readonly tables = new Map<string, Part[]>(TABLES.map((table) => [table, []]));
  private readonly connections = new Set<Connection>();
  /** Query ids that wait or run. */
  readonly runningIds = new Set<string>();
  private serves = false;
  private nextPart = 1;

  constructor(owner: Owner, time: VirtualTime, files: SpoolFiles, random: Random, hooks: EngineHooks) {
    this.owner = owner;
    this.time = time;
    this.files = files;
    this.random = random;
    this.hooks = hooks;
  }

  get isServing(): boolean {
    return this.owner.alive && this.serves;
  }

  /** Loads what stands in the tables' directories, removes what was not finished. */
  async start(): Promise<void> {
    for (const [table, parts] of this.tables) {
      for (const name of await this.files.list(`${ENGINE_DIR}/${table}`)) {
        const path = `${ENGINE_DIR}/${table}/${name}`;
        if (name.startsWith('tmp')) await this.files.remove(path);
        else parts.push({ name, rows: readRows((await readWhole(this.files, path, 2 ** 30))!) });
        this.nextPart = Math.max(this.nextPart, Number(name.split('-')[1]) + 1);
      }
    }
    this.serves = true;
  }

  /** Its process died: whoever waits for an answer finds the connection broken. */
  died(): void {
    this.serves = false;
    for (const connection of this.connections) this.breakOff(connection);
  }

  rows(): StoredRow[] {
    return [...this.tables.values()].flatMap((parts) => parts.flatMap(({ rows }) => rows));
  }

  /** Handed to the connection: from here on the client knows nothing until the answer. */
  insert(client: Owner, insert: NativeInsert): Promise<void> {
    const connection: Connection = { client, open: true, answer: Promise.withResolvers<void>() };
    this.connections.add(connection);
    this.time.after(client, insert.timeoutMs, () => this.breakOff(connection));
    insert.onSent?.();
    if (this.runningIds.has(insert.queryId)) this.hooks.violated(`query id ${insert.queryId} runs already`);
    this.runningIds.add(insert.queryId);
    const fate = this.hooks.fateOf();
    this.time.after(this.owner, this.random(20), () => {
      this.execute(connection, insert, fate).catch((error: unknown) => this.hooks.violated(`engine: ${error}`));
    });
    if (fate === 'cut-before') this.time.after(client, this.random(30), () => this.breakOff(connection));
    return connection.answer.promise;
  }

  /** The client is gone, or the connection between. */
  breakOff(connection: Connection): void {
    if (!connection.open) return;
    connection.open = false;
    this.connections.delete(connection);
    const error = new BackworkError('store-unknown-outcome', 'the connection broke', { retryable: true });
    this.time.after(connection.client, this.random(5), () => connection.answer.reject(error));
  }

  /** The client died; the door hears of it a moment later. */
  clientDied(client: Owner): void {
    for (const connection of this.connections) {
      if (connection.client === client) this.time.after(this.owner, this.random(15), () => this.breakOff(connection));
    }
  }

  rowCounts(table: string, batchIds: ReadonlySet<string>): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { rows } of this.tables.get(table) ?? []) {
      for (const { batchId } of rows) if (batchIds.has(batchId)) counts.set(batchId, (counts.get(batchId) ?? 0) + 1);
    }
    return counts;
  }

  private async execute(connection: Connection, insert: NativeInsert, fate: InsertFate): Promise<void> {
    // The door starts no INSERT whose connection is closed.
    if (!connection.open) {
      this.runningIds.delete(insert.queryId);
      return;
    }
    // Beyond the client's patience, at times.
    if (fate === 'slow') await this.time.pause(this.owner, this.random(400_000));
    let failure = fate === 'refused' ? refusal(fate) : undefined;
    if (failure === undefined) failure = await this.store(insert);
    if (failure === undefined && fate === 'refused-but-applied') failure = refusal(fate);
    if (fate === 'wrong-answer') failure = new BackworkError('store-unknown-outcome', 'an answer that proves nothing');
    this.runningIds.delete(insert.queryId);
    if (fate === 'cut-after') this.breakOff(connection);
    if (!connection.open) return;
    connection.open = false;
    this.connections.delete(connection);
    const { answer } = connection;
    this.time.after(connection.client, this.random(5), () =>
      failure === undefined ? answer.resolve() : answer.reject(failure),
    );
  }

  /** Undefined: it is stored. A disk that fails fails the INSERT alone. */
  private async store(insert: NativeInsert): Promise<BackworkError | undefined> {
    const bytes = Buffer.concat(insert.blocks);
    const rows = readRows(bytes);
    if (rows.length !== insert.rowCount)
      this.hooks.violated(`${rows.length} rows came, ${insert.rowCount} were announced`);
    const name = `part-${this.nextPart++}`;
    const dir = `${ENGINE_DIR}/${insert.table}`;
    const path = `${dir}/${name}`;
    const beside = `${dir}/tmp-${name.slice('part-'.length)}`;
    try {
      const file = await this.files.create(beside);
      for (let at = 0; at < bytes.length; ) at += await file.write([bytes.subarray(at)], at);
      await file.datasync();
      await this.files.rename(beside, path);
    } catch (error) {
      await this.files.remove(beside);
      return new BackworkError('store-temporary', String(error), { retryable: true, storeCode: 243 });
    }
    this.tables.get(insert.table)?.push({ name, rows });
    return undefined;
  }
}

function refusal(fate: InsertFate): BackworkError {
  return new BackworkError('store-temporary', fate, { retryable: true, storeCode: 241 });
}

/** What the store is given: a connection to whatever engine runs just now. */
export function connectTo(
  client: Owner,
  time: VirtualTime,
  random: Random,
  engine: () => SimulatedEngine | undefined,
  questionFails: () => boolean,
): ClickHouse {
  const connected = async (): Promise<SimulatedEngine> => {
    await time.pause(client, 1 + random(4));
    const found = engine();
    if (found?.isServing !== true)
      throw new BackworkError('store-unreachable', 'connection refused', { retryable: true });
    return found;
  };
  const answer = async <T>(value: T): Promise<T> => {
    await time.pause(client, 1 + random(8));
    if (questionFails()) throw new BackworkError('store-unknown-outcome', 'the connection broke', { retryable: true });
    return value;
  };
  const unused = (): never => {
    throw new Error('the store has no use for this');
  };
  return {
    insertNative: async (insert) => (await connected()).insert(client, insert),
    query: async <Row>(sql: string, params: Record<string, unknown> = {}) => {
      return answer(answerTo(await connected(), sql, params) as Row[]);
    },
    running: async (queryIds) => {
      const found = await connected();
      return answer(new Set(queryIds.filter((id) => found.runningIds.has(id))));
    },
    isDoor: async () => true,
    stream: unused,
    command: unused,
    ping: unused,
    close: unused,
  };
}

/** The two questions that the store asks. */
function answerTo(engine: SimulatedEngine, sql: string, params: Record<string, unknown>): object[] {
  if (sql.includes('system.tables'))
    return (params['tables'] as string[]).map((table) => ({ path: `${ENGINE_DIR}/${table}/` }));
  const [, table, ids] = /FROM `(\w+)`.*BatchId IN \(([\d, ]*)\)/s.exec(sql) ?? [];
  if (table === undefined || ids === undefined) throw new Error(`a question that nobody answers: ${sql}`);
  const hex = new Set(ids.split(', ').map((id) => BigInt(id).toString(16).padStart(16, '0')));
  return [...engine.rowCounts(table, hex)].map(([id, count]) => ({
    batchId: BigInt(`0x${id}`).toString(),
    rowCount: String(count),
  }));
}
