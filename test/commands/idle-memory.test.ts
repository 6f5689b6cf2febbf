import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MODULE = new URL('../../src/commands/idle-memory.ts', import.meta.url).href;

let dir: string;
let entry: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-cache-'));
  entry = join(dir, 'entry.ts');
  writeFileSync(join(dir, 'imported.ts'), `export const mark: string = 'imported by the entry';\n`);
  writeFileSync(
    entry,
    `import { writeFileSync } from 'node:fs';
     import { mark } from './imported.ts';
     writeFileSync(${JSON.stringify(join(dir, 'ran'))}, mark as string);\n`,
  );
});
afterEach(() => rmSync(dir, { recursive: true }));

/** In a process of its own: a compile cache is of the whole process. */
function inProcess(code: string): string {
  const text = `import { prepareCompileCache, releaseStartupMemory } from '${MODULE}';\n${code}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' });
}
function prepare(): void {
  inProcess(`await prepareCompileCache(${JSON.stringify(dir)}, [${JSON.stringify(entry)}]);`);
}
function cached(): string {
  const names = readdirSync(join(dir, 'cache'), { recursive: true, encoding: 'utf8' });
  const files = names.map((name) => join(dir, 'cache', name)).filter((path) => statSync(path).isFile());
  return files.map((path) => readFileSync(path, 'latin1')).join('\n');
}

test('files are stripped and cached with what they import, for the owner only, and nothing of them runs', () => {
  prepare();
  expect(cached()).toContain('imported by the entry');
  expect(statSync(join(dir, 'cache')).mode & 0o777).toBe(0o700);
  expect(existsSync(join(dir, 'ran'))).toBe(false);
});

test('what was made for another version is removed, and what is right is kept', () => {
  mkdirSync(join(dir, 'cache'));
  writeFileSync(join(dir, 'cache', 'made-for'), 'node 1.0.0 backwork 0.0.1\n');
  writeFileSync(join(dir, 'cache', 'old'), '');
  prepare();
  expect(existsSync(join(dir, 'cache', 'old'))).toBe(false);
  writeFileSync(join(dir, 'cache', 'kept'), '');
  prepare();
  expect(existsSync(join(dir, 'cache', 'kept'))).toBe(true);
});

test('a directory that cannot be written is no reason to fail', () => {
  inProcess(`await prepareCompileCache('/sys/kernel', [${JSON.stringify(entry)}]);`);
});

test('memory that the start has used is given back', () => {
  const output = inProcess(`
    let rows = Array.from({ length: 400_000 }, (_, index) => ({ index }));
    const before = process.memoryUsage().heapTotal;
    rows = [];
    releaseStartupMemory();
    console.log(process.memoryUsage().heapTotal < before / 2, typeof globalThis.gc);`);
  expect(output).toBe('true undefined\n');
});
