/**
 * The store: from sealed segments to rows, once. It owns no data: every segment on the disk is either removed, because
 * all its rows are stored and synced, or still there, and then its batches are asked about. A kill at any moment is
 * harmless for that reason, and there is no cursor that could be ahead or behind.
 *
 *   segment-finder   sealed segments, oldest first; those set aside
 *        │ footers (a bounded window of them)
 *   lanes            batches by (table, partition): unasked, waiting
 *        │
 *   lane-work ──► insert-outcome   what became of what was sent before?
 *        │   └──► insert-plan ──► insert-run (batch-source)   at most two INSERTs at once; bytes in memory only here
 *        │ every batch done
 *   segment-removal  sync the tables' directories, note it in the journal, remove the files
 *
 * Work goes in rounds: a round starts what may start and sets one timer; the end of each job, a message or the timer
 * starts the next round. Rounds never wait, so a slow engine, a slow removal and a damaged segment do not hold up each
 * other. All timers are on the monotonic clock; only expiry looks at the wall clock.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf } from '../../base/errors.ts';
import { NO_FAULT_POINTS } from '../../base/fault-points.ts';
import { type Journal, openJournal } from './journal.ts';
import { LaneWork } from './lane-work.ts';
import { type Segment, StoredBatch } from './lanes.ts';
import { isLeftOut } from './retries.ts';
import { RetryDecisions } from './retry-decisions.ts';
import { ENGINE_RETRY, retryDelayMs } from './retry-delay.ts';
import { type FoundSegment, SegmentFinder } from './segment-finder.ts';
import { decideAgain } from './refusals.ts';
import { removeSegments } from './segment-removal.ts';
import type { Store, StoreDeps } from './store-deps.ts';

const SCAN_EVERY_MS = 1_000;
/** With a backlog there is enough to do, and a directory of a million files takes a second to list. */
const SCAN_WITH_BACKLOG_EVERY_MS = 30_000;
/** Segments and batches in memory, without their bytes: some MiB, and enough for full INSERTs out of small segments. */
const SEGMENTS_LOADED_MAX = 1_024;
const BATCHES_LOADED_MAX = 16_384;
/** How long a segment is set aside whose table, not the engine, fails for long. */
const STUCK_RETRY_MS = 60_000;
/** INSERTs that run are waited for at a stop (R12). */
const STOP_WAIT_MS = 10_000;

/**
 * Opens the journal and begins. Throws what openJournal throws. The engine need not be there, nor its tables: what
 * cannot be stored yet waits in the spool.
 */
export async function startStore(deps: StoreDeps): Promise<Store> {
  const { journalPath: path, files, nowMs, log, onFatal, faults = NO_FAULT_POINTS } = deps;
  const journal = await openJournal({ path, files, nowMs, log, onFatal, faults });
  const { refused } = journal.state;
  await deps.quarantine?.settleUndecided((segment, batchId) => refused.isQuarantined(segment, batchId));
  const loop = new StoreLoop(deps, journal);
  loop.wake();
  return {
    sealed: (dir, sequence) => loop.sealed(dir, sequence),
    stop: () => loop.stop(),
    idle: () => loop.idle(),
    backlog: () => loop.backlog(),
  };
}

class StoreLoop {
  private readonly deps: StoreDeps;
  private readonly journal: Journal;
  private readonly monotonicMs: () => number;
  private readonly random: () => number;
  private readonly finder: SegmentFinder;
  private readonly retries: RetryDecisions;
  private readonly work: LaneWork;
  private readonly jobs = new Set<Promise<void>>();
  /** Loaded and not yet removed or set aside. */
  private readonly segments = new Set<Segment>();
  /** All batches done; to be removed. */
  private stored: Segment[] = [];
  private batchesLoaded = 0;
  private scanning = false;
  private loading = false;
  private removing = false;
  private scanDueAtMs = 0;
  private scansDone = 0;
  private removalAttempt = 0;
  private removalNotBeforeMs = 0;
  private roundQueued = false;
  private stopping = false;
  private timer: NodeJS.Timeout | undefined;
  private idlers: { readonly afterScan: number; readonly resolve: () => void }[] = [];

