/**
 * The spool of one ingest process: takes records, makes them durable, seals them in segments (architecture 3.5, 3.6;
 * reference R1–R3, R5, R9, R10). On-disk layout: format.ts.
 *
 * Promise: `durable` resolves only after the record is synced; it rejects only when the request is certainly not going
 * to be stored by itself; when nobody can know (a sync failed) it does neither, and the process ends.
 *
 *   append ─► open segment ─► Committer: group, writev, fdatasync ─► durable
 *                 │ age, bytes, rows, builders full
 *                 ▼
 *             sealing queue (one at a time): last commit done ─► batches ─► footer ─► onSealed
 *
 * Memory: the rows of the open segment and of those in the sealing queue, each sealed at segmentRowBytesMax; with more
 * than rowBytesMax in all of them, or more than SEALING_MAX in the queue, new requests are refused. Builders and batch files are a cache: after a failed
 * write, or when the builders may not hold what the records say, a segment's batches are made from its records.
 */
import assert from 'node:assert';
import { randomInt } from 'node:crypto';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BackworkError, retryLater } from '../../base/errors.ts';
import { type FaultPoints, NO_FAULT_POINTS } from '../../base/fault-points.ts';
import { MIB, SEGMENT_ROW_BYTES_MAX } from '../../base/limits.ts';
import type { LockFile } from '../../base/lock-file.ts';
import type { Log } from '../../base/log.ts';
import type { EncodedBatch, IngestEvents, RecordHeader, SegmentRows, SpoolRecord } from '../messages.ts';
import { createBatchIds } from './batch-id.ts';
import type { StoredBody } from './body.ts';
import { Committer } from './commit.ts';
import { LOCK_NAME, SEGMENT_RECORDS_MAX } from './format.ts';
import { FreeSpace } from './free-space.ts';
import { SEQUENCE_BLOCK, type SpoolIdentity, writeIdentity } from './identity.ts';
import type { DamagedPiece } from './reader.ts';
import { type RecoveryReport, recover } from './recover-spool.ts';
import { encodeRecord } from './record.ts';
import { SealingQueue } from './sealing-queue.ts';
import { Segment } from './segment.ts';
import { isDiskFull, type SpoolFiles, synced } from './spool-files.ts';

export interface SpoolDeps<R extends SegmentRows> {
  readonly dir: string;
  readonly files: SpoolFiles;
  readonly log: Log;
  readonly segmentBytesMax: number;
  readonly segmentAgeMs: number;
  /** Column data at which a segment is sealed, and of all that have no footer, beyond which requests are refused. */
  readonly segmentRowBytesMax?: number;
  readonly rowBytesMax?: number;
  readonly reserveBytes: number;
  /** base/lock-file.ts */
  readonly takeLock: (path: string, waitMs: number) => Promise<LockFile>;
  readonly newRows: () => R;
  /** Converts records again into all batches of their segment (crash, failed append). */
  readonly encodeRecords: (
    records: AsyncIterable<{ index: number; record: SpoolRecord }>,
    newBatchId: () => string,
  ) => AsyncIterable<EncodedBatch>;
  readonly converterVersion: number;
  readonly onSealed: (sequence: number) => void;
  /** A sync failed or an invariant broke: the process must end (R9). Called once. */
  readonly onFatal: (error: Error) => void;
  /** Wall clock, for BatchIds and names in quarantine. */
  readonly nowMs: () => number;
  readonly faults?: FaultPoints;
  readonly events?: Pick<IngestEvents, 'committed' | 'sealed'>;
  /** Copies damaged bytes that recovery met, and tells of them; rejects only with a failed sync. Undefined: they are logged. */
  readonly keepPiece?: (piece: DamagedPiece) => Promise<void>;
}

export interface Spool<R extends SegmentRows> {
  /** The builders of the segment open now. Convert into them and call append without an await in between. */
  readonly rows: R;
  /** What was found when this spool was opened. */
  readonly recovered: RecoveryReport;
  /**
   * undefined, or why a request of this many bytes is refused now: 'spool-full' (low-water mark), 'spool-failed',
   * 'shutting-down', all retryable. Cheap; to be asked before work is done.
   */
  refusal(bytes: number): BackworkError | undefined;
  /** Bytes that may still be written above the low-water mark; below 0 when the disk is fuller than that. */
  readonly roomBytes: number;
  /** True while as many segments wait for their footer as may: with one more, everybody is refused. */
  readonly sealingIsBehind: boolean;
  /**
   * The record joins the open segment now, with the rows written since the last append, or with `ownRows`, which are
   * attached to the segment (header.ownBatches). `durable` resolves once it is synced, or rejects with 'spool-full',
   * 'spool-failed' or 'shutting-down'. Never throws. `body.bytes` and `ownRows` belong to the spool from here on.
   */
  append(header: RecordHeader, body: StoredBody, ownRows?: SegmentRows): Appended;
  /** Finishes the running commit, seals the open segment, releases the lock. A segment that cannot be sealed now (full
   *  disk) is sealed by the next start. */
  close(): Promise<void>;
}

