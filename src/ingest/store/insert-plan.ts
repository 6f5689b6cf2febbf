/**
 * Which batches go into which INSERT now; pure. A lane is one (table, partition). The rules (architecture section 3.7,
 * reference R6, R7):
 *
 *   - an INSERT holds batches of one lane only, in the order of their age, at most `bytesMax` and `rowsMax`; a batch
 *     that is larger alone goes alone;
 *   - a lane is due when INSERT_ROWS_WORTHWHILE rows wait, when one INSERT's worth of bytes waits, when its first batch
 *     is urgent (it was asked about and is missing), or when neither its oldest batch nor its last INSERT is younger than
 *     max(1 s, min(5 s, live partitions ÷ 8 a second)): an INSERT costs the engine 31 ms whatever it holds, so a lane
 *     has at most one small one in that time, and one that was idle has its first at once;
 *   - nothing of a lane goes while the outcome of an earlier INSERT of it is unknown, or before its backoff has passed;
 *   - of the lanes that are due, urgent ones go first, then those without a running INSERT, then the oldest: a long
 *     backlog of one lane keeps one of the two places, and its neighbours share the other.
 */
import { INSERT_ROWS_WORTHWHILE } from '../../base/limits.ts';

const DELAY_MS_MIN = 1_000;
const DELAY_MS_MAX = 5_000;
/** INSERTs a second that idle partitions may cost all together. */
const SMALL_INSERTS_PER_SECOND = 8;

/** A batch that is certainly not stored and waits to be sent. */
export interface WaitingBatch {
  readonly rowCount: number;
  /** As far as known: a batch that must be converted again is estimated. */
  readonly bytes: number;
  /** Monotonic time since which it waits. */
  readonly sinceMs: number;
  /** Goes without waiting for company: it was sent or found before, and is missing. */
  readonly urgent: boolean;
  /** At most so many batches in one INSERT with this one: halved each time ClickHouse refused it in company. */
  readonly togetherMax: number;
}

export interface WaitingLane<B extends WaitingBatch = WaitingBatch> {
  readonly waiting: readonly B[];
  /** Some of its batches have an unknown outcome. */
  readonly unsettled: boolean;
  /** Monotonic time before which nothing of it is sent. */
  readonly notBeforeMs: number;
  /** INSERTs of it that run now. */
  readonly inserting: number;
  /** Monotonic time at which its last INSERT was started; −∞ before the first. */
  readonly lastInsertAtMs: number;
}

export interface PlanLimits {
  readonly bytesMax: number;
  readonly rowsMax: number;
}

export interface PlannedInsert<L> {
  readonly lane: L;
  /** Taken from the front of `lane.waiting`. */
  readonly batchCount: number;
}

export interface Plan<L> {
  readonly inserts: readonly PlannedInsert<L>[];
  /** Monotonic time at which something becomes due by its age alone; undefined when nothing will. */
  readonly wakeAtMs: number | undefined;
}

/** `livePartitions`: lanes that had a batch lately. `freePlaces`: INSERTs that may start now. */
export function planInserts<L extends WaitingLane>(input: {
  readonly lanes: readonly L[];
  readonly nowMs: number;
  readonly livePartitions: number;
  readonly freePlaces: number;
  readonly limits: PlanLimits;
}): Plan<L> {
  const delayMs = waitForCompanyMs(input.livePartitions);
  const candidates = input.lanes.map((lane) => ({ lane, taken: 0, started: lane.inserting }));
  const inserts: PlannedInsert<L>[] = [];
  while (inserts.length < input.freePlaces) {
    let best: Candidate<L> | undefined;
    for (const candidate of candidates) {
      const dueAtMs = laneDueAtMs(candidate, delayMs, input.limits);
      if (dueAtMs === undefined || dueAtMs > input.nowMs) continue;
      if (best === undefined || goesBefore(candidate, best)) best = candidate;
    }
    if (best === undefined) break;
    const batchCount = takeFront(best.lane.waiting, best.taken, input.limits);
    inserts.push({ lane: best.lane, batchCount });
    best.taken += batchCount;
    best.started++;
  }
  let wakeAtMs: number | undefined;
  for (const candidate of candidates) {
    const dueAtMs = laneDueAtMs(candidate, delayMs, input.limits);
    // What is due already but found no place is planned when a place becomes free, not by the clock.
    if (dueAtMs !== undefined && dueAtMs > input.nowMs) wakeAtMs = Math.min(wakeAtMs ?? dueAtMs, dueAtMs);
  }
  return { inserts, wakeAtMs };
}

/** How long a small batch waits for company. */
export function waitForCompanyMs(livePartitions: number): number {
  const shareMs = (livePartitions * 1_000) / SMALL_INSERTS_PER_SECOND;
  return Math.max(DELAY_MS_MIN, Math.min(DELAY_MS_MAX, shareMs));
}

interface Candidate<L extends WaitingLane> {
  readonly lane: L;
  /** Batches at the front that this plan has given to an INSERT already. */
  taken: number;
  started: number;
}

/** Undefined: nothing to send, or not before something else has happened. */
function laneDueAtMs(candidate: Candidate<WaitingLane>, delayMs: number, limits: PlanLimits): number | undefined {
  const { lane, taken } = candidate;
  const first = lane.waiting[taken];
  if (first === undefined || lane.unsettled) return undefined;
  if (first.urgent) return lane.notBeforeMs;
  let rows = 0;
  let bytes = 0;
  for (let at = taken; at < lane.waiting.length; at++) {
    const batch = lane.waiting[at]!;
    rows += batch.rowCount;
    bytes += batch.bytes;
    if (rows >= INSERT_ROWS_WORTHWHILE || bytes >= limits.bytesMax) return lane.notBeforeMs;
  }
  return Math.max(lane.notBeforeMs, Math.min(first.sinceMs, taken > 0 ? first.sinceMs : lane.lastInsertAtMs) + delayMs);
}

function goesBefore<L extends WaitingLane>(one: Candidate<L>, other: Candidate<L>): boolean {
  const oneFirst = one.lane.waiting[one.taken]!;
  const otherFirst = other.lane.waiting[other.taken]!;
  if (oneFirst.urgent !== otherFirst.urgent) return oneFirst.urgent;
  if ((one.started === 0) !== (other.started === 0)) return one.started === 0;
  return oneFirst.sinceMs < otherFirst.sinceMs;
}

/** How many batches from `from` on fit one INSERT; at least one. */
function takeFront(waiting: readonly WaitingBatch[], from: number, limits: PlanLimits): number {
  let rows = 0;
  let bytes = 0;
  let togetherMax = Number.POSITIVE_INFINITY;
  let count = 0;
  for (let at = from; at < waiting.length; at++) {
    const batch = waiting[at]!;
    rows += batch.rowCount;
    bytes += batch.bytes;
    togetherMax = Math.min(togetherMax, batch.togetherMax);
    if (count > 0 && (rows > limits.rowsMax || bytes > limits.bytesMax || count >= togetherMax)) break;
    count++;
  }
  return count;
}
