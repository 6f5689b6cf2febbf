/**
 * Files of keys, and the first of them, the pepper: 32 random bytes in `<dataDir>/keys/pepper.key` (0600), the key of every stored token digest. A stolen
 * database without it cannot even confirm a token (reference 2.2). It is made once; without it every token is dead, so
 * it belongs into the backup, apart from the database.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { BackworkError, messageOf } from '../base/errors.ts';

export interface Pepper {
  /** 8 hex digits that name the key without telling it; stored with each digest. */
  readonly id: string;
  readonly key: Uint8Array;
}

const KEY_BYTES = 32;

/**
 * Reads the pepper; with `create`, makes it first when there is none. Throws BackworkError: `not-found` (no file),
 * `bad-setting` (others may read or write it), `corrupt` (not 32 bytes).
 */
export function loadPepper(dataDir: string, options: { readonly create?: boolean } = {}): Pepper {
  const path = pepperPath(dataDir);
  const found = readKeyFile(path);
  if (found !== undefined) return pepperOf(found);
  if (options.create !== true) {
    throw new BackworkError(
      'not-found',
      `${path} does not exist: start the service once, or restore it from a backup when tokens exist`,
    );
  }
  createKeyFile(dataDir, path);
  const made = readKeyFile(path);
  if (made === undefined) throw new BackworkError('not-found', `${path} was made and is gone again`);
  return pepperOf(made);
}

export function pepperPath(dataDir: string): string {
  return join(dataDir, 'keys', 'pepper.key');
}

function pepperOf(key: Uint8Array): Pepper {
  return { id: keyId(key, 'pepper'), key };
}

/** Names a key without telling it: 32 of 256 bits of a one-way hash of 256 random bits, nothing to guess the key by. */
export function keyId(key: Uint8Array, purpose: string): string {
  return createHash('sha256').update(`backwork ${purpose} id\n`).update(key).digest('hex').slice(0, 8);
}

/** Undefined when there is none. Throws BackworkError: `bad-setting` (others may use it), `corrupt` (not 32 bytes). */
export function readKeyFile(path: string): Uint8Array | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new BackworkError('bad-setting', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    const mode = fstatSync(file).mode & 0o777;
    if ((mode & 0o077) !== 0) {
      const text = mode.toString(8).padStart(4, '0');
      throw new BackworkError('bad-setting', `${path} has mode ${text}: others may use it; run chmod 600 on it`);
    }
    const key = readFileSync(file);
    if (key.length !== KEY_BYTES) {
      const advice = 'restore it from a backup: what was made with it is worth nothing without';
      throw new BackworkError('corrupt', `${path} has ${key.length} bytes, a key has ${KEY_BYTES}; ${advice}`);
    }
    return key;
  } finally {
    closeSync(file);
  }
}

/** Whole or not at all, and never over another's: two commands may make the first key at the same time. */
export function createKeyFile(dataDir: string, path: string): void {
  const directory = join(dataDir, 'keys');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, randomBytes(KEY_BYTES));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  for (const changed of [directory, dataDir]) {
    const handle = openSync(changed, 'r');
    fsyncSync(handle);
    closeSync(handle);
  }
}
