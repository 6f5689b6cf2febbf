/**
 * The segments that take no more requests, one after another on their way to a footer: last commit done, batches
 * encoded, footer durable, `onSealed`. One is sealed at a time while the next segment takes
 * requests. Segments are sealed in the order of their numbers.
 */
import { join } from 'node:path';
import type { FooterBatch, IngestEvents, SegmentRows } from '../messages.ts';
import { fileName } from './format.ts';
import { listSealed, readRecords } from './reader.ts';
import { BATCH_FILES_MAX, encodeRows, type SealDeps, writeBatches, writeFooter } from './seal.ts';
import type { Segment } from './segment.ts';
import type { SpoolFile } from './spool-files.ts';
import type { SpoolDeps } from './writer.ts';

export interface SealingQueueDeps extends SealDeps, Pick<SpoolDeps<never>, 'encodeRecords' | 'onSealed' | 'onFatal'> {
  readonly newBatchId: () => string;
  /** A segment left the queue. */
  readonly onShorter: () => void;
  /** False: do not wait for a full disk to take a footer. The segment is sealed by the next start. */
  readonly goOn: () => boolean;
  readonly events?: Pick<IngestEvents, 'sealed'>;
}

export class SealingQueue<R extends SegmentRows> {
  private readonly deps: SealingQueueDeps;
  private readonly segments: Segment<R>[] = [];
  /** Of all its segments, as they were when they came: what is encoded goes when its segment has its footer. */
  rowBytes = 0;
  private running: Promise<void> | undefined;

  constructor(deps: SealingQueueDeps) {
    this.deps = deps;
  }

  /** Segments that have no footer yet, the one being sealed included. */
  get length(): number {
    return this.segments.length;
  }

  push(segment: Segment<R>): void {
    this.rowBytes += segment.rowBytes;
    this.segments.push(segment);
    this.running ??= this.run();
  }

  /** Resolves when nothing waits; never when sealing failed for good (onFatal). */
  async idle(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  /** After a failed sync: what was not sealed is left to the next start. Does not wait for a disk that may hang. */
  closeFiles(): void {
    for (const segment of this.segments) {
      const { file } = segment;
      segment.file = undefined;
      if (file !== undefined) void this.attempt(segment, 'close', file.close());
    }
  }

  private async run(): Promise<void> {
    for (let segment = this.segments[0]; segment !== undefined; segment = this.segments[0]) {
      try {
        await this.seal(segment);
        for (const rows of segment.ownRows) await rows.release?.();
      } catch (error) {
        this.deps.onFatal(error instanceof Error ? error : new Error(String(error)));
        return await new Promise(() => {});
      }
      this.segments.shift();
      this.rowBytes = this.segments.reduce((sum, one) => sum + one.rowBytes, 0);
      this.deps.onShorter();
    }
    this.running = undefined;
  }

  private async seal(segment: Segment<R>): Promise<void> {
    const { files, dir, onSealed, goOn, space } = this.deps;
    await segment.settled;
    const startedMs = performance.now();
    const { sequence, requests, durableCount, file } = segment;
    if (file !== undefined) await this.finish(segment, file);
    if (durableCount === 0) {
      // Nothing of it was acknowledged. Should the file stay, the next start finds it empty and removes it.
      if (file !== undefined)
        await this.attempt(segment, 'remove', files.remove(join(dir, fileName(sequence, 'segment'))));
      return;
    }
    const batches = await this.batchesOf(segment);
    if (!(await writeFooter(this.deps, { sequence, requests, requestCount: durableCount }, batches, goOn))) return;
    const { events } = this.deps;
    events?.sealed({ ms: performance.now() - startedMs, requests: durableCount, bytes: segment.durableBytes });
    onSealed(sequence);
    await space.setAside();
  }

  private async finish(segment: Segment<R>, file: SpoolFile): Promise<void> {
    segment.file = undefined;
    await this.attempt(segment, 'close', file.close());
  }

  private async batchesOf(segment: Segment<R>): Promise<FooterBatch[]> {
    const { files, dir, log, encodeRecords, newBatchId } = this.deps;
    const { sequence } = segment;
    const keep = await this.keepsBatches();
    if (!segment.rowsLost) {
      try {
        const batches = encodeRows([segment.rows, ...segment.ownRows], newBatchId);
        return await writeBatches(this.deps, sequence, batches, keep);
      } catch (error) {
        log.error({ dir, sequence, error }, 'builders could not be encoded; the segment is made from its records');
      }
    }
    const records = readRecords(files, dir, sequence, { first: 0, last: segment.durableCount - 1 });
    return await writeBatches(this.deps, sequence, encodeRecords(records, newBatchId), keep);
  }

  /** A long backlog, or a directory that cannot be listed now, costs the batch file and nothing else. */
  private async keepsBatches(): Promise<boolean> {
    const { files, dir, log } = this.deps;
    try {
      return (await listSealed(files, dir)).length < BATCH_FILES_MAX;
    } catch (error) {
      log.warn({ dir, error }, 'a spool directory could not be listed');
      return false;
    }
  }

  /** What does not matter when it fails: readers go by the footer's number of requests. */
  private async attempt(segment: Segment<R>, what: string, done: Promise<void>): Promise<boolean> {
    try {
      await done;
      return true;
    } catch (error) {
      this.deps.log.warn({ dir: this.deps.dir, sequence: segment.sequence, what, error }, 'a segment file resisted');
      return false;
    }
  }
}
