import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type KeyEntry, NO_UNSENT, RequestKeys, RETRY_WINDOW_MS } from '../../../src/ingest/store/request-keys.ts';
import { seededRandom } from '../../corpus/seeded-random.ts';

const T = 1_800_000_000_000;
const SENT = NO_UNSENT;
const UNSENT = 0;

function print(value: number): Buffer {
  return createHash('sha256').update(String(value)).digest().subarray(0, 16);
}

/** A key with one stored copy. */
function withOne(unsentAgoMs: number, atMs = T) {
  const keys = new RequestKeys();
  const scope = keys.scope('org_a', 'logs');
  keys.put(scope, print(1), { atMs, unsentAgoMs }, 7);
  return { keys, scope, entry: keys.find(scope, print(1)) };
}

describe('a copy', () => {
  test('of a request whose answer is not known to have been sent is one for ten minutes', () => {
    const { keys, entry } = withOne(UNSENT);
    expect(keys.isCopy(entry, T + RETRY_WINDOW_MS, true, false)).toBe(true);
    expect(keys.isCopy(entry, T + RETRY_WINDOW_MS + 1, true, false)).toBe(false);
  });

  test('of a request that was answered is none, unless it always counts', () => {
    const { keys, entry } = withOne(SENT);
    expect(keys.isCopy(entry, T + 1, true, false)).toBe(false);
    expect(keys.isCopy(entry, T + 1, false, false)).toBe(false);
    expect(keys.isCopy(entry, T + RETRY_WINDOW_MS, true, true)).toBe(true);
    expect(keys.isCopy(entry, T + RETRY_WINDOW_MS + 1, true, true)).toBe(false);
  });

  test('that was received first and decided on last is one when its own answer is not known to have been sent', () => {
    const { keys, entry } = withOne(SENT);
    expect(keys.isCopy(entry, T - 1, false, false)).toBe(true);
    expect(keys.isCopy(entry, T - RETRY_WINDOW_MS - 1, false, false)).toBe(false);
    expect(keys.isCopy(entry, T - 1, true, false)).toBe(false);
  });

  test('received in the same millisecond is one when one of the two was not answered', () => {
    expect(withOne(UNSENT).keys.isCopy(0, T, true, false)).toBe(true);
    expect(withOne(SENT).keys.isCopy(0, T, false, false)).toBe(true);
    expect(withOne(SENT).keys.isCopy(0, T, true, false)).toBe(false);
  });

  test('after a retry that was answered is a request of its own', () => {
    const { keys, entry } = withOne(UNSENT);
    keys.renew(entry, { atMs: T + 1_000, unsentAgoMs: SENT });
    expect(keys.isCopy(entry, T + 2_000, true, false)).toBe(false);
    expect(keys.isCopy(entry, T + 500, true, false)).toBe(true);
  });
});

