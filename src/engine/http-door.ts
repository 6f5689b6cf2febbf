/**
 * The door: the part of ClickHouse's HTTP interface that @clickhouse/client, clickhouse-connect and curl use, over the
 * embedded engine, on loopback only.
 *
 *   GET  /ping                       Ok.                      no password needed
 *   GET  /                           Ok.
 *   GET  /running                    ["id", …]                ids of queries that wait or run
 *   GET  /?query=SELECT…             the result               reads only
 *   POST /?query=INSERT…  + data     rows written             any input format; gzip, deflate, zstd, lz4
 *   POST /  + query                  the result               any output format; gzip, deflate, zstd
 *
 *   request ─► door-auth ─► door-request (request-body, sql-statement) ─► session-pool ─► door-query ─► door-answer
 *                                                                             │               │ fifo
 *                                                                             └── chdb-native ┴──► engine's threads
 *
 * Constraints:
 *   - no tenant's SQL ever comes here: the engine has no users and no grants (its password is the operator's);
 *   - an INSERT whose client has gone does not begin, and one that has begun is stored as a whole or not at all;
 *   - an INSERT is over when its parts were looked at (part-check.ts): they are on the disk with all their bytes;
 *   - what is not on the list of /running will not be applied any more;
 *   - nothing of a query is logged but its id, kind and outcome.
 *
 * Not there, with a clear error: compress=1 and decompress=1 (ClickHouse's own block framing), brotli, roles,
 * external data tables, INSERT … SELECT … FROM input(). Not there, and ignored: server-side sessions (`session_id`),
 * progress headers. X-ClickHouse-Summary's read_rows counts the rows of the result.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { type ChdbConnection, loadChdb } from './chdb-native.ts';
import { answerCoding, answerException, commonHeaders, DoorAnswer } from './door-answer.ts';
import { authenticate } from './door-auth.ts';
import { answerGreeting, isGreeting } from './door-greeting.ts';
import { laneOf, runQuery } from './door-query.ts';
import { readDoorRequest } from './door-request.ts';
import { engineConfigXml } from './engine-config.ts';
import { engineException, exceptionCode } from './exception.ts';
import { makeFifos } from './fifo.ts';
import { type BrokenPart, PartCheck } from './part-check.ts';
import { type HeldBytes, requestBody } from './request-body.ts';
import { type RunningQueries, runningQueries } from './running-queries.ts';
import { openSessionPool, type Session, type SessionPool, SLOTS_TOTAL } from './session-pool.ts';
import type { Statement } from './sql-statement.ts';

export interface DoorDeps {
  /** The engine's data directory; created when it does not exist. */
  readonly dataDir: string;
  /** On 127.0.0.1; 0 for any free one. */
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** `max_server_memory_usage` of the engine. */
  readonly memoryMib: number;
  readonly log: Log;
  /** A part is not on the disk as it was written: the process is to end at once, and the next start puts it right. */
  readonly onBrokenPart: (part: BrokenPart) => void;
}

export interface Door {
  readonly port: number;
  /** Stops accepting, kills what runs, waits until it has ended, and closes the engine. */
  close(): Promise<void>;
}

/** A predecessor that is still dying holds the lock of the directory for a while. */
const LOCK_WAIT_MS = 5_000;
const LOCK_POLL_MS = 200;

/** An INSERT that would use up the disk's last bytes is refused (243, temporary) before it writes the first one. */
const ROOM_SQL = `SET min_free_disk_bytes_to_perform_insert = ${16 * MIB}`;

interface DoorState extends DoorDeps {
  readonly pool: SessionPool;
  readonly parts: PartCheck;
  readonly running: RunningQueries;
  readonly held: HeldBytes;
  readonly version: string;
}

/**
 * Opens the engine and listens. Throws BackworkError `unsupported-platform`, `locked` (the directory, after 5 s) or
 * `port-busy`.
 */
export async function startDoor(deps: DoorDeps): Promise<Door> {
  const { pool, connection } = await openEngine(resolve(deps.dataDir), deps.memoryMib);
  const parts = new PartCheck({ connection, log: deps.log, onBroken: deps.onBrokenPart });
  try {
    parts.start();
    const state = {
      ...deps,
      pool,
      parts,
      running: runningQueries(),
      held: { total: 0 },
      version: await engineVersion(pool),
    };
    const server = createServer((request, response) => void handle(state, request, response));
    // A query may take any time; its body has no deadline on loopback. Clients keep idle connections for 2.5 s at least.
    server.requestTimeout = 0;
    server.keepAliveTimeout = 30_000;
    const port = await listen(server, deps.port);
    return { port, close: () => closeDoor(server, pool, parts) };
  } catch (error) {
    await parts.close();
    await pool.close();
    throw error;
  }
}

