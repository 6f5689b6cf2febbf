/**
 * The work on lanes: questions after unknown outcomes, INSERTs, expiry, and the backoff of each.
 *
 * Which error leads where:
 *   store-unreachable        certainly not applied: the batches wait again, and the engine as a whole is left alone a while
 *   store-unknown-outcome    the query id is kept until it runs no more; then the table is asked
 *   store-temporary          the query is over, and should have added nothing: the table is asked all the same, after a backoff
 *   store-permanent          asked, in a lane of its own (a view of the operator's may have failed after the table had the
 *                            rows). What is missing: in company, sent again in halves, so that what is refused ends up
 *                            alone; alone, cut into parts or moved to quarantine (refusals.ts); when neither is possible
 *                            its segment is set aside
 */
import type { BackworkError } from '../../base/errors.ts';
import { NO_FAULT_POINTS } from '../../base/fault-points.ts';
import {
  INSERT_BYTES_MAX_EMBEDDED,
  INSERT_BYTES_MAX_SERVER,
  INSERT_ROWS_MAX_EMBEDDED,
  INSERT_ROWS_MAX_SERVER,
  INSERTS_AT_ONCE,
} from '../../base/limits.ts';
import type { FooterBatch } from '../messages.ts';
import { DoubleCheck } from './double-check.ts';
import { anyRuns, QUERY_SLOTS, queryIdOf, queryIdsOf, storedRowCounts } from './insert-outcome.ts';
import { type PlanLimits, planInserts } from './insert-plan.ts';
import { asStoreError, type InsertRun, runInsert } from './insert-run.ts';
import type { Journal } from './journal.ts';
import { type Lane, Lanes, type Segment, StoredBatch } from './lanes.ts';
import { settleRefused } from './refusals.ts';
import { ENGINE_RETRY, retryDelayMs } from './retry-delay.ts';
import type { StoreDeps } from './store-deps.ts';

const MS_PER_DAY = 86_400_000;
/** Questions at once: the door runs 8 reads at once, and people read too. */
const QUESTIONS_AT_ONCE = 4;
/** How often it is asked whether an INSERT of unknown outcome runs still. */
const RUNNING_POLL_MS = 250;
/** A lane that failed so often in a row (some 20 s) must not hold up the segments of others. */
const STUCK_ATTEMPTS_MIN = 12;

export interface LaneWorkDeps {
  readonly store: StoreDeps;
  readonly journal: Journal;
  readonly run: string;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** Starts a job that is waited for at a stop; a round follows its end. */
  readonly job: (work: () => Promise<void>) => void;
  /** No batch of this segment is open any more. */
  readonly onSettled: (segment: Segment) => void;
  /** So many parts took the place of a batch. */
  readonly onSplit: (parts: number) => void;
}

export class LaneWork {
  readonly lanes: Lanes;
  private readonly deps: LaneWorkDeps;
  private readonly limits: PlanLimits;
  private readonly doubleCheck: DoubleCheck;
  private readonly freeQueryIds: string[];
  /** Queries of earlier runs of the store that may still run. */
  private formerRuns: readonly string[];
  /** This run is in the journal: it must be before the first INSERT, or the next run would not know what to wait for. */
  private runNoted = false;
  private inserting = 0;
  private asking = 0;
  /** Segments without records that were counted. */
  private readonly gaps = new Set<string>();
  /** Never rejects. */
  private settling: Promise<unknown> = Promise.resolve();
  private engineAttempt = 0;
  private engineNotBeforeMs = 0;

  constructor(deps: LaneWorkDeps, formerRuns: readonly string[]) {
    this.deps = deps;
    const { clickhouse, embedded, log } = deps.store;
    this.limits = embedded
      ? { bytesMax: INSERT_BYTES_MAX_EMBEDDED, rowsMax: INSERT_ROWS_MAX_EMBEDDED }
      : { bytesMax: INSERT_BYTES_MAX_SERVER, rowsMax: INSERT_ROWS_MAX_SERVER };
    this.lanes = new Lanes(deps.store.weightOf);
    this.doubleCheck = new DoubleCheck(clickhouse, log);
    this.freeQueryIds = Array.from({ length: QUERY_SLOTS }, (_, slot) => queryIdOf(deps.run, slot));
    this.formerRuns = formerRuns;
  }

