/**
 * The data directory, as `serve` makes it and the other commands find it:
 *
 *   service.lock    held by the one process that may write here (base/lock-file.ts)
 *   service.json    what the running service listens on; meaningless while the lock is free
 *   engine.json     user and password of the engine's door, generated (0600)
 *   engine/         the embedded engine's own
 *   accounts.sqlite, keys, spool/<n>/    of accounts and ingest
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { BackworkError, messageOf } from '../base/errors.ts';
import type { Settings } from '../settings/settings.ts';

export interface EngineLogin {
  readonly user: string;
  readonly password: string;
}

/** What connectClickHouse needs to know. */
export interface StoreTarget extends EngineLogin {
  readonly url: string;
  readonly database: string;
}

/** What a running service listens on. The engine's port is missing when a ClickHouse server is used. */
export interface ServiceState {
  readonly pid: number;
  readonly ports: { readonly grpc: number; readonly http: number; readonly api: number; readonly engine?: number };
}

/** A predecessor that is still dying keeps its locks this long at most (architecture section 2). */
export const LOCK_WAIT_MS = 5_000;

export function lockPath(dataDir: string): string {
  return join(dataDir, 'service.lock');
}

export function engineLoginPath(dataDir: string): string {
  return join(dataDir, 'engine.json');
}

/** Creates the directory (0700) with its parents. Throws `bad-setting` in one line when it cannot be written. */
export function createDataDirectory(dataDir: string): string {
  const path = resolve(dataDir);
  try {
    makeWritable(path);
    return path;
  } catch (cause) {
    throw new BackworkError('bad-setting', `BACKWORK_DATA_DIR: cannot write to ${path}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/**
 * Makes the workers' spool directories, and throws `bad-setting` in one line when one cannot be written: said here, before
 * any process is started, because a worker could only fail at it again and again.
 */
export function createSpoolDirectories(dataDir: string, workers: number): void {
  for (let worker = 0; worker < workers; worker++) {
    const path = join(dataDir, 'spool', String(worker));
    try {
      makeWritable(path);
    } catch (cause) {
      // A full disk only refuses requests; the service starts and waits for room (reference R9).
      if (/^(ENOSPC|EDQUOT)$/.test(String((cause as NodeJS.ErrnoException).code))) continue;
      throw new BackworkError('bad-setting', `cannot write to the spool ${path}: ${messageOf(cause)}`, { cause });
    }
  }
}

/** Throws what the disk says. */
function makeWritable(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    // What Node 26 says of a read-only disk when it makes parents too; the plain call says why.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') mkdirSync(path, { mode: 0o700 });
    throw error;
  }
  const probe = join(path, `.write-test-${process.pid}`);
  closeSync(openSync(probe, 'w', 0o600));
  rmSync(probe);
}

/** The door's user and password; made on the first call (0600, synced before it returns). */
export function engineLogin(dataDir: string): EngineLogin {
  const found = readEngineLogin(dataDir);
  if (found !== undefined) return found;
  const login = { user: 'backwork', password: randomBytes(24).toString('base64url') };
  writeWhole(engineLoginPath(dataDir), `${JSON.stringify(login)}\n`);
  return login;
}

/** undefined when there is no engine.json yet; throws `corrupt` when it is not what engineLogin wrote. */
export function readEngineLogin(dataDir: string): EngineLogin | undefined {
  const path = engineLoginPath(dataDir);
  const value = readJson(path);
  if (value === undefined) return undefined;
  const { user, password } = value as Partial<EngineLogin>;
  if (typeof user !== 'string' || typeof password !== 'string' || user === '' || password === '') {
    throw new BackworkError('corrupt', `${path} lacks "user" or "password"; remove it and start again to have it made`);
  }
  return { user, password };
}

/** Written when the service is ready, for the commands that talk to it. */
export function writeServiceState(dataDir: string, state: ServiceState): void {
  writeWhole(statePath(dataDir), `${JSON.stringify(state)}\n`);
}

export function removeServiceState(dataDir: string): void {
  rmSync(statePath(dataDir), { force: true });
}

/** undefined when no service was ever ready here or the last one ended in order. */
export function readServiceState(dataDir: string): ServiceState | undefined {
  const value = readJson(statePath(dataDir)) as Partial<ServiceState> | undefined;
  return value?.ports === undefined || value.pid === undefined ? undefined : (value as ServiceState);
}

/** Where the telemetry store is: the server of BACKWORK_CLICKHOUSE_URL, or the embedded engine on `enginePort`. */
export function storeTarget(settings: Settings, login: EngineLogin | undefined, enginePort: number): StoreTarget {
  if (settings.clickhouseUrl !== '') return serverTarget(settings.clickhouseUrl);
  if (login === undefined) {
    throw new BackworkError('not-found', `no engine.json in ${settings.dataDir}: no service has been started there`);
  }
  return { url: `http://127.0.0.1:${enginePort}`, ...login, database: 'default' };
}

function serverTarget(text: string): StoreTarget {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The value may hold a password, so it is not repeated.
    throw new BackworkError('bad-setting', 'BACKWORK_CLICKHOUSE_URL is not a URL');
  }
  return {
    url: `${url.protocol}//${url.host}`,
    user: decodeURIComponent(url.username) || 'default',
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)) || 'default',
  };
}

function statePath(dataDir: string): string {
  return join(dataDir, 'service.json');
}

function readJson(path: string): object | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new BackworkError('corrupt', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Falls through to the same answer: the file is not an object in JSON. Its text may be secret.
  }
  throw new BackworkError('corrupt', `${path} is not a JSON object; remove it and start again to have it made`);
}

/** Whole or not at all, also after a power loss: the file, then the name, then the directory are synced. */
function writeWhole(path: string, text: string): void {
  const draft = `${path}.tmp`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
