/**
 * The few file calls of the spool, as an interface: everything the spool does to a disk goes through it, so that tests
 * hand in a disk that fails, fills up or loses power. `realSpoolFiles` is the one of production.
 *
 * Which call makes what durable: `datasync` a file's bytes and length; `syncDirectory` the names in a directory
 * (created, renamed, removed). Nothing else does.
 */
import { closeSync, fsync, openSync, writevSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, statfs, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { BackworkError, messageOf } from '../../base/errors.ts';
import { KIB } from '../../base/limits.ts';

export interface SpoolFile {
  /** Writes from `position` on; returns the bytes written, which may be fewer than given. At most WRITE_BUFFERS_MAX. */
  write(buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** Up to `length` bytes; fewer only at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  size(): Promise<number>;
  truncate(bytes: number): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export interface SpoolFiles {
  /** With its parents; mode 0700. One that exists is fine. */
  makeDirectory(dir: string): Promise<void>;
  /** Names in a directory; none when there is no such directory. */
  list(dir: string): Promise<string[]>;
  /** A new file, mode 0600, for reading and writing. Fails with EEXIST when there is one. */
  create(path: string): Promise<SpoolFile>;
  /** A file that exists. */
  open(path: string, access: 'read' | 'write'): Promise<SpoolFile>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  /** A file that does not exist is fine. */
  remove(path: string): Promise<void>;
  syncDirectory(dir: string): Promise<void>;
  /** Bytes that this user may still write on the disk of `dir`. */
  freeBytes(dir: string): Promise<number>;
}

const SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EAGAIN', 'EINTR']);

const fsyncOffLoop = promisify(fsync);

/** IOV_MAX on Linux; libuv goes on past a short write when it is given more, which would leave a hole. */
export const WRITE_BUFFERS_MAX = 1_024;

/**
 * So few bytes are copied to the page cache at once, in some 30 µs: on the thread pool the same write waits for a core
 * twice, which is most of what an acknowledgement waits for while the engine has all cores (seen: p99 of it 5 ms, of the
 * sync after it 5 ms). Larger ones would hold the event loop.
 */
const WRITE_NOW_BYTES_MAX = 128 * KIB;

/** Writes all bytes, going on after short writes. Throws what the disk said; some bytes may then stand there. */
export async function writeAll(file: SpoolFile, buffers: readonly Uint8Array[], position: number): Promise<void> {
  let at = position;
  for (let first = 0; first < buffers.length; first += WRITE_BUFFERS_MAX) {
    let rest = buffers.slice(first, first + WRITE_BUFFERS_MAX).filter((buffer) => buffer.length > 0);
    while (rest.length > 0) {
      const written = await file.write(rest, at);
      if (written <= 0) throw new Error(`a write at ${at} took no bytes`);
      at += written;
      rest = after(rest, written);
    }
  }
}

/**
 * Waits for a sync. A failed sync says nothing about what is on the disk and a second one would lie (reference R9), so
 * its error is of a kind of its own: see isSyncFailure.
 */
export async function synced(sync: Promise<void>, what: string): Promise<void> {
  try {
    await sync;
  } catch (error) {
    throw new BackworkError('spool-failed', `sync of ${what} failed: ${messageOf(error)}`, { cause: error });
  }
}

/** True for an error of `synced`: the process must end. */
export function isSyncFailure(error: unknown): boolean {
  return error instanceof BackworkError && error.code === 'spool-failed' && !error.retryable;
}

/** True when the disk, or the user's quota, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** True when the process or the machine has too little of something now: no reason to give up what is on the disk. */
export function isShortage(error: unknown): boolean {
  return isDiskFull(error) || SHORTAGES.has(errorCode(error));
}

export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** Whole content of a file of at most `bytesMax` bytes; undefined when there is none. */
export async function readWhole(files: SpoolFiles, path: string, bytesMax: number): Promise<Buffer | undefined> {
  let file: SpoolFile;
  try {
    file = await files.open(path, 'read');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return await file.read(0, Math.min(await file.size(), bytesMax));
  } finally {
    await file.close();
  }
}

/**
 * Writes `<path>.tmp`, syncs it, renames it to `path` and syncs the directory: after it returned, `path` is durable.
 * `onWritten` is called before the first sync.
 */
export async function replaceFile(
  files: SpoolFiles,
  dir: string,
  path: string,
  bytes: Uint8Array,
  onWritten: () => void = () => {},
): Promise<void> {
  const temporary = `${path}.tmp`;
  await files.remove(temporary);
  const file = await files.create(temporary);
  try {
    await writeAll(file, [bytes], 0);
    onWritten();
    await synced(file.datasync(), temporary);
  } finally {
    await file.close();
  }
  await files.rename(temporary, path);
  await synced(files.syncDirectory(dir), dir);
}

/** The disk. */
export const realSpoolFiles: SpoolFiles = {
  makeDirectory: async (dir) => {
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
    } catch (error) {
      // What Node 26 says of a read-only disk when it makes parents too; the plain call says why.
      if (isMissing(error)) await mkdir(dir, { mode: 0o700 });
      throw error;
    }
  },
  list: async (dir) => {
    try {
      return await readdir(dir);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  },
  create: async (path) => new RealFile(await open(path, 'wx+', 0o600)),
  open: async (path, access) => new RealFile(await open(path, access === 'read' ? 'r' : 'r+')),
  rename,
  remove: async (path) => {
    try {
      await unlink(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  },
  syncDirectory: async (dir) => {
    // Opened and closed at once, which takes microseconds: on the thread pool each would wait for a core (see WRITE_NOW_BYTES_MAX).
    const descriptor = openSync(dir, 'r');
    try {
      await fsyncOffLoop(descriptor);
    } finally {
      closeSync(descriptor);
    }
  },
  freeBytes: async (dir) => {
    const stats = await statfs(dir);
    return stats.bavail * stats.bsize;
  },
};

class RealFile implements SpoolFile {
  private readonly handle: FileHandle;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<number> {
    let bytes = 0;
    for (const buffer of buffers) bytes += buffer.length;
    if (bytes <= WRITE_NOW_BYTES_MAX) return writevSync(this.handle.fd, buffers, position);
    return (await this.handle.writev(buffers, position)).bytesWritten;
  }

  async read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.handle.read(bytes, filled, length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  async size(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  truncate(bytes: number): Promise<void> {
    return this.handle.truncate(bytes);
  }

  datasync(): Promise<void> {
    return this.handle.datasync();
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

function after(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes;
  let first = 0;
  while (first < buffers.length && skip >= (buffers[first] as Uint8Array).length) {
    skip -= (buffers[first] as Uint8Array).length;
    first++;
  }
  const rest = buffers.slice(first);
  if (rest[0] !== undefined && skip > 0) rest[0] = rest[0].subarray(skip);
  return rest;
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
