/**
 * How many bytes of records of each organization wait in this process's spool. Counted as they are appended, by segment;
 * taken off again when a segment's file is gone from the directory, which one listing every LIMIT_EXCHANGE_MS tells, because
 * the store removes segments without telling anybody. What an earlier process left is counted after the start, in the
 * background, from the footers: the file's bytes, divided among its organizations by what their requests had received.
 *
 * Batch files do not count: they are a cache, and a long backlog keeps none.
 */
import { LIMIT_EXCHANGE_MS, ORGANIZATION_IDLE_MS } from '../../base/limits.ts';
import type { OrganizationUse } from './organization-use.ts';

/** One segment found at the start, as its footer tells it. */
export interface FoundSegment {
  readonly sequence: number;
  /** Of its file. */
  readonly bytes: number;
  readonly requests: readonly { readonly orgId: string; readonly bytesReceived: number }[];
}

export interface SpoolUseDeps {
  /** Numbers of the segments whose file stands in the spool's directory. */
  readonly listSegments: () => Promise<ReadonlySet<number>>;
  readonly use: (orgId: string) => OrganizationUse;
  /** Monotonic. */
  readonly nowMs: () => number;
}

interface Waiting {
  readonly bytesOf: Map<OrganizationUse, number>;
  /** Its file was seen: when it is missing, it was removed. Before, it may not have been written yet. */
  seen: boolean;
  sinceMs: number;
}

/** A directory with many files is listed for at most this part of the time. */
const LISTING_PART = 1 / 20;

export class SpoolUse {
  readonly #deps: SpoolUseDeps;
  readonly #segments = new Map<number, Waiting>();
  #nextMs = 0;
  #looking = false;

  constructor(deps: SpoolUseDeps) {
    this.#deps = deps;
  }

  /** A record of this many bytes joined this segment. */
  appended(sequence: number, use: OrganizationUse, bytes: number): void {
    let waiting = this.#segments.get(sequence);
    if (waiting === undefined) {
      waiting = { bytesOf: new Map(), seen: false, sinceMs: this.#deps.nowMs() };
      this.#segments.set(sequence, waiting);
    }
    waiting.bytesOf.set(use, (waiting.bytesOf.get(use) ?? 0) + bytes);
    use.spoolBytes += bytes;
  }

  /** Counts a segment of an earlier run. */
  found(segment: FoundSegment): void {
    const received = new Map<string, number>();
    let sum = 0;
    for (const { orgId, bytesReceived } of segment.requests) {
      received.set(orgId, (received.get(orgId) ?? 0) + bytesReceived);
      sum += bytesReceived;
    }
    // A request whose record was damaged has a footer entry without an organization.
    for (const [orgId, bytes] of received) {
      if (orgId === '' || bytes === 0) continue;
      this.appended(segment.sequence, this.#deps.use(orgId), Math.round((segment.bytes * bytes) / sum));
    }
    const waiting = this.#segments.get(segment.sequence);
    if (waiting !== undefined) waiting.seen = true;
  }

  /** To be called every LIMIT_EXCHANGE_MS. Never rejects: a directory that cannot be listed now is listed later. */
  async look(): Promise<void> {
    const startedMs = this.#deps.nowMs();
    if (this.#looking || startedMs < this.#nextMs || this.#segments.size === 0) return;
    this.#looking = true;
    try {
      this.#settle(await this.#deps.listSegments(), startedMs);
    } catch {
      // As said.
    } finally {
      this.#looking = false;
      const nowMs = this.#deps.nowMs();
      this.#nextMs = nowMs + (nowMs - startedMs) / LISTING_PART - LIMIT_EXCHANGE_MS;
    }
  }

  #settle(standing: ReadonlySet<number>, startedMs: number): void {
    for (const [sequence, waiting] of this.#segments) {
      if (standing.has(sequence)) waiting.seen = true;
      // One that never came to be written (a full disk) is believed for as long as a disk may hang.
      else if (waiting.seen || startedMs - waiting.sinceMs > ORGANIZATION_IDLE_MS) this.#forget(sequence, waiting);
    }
  }

  #forget(sequence: number, waiting: Waiting): void {
    for (const [use, bytes] of waiting.bytesOf) use.spoolBytes -= bytes;
    this.#segments.delete(sequence);
  }
}