async function openEngine(
  dataDir: string,
  memoryMib: number,
): Promise<{ pool: SessionPool; connection: ChdbConnection }> {
  const ownDir = join(dataDir, 'door');
  mkdirSync(ownDir, { recursive: true, mode: 0o700 });
  const configFile = join(ownDir, 'engine-config.xml');
  const backupDir = join(dirname(dataDir), 'backups');
  writeConfig(configFile, engineConfigXml({ memoryMib, backupDir }));
  const chdb = loadChdb(dataDir, configFile);
  const deadline = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      // A connection for the lock first: the pipes of a predecessor that still lives are not to be removed.
      const lock = chdb.open();
      const pool = openSessionPool(chdb, makeFifos(join(ownDir, 'pipes'), SLOTS_TOTAL));
      return { pool, connection: lock };
    } catch (error) {
      if (error instanceof BackworkError) throw error;
      if (performance.now() > deadline) {
        const message = `the engine cannot open ${dataDir} (waited ${LOCK_WAIT_MS} ms): does another process use it?`;
        throw new BackworkError('locked', message, { cause: error });
      }
    }
    await sleep(LOCK_POLL_MS);
  }
}

/** What stands there is left: a start must not need room on a disk that is full. */
function writeConfig(path: string, text: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(path, text, { mode: 0o600 });
}

async function engineVersion(pool: SessionPool): Promise<string> {
  const output = await pool.run({
    lane: 'command',
    signal: new AbortController().signal,
    prelude: [],
    work: (session) => session.query('SELECT version()', 'TSV'),
  });
  return output.bytes.toString().trim();
}

async function listen(server: Server, port: number): Promise<number> {
  return await new Promise((resolvePort, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const busy = error.code === 'EADDRINUSE';
      reject(busy ? new BackworkError('port-busy', `port ${port} of 127.0.0.1 is in use (engine)`) : error);
    });
    server.listen(port, '127.0.0.1', () => resolvePort((server.address() as AddressInfo).port));
  });
}

async function closeDoor(server: Server, pool: SessionPool, parts: PartCheck): Promise<void> {
  const closed = new Promise<void>((resolveClosed) => server.close(() => resolveClosed()));
  await pool.close();
  await parts.close();
  server.closeAllConnections();
  await closed;
}

async function handle(state: DoorState, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let queryId: string = randomUUID();
  try {
    const url = new URL(`http://door${request.url ?? '/'}`);
    queryId = url.searchParams.get('query_id') || queryId;
    if (url.pathname === '/ping') return answerText(response, queryId, 'Ok.\n');
    authenticate(request, url, state);
    if (url.pathname === '/running') return answerRunning(state, response, queryId);
    if (url.pathname !== '/') return answerText(response, queryId, `There is no handle ${url.pathname}\n`, 404);
    if (request.method === 'GET' && !url.searchParams.has('query')) return answerText(response, queryId, 'Ok.\n');
    await answerQuery(state, request, response, queryId);
  } catch (error) {
    if (response.destroyed) return;
    answerException(response, engineException(error), { queryId, version: state.version });
  }
}

/** The whole life of a query; it is on the list from here until the engine has ended it. */
async function answerQuery(
  state: DoorState,
  request: IncomingMessage,
  response: ServerResponse,
  queryId: string,
): Promise<void> {
  const abort = new AbortController();
  const entry = state.running.add(queryId, () => abort.abort());
  response.once('close', () => abort.abort());
  let kind = 'unread';
  try {
    const read = await readDoorRequest(request, requestBody(request, state.held));
    kind = read.statement.kind;
    if (read.statement.kind === 'insert') await read.data.hold();
    const format = 'format' in read.statement ? (read.statement.format ?? read.defaultFormat) : read.defaultFormat;
    const answer = new DoorAnswer(response, {
      queryId,
      format,
      version: state.version,
      waitEndOfQuery: read.waitEndOfQuery,
      bufferBytes: read.bufferBytes,
      coding: answerCoding(request, read.compressResponse),
    });
    const query = { request: read, answer, running: state.running, signal: abort.signal };
    const greeting = { clientRevision: read.clientRevision, version: state.version, signal: abort.signal };
    const work = isGreeting(read)
      ? () => answerGreeting(answer, greeting)
      : (session: Session) => runQuery(session, query);
    const prelude = read.statement.kind === 'insert' ? [ROOM_SQL, ...read.prelude] : read.prelude;
    const job = { lane: laneOf(read.statement), signal: abort.signal, prelude, work };
    try {
      const summary = await state.pool.run(job).finally(() => partsOf(state, read.statement.kind));
      entry.done();
      await answer.end(summary, abort.signal);
    } catch (error) {
      entry.done();
      state.log.debug({ queryId, kind, exceptionCode: exceptionCode(error) }, 'query failed');
      answer.fail(engineException(error));
    } finally {
      read.data.release();
    }
  } finally {
    entry.done();
    // What the client still sends of a refused request is read away, or its connection is of no use.
    request.resume();
  }
}

/** Whatever an INSERT's outcome is, and whether or not somebody waits for it: blocks of it may be stored. */
async function partsOf({ parts }: DoorState, kind: Statement['kind']): Promise<void> {
  if (kind === 'insert' || kind === 'insert-select') await parts.check();
}

function answerRunning(state: DoorState, response: ServerResponse, queryId: string): void {
  const headers = { ...commonHeaders({ queryId }), 'Content-Type': 'application/json; charset=UTF-8' };
  response.writeHead(200, headers).end(JSON.stringify(state.running.ids()));
}

function answerText(response: ServerResponse, queryId: string, text: string, status = 200): void {
  const headers = { ...commonHeaders({ queryId }), 'Content-Type': 'text/plain; charset=UTF-8' };
  response.writeHead(status, headers).end(text);
}
