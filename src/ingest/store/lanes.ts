/**
 * What the store knows of the batches it has loaded: segments, their batches, and the lane of each batch. A lane is one
 * (table, partition), the unit that an INSERT, a question to the table, and a backoff belong to.
 *
 *   unasked ──asked──► waiting ──planned──► running ──► done          (stored, expired, or found stored)
 *      ▲    └─► done      ▲  └─► done          │  └───► refused       (stays in the spool, with its segment)
 *      └──────────────────┴────────────────────┘
 *        outcome unknown    certainly not applied
 */
import type { FooterBatch, Partition } from '../messages.ts';
import type { Share, WaitingBatch, WaitingLane } from './insert-plan.ts';
import type { SegmentName } from './journal-notes.ts';

/** A lane that had no batch for so long counts as live no more. */
const LIVE_MS = 10_000;
/** A batch that is not in the batch file has no length yet; the loader stops at the true size in any case. */
const ROW_BYTES_GUESS = 512;

export interface Segment {
  readonly name: SegmentName;
  readonly dir: string;
  readonly tables: ReadonlySet<string>;
  batches: readonly StoredBatch[];
  readonly requestCount: number;
  /** Wall clock, of its first request. */
  readonly receivedAtMs: number;
  /** Nothing of it can have been sent before this run of the store. */
  readonly fresh: boolean;
  /** Batches that are neither done nor refused. */
  openCount: number;
  /** Why it cannot be removed; undefined while nothing was refused. */
  refusal: string | undefined;
}

export class StoredBatch implements WaitingBatch {
  readonly batch: FooterBatch;
  readonly segment: Segment;
  lane: Lane;
  readonly sinceMs: number;
  readonly bytes: number;
  /** From the footer, or the journal's newer count. */
  rowCount: number;
  urgent = false;
  /** It was asked about and is missing: its INSERT is a second one, perhaps. */
  asked = false;
  /** In an INSERT of this run of the store, whatever became of it. */
  sent = false;
  togetherMax = Number.POSITIVE_INFINITY;
  /** What ClickHouse said when it refused this batch alone. */
  refusedBy: string | undefined;
  settled = false;

  constructor(batch: FooterBatch, segment: Segment, lane: Lane, sinceMs: number, rowCount: number) {
    this.batch = batch;
    this.segment = segment;
    this.lane = lane;
    this.sinceMs = sinceMs;
    this.rowCount = rowCount;
    this.bytes = batch.length > 0 ? batch.length : rowCount * ROW_BYTES_GUESS;
  }
}

export class Lane implements WaitingLane<StoredBatch> {
  readonly table: string;
  readonly partition: Partition;
  /** Of batches that ClickHouse refused, alone or in company: a lane of their own, so that nobody waits behind them. */
  readonly refused: boolean;
  readonly share: Share;
  waiting: StoredBatch[] = [];
  unasked: StoredBatch[] = [];
  /** Queries whose outcome is unknown and that may still run. */
  queryIds = new Set<string>();
  inserting = 0;
  lastInsertAtMs = Number.NEGATIVE_INFINITY;
  asking = false;
  /** Failures in a row that concern this lane alone. */
  attempt = 0;
  notBeforeMs = 0;
  lastBatchAtMs = 0;
  /** What was logged last, so that a state is logged once. */
  trouble: string | undefined;

  constructor(table: string, partition: Partition, share: Share, refused = false) {
    this.table = table;
    this.partition = partition;
    this.share = share;
    this.refused = refused;
  }

  /** What was refused is asked about one by one, and nothing else has to wait for it. */
  get unsettled(): boolean {
    return !this.refused && this.unasked.length > 0;
  }

  get empty(): boolean {
    return this.waiting.length === 0 && this.unasked.length === 0 && this.inserting === 0 && this.queryIds.size === 0;
  }

  /** Back to the front, in the order of their age. */
  putBack(batches: readonly StoredBatch[]): void {
    if (batches.length === 0) return;
    this.waiting = [...batches, ...this.waiting].sort((one, other) => one.sinceMs - other.sinceMs);
  }

  /** Forgets these batches, which are not running. */
  drop(batches: ReadonlySet<StoredBatch>): void {
    this.waiting = this.waiting.filter((batch) => !batches.has(batch));
    this.unasked = this.unasked.filter((batch) => !batches.has(batch));
  }
}

export class Lanes {
  private readonly byKey = new Map<string, Lane>();
  /** By placement. */
  private readonly shares = new Map<string, Share>();
  private readonly weightOf: (placement: string) => number;

  constructor(weightOf: (placement: string) => number = () => 1) {
    this.weightOf = weightOf;
  }

  of(table: string, partition: Partition, refused = false): Lane {
    // Placements hold no space (`org_…`, `shared-<k>`); the numbers have fixed forms.
    const { placement, retentionDays, expiresOnDay } = partition;
    const key = `${table} ${placement} ${retentionDays} ${expiresOnDay} ${refused}`;
    let lane = this.byKey.get(key);
    if (lane === undefined) {
      lane = new Lane(table, partition, this.shareOf(placement), refused);
      this.byKey.set(key, lane);
    }
    return lane;
  }

  all(): Lane[] {
    return [...this.byKey.values()];
  }

  /** Lanes that had a batch lately or have one now; forgets the others, and looks at the weights again. */
  liveCount(nowMs: number): number {
    for (const [key, lane] of this.byKey) {
      if (lane.empty && nowMs - lane.lastBatchAtMs > LIVE_MS) this.byKey.delete(key);
    }
    if (this.byKey.size === 0) this.shares.clear();
    for (const [placement, share] of this.shares) share.weight = this.weightOf(placement);
    // Those of refused batches are sent at once, so nobody waits longer for their sake.
    return this.all().filter((lane) => !lane.refused).length;
  }

  private shareOf(placement: string): Share {
    let share = this.shares.get(placement);
    if (share === undefined) {
      share = { weight: this.weightOf(placement), usedMs: 0, active: false };
      this.shares.set(placement, share);
    }
    return share;
  }
}