  constructor(deps: StoreDeps, journal: Journal) {
    this.deps = deps;
    this.journal = journal;
    this.monotonicMs = deps.monotonicMs ?? (() => performance.now());
    this.random = deps.random ?? Math.random;
    const { monotonicMs, random } = this;
    this.finder = new SegmentFinder({ ...deps, journal, monotonicMs, random });
    this.retries = new RetryDecisions({ ...deps, journal, random, isStopping: () => this.stopping });
    this.work = new LaneWork(
      {
        store: deps,
        journal,
        run: randomBytes(8).toString('hex'),
        monotonicMs,
        random,
        job: (work) => this.job(work),
        onSettled: (segment) => this.settled(segment),
        onSplit: (parts) => {
          this.batchesLoaded += parts;
        },
      },
      journal.state.runs(),
    );
  }

  sealed(dir: string, sequence: number): void {
    if (!this.finder.sealed(dir, sequence)) this.scanDueAtMs = 0;
    this.wake();
  }

  idle(): Promise<void> {
    // A scan that runs now may have passed a directory already.
    const afterScan = this.scansDone + (this.scanning ? 2 : 1);
    const idle = new Promise<void>((resolve) => this.idlers.push({ afterScan, resolve }));
    this.scanDueAtMs = 0;
    this.wake();
    return idle;
  }

  backlog(): { segments: number; setAside: number } {
    const setAside = this.finder.asideCount;
    return { segments: this.finder.queuedCount + this.segments.size + setAside, setAside };
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    this.work.stop();
    const deadline = new AbortController();
    const waited = sleep(STOP_WAIT_MS, undefined, { signal: deadline.signal }).catch(() => {});
    const inserted = (async () => {
      while (this.work.insertingCount > 0) await Promise.race(this.jobs);
    })();
    await Promise.race([inserted, waited]);
    deadline.abort();
    await this.journal.close();
  }

  /** One round soon; many calls make one. */
  wake(): void {
    if (this.roundQueued || this.stopping) return;
    this.roundQueued = true;
    setImmediate(() => {
      this.roundQueued = false;
      if (!this.stopping) this.round();
    });
  }

  private round(): void {
    const nowMs = this.monotonicMs();
    if (!this.scanning && nowMs >= this.scanDueAtMs) this.scan();
    if (this.windowFull()) this.makeRoom();
    if (!this.loading && !this.windowFull()) this.load();
    const workDueAtMs = this.work.start();
    if (!this.removing && this.stored.length > 0 && nowMs >= this.removalNotBeforeMs) this.remove();
    this.tellIdlers();
    const dueAtMs = [
      this.scanning ? undefined : this.scanDueAtMs,
      this.windowFull() ? undefined : this.finder.asideDueAtMs(),
      workDueAtMs,
      this.removing || this.stored.length === 0 ? undefined : this.removalNotBeforeMs,
    ].filter((at) => at !== undefined);
    clearTimeout(this.timer);
    const waitMs = Math.max(1, Math.ceil(Math.min(SCAN_EVERY_MS + nowMs, ...dueAtMs) - nowMs));
    this.timer = setTimeout(() => this.wake(), waitMs);
  }

  /** Errors that nobody expected break an invariant, unless the store is being stopped under the job's feet. */
  private job(work: () => Promise<void>): void {
    const job = work().catch((error: unknown) => {
      if (!this.stopping) this.deps.onFatal(error);
    });
    this.jobs.add(job);
    void job.then(() => {
      this.jobs.delete(job);
      this.wake();
    });
  }

  private scan(): void {
    this.scanning = true;
    this.job(async () => {
      try {
        await this.finder.scan();
      } catch (error) {
        if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
        this.deps.log.error({ reason: messageOf(error) }, 'cannot look for sealed segments');
      } finally {
        this.scanning = false;
        this.scansDone++;
        this.journal.state.keys.expire(this.finder.reachedMs);
        const everyMs = this.finder.queuedCount > SEGMENTS_LOADED_MAX ? SCAN_WITH_BACKLOG_EVERY_MS : SCAN_EVERY_MS;
        const waitedFor = this.idlers.some(({ afterScan }) => afterScan > this.scansDone);
        this.scanDueAtMs = waitedFor ? 0 : this.monotonicMs() + everyMs;
      }
    });
  }

  private load(): void {
    // Without this look each round would start a job, whose end would start a round.
    const asideDueAtMs = this.finder.asideDueAtMs() ?? Number.POSITIVE_INFINITY;
    if (this.finder.queuedCount === 0 && asideDueAtMs > this.monotonicMs()) return;
    this.loading = true;
    this.job(async () => {
      try {
        while (!this.stopping && !this.windowFull()) {
          const found = await this.finder.next();
          if (found === undefined) break;
          if (!(await this.retries.decided(found))) break;
          if (await this.decidedAgain(found)) this.admit(found);
          this.wake();
        }
      } finally {
        this.loading = false;
      }
    });
  }

