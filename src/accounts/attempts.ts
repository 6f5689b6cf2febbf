/**
 * How often something may be tried: logins of an account, requests of an address. In memory and bounded; a restart forgets,
 * which gives an attacker a few tries more and nobody a way to lock others out by filling a table.
 */
import { retryLater } from '../base/errors.ts';

/** Failures without a delay. */
const FREE_FAILURES = 5;
const DELAY_MS_MIN = 1_000;
const DELAY_MS_MAX = 15 * 60_000;
/** Failures are forgotten after this time without another one. */
const FORGOTTEN_MS = 24 * 3_600_000;
const ENTRIES_MAX = 100_000;

/** Failed logins of each account: after five, each further one doubles the time until the next is looked at (reference 2.3). */
export class FailedLogins {
  readonly #failures = new Map<string, { count: number; atMs: number }>();

  /**
   * Throws `rate-limited` when it is too early. `key` is what the account is known by, whether it exists or not. No hard
   * lock: that would be a way to lock others out.
   */
  check(key: string, nowMs: number): void {
    const failures = this.#failures.get(key);
    if (failures === undefined) return;
    const waitMs = failures.atMs + delayMs(failures.count) - nowMs;
    if (waitMs > 0) throw retryLater('rate-limited', 'too many failed logins of this account: try again later', waitMs);
  }

  failed(key: string, nowMs: number): void {
    const before = this.#failures.get(key);
    const count = before === undefined || nowMs - before.atMs > FORGOTTEN_MS ? 1 : before.count + 1;
    // At the end again: the map is in the order of the last failure, and the oldest goes first.
    this.#failures.delete(key);
    this.#failures.set(key, { count, atMs: nowMs });
    if (this.#failures.size > ENTRIES_MAX) this.#failures.delete(this.#failures.keys().next().value as string);
  }

  succeeded(key: string): void {
    this.#failures.delete(key);
  }
}

function delayMs(failures: number): number {
  if (failures < FREE_FAILURES) return 0;
  return Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** (failures - FREE_FAILURES));
}

export interface Rate {
  readonly countMax: number;
  readonly perMs: number;
}

/** So many in so much time, for each key: a bucket that fills again evenly. */
export class RateLimiter {
  readonly #rate: Rate;
  /** When the bucket would be full again. */
  readonly #fullAtMs = new Map<string, number>();

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  /** Takes one. Throws `rate-limited` with the time until there is one again. */
  take(key: string, nowMs: number): void {
    const { countMax, perMs } = this.#rate;
    const eachMs = perMs / countMax;
    const fullAtMs = Math.max(nowMs, this.#fullAtMs.get(key) ?? 0) + eachMs;
    const waitMs = fullAtMs - nowMs - perMs;
    if (waitMs > 0) throw retryLater('rate-limited', `at most ${countMax} of these in ${perMs / 1_000} s`, waitMs);
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs);
    if (this.#fullAtMs.size > ENTRIES_MAX) this.#fullAtMs.delete(this.#fullAtMs.keys().next().value as string);
  }
}

/** What counts as one client: an IPv4 address, or the /64 that an IPv6 host has to itself. */
export function clientKey(address: string): string {
  const plain = address.toLowerCase().replace(/%.*$/, '');
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain) ?? [];
  if (mapped !== undefined) return mapped;
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
