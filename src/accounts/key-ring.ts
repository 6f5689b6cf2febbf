/**
 * Keys that change: `<dataDir>/keys/<name>-<number>.key`, 32 random bytes each (0600). The highest number is used for what is
 * made from now on, the others for what was made with them; a file that nothing needs any more may be removed.
 *
 *   session-1.key, session-2.key     sign session cookies (session-cookie.ts)
 *   secrets-1.key                    wraps what is sealed in the accounts database (secret-box.ts)
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BackworkError } from '../base/errors.ts';
import { createKeyFile, keyId, readKeyFile } from './key-file.ts';
import type { SecretKey } from './secret-box.ts';

export type KeyRingName = 'session' | 'secrets';

export interface KeyRing {
  readonly current: SecretKey;
  /** Newest first. */
  readonly all: readonly SecretKey[];
  find(id: string): SecretKey | undefined;
}

/**
 * Reads the keys; with `create`, makes the first one when there is none. Throws BackworkError `not-found` (none), and as
 * readKeyFile does.
 */
export function loadKeyRing(dataDir: string, name: KeyRingName, options: { readonly create?: boolean } = {}): KeyRing {
  let numbers = keyNumbers(dataDir, name);
  if (numbers.length === 0 && options.create === true) {
    createKeyFile(dataDir, keyPath(dataDir, name, 1));
    numbers = keyNumbers(dataDir, name);
  }
  const all = numbers.flatMap((number) => {
    const bytes = readKeyFile(keyPath(dataDir, name, number));
    return bytes === undefined ? [] : [{ id: keyId(bytes, name), bytes }];
  });
  const [current] = all;
  if (current === undefined) {
    const path = keyPath(dataDir, name, 1);
    throw new BackworkError('not-found', `${path} does not exist: start the service once, or restore it from a backup`);
  }
  return { current, all, find: (id) => all.find((key) => key.id === id) };
}

/** Adds a key, which is the current one from then on. Returns its number. */
export function addKey(dataDir: string, name: KeyRingName): number {
  const number = (keyNumbers(dataDir, name)[0] ?? 0) + 1;
  createKeyFile(dataDir, keyPath(dataDir, name, number));
  return number;
}

/** Newest first. */
function keyNumbers(dataDir: string, name: KeyRingName): number[] {
  const form = new RegExp(`^${name}-([1-9]\\d{0,5})\\.key$`);
  const numbers = namesIn(join(dataDir, 'keys')).flatMap((file) => {
    const match = form.exec(file);
    return match === null ? [] : [Number(match[1])];
  });
  return numbers.sort((a, b) => b - a);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function keyPath(dataDir: string, name: KeyRingName, number: number): string {
  return join(dataDir, 'keys', `${name}-${number}.key`);
}
