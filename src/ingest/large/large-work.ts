/**
 * Requests over SLICED_BODY_BYTES, from their body to what their record and their segment need: one at a time, on a thread
 * of its own (large-thread.ts), so that none of them holds the event loop, and all together hold no more than the largest.
 *
 *   wait for the turn ─► thread: read JSON, convert, compress ─► rows of a batch's size ─► LargeRows, memory or disk
 *                                                             └► StoredBody
 *
 * The thread starts with the first such request (55 ms of CPU and 25 MiB, *measured*) and ends when there was none for IDLE_MS. Who waits too
 * long for the turn is told to come again; so is whoever had it when the thread died, and the next one gets a new thread.
 */
import { Worker } from 'node:worker_threads';
import { BackworkError, messageOf, retryLater } from '../../base/errors.ts';
import { KIB } from '../../base/limits.ts';
import type { ConvertResult, SegmentRows } from '../messages.ts';
import type { StoredBody } from '../spool/body.ts';
import type { LargeRows, RowSpill } from './large-rows.ts';
import type { LargeJob, LargeMessage } from './large-thread.ts';

export const LARGE_THREAD_FILE = new URL('./large-thread.ts', import.meta.url);

/** JavaScript objects of the thread; bodies, rows and blocks are buffers outside of it. */
const THREAD_HEAP_MIB = 64;
const IDLE_MS = 60_000;
/** Node reads sockets by 64 KiB, and its pool gives away less. */
const SHARED_BYTES_MAX = 64 * KIB;
/** Clients give up after 10 s by default: they are told before. */
const WAIT_MS_MAX = 5_000;

export interface LargeWorkDeps {
  /** Rows become a block at this size. */
  readonly cutBytes: number;
  readonly spill: RowSpill;
  /** The process's own, as its environment names it. */
  readonly compileCacheDir?: string | undefined;
  /** The thread's program; tests hand in one that dies. */
  readonly program?: URL;
  readonly waitMsMax?: number;
}

export interface LargeRequest extends Omit<LargeJob, 'body' | 'cutBytes'> {
  /** Given away: empty as soon as its turn has come. */
  readonly body: Buffer;
  /** Called when its turn has come, before more memory is used; what it throws is thrown. */
  readonly onTurn: () => void;
}

export interface LargeResult {
  readonly result: ConvertResult;
  /** Of the JSON reader. */
  readonly rejected: number;
  readonly message: string;
  readonly rows: SegmentRows;
  /** Undefined: there is nothing to store. */
  readonly stored: StoredBody | undefined;
}

export class LargeWork {
  readonly #deps: LargeWorkDeps;
  #thread: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** The one before is done; never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: LargeWorkDeps) {
    this.#deps = deps;
  }

  /**
   * Throws `malformed` and `too-large`; retryable: `overloaded` after WAIT_MS_MAX of waiting or when the thread ends,
   * `spool-full` or `spool-failed` when the disk takes no rows.
   */
  run(request: LargeRequest): Promise<LargeResult> {
    const sinceMs = performance.now();
    const mine = this.#last.then(() => {
      if (performance.now() - sinceMs > (this.#deps.waitMsMax ?? WAIT_MS_MAX))
        throw retryLater('overloaded', 'requests over 1 MiB wait too long for their turn', 2_000);
      request.onTurn();
      return this.#runNow(request);
    });
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** Ends the thread; what it works on is refused. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.terminate();
  }

  async #runNow({ body, onTurn: _, ...request }: LargeRequest): Promise<LargeResult> {
    clearTimeout(this.#idle);
    this.#thread ??= this.#start();
    const rows = this.#deps.spill.open();
    try {
      const job = { ...request, body: ownMemory(body), cutBytes: this.#deps.cutBytes };
      const outcome = await this.#ask(this.#thread, job, rows);
      this.#idle = setTimeout(() => void this.close(), IDLE_MS).unref();
      if (outcome.kind === 'refused') throw refusal(outcome);
      if (outcome.kind !== 'done') throw new Error(`a large request: ${outcome.message}`);
      const { stored } = outcome;
      if (stored === undefined) await rows.release();
      return {
        ...outcome,
        rows,
        stored: stored === undefined ? undefined : { ...stored, bytes: asBuffer(stored.bytes) },
      };
    } catch (error) {
      await rows.release();
      throw error;
    }
  }

  #start(): Worker {
    const program = JSON.stringify(this.#deps.program ?? LARGE_THREAD_FILE);
    const cache = JSON.stringify(this.#deps.compileCacheDir ?? '');
    // Threads use no compile cache by themselves, and would load the compiler that strips types: 32 MB more, *measured*.
    const start = `if (${cache} !== '') require('node:module').enableCompileCache(${cache}); import(${program});`;
    const thread = new Worker(start, {
      eval: true,
      name: 'large requests',
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MIB, maxYoungGenerationSizeMb: 8 },
      // No flags and no environment: what is preloaded into the process is not meant for its threads.
      execArgv: [],
      env: {},
    });
    // What ends it is told to whoever waits for it; without a listener of its own it would end the process.
    thread.on('error', () => undefined);
    // Nothing waits for a thread that is idle.
    thread.unref();
    return thread;
  }

  /** The last message of one job; its blocks go to `rows`. Rejects when the thread ends, or the disk takes no rows. */
  async #ask(thread: Worker, job: LargeJob, rows: LargeRows): Promise<Exclude<LargeMessage, { kind: 'block' }>> {
    const { promise, resolve, reject } = Promise.withResolvers<Exclude<LargeMessage, { kind: 'block' }>>();
    const onMessage = (message: LargeMessage): void => {
      if (message.kind !== 'block') return resolve(message);
      rows.add(message.batch).then(() => thread.postMessage(undefined), reject);
    };
    const onEnd = (cause: unknown): void => {
      reject(retryLater('overloaded', `the thread for large requests ended: ${messageOf(cause)}`));
    };
    thread.on('message', onMessage);
    thread.once('error', onEnd);
    thread.once('exit', onEnd);
    thread.ref();
    try {
      thread.postMessage(job, [job.body.buffer]);
      return await promise;
    } catch (error) {
      // It waits for an answer, or is gone: either way it takes no other job.
      if (this.#thread === thread) void this.close();
      throw error;
    } finally {
      thread.unref();
      thread.removeListener('message', onMessage);
      thread.removeListener('error', onEnd);
      thread.removeListener('exit', onEnd);
    }
  }
}

function refusal({ code, message, field }: Extract<LargeMessage, { kind: 'refused' }>): BackworkError {
  return new BackworkError(code, message, field === undefined ? {} : { field });
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}

/** The body on memory that it shares with nobody: what is larger than any read from a socket has its own. */
function ownMemory(body: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = body;
  if (byteOffset === 0 && buffer instanceof ArrayBuffer && length > SHARED_BYTES_MAX)
    return new Uint8Array(buffer, 0, length);
  return Uint8Array.from(body);
}
