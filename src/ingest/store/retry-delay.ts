/**
 * How long to wait before the next attempt; pure. Full jitter: a uniformly random time below a ceiling that doubles with
 * each attempt, so that many waiters whose engine comes back do not arrive together.
 */

export interface RetryLimits {
  /** Ceiling of the first wait. */
  readonly firstMs: number;
  /** Ceiling of every wait: retries never expire, so they must not become rare either. */
  readonly maxMs: number;
}

/** For the engine: it restarts in about 0.1 s, and a backlog must drain soon after a long absence. */
export const ENGINE_RETRY: RetryLimits = { firstMs: 200, maxMs: 5_000 };
/** For what only an operator can mend: a refused batch, a segment that cannot be read. */
export const SET_ASIDE_RETRY: RetryLimits = { firstMs: 180_000, maxMs: 300_000 };

/**
 * Milliseconds to wait after `attempt` failures in a row (1 = the first). `random` is in [0, 1). `atLeastMs` is what the
 * other side asked for (BackworkError.retryAfterMs); the jitter is added to it.
 */
export function retryDelayMs(attempt: number, random: number, limits: RetryLimits, atLeastMs = 0): number {
  // 2^30 is far beyond any ceiling in use, and the shift stays exact.
  const doublings = Math.min(Math.max(attempt, 1) - 1, 30);
  const ceilingMs = Math.min(limits.maxMs, limits.firstMs * 2 ** doublings);
  return Math.max(0, atLeastMs) + Math.floor(random * ceilingMs);
}

/** A wait in [firstMs, maxMs) for what is looked at again every few minutes. */
export function setAsideDelayMs(random: number, limits: RetryLimits = SET_ASIDE_RETRY): number {
  return limits.firstMs + Math.floor(random * (limits.maxMs - limits.firstMs));
}
