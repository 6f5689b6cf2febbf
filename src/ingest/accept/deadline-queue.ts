/**
 * Things that must end within the same time. They stand in the order of their deadlines, so looking for late ones costs
 * what is late, and no request needs a timer of its own.
 */
export class DeadlineQueue<T> {
  readonly #allowedMs: number;
  readonly #onLate: (item: T) => void;
  readonly #deadlinesMs = new Map<T, number>();

  constructor(allowedMs: number, onLate: (item: T) => void) {
    this.#allowedMs = allowedMs;
    this.#onLate = onLate;
  }

  add(item: T, nowMs: number): void {
    this.#deadlinesMs.set(item, nowMs + this.#allowedMs);
  }

  delete(item: T): void {
    this.#deadlinesMs.delete(item);
  }

  /** Takes out what is late and hands each to `onLate`. */
  sweep(nowMs: number): void {
    for (const [item, deadlineMs] of this.#deadlinesMs) {
      if (deadlineMs > nowMs) return;
      this.#deadlinesMs.delete(item);
      this.#onLate(item);
    }
  }
}
