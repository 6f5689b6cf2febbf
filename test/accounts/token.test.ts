import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  isLive,
  newTokenSecret,
  OVERLAP_MS_MAX,
  parseScopes,
  planRotation,
  type Token,
} from '../../src/accounts/token.ts';
import { loadKeyedHash } from '../../src/base/keyed-hash.ts';
import { HOUR_MS, NOON_MS } from './accounts-fixture.ts';

const OLD: Token = {
  id: 'aaaaaaaaaaaa',
  orgId: 'org_aaaaaaaaaaaaaaaa',
  name: 'edge',
  scopes: ['logs'],
  pepperId: '00000000',
  createdAtMs: NOON_MS,
  expiresAtMs: undefined,
  revokedAtMs: undefined,
  rotatedFrom: undefined,
  revision: 1,
};
const SECRET = { id: 'bbbbbbbbbbbb', digest: '0'.repeat(64), pepperId: '00000000' };

describe('a new token', () => {
  it('is stored as id, pepper and keyed digest of the whole text', async () => {
    const hash = await loadKeyedHash();
    const pepper = { id: 'f00dface', key: randomBytes(32) };
    const { token, stored } = newTokenSecret('ing', { pepper, hash, random: randomBytes });
    const digest = Buffer.from(hash(pepper.key, Buffer.from(token))).toString('hex');
    expect(stored).toEqual({ id: token.slice(7, 19), digest, pepperId: 'f00dface' });
  });
});

describe('a token', () => {
  it('is live until it is revoked or its expiry has come', () => {
    expect(isLive(OLD, NOON_MS)).toBe(true);
    expect(isLive({ ...OLD, revokedAtMs: NOON_MS }, NOON_MS)).toBe(false);
    expect(isLive({ ...OLD, expiresAtMs: NOON_MS + 1 }, NOON_MS)).toBe(true);
    expect(isLive({ ...OLD, expiresAtMs: NOON_MS }, NOON_MS)).toBe(false);
  });

  it('that had a lifetime passes it on, and never lives longer by an overlap', () => {
    const old = { ...OLD, expiresAtMs: NOON_MS + 10 * HOUR_MS };
    const nowMs = NOON_MS + 8 * HOUR_MS;
    const plan = planRotation(old, [old], SECRET, OVERLAP_MS_MAX, nowMs);
    expect(plan.next.expiresAtMs).toBe(nowMs + 10 * HOUR_MS);
    expect(plan.oldEndsAtMs).toBe(NOON_MS + 10 * HOUR_MS);
  });

  it('is rotated with any overlap from nothing to seven days', () => {
    for (const overlapMs of [0, HOUR_MS, OVERLAP_MS_MAX]) {
      expect(planRotation(OLD, [OLD], SECRET, overlapMs, NOON_MS).oldEndsAtMs).toBe(NOON_MS + overlapMs);
    }
    for (const overlapMs of [-1, OVERLAP_MS_MAX + 1, Number.NaN]) {
      const plan = () => planRotation(OLD, [OLD], SECRET, overlapMs, NOON_MS);
      expect(plan).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    }
  });
});

describe('scopes', () => {
  it('are read in any order, each once', () => {
    expect(parseScopes('traces,logs,traces')).toEqual(['logs', 'traces']);
  });

  it.each(['', 'logs,', 'Logs', 'logs traces', 'profiles'])('refuse %j', (text) => {
    expect(() => parseScopes(text)).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });
});
