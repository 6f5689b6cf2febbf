import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isLocked, type LockFile, takeLock } from '../../src/base/lock-file.ts';

const MODULE = new URL('../../src/base/lock-file.ts', import.meta.url).href;

let dir: string;
let path: string;
let holder: ChildProcess | undefined;
let lock: LockFile | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-lock-'));
  path = join(dir, 'a.lock');
});
afterEach(() => {
  holder?.kill('SIGKILL');
  holder = undefined;
  lock?.release();
  lock = undefined;
  chmodSync(dir, 0o700);
  rmSync(dir, { recursive: true });
});

/** Another process that takes the lock, drops every reference to it, and collects garbage. */
async function startHolder(): Promise<ChildProcess> {
  const code = `
    const { takeLock } = await import(${JSON.stringify(MODULE)});
    await takeLock(${JSON.stringify(path)}, 0);
    for (let i = 0; i < 5; i++) { global.gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
    console.log('held');
    setInterval(() => {}, 1000);`;
  const args = ['--expose-gc', '--input-type=module', '-e', code];
  holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout ?? holder, 'data');
  return holder;
}

test('a lock that another process holds is refused, and its path is named', async () => {
  await startHolder();
  expect(isLocked(path)).toBe(true);
  await expect(takeLock(path, 120)).rejects.toMatchObject({ code: 'locked', message: expect.stringContaining(path) });
});

test('a lock is free again when its holder is killed, and whoever waits gets it', async () => {
  const other = await startHolder();
  const waiting = takeLock(path, 10_000);
  other.kill('SIGKILL');
  lock = await waiting;
  expect(isLocked(path)).toBe(true);
});

test('a killed holder leaves nothing but the file, which is not locked', async () => {
  const other = await startHolder();
  other.kill('SIGKILL');
  await once(other, 'exit');
  expect(isLocked(path)).toBe(false);
  expect(readdirSync(dir)).toEqual(['a.lock']);
});

test('a lock is refused within one process too, until it is released', async () => {
  const first = await takeLock(path, 0);
  await expect(takeLock(path, 0)).rejects.toMatchObject({ code: 'locked' });
  // The refused attempt must not have dropped the first one's lock, as closing the file by other means would.
  await expect(takeLock(path, 0)).rejects.toMatchObject({ code: 'locked' });
  first.release();
  first.release();
  lock = await takeLock(path, 0);
});

test('another process sees the lock after this one tried it twice', async () => {
  lock = await takeLock(path, 0);
  await expect(takeLock(path, 0)).rejects.toMatchObject({ code: 'locked' });
  const code = `
    const { isLocked } = await import(${JSON.stringify(MODULE)});
    console.log(isLocked(${JSON.stringify(path)}));`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [answer] = (await once(other.stdout, 'data')) as [Buffer];
  expect(answer.toString()).toBe('true\n');
});

test('asking whether a file is locked makes no file', () => {
  expect(isLocked(path)).toBe(false);
  expect(existsSync(path)).toBe(false);
});

test('the file is made for its owner only', async () => {
  lock = await takeLock(path, 0);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a path that cannot be locked is said at once', async () => {
  await expect(takeLock(join(dir, 'missing', 'a.lock'), 10_000)).rejects.toMatchObject({ code: 'bad-setting' });
});
