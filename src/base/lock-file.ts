/**
 * A lock between processes that the kernel gives back when its holder dies, by SIGKILL too. Node has no flock, so the
 * lock is SQLite's own: `BEGIN EXCLUSIVE` on an empty database file, held until release (architecture section 2).
 *
 * SQLite locks by fcntl: a process that opens and closes the file by other means drops its own lock on it. Nothing but
 * this file may touch a lock file, and a lock file is never removed.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf } from './errors.ts';

export interface LockFile {
  /** Gives the lock back; further calls do nothing. */
  release(): void;
}

/** How often a waiting process looks again: a predecessor that is still dying needs up to 5 s. */
const POLL_MS = 50;
const SQLITE_BUSY = 5;

/** A handle that is collected as garbage gives its lock back, hence this set. */
const held = new Set<DatabaseSync>();

/**
 * Takes the lock on `path`, which is created (0600) when it does not exist; its directory must. Waits up to `waitMs`
 * for another holder, in this process or another, then throws BackworkError `locked` naming the path. A path that
 * cannot be written throws `bad-setting`.
 */
export async function takeLock(path: string, waitMs: number): Promise<LockFile> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const database = tryLock(path);
    if (database !== undefined) return hold(database);
    if (performance.now() >= deadline) {
      throw new BackworkError('locked', `${path} is locked by another process (waited ${waitMs} ms)`);
    }
    await sleep(Math.max(1, Math.min(POLL_MS, deadline - performance.now())));
  }
}

/** Whether somebody holds the lock now. Creates and writes nothing; a missing file is not locked. */
export function isLocked(path: string): boolean {
  if (!existsSync(path)) return false;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true });
    database.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    if (isBusy(error)) return true;
    throw cannotLock(path, error);
  } finally {
    database?.close();
  }
}

function tryLock(path: string): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    // Exclusive creation: an existing file, which this process may have locked, is neither opened nor closed here.
    if (!existsSync(path)) createEmpty(path);
    database = new DatabaseSync(path, { timeout: 0 });
    // A journal on disk would be left behind by a kill.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    if (isBusy(error)) return undefined;
    throw cannotLock(path, error);
  }
}

function createEmpty(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function hold(database: DatabaseSync): LockFile {
  held.add(database);
  return {
    release: () => {
      if (held.delete(database)) database.close();
    },
  };
}

function isBusy(error: unknown): boolean {
  // Extended result codes carry the primary one in their low byte.
  return error instanceof Error && (Number((error as Error & { errcode?: number }).errcode) & 0xff) === SQLITE_BUSY;
}

function cannotLock(path: string, cause: unknown): BackworkError {
  return new BackworkError(
    'bad-setting',
    `cannot lock ${path}: ${messageOf(cause)}; its directory must exist, be writable and be on a local disk`,
    { cause },
  );
}
