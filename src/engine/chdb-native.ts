/**
 * The part of chDB's addon that the engine uses, typed. Loaded through `chdb`, whose version is pinned; not through its
 * JavaScript layer, because that one
 *   - defers the closing of a connection until every query of the process has ended, so one slow read would keep all
 *     closed connections alive;
 *   - starts a streamed read on the event loop, which stands still until the first row (2 s for `SELECT (SELECT sleep(2))`);
 *   - does not tell how many rows an INSERT wrote.
 *
 * One process holds one data directory, through any number of connections. A connection runs one query at a time, on a
 * libuv thread, and must not be closed while it does.
 */
import { createRequire } from 'node:module';
import { BackworkError, messageOf } from '../base/errors.ts';

export interface Chdb {
  /** Opens one more connection, 0.3 ms on the event loop. Throws when the directory is locked by another process. */
  open(): ChdbConnection;
}

export interface ChdbConnection {
  /** Runs statements; resolves with the output of the last one, rows and bytes as the engine counts them. */
  query(sql: string, format: string): Promise<QueryOutput>;
  /** Runs one statement that writes; resolves with what it wrote. */
  write(sql: string): Promise<WriteOutput>;
  /** Gives the connection back. Nothing may run on it. */
  close(): void;
}

export interface QueryOutput {
  readonly bytes: Buffer;
  readonly resultRows: number;
  readonly resultBytes: number;
  readonly elapsedMs: number;
}

export interface WriteOutput {
  readonly writtenRows: number;
  readonly writtenBytes: number;
  readonly elapsedMs: number;
}

/** The addon's own functions, times in seconds. */
interface Addon {
  CreateConnection(path: string, args: readonly string[]): object;
  CloseConnection(connection: object): void;
  QueryAsyncConnection(
    connection: object,
    sql: string,
    format: string,
  ): Promise<{ bytes?: Uint8Array; elapsed: number; rowsRead: number; bytesRead: number }>;
  InsertRawAsyncConnection(
    connection: object,
    prefix: string,
    data: Buffer,
    countLines: boolean,
  ): Promise<{ elapsed: number; rowsWritten: number; bytesWritten: number }>;
}

const PACKAGES: Readonly<Record<string, string>> = {
  'linux-x64': '@chdb/lib-linux-x64-gnu',
  'linux-arm64': '@chdb/lib-linux-arm64-gnu',
  'darwin-x64': '@chdb/lib-darwin-x64',
  'darwin-arm64': '@chdb/lib-darwin-arm64',
};

/**
 * Loads the engine (560 MB of shared library, mapped) for one data directory, an absolute path; nothing is opened yet.
 * Throws BackworkError `unsupported-platform` where there is no chDB for this machine.
 */
export function loadChdb(dataDir: string, configFile: string): Chdb {
  const addon = loadAddon();
  const args = [`--config-file=${configFile}`];
  return { open: () => openConnection(addon, addon.CreateConnection(dataDir, args)) };
}

/** What InsertRawAsyncConnection appends to the statement. */
const NO_DATA = Buffer.from(' ');

function openConnection(addon: Addon, handle: object): ChdbConnection {
  return {
    async query(sql, format) {
      const output = await addon.QueryAsyncConnection(handle, sql, format);
      const bytes = output.bytes ?? new Uint8Array(0);
      return {
        bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        resultRows: output.rowsRead,
        resultBytes: output.bytesRead,
        elapsedMs: output.elapsed * 1_000,
      };
    },
    async write(sql) {
      const output = await addon.InsertRawAsyncConnection(handle, sql, NO_DATA, false);
      return {
        writtenRows: output.rowsWritten,
        writtenBytes: output.bytesWritten,
        elapsedMs: output.elapsed * 1_000,
      };
    },
    close: () => addon.CloseConnection(handle),
  };
}

function loadAddon(): Addon {
  const platform = `${process.platform}-${process.arch}`;
  const name = PACKAGES[platform];
  if (name === undefined) {
    throw new BackworkError('unsupported-platform', `no embedded engine for ${platform}: use BACKWORK_CLICKHOUSE_URL`);
  }
  try {
    // From chdb's own place: npm may put the package of the platform beside it or above it.
    const require = createRequire(createRequire(import.meta.url).resolve('chdb'));
    return require(name) as Addon;
  } catch (error) {
    const reason = messageOf(error).split('\n')[0] ?? '';
    throw new BackworkError(
      'unsupported-platform',
      `the embedded engine (${name}) cannot be loaded here: ${reason}. It needs glibc; otherwise use BACKWORK_CLICKHOUSE_URL`,
      { cause: error },
    );
  }
}
