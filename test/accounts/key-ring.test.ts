import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addKey, loadKeyRing } from '../../src/accounts/key-ring.ts';
import { signSession, verifySession } from '../../src/accounts/session-cookie.ts';
import { NOON_MS, temporaryDir } from './accounts-fixture.ts';

const SID = 'A'.repeat(43);

describe('a ring of keys', () => {
  it('begins with one, for its owner only, and goes on with the newest', () => {
    const dataDir = temporaryDir();
    const first = loadKeyRing(dataDir, 'session', { create: true });
    expect(first.all).toHaveLength(1);
    expect(first.current.bytes).toHaveLength(32);
    expect(statSync(join(dataDir, 'keys', 'session-1.key')).mode & 0o777).toBe(0o600);
    expect(loadKeyRing(dataDir, 'session', { create: true })).toMatchObject({ current: first.current });
    for (let number = 2; number <= 11; number++) expect(addKey(dataDir, 'session')).toBe(number);
    const later = loadKeyRing(dataDir, 'session');
    expect(later.all).toHaveLength(11);
    expect(later.current.id).not.toBe(first.current.id);
    expect(later.find(first.current.id)?.bytes).toEqual(first.current.bytes);
    expect(readdirSync(join(dataDir, 'keys'))).toHaveLength(11);
  });

  it('is missing, or readable by others, with a line that says which file', () => {
    const dataDir = temporaryDir();
    expect(() => loadKeyRing(dataDir, 'secrets')).toThrow(/secrets-1\.key does not exist/);
    loadKeyRing(dataDir, 'secrets', { create: true });
    chmodSync(join(dataDir, 'keys', 'secrets-1.key'), 0o640);
    expect(() => loadKeyRing(dataDir, 'secrets')).toThrow(/mode 0640/);
  });
});

describe('a session cookie', () => {
  it('is good with the key before the newest, until that file is gone, and for seven days', async () => {
    const dataDir = temporaryDir();
    const cookie = await signSession(SID, loadKeyRing(dataDir, 'session', { create: true }), NOON_MS);
    addKey(dataDir, 'session');
    const both = loadKeyRing(dataDir, 'session');
    expect(await verifySession(cookie, both, NOON_MS)).toBe(SID);
    expect(
      await verifySession(
        cookie,
        { ...both, find: (id) => (id === both.current.id ? both.current : undefined) },
        NOON_MS,
      ),
    ).toBeUndefined();
    expect(await verifySession(cookie, both, NOON_MS + 7 * 24 * 3_600_000 + 1_000)).toBeUndefined();
  });
});
