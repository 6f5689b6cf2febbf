/**
 * Sessions of the embedded engine: which queries run now, which wait, and how one is stopped.
 *
 *   lane     at once  waiting  what
 *   read         8       256   SELECT, SHOW, …
 *   insert       4       256   INSERT with data: slots of their own, so reads never hold up what was acknowledged
 *   command      2        64   CREATE, ALTER, INSERT … SELECT, BACKUP, …
 *
 * A query gets a connection of its own, opened for it and closed after it (1.2 ms together): settings and parameters
 * that were SET cannot leak into the next query, nor can what an error leaves behind. One more connection stays open,
 * because the engine shuts down with its last one; it also carries the KILLs. Each slot has a thread of libuv's pool
 * while it runs (14, one for KILL and one for the look at parts, of 32) and a pipe.
 *
 * chDB knows no query ids. A query is found by the tag in its `log_comment`, killed ASYNC (SYNC hangs), and may take
 * notice at the next block only; so its slot is free when the engine says so, not when the client has gone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Chdb, ChdbConnection } from './chdb-native.ts';
import { engineException, exception } from './exception.ts';
import { quote } from './sql-statement.ts';

export type Lane = 'read' | 'insert' | 'command';

/** Pipes that a pool needs: one for each slot. */
export const SLOTS_TOTAL = 14;

const LANES: Readonly<Record<Lane, { slots: number; waitingMax: number }>> = {
  read: { slots: 8, waitingMax: 256 },
  insert: { slots: 4, waitingMax: 256 },
  command: { slots: 2, waitingMax: 64 },
};

/** Time between two KILLs of the same query: one sent before the query is registered finds nothing. */
const KILL_DELAY_MS = 50;
const KILL_DELAY_MS_MAX = 1_000;

/** One query's session, valid until its `work` returns. */
export interface Session extends Pick<ChdbConnection, 'query' | 'write'> {
  /** A pipe of its own. */
  readonly fifo: string;
  /** Stops the query that runs; resolves when the engine has marked it as killed, or it has ended. */
  kill(): Promise<void>;
}

export interface Job<T> {
  readonly lane: Lane;
  /** While the job waits, an abort takes it out of the queue; while it runs, it kills the query. */
  readonly signal: AbortSignal;
  /** Statements that are run first, in the same session. */
  readonly prelude: readonly string[];
  readonly work: (session: Session) => Promise<T>;
}

export interface SessionPool {
  /**
   * Runs the job when its lane has room. Rejects with ClickHouse's exception: the engine's own, 202 when too many wait,
   * 394 when it was aborted before it started.
   */
  run<T>(job: Job<T>): Promise<T>;
  readonly counts: { readonly running: number; readonly waiting: number };
  /** Refuses new jobs, kills what runs, waits for it, and closes the engine. */
  close(): Promise<void>;
}

interface LaneState {
  readonly name: Lane;
  running: number;
  readonly waiting: Array<() => void>;
}

/** Opens the engine. Throws what the addon throws when the directory is locked or broken. */
export function openSessionPool(chdb: Chdb, fifos: readonly string[]): SessionPool {
  return new Pool(chdb, fifos);
}