  /** False: the quarantine could not be told what the journal says of this segment; it is set aside. */
  private async decidedAgain({ dir, name }: FoundSegment): Promise<boolean> {
    try {
      await decideAgain({ journal: this.journal, quarantine: this.deps.quarantine }, name);
      return true;
    } catch (error) {
      if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
      this.finder.setAside(dir, name.sequence, `its requests in quarantine: ${messageOf(error)}`);
      return false;
    }
  }

  /** Its batches join their lanes: to be asked about first, unless nothing of it can have been sent before. */
  private admit(found: FoundSegment): void {
    const { dir, name, batches, fresh } = found;
    const tables = new Set(batches.map(({ table }) => table));
    const { requestCount, receivedAtMs } = found;
    const counts = { requestCount, receivedAtMs, openCount: 0, fresh };
    const segment: Segment = { dir, name, tables, batches: [], ...counts, refusal: undefined };
    const sinceMs = this.monotonicMs();
    const open: StoredBatch[] = [];
    const { state } = this.journal;
    const leftOut = state.leftOut(name);
    // What a power cut has brought back after it was noted as stored and synced only has to go again.
    for (const batch of state.isRemoved(name) ? [] : state.refused.open(name, batches)) {
      const rowCount = state.rowCount(name, batch.batchId) ?? batch.rowCount;
      if (rowCount === 0 || state.isExpired(name, batch.batchId) || isLeftOut(batch, leftOut)) continue;
      const lane = this.work.lanes.of(batch.table, batch.partition);
      const stored = new StoredBatch(batch, segment, lane, sinceMs, rowCount);
      (fresh ? lane.waiting : lane.unasked).push(stored);
      lane.lastBatchAtMs = sinceMs;
      open.push(stored);
    }
    segment.batches = open;
    segment.openCount = open.length;
    this.batchesLoaded += open.length;
    this.segments.add(segment);
    if (open.length === 0) this.settled(segment);
  }

  private settled(segment: Segment): void {
    if (segment.refusal === undefined) this.stored.push(segment);
    else this.setAside(segment, segment.refusal);
  }

  private setAside(segment: Segment, reason: string, delayMs?: number): void {
    this.unload(segment);
    this.finder.setAside(segment.dir, segment.name.sequence, reason, delayMs);
  }

  private unload(segment: Segment): void {
    this.segments.delete(segment);
    this.batchesLoaded -= segment.batches.length;
  }

  private windowFull(): boolean {
    return (
      this.segments.size >= (this.deps.segmentsLoadedMax ?? SEGMENTS_LOADED_MAX) ||
      this.batchesLoaded >= BATCHES_LOADED_MAX
    );
  }

  /** Segments that only wait for a table which keeps failing must not keep those of other tables out. */
  private makeRoom(): void {
    for (const segment of this.segments) {
      const reason = segment.openCount === 0 ? undefined : this.work.stuckReason(segment);
      if (reason === undefined) continue;
      this.work.forget(segment);
      this.setAside(segment, reason, STUCK_RETRY_MS);
    }
  }

  private remove(): void {
    const segments = this.stored;
    this.stored = [];
    this.removing = true;
    this.job(async () => {
      try {
        await removeSegments({ ...this.deps, journal: this.journal }, segments, (segment) => {
          this.unload(segment);
          this.finder.removed(segment.dir, segment.name.sequence);
          const { requestCount: requests, receivedAtMs } = segment;
          this.deps.events?.removed({ requests, ageMs: this.deps.nowMs() - receivedAtMs });
        });
        this.removalAttempt = 0;
      } catch (error) {
        // A sync that failed proves nothing about the next one (R9).
        if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
        if (this.stopping) return;
        this.stored = [...segments.filter((segment) => this.segments.has(segment)), ...this.stored];
        if (this.removalAttempt++ === 0)
          this.deps.log.warn({ reason: messageOf(error) }, 'stored segments cannot be removed yet');
        this.removalNotBeforeMs = this.monotonicMs() + retryDelayMs(this.removalAttempt, this.random(), ENGINE_RETRY);
      } finally {
        this.removing = false;
      }
    });
  }

  private tellIdlers(): void {
    const busy = this.scanning || this.jobs.size > 0 || this.segments.size > 0 || this.finder.queuedCount > 0;
    if (busy || this.idlers.length === 0) return;
    const done = this.idlers.filter(({ afterScan }) => afterScan <= this.scansDone);
    this.idlers = this.idlers.filter(({ afterScan }) => afterScan > this.scansDone);
    for (const { resolve } of done) resolve();
  }
}
