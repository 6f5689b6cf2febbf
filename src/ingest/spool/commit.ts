/**
 * Group commit (reference R1): what waits is written in one go, synced once, and only then are its requests told. One
 * commit runs at a time; the next takes all that arrived meanwhile. A group belongs to one segment.
 *
 * What can go wrong (R9): a failed write refuses the group and everything of its segment behind it, and the segment is
 * abandoned at its last good boundary; a failed sync answers nobody, ever: `onFatal`, and the process ends.
 */
import { join } from 'node:path';
import { BackworkError, retryLater } from '../../base/errors.ts';
import { type FaultPoints, NO_FAULT_POINTS } from '../../base/fault-points.ts';
import type { Log } from '../../base/log.ts';
import type { IngestEvents, SegmentRows } from '../messages.ts';
import { encodeSegmentHeader, fileName, SEGMENT_HEADER_BYTES } from './format.ts';
import type { Segment } from './segment.ts';
import { isDiskFull, isSyncFailure, type SpoolFiles, synced, writeAll } from './spool-files.ts';

export interface CommitDeps<R extends SegmentRows> {
  readonly files: SpoolFiles;
  readonly dir: string;
  readonly spoolId: string;
  readonly log: Log;
  /** Makes sure that this number may be used; durable when it returned. */
  readonly reserve: (sequence: number) => Promise<void>;
  /** A write to this segment failed; nothing of it is written any more. */
  readonly onAbandoned: (segment: Segment<R>, full: boolean) => void;
  readonly onFatal: (error: Error) => void;
  readonly faults?: FaultPoints;
  readonly events?: Pick<IngestEvents, 'committed'>;
}

interface Group<R extends SegmentRows> {
  readonly segment: Segment<R>;
  readonly buffers: Buffer[];
  bytes: number;
  count: number;
  /** Monotonic: when its first record came. */
  readonly sinceMs: number;
  /** How many of the buffers are those of the last record. */
  lastBuffers: number;
  readonly durable: PromiseWithResolvers<void>;
  readonly settled: PromiseWithResolvers<void>;
}

export class Committer<R extends SegmentRows> {
  private readonly deps: CommitDeps<R>;
  private readonly faults: FaultPoints;
  private readonly waiting: Group<R>[] = [];
  private running = false;
  private dead = false;

  constructor(deps: CommitDeps<R>) {
    this.deps = deps;
    this.faults = deps.faults ?? NO_FAULT_POINTS;
  }

  /** Puts a record at the end of the segment. The buffers must not change until the promise settles. */
  append(segment: Segment<R>, buffers: readonly Buffer[]): Promise<void> {
    let group = this.waiting.at(-1);
    if (group?.segment !== segment) {
      group = newGroup(segment);
      this.waiting.push(group);
    }
    for (const buffer of buffers) {
      group.buffers.push(buffer);
      group.bytes += buffer.length;
    }
    group.lastBuffers = buffers.length;
    group.count++;
    if (!this.running && !this.dead) {
      this.running = true;
      // All that the sockets of this turn of the loop deliver goes into the first group.
      setImmediate(() => void this.run());
    }
    return group.durable.promise;
  }

  private async run(): Promise<void> {
    for (let group = this.waiting.shift(); group !== undefined && !this.dead; group = this.waiting.shift()) {
      await this.commit(group);
    }
    this.running = false;
  }

  private async commit(group: Group<R>): Promise<void> {
    const { segment } = group;
    try {
      if (segment.abandoned) throw new Error('an earlier write to this segment failed');
      await this.write(group);
    } catch (error) {
      if (isSyncFailure(error)) this.die(error as Error);
      else await this.refuse(group, error);
      return;
    }
    segment.durableBytes = Math.max(segment.durableBytes, SEGMENT_HEADER_BYTES) + group.bytes;
    segment.durableCount += group.count;
    const { bytes, count: records } = group;
    this.deps.events?.committed({ ms: performance.now() - group.sinceMs, records, bytes });
    group.durable.resolve();
    group.settled.resolve();
  }

