/**
 * A rate that may be used LIMIT_BURST_MS ahead. What is taken is known only afterwards (items when they are converted, bytes
 * when they are inflated, both of other processes a second later), so it is charged in full and may leave a debt: nothing
 * more is let in until the debt is paid. Over any time t an organization gets at most rate × (t + burst) + what was let in
 * last. Pure: the clock is the caller's.
 */
import { LIMIT_BURST_MS } from '../../base/limits.ts';

export class RateBucket {
  /** What may still be taken; below 0 a debt. Without a limit so far: as much as anybody wants. */
  #level = Number.POSITIVE_INFINITY;
  #atMs = 0;

  /** 0: something may be taken now; else how long the debt takes to be paid. `ratePerSecond` 0 is no limit. */
  waitMs(ratePerSecond: number, nowMs: number): number {
    if (ratePerSecond === 0) {
      this.#level = Number.POSITIVE_INFINITY;
      return 0;
    }
    const ratePerMs = ratePerSecond / 1_000;
    this.#level = Math.min(ratePerMs * LIMIT_BURST_MS, this.#level + ratePerMs * (nowMs - this.#atMs));
    this.#atMs = nowMs;
    return this.#level > 0 ? 0 : 1 - this.#level / ratePerMs;
  }

  /** A negative amount is given back. */
  charge(amount: number): void {
    this.#level -= amount;
  }
}
