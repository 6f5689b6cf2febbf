import { describe, expect, it } from 'vitest';
import { LIMIT_BURST_MS } from '../../../src/base/limits.ts';
import { RateBucket } from '../../../src/ingest/limits/rate-bucket.ts';

const BURST_SECONDS = LIMIT_BURST_MS / 1_000;

describe('a bucket of a rate', () => {
  it('lets a burst through, then nothing until the debt is paid, and says how long that takes', () => {
    const bucket = new RateBucket();
    expect(bucket.waitMs(1_000, 0)).toBe(0);
    bucket.charge(1_000 * BURST_SECONDS + 2_000);
    const waitMs = bucket.waitMs(1_000, 0);
    expect(waitMs).toBeCloseTo(2_001, 0);
    expect(bucket.waitMs(1_000, waitMs - 2)).toBeGreaterThan(0);
    expect(bucket.waitMs(1_000, waitMs)).toBe(0);
  });

  it('holds the rate over time, whatever the size of what is taken', () => {
    for (const size of [1, 700, 90_000]) {
      const bucket = new RateBucket();
      let taken = 0;
      const seconds = 10_000;
      for (let nowMs = 0; nowMs < seconds * 1_000; nowMs += 100) {
        for (let n = 0; n < 50 && bucket.waitMs(100, nowMs) === 0; n++) {
          bucket.charge(size);
          taken += size;
        }
      }
      expect(taken).toBeGreaterThanOrEqual(Math.min(100 * seconds, 500 * seconds * size) * 0.99);
      expect(taken).toBeLessThanOrEqual(100 * (seconds + BURST_SECONDS) + size);
    }
  });

  it('without a limit lets everything through, and starts full when it gets one', () => {
    const bucket = new RateBucket();
    bucket.charge(1e12);
    expect(bucket.waitMs(0, 5)).toBe(0);
    expect(bucket.waitMs(10, 6)).toBe(0);
    bucket.charge(10 * BURST_SECONDS);
    expect(bucket.waitMs(10, 6)).toBeGreaterThan(0);
    expect(bucket.waitMs(0, 6)).toBe(0);
  });
});
