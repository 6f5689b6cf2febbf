import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadPepper, pepperPath } from '../../src/accounts/key-file.ts';
import { temporaryDir } from './accounts-fixture.ts';

function keyFile(bytes: number, mode = 0o600): string {
  const dataDir = temporaryDir();
  mkdirSync(dirname(pepperPath(dataDir)));
  writeFileSync(pepperPath(dataDir), Buffer.alloc(bytes, 1));
  chmodSync(pepperPath(dataDir), mode);
  return dataDir;
}

describe('the pepper', () => {
  it('is made once, of 32 bytes, for its owner only, and then read', () => {
    const dataDir = temporaryDir();
    const made = loadPepper(dataDir, { create: true });
    expect(made.key).toHaveLength(32);
    expect(statSync(pepperPath(dataDir)).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, 'keys')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(dataDir, 'keys'))).toEqual(['pepper.key']);
    expect(loadPepper(dataDir)).toEqual(made);
    expect(loadPepper(dataDir, { create: true })).toEqual(made);
  });

  it('differs from one data directory to the next, and so does its id, which is no part of it', () => {
    const one = loadPepper(temporaryDir(), { create: true });
    const other = loadPepper(temporaryDir(), { create: true });
    expect(one.id).toMatch(/^[0-9a-f]{8}$/);
    expect(one.id).not.toBe(other.id);
    expect(one.key).not.toEqual(other.key);
    expect(Buffer.from(one.key).toString('hex')).not.toContain(one.id);
  });

  it('is not made unless that is asked for', () => {
    const dataDir = temporaryDir();
    expect(() => loadPepper(dataDir)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(readdirSync(dataDir)).toEqual([]);
  });

  it.each([0o640, 0o604, 0o644, 0o660])('is refused with mode %o', (mode) => {
    const dataDir = keyFile(32, mode);
    expect(() => loadPepper(dataDir, { create: true })).toThrow(expect.objectContaining({ code: 'bad-setting' }));
  });

  it.each([0, 31, 33])('is refused with %d bytes, and left as it is', (bytes) => {
    const dataDir = keyFile(bytes);
    expect(() => loadPepper(dataDir, { create: true })).toThrow(expect.objectContaining({ code: 'corrupt' }));
    expect(readFileSync(pepperPath(dataDir))).toHaveLength(bytes);
  });
});