export interface Appended {
  readonly durable: Promise<void>;
  /** The answer was sent. Counts when it comes before the segment's footer is written. */
  answered(): void;
  /** Number of the segment that it joined, and the bytes of its record there; 0 bytes when it was refused. */
  readonly sequence: number;
  readonly bytes: number;
}

/** Segments that wait for their footer, the one being sealed included; with more, requests are refused. */
export const SEALING_MAX = 2;
/** A predecessor that is still dying gives its lock back within this time. */
export const LOCK_WAIT_MS = 5_000;
const BALLAST_BYTES_MAX = 8 * MIB;
const FULL_RETRY_MS = 200;

/**
 * Takes the lock, recovers what an earlier run left, opens the first segment. Throws 'locked' after LOCK_WAIT_MS,
 * 'bad-setting' for a directory that cannot be written, 'newer-format' (nothing was changed). On a full disk it waits.
 */
export async function openSpool<R extends SegmentRows>(deps: SpoolDeps<R>): Promise<Spool<R>> {
  const { files, dir, log, reserveBytes, segmentBytesMax } = deps;
  await files.makeDirectory(dir);
  const lock = await deps.takeLock(join(dir, LOCK_NAME), LOCK_WAIT_MS);
  try {
    const ballastBytes = Math.min(BALLAST_BYTES_MAX, Math.floor(segmentBytesMax / 4));
    const monotonicMs = (): number => performance.now();
    const space = new FreeSpace({ files, dir, log, reserveBytes, ballastBytes, monotonicMs });
    await space.measure();
    const { report, spoolId, nextSequence } = await recover(deps, space);
    const identity = { spoolId, firstSequence: nextSequence, reservedSequence: nextSequence + SEQUENCE_BLOCK };
    await whenRoom(space, log, () => writeIdentity(files, dir, identity));
    // The names of the directory itself and of its parent, which may be new.
    await synced(files.syncDirectory(dirname(dir)), dirname(dir));
    await synced(files.syncDirectory(dirname(dirname(dir))), dirname(dirname(dir)));
    await space.setAside();
    return new SpoolWriter(deps, { lock, space, identity, report });
  } catch (error) {
    lock.release();
    throw error;
  }
}

interface Opened {
  readonly lock: LockFile;
  readonly space: FreeSpace;
  readonly identity: SpoolIdentity;
  readonly report: RecoveryReport;
}

class SpoolWriter<R extends SegmentRows> implements Spool<R> {
  readonly recovered: RecoveryReport;
  private readonly deps: SpoolDeps<R>;
  private readonly faults: FaultPoints;
  private readonly lock: LockFile;
  private readonly space: FreeSpace;
  private readonly committer: Committer<R>;
  private identity: SpoolIdentity;
  private open: Segment<R>;
  private readonly sealing: SealingQueue<R>;
  private readonly segmentRowBytesMax: number;
  private readonly rowBytesMax: number;
  /** Of the open segment, as of its last record. */
  private openRowBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  /** The open segment is old enough but the queue was full when its time came. */
  private overdue = false;
  private closing: Promise<void> | undefined;
  private dead = false;
  private readonly ended = Promise.withResolvers<void>();

  constructor(deps: SpoolDeps<R>, opened: Opened) {
    const { dir, files, log, nowMs, converterVersion } = deps;
    this.deps = deps;
    this.faults = deps.faults ?? NO_FAULT_POINTS;
    this.segmentRowBytesMax = deps.segmentRowBytesMax ?? SEGMENT_ROW_BYTES_MAX;
    this.rowBytesMax = deps.rowBytesMax ?? (SEALING_MAX + 2) * SEGMENT_ROW_BYTES_MAX;
    this.recovered = opened.report;
    this.lock = opened.lock;
    this.space = opened.space;
    this.identity = opened.identity;
    const { spoolId } = opened.identity;
    this.sealing = new SealingQueue({
      ...{ files, dir, spoolId, converterVersion, log, space: opened.space, faults: this.faults },
      encodeRecords: deps.encodeRecords,
      newBatchId: createBatchIds(nowMs, () => randomInt(2 ** 32)),
      onSealed: deps.onSealed,
      onShorter: () => {
        if (this.overdue && this.sealing.length < SEALING_MAX) this.rollOver();
      },
      onFatal: (error) => this.fatal(error),
      goOn: () => this.closing === undefined,
      ...(deps.events === undefined ? {} : { events: deps.events }),
    });
    this.open = new Segment(opened.identity.firstSequence, deps.newRows());
    this.committer = new Committer({
      files,
      dir,
      spoolId,
      log,
      reserve: (sequence) => this.reserve(sequence),
      onAbandoned: (segment, full) => this.abandoned(segment, full),
      onFatal: (error) => this.fatal(error),
      faults: this.faults,
      ...(deps.events === undefined ? {} : { events: deps.events }),
    });
  }

