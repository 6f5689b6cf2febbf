/**
 * The segments that take no more requests, one after another on their way to a footer: last commit done, tail cut where
 * a write had failed, batches encoded, footer durable, `onSealed`. One is sealed at a time while the next segment takes
 * requests. Segments are sealed in the order of their numbers.
 */
import { join } from 'node:path';
import type { FooterBatch, SegmentRows } from '../messages.ts';
import { fileName } from './format.ts';
import { listSealed, readRecords } from './reader.ts';
import { BATCH_FILES_MAX, encodeRows, type SealDeps, writeBatches, writeFooter } from './seal.ts';
import type { Segment } from './segment.ts';
import { type SpoolFile, synced } from './spool-files.ts';
import type { SpoolDeps } from './writer.ts';

export interface SealingQueueDeps extends SealDeps, Pick<SpoolDeps<never>, 'encodeRecords' | 'onSealed' | 'onFatal'> {
  readonly newBatchId: () => string;
  /** A segment left the queue. */
  readonly onShorter: () => void;
  /** False: do not wait for a full disk to take a footer. The segment is sealed by the next start. */
  readonly goOn: () => boolean;
}

export class SealingQueue<R extends SegmentRows> {
  private readonly deps: SealingQueueDeps;
  private readonly segments: Segment<R>[] = [];
  private running: Promise<void> | undefined;

  constructor(deps: SealingQueueDeps) {
    this.deps = deps;
  }

  /** Segments that have no footer yet, the one being sealed included. */
  get length(): number {
    return this.segments.length;
  }

  push(segment: Segment<R>): void {
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
      } catch (error) {
        this.deps.onFatal(error instanceof Error ? error : new Error(String(error)));
        return await new Promise(() => {});
      }
      this.segments.shift();
      this.deps.onShorter();
    }
    this.running = undefined;
  }

  private async seal(segment: Segment<R>): Promise<void> {
    const { files, dir, onSealed, goOn, space } = this.deps;
    await segment.settled;
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
    onSealed(sequence);
    await space.setAside();
  }

  /** Cuts what a failed write left behind the last good record, and closes. */
  private async finish(segment: Segment<R>, file: SpoolFile): Promise<void> {
    if (segment.abandoned && (await this.attempt(segment, 'cut', file.truncate(segment.durableBytes))))
      await synced(file.datasync(), `segment ${segment.sequence}`);
    segment.file = undefined;
    await this.attempt(segment, 'close', file.close());
  }

  private async batchesOf(segment: Segment<R>): Promise<FooterBatch[]> {
    const { files, dir, log, encodeRecords, newBatchId } = this.deps;
    const { sequence } = segment;
    const keep = (await listSealed(files, dir)).length < BATCH_FILES_MAX;
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
