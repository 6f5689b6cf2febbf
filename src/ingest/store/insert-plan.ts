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
 *   - lanes of what ClickHouse refused before go after all others that are due: looking for the cause delays nobody;
 *   - of the lanes that are due, those go first whose placement (an organization of its own, or those that share one) was
 *     given least of the engine for its weight: deficit round robin, so a placement with a backlog, or with many
 *     partitions, gets its share and no more while others have something to send (reference R13). One that had nothing to
 *     send saves nothing up;
 *   - of one placement, urgent ones go first, then those without a running INSERT, then the oldest.
 */
import { INSERT_ROWS_WORTHWHILE } from '../../base/limits.ts';

const DELAY_MS_MIN = 1_000;
const DELAY_MS_MAX = 5_000;
/** INSERTs a second that idle partitions may cost all together. */
const SMALL_INSERTS_PER_SECOND = 8;
/** What an INSERT costs the embedded engine with its merges, in ms of CPU: measured, architecture sections 3.7 and 4. */
const INSERT_COST_MS = 31;
const ROW_COST_MS = 0.0105;

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
  readonly share: Share;
  /** Its batches were refused before, alone or in company. */
  readonly refused?: boolean;
  /** Some of its batches have an unknown outcome. */
  readonly unsettled: boolean;
  /** Monotonic time before which nothing of it is sent. */
  readonly notBeforeMs: number;
  /** INSERTs of it that run now. */
  readonly inserting: number;
  /** Monotonic time at which its last INSERT was started; −∞ before the first. */
  readonly lastInsertAtMs: number;
}

/** What a placement was given. */
export interface Share {
  /** Twice the weight, twice the INSERTs. May change while it sends. */
  weight: number;
  /** CPU that its INSERTs cost the engine, estimated, divided by the weight; only differences between shares count. */
  usedMs: number;
  /** It had something to send at the last look. */
  active: boolean;
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

/**
 * `livePartitions`: lanes that had a batch lately. `freePlaces`: INSERTs that may start now. What a placement is given is
 * added to its share.
 */
export function planInserts<L extends WaitingLane>(input: {
  readonly lanes: readonly L[];
  readonly nowMs: number;
  readonly livePartitions: number;
  readonly freePlaces: number;
  readonly limits: PlanLimits;
}): Plan<L> {
  const delayMs = waitForCompanyMs(input.livePartitions);
  levelShares(input.lanes);
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
    charge(best, batchCount);
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
  const oneRefused = one.lane.refused === true;
  if (oneRefused !== (other.lane.refused === true)) return !oneRefused;
  const [oneShare, otherShare] = [one.lane.share, other.lane.share];
  if (oneShare !== otherShare && oneShare.usedMs !== otherShare.usedMs) return oneShare.usedMs < otherShare.usedMs;
  if (oneFirst.urgent !== otherFirst.urgent) return oneFirst.urgent;
  if ((one.started === 0) !== (other.started === 0)) return one.started === 0;
  return oneFirst.sinceMs < otherFirst.sinceMs;
}

/** One that had nothing to send for a while begins where the others are: what it did not use is not saved up. */
function levelShares(lanes: readonly WaitingLane[]): void {
  const busy = new Set<Share>();
  for (const lane of lanes) if (lane.waiting.length > 0 || lane.inserting > 0 || lane.unsettled) busy.add(lane.share);
  let leastMs = Number.POSITIVE_INFINITY;
  for (const share of busy) if (share.active) leastMs = Math.min(leastMs, share.usedMs);
  const allBegin = leastMs === Number.POSITIVE_INFINITY;
  for (const { share } of lanes) {
    const isBusy = busy.has(share);
    if (isBusy && !share.active) share.usedMs = allBegin ? 0 : Math.max(share.usedMs, leastMs);
    share.active = isBusy;
  }
}

function charge({ lane, taken }: Candidate<WaitingLane>, batchCount: number): void {
  let rows = 0;
  for (let at = taken; at < taken + batchCount; at++) rows += lane.waiting[at]!.rowCount;
  lane.share.usedMs += (INSERT_COST_MS + rows * ROW_COST_MS) / lane.share.weight;
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