  private async write(group: Group<R>): Promise<void> {
    const { files, dir, spoolId } = this.deps;
    const { segment } = group;
    if (this.faults.planted('drop-record')) dropLast(group);
    const path = join(dir, fileName(segment.sequence, 'segment'));
    const isNew = segment.file === undefined;
    if (segment.file === undefined) {
      await this.deps.reserve(segment.sequence);
      segment.file = await files.create(path);
      const header = encodeSegmentHeader({ spoolId, sequence: segment.sequence, mark: segment.mark });
      await writeAll(segment.file, [header, ...group.buffers], 0);
    } else {
      await writeAll(segment.file, group.buffers, segment.durableBytes);
    }
    this.faults.reached('record-written');
    if (this.faults.planted('answer-before-sync')) group.durable.resolve();
    const syncs = this.faults.planted('no-datasync') ? [] : [synced(segment.file.datasync(), path)];
    // Its name must be as durable as its bytes; the disk does both in one go.
    if (isNew) syncs.push(synced(files.syncDirectory(dir), dir));
    await Promise.all(syncs);
    this.faults.reached('record-synced');
  }

  /**
   * The tail is cut first: some of its records may be whole, and would be found and stored if the process were killed
   * after the refusal.
   */
  private async refuse(group: Group<R>, error: unknown): Promise<void> {
    const { segment } = group;
    const full = isDiskFull(error);
    if (!segment.abandoned) {
      segment.abandoned = true;
      segment.rowsLost = true;
      const fields = { dir: this.deps.dir, sequence: segment.sequence, requests: group.count, error };
      this.deps.log.warn(fields, 'a write to the spool failed; its requests are refused');
      this.deps.onAbandoned(segment, full);
      if (!(await this.cut(segment))) return;
    }
    group.durable.reject(
      full
        ? retryLater('spool-full', 'the disk of the spool is full')
        : retryLater('spool-failed', 'the spool could not be written'),
    );
    group.settled.resolve();
  }

  /** Back to the last good record. False: it could not be synced, and this process ends. */
  private async cut(segment: Segment<R>): Promise<boolean> {
    const { file, sequence } = segment;
    if (file === undefined) return true;
    try {
      await file.truncate(segment.durableBytes);
      await synced(file.datasync(), `segment ${sequence}`);
    } catch (error) {
      if (isSyncFailure(error)) {
        this.die(error as Error);
        return false;
      }
      // A disk that does not even cut: the requests are refused all the same, and when their clients send them again
      // the store knows them by their fingerprints (R4).
      this.deps.log.error({ dir: this.deps.dir, sequence, error }, 'the tail of a segment could not be cut');
    }
    return true;
  }

  /** Neither resolves nor rejects what waits: nobody knows what is on the disk. */
  private die(error: Error): void {
    this.dead = true;
    const fields = { dir: this.deps.dir, error };
    this.deps.log.error(fields, 'a sync of the spool failed; this process must end');
    this.deps.onFatal(error instanceof BackworkError ? error : new Error(String(error)));
  }
}

/** For the tests of the tests alone: see 'drop-record'. */
function dropLast<R extends SegmentRows>(group: Group<R>): void {
  for (const buffer of group.buffers.splice(group.buffers.length - group.lastBuffers)) group.bytes -= buffer.length;
  group.lastBuffers = 0;
}

function newGroup<R extends SegmentRows>(segment: Segment<R>): Group<R> {
  const durable = Promise.withResolvers<void>();
  const settled = Promise.withResolvers<void>();
  // A request whose connection is gone may not wait for its answer: that is no unhandled rejection.
  durable.promise.catch(() => {});
  segment.settled = settled.promise;
  const sinceMs = performance.now();
  return { segment, buffers: [], bytes: 0, count: 0, sinceMs, lastBuffers: 0, durable, settled };
}