describe('keys', () => {
  test('are those of one organization and one signal', () => {
    const { keys } = withOne(UNSENT);
    expect(keys.find(keys.scope('org_a', 'traces'), print(1))).toBe(-1);
    expect(keys.find(keys.scope('org_b', 'logs'), print(1))).toBe(-1);
    expect(keys.find(keys.scope('org_a', 'logs'), print(1))).toBe(0);
  });

  test('are forgotten when nothing can be a copy of them any more, and not before', () => {
    const { keys, scope } = withOne(UNSENT);
    keys.expire(Number.NEGATIVE_INFINITY);
    keys.expire(T + RETRY_WINDOW_MS + 60_000);
    expect(keys.find(scope, print(1))).toBe(0);
    keys.expire(T + RETRY_WINDOW_MS + 60_001);
    expect(keys.find(scope, print(1))).toBe(-1);
    expect(keys.size).toBe(0);
  });

  test('a key that keeps coming does not keep the others', () => {
    const { keys, scope, entry } = withOne(SENT);
    for (let i = 2; i < 1_000; i++) keys.put(scope, print(i), { atMs: T, unsentAgoMs: SENT }, i);
    keys.renew(entry, { atMs: T + 2 * RETRY_WINDOW_MS, unsentAgoMs: SENT });
    keys.expire(T + 2 * RETRY_WINDOW_MS);
    expect(keys.size).toBe(1);
    expect(keys.find(scope, print(1))).toBeGreaterThanOrEqual(0);
  });

  test('are bounded: the oldest go first, and are counted', () => {
    const keys = new RequestKeys(2_048);
    const scope = keys.scope('org_a', 'logs');
    for (let i = 0; i < 5_000; i++) keys.put(scope, print(i), { atMs: T + i, unsentAgoMs: UNSENT }, i);
    expect(keys.size).toBe(2_048);
    expect(keys.droppedEarly).toBe(5_000 - 2_048);
    expect(keys.find(scope, print(5_000 - 2_049))).toBe(-1);
    for (let i = 5_000 - 2_048; i < 5_000; i++) expect(keys.find(scope, print(i))).toBeGreaterThanOrEqual(0);
    expect(keys.bytes).toBe(2_048 * 45);
  });

  test('are what a plain map of them is, whatever comes and goes', () => {
    const random = seededRandom(20_261_124);
    const keys = new RequestKeys();
    const plain = new Map<string, Omit<KeyEntry, 'scope' | 'print'>>();
    let nowMs = T;
    for (let step = 0; step < 40_000; step++) {
      nowMs += random.int(0, 200);
      const key = random.int(0, 6_000);
      const [org, atMs] = [`org_${key % 3}`, nowMs - random.int(0, 5_000)];
      const unsentAgoMs = random.chance(0.5) ? SENT : UNSENT;
      keys.put(keys.scope(org, 'logs'), print(key), { atMs, unsentAgoMs }, step);
      plain.set(`${org} ${key}`, joined(plain.get(`${org} ${key}`), { atMs, unsentAgoMs, owner: step }));
      if (!random.chance(0.001)) continue;
      keys.expire(nowMs);
      for (const [name, { atMs: last }] of plain) if (last + RETRY_WINDOW_MS + 60_000 < nowMs) plain.delete(name);
    }
    keys.expire(nowMs);
    for (const [name, { atMs: last }] of plain) if (last + RETRY_WINDOW_MS + 60_000 < nowMs) plain.delete(name);
    expect(plain.size).toBeGreaterThan(1_000);
    expect(keys.size).toBeGreaterThanOrEqual(plain.size);
    // The bytes of a step are used again by the next one.
    const hexOf = (entry: KeyEntry) => ({ ...entry, print: Buffer.from(entry.print).toString('hex') });
    const all = new Map([...keys.entries().map(hexOf)].map((entry) => [entry.print, entry]));
    for (const [name, expected] of plain) {
      const [org = '', key] = name.split(' ');
      const scope = keys.scope(org, 'logs');
      expect(keys.find(scope, print(Number(key)))).toBeGreaterThanOrEqual(0);
      const hex = print(Number(key)).toString('hex');
      expect(all.get(hex)).toEqual({ scope, print: hex, ...expected });
    }
  });
});

/** One more copy of a key, by the meaning of the fields. */
function joined(
  before: Omit<KeyEntry, 'scope' | 'print'> | undefined,
  copy: Omit<KeyEntry, 'scope' | 'print'>,
): Omit<KeyEntry, 'scope' | 'print'> {
  if (before === undefined) return copy;
  const atMs = Math.max(before.atMs, copy.atMs);
  const unsent = [before, copy].filter((one) => one.unsentAgoMs !== SENT).map((one) => one.atMs - one.unsentAgoMs);
  const agoMs = atMs - Math.max(...unsent);
  const owner = copy.atMs >= before.atMs ? copy.owner : before.owner;
  return { atMs, owner, unsentAgoMs: agoMs <= RETRY_WINDOW_MS ? agoMs : SENT };
}
