import { describe, expect, it } from 'vitest';
import { clientKey, FailedLogins, RateLimiter } from '../../src/accounts/attempts.ts';
import { NOON_MS } from './accounts-fixture.ts';

describe('failed logins', () => {
  it('wait after five of them, twice as long after each, at most 15 minutes, and never for ever', () => {
    const failed = new FailedLogins();
    let nowMs = NOON_MS;
    const waits: number[] = [];
    for (let i = 0; i < 20; i++) {
      failed.check('ada', nowMs);
      failed.failed('ada', nowMs);
      let waitMs = 0;
      try {
        failed.check('ada', nowMs);
      } catch (error) {
        waitMs = (error as { retryAfterMs: number }).retryAfterMs;
      }
      waits.push(waitMs);
      nowMs += waitMs;
    }
    expect(waits.slice(0, 9)).toEqual([0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000]);
    expect(Math.max(...waits)).toBe(900_000);
    expect(() => failed.check('bob', nowMs)).not.toThrow();
    failed.succeeded('ada');
    failed.failed('ada', nowMs);
    expect(() => failed.check('ada', nowMs)).not.toThrow();
  });
});

describe('a rate', () => {
  it('lets so many through at once, and as many again over its time, for each client', () => {
    const limiter = new RateLimiter({ countMax: 10, perMs: 1_000 });
    const taken = (nowMs: number, key = 'a'): number => {
      for (let count = 0; ; count++) {
        try {
          limiter.take(key, nowMs);
        } catch {
          return count;
        }
      }
    };
    expect(taken(NOON_MS)).toBe(10);
    expect(taken(NOON_MS)).toBe(0);
    expect(taken(NOON_MS, 'b')).toBe(10);
    expect(taken(NOON_MS + 500)).toBe(5);
    expect(taken(NOON_MS + 10_000)).toBe(10);
  });
});

describe('a client', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:2:ffff::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s counts as %s', (address, key) => {
    expect(clientKey(address)).toBe(key);
  });
});
