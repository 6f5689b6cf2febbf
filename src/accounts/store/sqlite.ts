/**
 * Opens the accounts database by node:sqlite, always the same way. The pragmas stand in no file that keeps them:
 * `synchronous` and `secure_delete` belong to a connection, so each open sets them (reference M3). With NORMAL, a
 * revoked token would be valid again after a power cut; without secure_delete, what was deleted stays in the file.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BackworkError, messageOf } from '../../base/errors.ts';

export interface SqliteOptions {
  readonly readOnly: boolean;
  /** How long a statement waits, and holds the thread, for another process's write. */
  readonly busyMs: number;
}

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

export function accountsPath(dataDir: string): string {
  return join(dataDir, 'accounts.sqlite');
}

/**
 * A connection with WAL, synchronous=FULL, secure_delete and foreign keys in force. Unless read-only, makes directory
 * (0700) and file (0600) when they are missing. Throws as `sqliteError` says.
 */
export function openSqlite(path: string, options: SqliteOptions): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    if (!options.readOnly) createFile(path);
    database = new DatabaseSync(path, { readOnly: options.readOnly, timeout: options.busyMs });
    const mode = database.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode'];
    if (mode !== 'wal') {
      throw new BackworkError('bad-setting', `${path}: SQLite cannot use WAL here (journal_mode stays ${mode})`);
    }
    database.exec('PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON');
    return database;
  } catch (error) {
    database?.close();
    throw sqliteError(error, path);
  }
}

/**
 * What SQLite threw as a BackworkError: `locked` (retryable), `corrupt`, `not-found` (missing or not to be opened);
 * anything else as it is.
 */
export function sqliteError(error: unknown, path: string): unknown {
  const code = ((error as { errcode?: number }).errcode ?? 0) & 0xff;
  const text = `${path}: ${messageOf(error)}`;
  if (code === SQLITE_BUSY) return new BackworkError('locked', text, { retryable: true, cause: error });
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return new BackworkError('corrupt', text, { cause: error });
  if (code === SQLITE_CANTOPEN) return new BackworkError('not-found', text, { cause: error });
  return error;
}

/**
 * SQLite would make the file readable for all; its WAL gets the file's mode. Never opens a file that exists: closing
 * it would drop the POSIX locks that this process holds on it.
 */
function createFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
