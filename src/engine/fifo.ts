/**
 * Named pipes between the door and the engine's threads: the engine writes a result with INTO OUTFILE and reads an
 * INSERT's data with FROM INFILE, so every format passes as a stream, off the event loop, without a second copy.
 *
 * Each pipe has one user at a time (session-pool.ts). It is handed on only when all descriptors on it are closed: the
 * kernel keeps what is in a pipe as long as one is open, and the next user would read it.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** How often to look whether the engine has opened its end; it does so within milliseconds. */
const OPEN_POLL_MS = 1;

/** Makes `count` pipes (0600) in `dir`, which is emptied first (0700). Returns their paths. */
export function makeFifos(dir: string, count: number): string[] {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const paths = Array.from({ length: count }, (_, i) => join(dir, String(i)));
  // Node cannot make a pipe with a name; the tool is in POSIX.
  execFileSync('mkfifo', ['-m', '600', ...paths]);
  return paths;
}

export interface FifoReader {
  /** What the engine writes; ends after `writerDone` when all was read. */
  readonly chunks: AsyncIterable<Buffer>;
  /** The engine will write no more. Until then an empty pipe is not the end. */
  writerDone(): void;
  /** Drops what is unread. Resolves when the pipe may be handed on. */
  close(): Promise<void>;
}

/** Call before the engine opens its end: opening never blocks here, and would there. */
export function openFifoReader(path: string): FifoReader {
  const socket = new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), readable: true, writable: false });
  let keeper: number | undefined = openSync(path, O_WRONLY | O_NONBLOCK);
  const closed = closing(socket);
  const writerDone = () => {
    if (keeper !== undefined) closeSync(keeper);
    keeper = undefined;
  };
  return {
    chunks: socket,
    writerDone,
    async close() {
      writerDone();
      socket.destroy();
      await closed;
    },
  };
}

export interface FifoFeed {
  /** The data. An error while iterating counts as an abort. */
  readonly data: Iterable<Buffer> | AsyncIterable<Buffer>;
  /** Aborted when the engine's query has ended: nobody will read any more. */
  readonly ended: AbortSignal;
  /** Aborted when the data is not to be inserted after all. */
  readonly aborted: AbortSignal;
  /** Stops the query; resolves when the engine has marked it as killed, or it has ended. */
  kill(): Promise<void>;
}

/**
 * Gives the data to the engine, which opens the pipe when its query is parsed. Resolves when the pipe may be handed on.
 * The end of the pipe is the end of the data to the engine, so after an abort the query is killed before the pipe is
 * closed: a half-sent body is never taken for a whole one. Rethrows what `data` threw.
 */
export async function feedFifo(path: string, feed: FifoFeed): Promise<void> {
  const fd = await openWhenRead(path, feed.ended);
  if (fd === undefined) return;
  const socket = new Socket({ fd, readable: false, writable: true });
  const closed = closing(socket);
  const stop = AbortSignal.any([feed.ended, feed.aborted]);
  try {
    await pump(socket, feed.data, stop);
    if (feed.aborted.aborted) await breakOff(socket, feed);
    else socket.end();
  } catch (error) {
    await breakOff(socket, feed);
    throw error;
  } finally {
    if (!socket.writableEnded || feed.ended.aborted) socket.destroy();
    feed.ended.addEventListener('abort', () => socket.destroy(), { once: true });
    await closed;
  }
}

/** Bytes that no binary format reads on from: should the KILL be lost, the parser still fails. */
const POISON = Buffer.alloc(64, 0xff);

async function breakOff(socket: Socket, feed: FifoFeed): Promise<void> {
  await feed.kill();
  socket.end(POISON);
}

/** undefined: the query ended without opening the pipe. */
async function openWhenRead(path: string, ended: AbortSignal): Promise<number | undefined> {
  for (;;) {
    if (ended.aborted) return undefined;
    try {
      return openSync(path, O_WRONLY | O_NONBLOCK);
    } catch (error) {
      // ENXIO: nobody has it open for reading.
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
    }
    await sleep(OPEN_POLL_MS);
  }
}

async function pump(socket: Socket, data: FifoFeed['data'], stop: AbortSignal): Promise<void> {
  for await (const chunk of data) {
    if (stop.aborted || socket.destroyed) return;
    if (!socket.write(chunk)) await drained(socket, stop);
  }
}

async function drained(socket: Socket, stop: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of ['drain', 'close']) socket.off(event, done);
      stop.removeEventListener('abort', done);
      resolve();
    };
    for (const event of ['drain', 'close']) socket.on(event, done);
    stop.addEventListener('abort', done);
    if (stop.aborted) done();
  });
}

/** Resolves when the descriptor is closed. Errors (EPIPE: the engine closed its end) show in the query's own outcome. */
async function closing(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}