  /** INSERTs that run now. */
  get insertingCount(): number {
    return this.inserting;
  }

  /** Starts what may start now; returns when something becomes due by the clock alone. */
  start(): number | undefined {
    const nowMs = this.deps.monotonicMs();
    const lanes = this.lanes.all();
    for (const lane of lanes) this.expire(lane, nowMs);
    if (nowMs < this.engineNotBeforeMs) return this.engineNotBeforeMs;
    let wakeAtMs: number | undefined;
    for (const lane of lanes) {
      if (lane.unasked.length === 0 || lane.asking || this.asking >= QUESTIONS_AT_ONCE) continue;
      if (lane.notBeforeMs <= nowMs) this.ask(lane);
      else wakeAtMs = Math.min(wakeAtMs ?? lane.notBeforeMs, lane.notBeforeMs);
    }
    const plan = planInserts({
      lanes,
      nowMs,
      livePartitions: this.lanes.liveCount(nowMs),
      freePlaces: Math.min(INSERTS_AT_ONCE - this.inserting, this.freeQueryIds.length),
      limits: this.limits,
    });
    for (const { lane, batchCount } of plan.inserts) this.insert(lane, lane.waiting.splice(0, batchCount));
    return plan.wakeAtMs === undefined ? wakeAtMs : Math.min(wakeAtMs ?? plan.wakeAtMs, plan.wakeAtMs);
  }

  /** Why nothing of this segment moves although the engine answers others; undefined when it does or may. */
  stuckReason(segment: Segment): string | undefined {
    if (this.engineAttempt > 0) return undefined;
    const open = segment.batches.filter((batch) => !batch.settled);
    const stuck = open.every(({ lane }) => lane.attempt >= STUCK_ATTEMPTS_MIN && !lane.asking && lane.inserting === 0);
    return stuck ? open[0]?.lane.trouble : undefined;
  }

  /** Forgets the open batches of a segment that is set aside. None of them may be in a running INSERT or question. */
  forget(segment: Segment): void {
    const open = new Set(segment.batches.filter((batch) => !batch.settled));
    for (const lane of new Set([...open].map((batch) => batch.lane))) lane.drop(open);
  }

  stop(): void {
    this.doubleCheck.stop();
  }

  private ask(lane: Lane): void {
    lane.asking = true;
    this.asking++;
    const batches = [...lane.unasked];
    this.deps.job(async () => {
      try {
        await this.askNow(lane, batches);
      } catch (error) {
        this.failed(lane, asStoreError(error));
      } finally {
        lane.asking = false;
        this.asking--;
      }
    });
  }

  private async askNow(lane: Lane, batches: readonly StoredBatch[]): Promise<void> {
    const { clickhouse } = this.deps.store;
    const queryIds = [...lane.queryIds];
    const former = this.formerRuns;
    if (await anyRuns(clickhouse, [...queryIds, ...former.flatMap(queryIdsOf)])) {
      lane.notBeforeMs = this.deps.monotonicMs() + RUNNING_POLL_MS;
      return;
    }
    for (const queryId of queryIds) {
      lane.queryIds.delete(queryId);
      this.freeQueryIds.push(queryId);
    }
    if (former.length > 0 && this.formerRuns === former) {
      this.formerRuns = [];
      await this.deps.journal.note(former.map((run) => ({ kind: 'run-over', run })));
    }
    const faults = this.deps.store.faults ?? NO_FAULT_POINTS;
    const batchIds = batches.map(({ batch }) => batch.batchId);
    const asked = faults.planted('skip-question') ? [] : batchIds;
    const stored = await storedRowCounts(clickhouse, lane, asked);
    faults.reached('question-answered');
    this.deps.store.events?.asked({ batches: batches.length, found: stored.size });
    this.answered();
    const settled = new Set(batches);
    lane.unasked = lane.unasked.filter((batch) => !settled.has(batch));
    const missing = batches.filter(({ batch }) => !stored.has(batch.batchId));
    const refused = missing.filter(({ refusedBy }) => refusedBy !== undefined);
    for (const batch of missing) {
      batch.urgent = true;
      batch.asked = true;
    }
    lane.putBack(missing.filter(({ refusedBy }) => refusedBy === undefined));
    for (const batch of refused) this.settleRefused(batch);
    if (missing.length === 0) this.recovered(lane);
    for (const batch of batches) if (stored.has(batch.batch.batchId)) this.done(batch);
  }