class Pool implements SessionPool {
  readonly #chdb: Chdb;
  readonly #keeper: ChdbConnection;
  readonly #fifos: string[];
  readonly #lanes: Readonly<Record<Lane, LaneState>> = {
    read: { name: 'read', running: 0, waiting: [] },
    insert: { name: 'insert', running: 0, waiting: [] },
    command: { name: 'command', running: 0, waiting: [] },
  };
  readonly #closing = new AbortController();
  /** KILLs go one after another over the keeper. */
  #kills: Promise<unknown> = Promise.resolve();
  #tag = 0;
  #idle: (() => void) | undefined;

  constructor(chdb: Chdb, fifos: readonly string[]) {
    this.#chdb = chdb;
    this.#keeper = chdb.open();
    this.#fifos = [...fifos];
  }

  get counts() {
    const lanes = Object.values(this.#lanes);
    return {
      running: lanes.reduce((sum, lane) => sum + lane.running, 0),
      waiting: lanes.reduce((sum, lane) => sum + lane.waiting.length, 0),
    };
  }

  async run<T>(job: Job<T>): Promise<T> {
    const lane = this.#lanes[job.lane];
    const signal = AbortSignal.any([job.signal, this.#closing.signal]);
    await this.#enter(lane, signal);
    const fifo = this.#fifos.pop();
    if (fifo === undefined) throw new Error('a slot without a pipe');
    try {
      return await this.#runIn(fifo, job, signal);
    } finally {
      this.#fifos.push(fifo);
      this.#leave(lane);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    if (this.counts.running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#kills;
    this.#keeper.close();
  }

  async #enter(lane: LaneState, signal: AbortSignal): Promise<void> {
    const limits = LANES[lane.name];
    if (signal.aborted) throw exception('QUERY_WAS_CANCELLED', 'Query was cancelled before it started');
    if (lane.running < limits.slots) {
      lane.running++;
      return;
    }
    if (lane.waiting.length >= limits.waitingMax) {
      const message = `Too many simultaneous queries: ${limits.slots} run and ${limits.waitingMax} wait (${lane.name})`;
      throw exception('TOO_MANY_SIMULTANEOUS_QUERIES', message);
    }
    await new Promise<void>((resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', cancel);
        resolve();
      };
      const cancel = () => {
        lane.waiting.splice(lane.waiting.indexOf(start), 1);
        reject(exception('QUERY_WAS_CANCELLED', 'Query was cancelled before it started'));
      };
      lane.waiting.push(start);
      signal.addEventListener('abort', cancel, { once: true });
    });
  }

  /** The slot goes to the next one that waits, or is free. */
  #leave(lane: LaneState): void {
    const next = lane.waiting.shift();
    if (next !== undefined) {
      next();
      return;
    }
    lane.running--;
    if (this.counts.running === 0) this.#idle?.();
  }

  async #runIn<T>(fifo: string, job: Job<T>, signal: AbortSignal): Promise<T> {
    // An abort may have come with the slot, or with the events that the loop has not seen yet.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal.aborted) throw exception('QUERY_WAS_CANCELLED', 'Query was cancelled before it started');
    const tag = `backwork-${++this.#tag}`;
    const connection = this.#chdb.open();
    const ended = new AbortController();
    const kill = () => this.#kill(tag, ended.signal);
    const onAbort = () => void this.#killUntilEnded(kill, ended.signal);
    try {
      // The tag first: the prelude may end in `readonly = 1`.
      const prelude = [`SET log_comment = ${quote(tag)}, implicit_select = 0`, ...job.prelude];
      await connection.query(prelude.join(';\n'), 'TSV').catch((error: unknown) => {
        throw engineException(error);
      });
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
      return await job.work({
        fifo,
        kill,
        query: (sql, format) => connection.query(sql, format),
        write: (sql) => connection.write(sql),
      });
    } finally {
      ended.abort();
      signal.removeEventListener('abort', onAbort);
      connection.close();
    }
  }

  /** Sends KILLs until one finds the query, or the query has ended. */
  async #kill(tag: string, ended: AbortSignal): Promise<void> {
    const sql = `KILL QUERY WHERE Settings['log_comment'] = ${quote(tag)} ASYNC`;
    while (!ended.aborted) {
      const sent = this.#kills.then(() => this.#keeper.query(sql, 'TSV'));
      this.#kills = sent.catch(() => undefined);
      const found = await sent.then(
        (output) => output.bytes.length > 0,
        () => false,
      );
      if (found) return;
      await sleep(KILL_DELAY_MS);
    }
  }

  /** A statement may run several queries one after another; so one KILL is not the end. */
  async #killUntilEnded(kill: () => Promise<void>, ended: AbortSignal): Promise<void> {
    for (let delayMs = KILL_DELAY_MS; !ended.aborted; delayMs = Math.min(2 * delayMs, KILL_DELAY_MS_MAX)) {
      await kill();
      await sleep(delayMs);
    }
  }
}
