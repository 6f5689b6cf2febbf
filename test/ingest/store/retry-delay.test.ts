import { describe, expect, test } from 'vitest';
import { ENGINE_RETRY, retryDelayMs, SET_ASIDE_RETRY, setAsideDelayMs } from '../../../src/ingest/store/retry-delay.ts';

const ALMOST_ONE = 1 - 2 ** -53;

describe('the delay before an attempt', () => {
  test.each([
    // [attempt, highest delay]: the ceiling doubles until it is reached for good.
    [1, 199],
    [2, 399],
    [3, 799],
    [5, 3_199],
    [6, 4_999],
    [7, 4_999],
    [1_000_000, 4_999],
  ])('is below its ceiling at attempt %i', (attempt, highestMs) => {
    expect(retryDelayMs(attempt, ALMOST_ONE, ENGINE_RETRY)).toBe(highestMs);
    expect(retryDelayMs(attempt, 0, ENGINE_RETRY)).toBe(0);
    expect(retryDelayMs(attempt, 0.5, ENGINE_RETRY)).toBe(Math.floor((highestMs + 1) / 2));
  });

  test('is at least what the other side asked for', () => {
    expect(retryDelayMs(1, 0, ENGINE_RETRY, 3_000)).toBe(3_000);
    expect(retryDelayMs(1, 0.5, ENGINE_RETRY, 3_000)).toBe(3_100);
  });

  test('of what is set aside is a few minutes', () => {
    expect(setAsideDelayMs(0)).toBe(SET_ASIDE_RETRY.firstMs);
    expect(setAsideDelayMs(ALMOST_ONE)).toBeLessThan(SET_ASIDE_RETRY.maxMs);
  });
});