  private insert(lane: Lane, batches: readonly StoredBatch[]): void {
    const queryId = this.freeQueryIds.shift()!;
    lane.inserting++;
    lane.lastInsertAtMs = this.deps.monotonicMs();
    this.inserting++;
    this.deps.job(async () => {
      const sources = { ...this.deps.store, journal: this.deps.journal };
      const startedMs = this.deps.monotonicMs();
      try {
        if (!(await this.noteRun(lane))) {
          this.freeQueryIds.push(queryId);
          lane.putBack(batches);
          return;
        }
        const run = await runInsert(sources, lane, batches, queryId, this.limits);
        this.finish(lane, run, queryId);
        const { code } = run.failure ?? { code: 'stored' };
        const ms = Math.round(this.deps.monotonicMs() - startedMs);
        this.deps.store.log.debug(
          { table: lane.table, queryId, batches: run.sent.length, outcome: code, ms },
          'insert',
        );
      } finally {
        lane.inserting--;
        this.inserting--;
      }
    });
  }

  private async noteRun(lane: Lane): Promise<boolean> {
    if (this.runNoted) return true;
    try {
      await this.deps.journal.write([{ kind: 'run', run: this.deps.run }]);
      this.runNoted = true;
    } catch (error) {
      this.failed(lane, asStoreError(error));
    }
    return this.runNoted;
  }

  private finish(lane: Lane, run: InsertRun, queryId: string): void {
    if (run.failure?.code === 'store-unknown-outcome') lane.queryIds.add(queryId);
    else this.freeQueryIds.push(queryId);
    lane.putBack(run.left);
    if (run.leftReason !== undefined) this.failed(lane, run.leftReason);
    for (const { batch, reason, gone } of run.unreadable) {
      if (gone) this.countGap(batch.segment);
      this.refuse(batch, reason);
    }
    for (const batch of run.withoutRows) this.done(batch);
    const { failure, sent } = run;
    if (sent.length === 0) return;
    if (failure === undefined) this.stored(lane, sent);
    else if (failure.code === 'store-unreachable') {
      lane.putBack(sent);
      this.failed(lane, failure);
    } else if (failure.code === 'store-permanent') {
      const refusedLane = this.lanes.of(lane.table, lane.partition, true);
      if (sent.length === 1) sent[0]!.refusedBy = failure.message;
      for (const batch of sent) {
        batch.togetherMax = Math.max(1, Math.floor(sent.length / 2));
        batch.lane = refusedLane;
      }
      refusedLane.unasked.push(...sent);
    } else {
      lane.unasked.push(...sent);
      this.failed(lane, failure);
    }
  }

  private stored(lane: Lane, sent: readonly StoredBatch[]): void {
    this.answered();
    this.recovered(lane);
    const again = sent.filter((batch) => batch.asked);
    if (again.length > 0 && !this.deps.store.embedded) {
      this.doubleCheck.later(lane, new Map(again.map(({ batch, rowCount }) => [batch.batchId, rowCount])));
    }
    for (const batch of sent) this.done(batch);
  }

  private done(batch: StoredBatch): void {
    batch.settled = true;
    if (--batch.segment.openCount === 0) this.deps.onSettled(batch.segment);
  }

  /** One after another: each may hold a whole batch in memory. */
  private settleRefused(batch: StoredBatch): void {
    const { lane, segment } = batch;
    const { dir, name } = segment;
    // Busy like with an INSERT: its segment must not be forgotten meanwhile.
    lane.inserting++;
    const deps = { ...this.deps.store, journal: this.deps.journal };
    const refused = { dir, name, batch: { ...batch.batch, rowCount: batch.rowCount }, reason: batch.refusedBy ?? '' };
    const settling = this.settling.then(() => settleRefused(deps, refused));
    this.settling = settling.catch(() => {});
    this.deps.job(async () => {
      try {
        const settled = await settling;
        if (settled.kind === 'stays') this.refuse(batch, settled.reason);
        else if (settled.kind === 'done') this.done(batch);
        else this.replace(batch, settled.parts);
      } finally {
        lane.inserting--;
      }
    });
  }

