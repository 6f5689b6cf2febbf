/**
 * Bytes of bodies in memory, over all requests of a process; being full is a refusal that the client is told to try again.
 *
 * A body is reserved before it comes. One that is slow to come loses what it does not hold yet as soon as others need it,
 * or a few hundred clients that send a byte now and then would shut everybody else out (reliability-security.md F22).
 *
 * Where several organizations send, one may hold no more than IN_FLIGHT_SHARE times what is still free, in proportion to its
 * weight (the dynamic thresholds of shared-memory switches, Choudhury and Hahne 1998): what is left is always enough for
 * those who hold little, and who holds most is refused first, as `org-limit` (F37). What it holds nothing beside is let in.
 */
import { BackworkError, retryLater } from '../base/errors.ts';
import { IN_FLIGHT_SHARE, ORGANIZATION_WEIGHT, SLOW_BODY_BYTES_PER_MS, SLOW_BODY_MS } from '../base/limits.ts';

/** Whose bodies these are; `inFlightBytes` is kept by the budget. */
export interface BudgetHolder {
  readonly weight: number;
  inFlightBytes: number;
}

/** What one request has of the budget, and how much of that it holds by now. */
export interface Reservation {
  readonly holder: BudgetHolder | undefined;
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
  readonly #isShared: () => boolean;
  #bytes = 0;

  /** `nowMs`: a clock that only grows. `isShared`: whether several organizations send these days. */
  constructor(bytesMax: number, nowMs: () => number = () => performance.now(), isShared: () => boolean = () => false) {
    this.#nowMs = nowMs;
    this.#bytesMax = bytesMax;
    this.#isShared = isShared;
  }

  /** Reserved now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Throws BackworkError `too-large` for what can never be had, `overloaded` for what cannot be had now, `org-limit` for
   * what would be more than the holder's share.
   */
  open(bytes: number, holder?: BudgetHolder): Reservation {
    this.#checkPossible(bytes);
    this.#take(bytes, holder, 0);
    const reservation = { holder, sinceMs: this.#nowMs(), reservedBytes: bytes, heldBytes: 0 };
    this.#reservations.add(reservation);
    return reservation;
  }

  /**
   * The request says that it will hold this much: reserved now, or refused before more of it is read. Throws as `open`,
   * but nothing for what can never be had: what it says may not be true.
   */
  expect(reservation: Reservation, bytes: number): void {
    if (bytes > this.#bytesMax || !this.#reservations.has(reservation)) return;
    const more = bytes - reservation.reservedBytes;
    if (more <= 0) return;
    this.#take(more, reservation.holder, reservation.reservedBytes);
    reservation.reservedBytes += more;
  }

  /** The request is about to hold this much. Throws as `open`. */
  hold(reservation: Reservation, bytes: number): void {
    this.#checkPossible(bytes);
    // Taking may reclaim from this one too.
    while (reservation.reservedBytes < bytes) {
      const more = bytes - reservation.reservedBytes;
      this.#take(more, reservation.holder, reservation.reservedBytes);
      reservation.reservedBytes += more;
    }
    if (bytes > reservation.heldBytes) reservation.heldBytes = bytes;
  }

  close(reservation: Reservation): void {
    this.#reservations.delete(reservation);
    this.#shrink(reservation, 0);
  }

  #checkPossible(bytes: number): void {
    if (bytes <= this.#bytesMax) return;
    // Trying again would never help. As sent and inflated together it can be larger than the largest body.
    const message = `the request needs ${bytes} bytes of memory, of which all requests together may have`;
    throw new BackworkError('too-large', `${message} ${this.#bytesMax}`);
  }

  /** `ownBytes`: what the request itself has already. */
  #take(bytes: number, holder: BudgetHolder | undefined, ownBytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) this.#reclaim();
    if (this.#bytes + bytes > this.#bytesMax) {
      throw retryLater('overloaded', `bodies in flight are at their limit of ${this.#bytesMax} bytes`);
    }
    if (holder !== undefined) this.#checkShare(bytes, holder, ownBytes);
    this.#bytes += bytes;
  }

  #checkShare(bytes: number, holder: BudgetHolder, ownBytes: number): void {
    const freeBytes = this.#bytesMax - this.#bytes;
    const shareBytes = (IN_FLIGHT_SHARE * holder.weight * freeBytes) / ORGANIZATION_WEIGHT;
    const isAlone = holder.inFlightBytes <= ownBytes;
    if (holder.inFlightBytes + bytes > shareBytes && !isAlone && this.#isShared()) {
      const held = `the organization's bodies in flight hold ${holder.inFlightBytes} bytes`;
      throw retryLater('org-limit', `${held}, its share of what is free is ${Math.floor(shareBytes)}`);
    }
    holder.inFlightBytes += bytes;
  }

  #shrink(reservation: Reservation, bytes: number): void {
    const less = reservation.reservedBytes - bytes;
    this.#bytes -= less;
    if (reservation.holder !== undefined) reservation.holder.inFlightBytes -= less;
    reservation.reservedBytes = bytes;
  }

  #reclaim(): void {
    const nowMs = this.#nowMs();
    for (const reservation of this.#reservations) {
      const ageMs = nowMs - reservation.sinceMs;
      if (ageMs < SLOW_BODY_MS) return;
      if (reservation.heldBytes > ageMs * SLOW_BODY_BYTES_PER_MS) continue;
      this.#reservations.delete(reservation);
      this.#shrink(reservation, reservation.heldBytes);
    }
  }
}