  get rows(): R {
    return this.open.rows;
  }

  refusal(bytes: number): BackworkError | undefined {
    if (this.dead) return retryLater('spool-failed', 'the spool has failed; this process is ending');
    if (this.closing !== undefined) return shuttingDown();
    if (this.sealing.length > SEALING_MAX)
      return retryLater(
        'spool-failed',
        `${this.sealing.length} segments wait to be sealed, at most ${SEALING_MAX} may`,
      );
    if (this.sealing.rowBytes + this.openRowBytes > this.rowBytesMax)
      return retryLater('overloaded', `rows that are not sealed are at their limit of ${this.rowBytesMax} bytes`);
    if (this.space.isFull(bytes))
      return retryLater('spool-full', `the disk of the spool has less than ${this.deps.reserveBytes} bytes left`);
    return undefined;
  }

  get roomBytes(): number {
    return this.space.roomBytes;
  }

  get sealingIsBehind(): boolean {
    return this.sealing.length >= SEALING_MAX;
  }

  append(header: RecordHeader, body: StoredBody, ownRows?: SegmentRows): Appended {
    if (this.dead) return { durable: new Promise(() => {}), answered: () => {}, sequence: 0, bytes: 0 };
    if (this.closing !== undefined) return refused(shuttingDown());
    const segment = this.open;
    const index = segment.requests.count;
    try {
      assert(header.ownBatches === (ownRows !== undefined), 'ownBatches says whether ownRows are given');
      const buffers = encodeRecord(segment.mark, index, header, body);
      segment.rows.assign(index);
      ownRows?.assign(index);
      segment.requests.add(header);
      return this.join(segment, index, buffers, ownRows);
    } catch (error) {
      // Its rows may stand in the builders without an owner: the segment is made from its records.
      this.deps.log.error({ sequence: segment.sequence, error }, 'a request did not fit the format of a record');
      segment.rowsLost = true;
      this.rollOver();
      return refused(retryLater('spool-failed', 'the request could not be made a record'));
    }
  }

  close(): Promise<void> {
    this.closing ??= this.finish();
    return this.closing;
  }

  private join(segment: Segment<R>, index: number, buffers: Buffer[], ownRows: SegmentRows | undefined): Appended {
    if (ownRows !== undefined) {
      segment.ownRows.push(ownRows);
      segment.ownRowBytes += ownRows.bytes;
    }
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    segment.bytes += bytes;
    this.space.used(bytes);
    const durable = this.committer.append(segment, buffers);
    if (index === 0) this.timer = setTimeout(() => this.aged(), this.deps.segmentAgeMs);
    this.openRowBytes = segment.rowBytes;
    const full = segment.rows.full || this.openRowBytes >= this.segmentRowBytesMax;
    if (full || segment.bytes >= this.deps.segmentBytesMax || segment.requests.count >= SEGMENT_RECORDS_MAX)
      this.rollOver();
    return { durable, answered: () => segment.requests.answered(index), sequence: segment.sequence, bytes };
  }

  private aged(): void {
    if (this.sealing.length >= SEALING_MAX) this.overdue = true;
    else this.rollOver();
  }

  /** The next segment opens; the old one waits to be sealed. */
  private rollOver(): void {
    clearTimeout(this.timer);
    this.overdue = false;
    const old = this.open;
    this.open = new Segment(old.sequence + 1, this.deps.newRows());
    this.openRowBytes = 0;
    if (old.requests.count === 0) return;
    this.faults.reached('segment-opened');
    this.sealing.push(old);
  }

  private async reserve(sequence: number): Promise<void> {
    if (sequence < this.identity.reservedSequence) return;
    const identity = { ...this.identity, reservedSequence: sequence + SEQUENCE_BLOCK };
    await writeIdentity(this.deps.files, this.deps.dir, identity);
    this.identity = identity;
  }

  private abandoned(segment: Segment<R>, full: boolean): void {
    if (full) this.space.foundFull();
    if (segment === this.open) this.rollOver();
  }

  private fatal(error: Error): void {
    if (this.dead) return;
    this.dead = true;
    clearTimeout(this.timer);
    this.ended.resolve();
    this.deps.onFatal(error);
  }

  private async finish(): Promise<void> {
    this.rollOver();
    await Promise.race([this.sealing.idle(), this.ended.promise]);
    if (this.dead) this.sealing.closeFiles();
    this.lock.release();
  }
}

async function whenRoom(space: FreeSpace, log: Log, write: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      if (attempt === 0) {
        log.warn({ error }, 'the disk of the spool is full; waiting for room');
        await space.giveUp();
      } else await sleep(FULL_RETRY_MS);
    }
  }
}

function refused(error: BackworkError): Appended {
  const durable = Promise.reject(error);
  durable.catch(() => {});
  return { durable, answered: () => {}, sequence: 0, bytes: 0 };
}

function shuttingDown(): BackworkError {
  return retryLater('shutting-down', 'this process is shutting down');
}