  /** Its parts go alone: one of them will be refused. They may have been sent before when their segment may have been. */
  private replace(batch: StoredBatch, parts: readonly FooterBatch[]): void {
    const { lane, segment, sinceMs } = batch;
    const stored = parts.map((part) => new StoredBatch(part, segment, lane, sinceMs, part.rowCount));
    for (const part of stored) {
      part.togetherMax = 1;
      part.urgent = true;
    }
    segment.batches = [...segment.batches, ...stored];
    segment.openCount += stored.length;
    this.deps.onSplit(stored.length);
    if (segment.fresh) lane.putBack(stored);
    else lane.unasked.push(...stored);
    this.done(batch);
  }

  /** The footer is there, the records are not: what it promised cannot be stored. Counted once, however often it is tried. */
  private countGap({ name }: Segment): void {
    const key = `${name.spoolId}/${name.sequence}`;
    if (this.gaps.has(key)) return;
    this.gaps.add(key);
    this.deps.store.events?.gap({ spool: name.spool, sequence: name.sequence });
  }

  /** ClickHouse, or the disk, will not have this batch as it is. Its segment stays; others go on. */
  private refuse(batch: StoredBatch, reason: string): void {
    batch.segment.refusal ??= `batch ${batch.batch.batchId} of ${batch.lane.table}: ${reason}`;
    this.done(batch);
  }

  /** What has expired before its turn is counted instead of stored; that decision is in the journal first. */
  private expire(lane: Lane, nowMs: number): void {
    if (lane.waiting.length === 0 || lane.notBeforeMs > nowMs) return;
    if (lane.partition.expiresOnDay > Math.floor(this.deps.store.nowMs() / MS_PER_DAY)) return;
    const batches = lane.waiting.splice(0);
    // Busy like with an INSERT: its segments must not be forgotten meanwhile.
    lane.inserting++;
    this.deps.job(async () => {
      try {
        await this.deps.journal.write(
          batches.map(({ batch, segment, rowCount }) => ({
            kind: 'expired',
            ...segment.name,
            batchId: batch.batchId,
            rowCount,
          })),
        );
      } catch (error) {
        lane.putBack(batches);
        this.failed(lane, asStoreError(error));
        return;
      } finally {
        lane.inserting--;
      }
      const rows = batches.reduce((sum, batch) => sum + batch.rowCount, 0);
      const { table, partition } = lane;
      this.deps.store.events?.expired({ table, rows });
      this.deps.store.log.warn(
        { table, ...partition, rows },
        'rows expired before they were stored; they are not stored',
      );
      for (const batch of batches) this.done(batch);
    });
  }

  /** Whom the failure concerns waits; each state is logged once. */
  private failed(lane: Lane, error: BackworkError): void {
    const { log } = this.deps.store;
    const reason = error.message;
    const nowMs = this.deps.monotonicMs();
    if (error.code === 'store-unreachable') {
      if (this.engineAttempt++ === 0)
        log.warn({ reason }, 'the telemetry store cannot be reached; the spool takes what comes');
      this.deps.store.events?.reachable(reason);
      this.engineNotBeforeMs =
        nowMs + retryDelayMs(this.engineAttempt, this.deps.random(), ENGINE_RETRY, error.retryAfterMs);
      return;
    }
    lane.attempt++;
    lane.notBeforeMs = nowMs + retryDelayMs(lane.attempt, this.deps.random(), ENGINE_RETRY, error.retryAfterMs);
    const trouble = `${error.code} ${error.storeCode ?? ''}`;
    if (lane.trouble === trouble) return;
    lane.trouble = trouble;
    log.warn(
      { table: lane.table, ...lane.partition, code: error.code, storeCode: error.storeCode, reason },
      'batches wait',
    );
  }

  private answered(): void {
    if (this.engineAttempt > 0)
      this.deps.store.log.info({ attempts: this.engineAttempt }, 'the telemetry store answers again');
    this.deps.store.events?.reachable(undefined);
    this.engineAttempt = 0;
    this.engineNotBeforeMs = 0;
  }

  private recovered(lane: Lane): void {
    if (lane.trouble !== undefined)
      this.deps.store.log.info({ table: lane.table, ...lane.partition }, 'batches are stored again');
    lane.trouble = undefined;
    lane.attempt = 0;
    lane.notBeforeMs = 0;
  }
}
