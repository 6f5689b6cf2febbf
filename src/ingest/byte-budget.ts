/**
 * Bytes of bodies in memory, over all requests of a process; being full is a refusal that the client is told to try again.
 *
 * A body is reserved before it comes. One that is slow to come loses what it does not hold yet as soon as others need it,
 * or a few hundred clients that send a byte now and then would shut everybody else out (reliability-security.md F22).
 */
import { BackworkError, retryLater } from '../base/errors.ts';
import { SLOW_BODY_MS } from '../base/limits.ts';

/** What one request has of the budget, and how much of that it holds by now. */
export interface Reservation {
  /** Of the monotonic clock. */
  readonly sinceMs: number;
  reservedBytes: number;
  heldBytes: number;
}

export class ByteBudget {
  readonly #bytesMax: number;
  /** In the order of their age, those from which nothing was reclaimed yet. */
  readonly #reservations = new Set<Reservation>();
  readonly #nowMs: () => number;
  #bytes = 0;

  /** `nowMs`: a clock that only grows. */
  constructor(bytesMax: number, nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#bytesMax = bytesMax;
  }

  /** Throws BackworkError `too-large` for what can never be had, `overloaded` for what cannot be had now. */
  open(bytes: number): Reservation {
    this.#checkPossible(bytes);
    this.#take(bytes);
    const reservation = { sinceMs: this.#nowMs(), reservedBytes: bytes, heldBytes: 0 };
    this.#reservations.add(reservation);
    return reservation;
  }

  /** The request is about to hold this much. Throws as `open`. */
  hold(reservation: Reservation, bytes: number): void {
    this.#checkPossible(bytes);
    // Taking may reclaim from this one too.
    while (reservation.reservedBytes < bytes) {
      const more = bytes - reservation.reservedBytes;
      this.#take(more);
      reservation.reservedBytes += more;
    }
    if (bytes > reservation.heldBytes) reservation.heldBytes = bytes;
  }

  close(reservation: Reservation): void {
    this.#reservations.delete(reservation);
    this.#bytes -= reservation.reservedBytes;
    reservation.reservedBytes = 0;
  }

  #checkPossible(bytes: number): void {
    if (bytes <= this.#bytesMax) return;
    // Trying again would never help. As sent and inflated together it can be larger than the largest body.
    const message = `the request needs ${bytes} bytes of memory, of which all requests together may have`;
    throw new BackworkError('too-large', `${message} ${this.#bytesMax}`);
  }

  #take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) this.#reclaim();
    if (this.#bytes + bytes > this.#bytesMax) {
      throw retryLater('overloaded', `bodies in flight are at their limit of ${this.#bytesMax} bytes`);
    }
    this.#bytes += bytes;
  }

  #reclaim(): void {
    const nowMs = this.#nowMs();
    for (const reservation of this.#reservations) {
      if (nowMs - reservation.sinceMs < SLOW_BODY_MS) return;
      this.#reservations.delete(reservation);
      this.#bytes -= reservation.reservedBytes - reservation.heldBytes;
      reservation.reservedBytes = reservation.heldBytes;
    }
  }
}
