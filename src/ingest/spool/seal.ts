/**
 * Sealing (architecture 3.6; reference R5): the batches of a segment are encoded once, one after another into an
 * unsynced batch file; then the footer, which names them, is written twice into one file, synced and renamed. The batch
 * file is a cache: without room, after a failed write, or with a long backlog it is left out.
 *
 * Used for a segment from its builders, for one that lost them, and by recovery; the batches come in as an iterable.
 */
import { join } from 'node:path';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { FaultPoints } from '../../base/fault-points.ts';
import type { Log } from '../../base/log.ts';
import type { EncodedBatch, FooterBatch, SegmentRows } from '../messages.ts';
import { crc32InSlices } from './body.ts';
import { encodeFooter, type FooterRequests } from './footer.ts';
import { fileName } from './format.ts';
import type { FreeSpace } from './free-space.ts';
import { isSyncFailure, replaceFile, type SpoolFile, type SpoolFiles, writeAll } from './spool-files.ts';

/** Segments waiting for the store that keep a batch file; later ones are converted again when their turn comes. */
export const BATCH_FILES_MAX = 64;
const FOOTER_RETRY_MS = 200;

export interface SealDeps {
  readonly files: SpoolFiles;
  readonly dir: string;
  readonly spoolId: string;
  readonly converterVersion: number;
  readonly log: Log;
  readonly space: FreeSpace;
  readonly faults: FaultPoints;
}

/** Rows of a segment, then those of its large requests, a batch a step. The event loop turns within large batches. */
export async function* encodeRows(
  rows: readonly SegmentRows[],
  newBatchId: () => string,
): AsyncGenerator<EncodedBatch, void, void> {
  for (const some of rows) {
    for await (const step of some.encodeInSteps(newBatchId)) {
      if (step === undefined) await turn();
      else yield step;
    }
  }
}

/**
 * Takes the batches and writes them to the batch file when `keep`. The event loop turns after each. Throws only what
 * the iterable throws; the batch file is then gone.
 */
export async function writeBatches(
  deps: SealDeps,
  sequence: number,
  batches: AsyncIterable<EncodedBatch>,
  keep: boolean,
): Promise<FooterBatch[]> {
  const path = join(deps.dir, fileName(sequence, 'batches'));
  const cache = new BatchFile(deps, path);
  await cache.open(keep);
  const written: FooterBatch[] = [];
  let done = false;
  try {
    for await (const { bytes, ...batch } of batches) {
      const crc = await crc32InSlices(bytes);
      const offset = cache.bytes;
      await cache.append(bytes);
      written.push({ ...batch, offset, length: bytes.length, crc });
      deps.faults.reached('block-encoded');
      await turn();
    }
    done = true;
  } finally {
    if (!done) await cache.drop();
    await cache.close();
  }
  return cache.dropped ? written.map((batch) => ({ ...batch, offset: 0, length: 0, crc: 0 })) : written;
}

/**
 * Writes the footer and makes it durable, under its final name: the segment is sealed. It is encoded once; a disk that
 * refuses it is asked again, with the ballast given up, for as long as `goOn` says. Returns false when it gave up.
 * Throws the failure of a sync (see isSyncFailure).
 */
export async function writeFooter(
  deps: SealDeps,
  segment: { sequence: number; requests: FooterRequests; requestCount: number },
  batches: readonly FooterBatch[],
  goOn: () => boolean,
): Promise<boolean> {
  const { files, dir, spoolId, converterVersion, log, space, faults } = deps;
  const { sequence } = segment;
  const bytes = encodeFooter({ spoolId, converterVersion, batches, ...segment });
  for (let attempt = 0; ; attempt++) {
    try {
      const path = join(dir, fileName(sequence, 'footer'));
      await replaceFile(files, dir, path, bytes, () => faults.reached('footer-written'));
      faults.reached('footer-synced');
      return true;
    } catch (error) {
      if (isSyncFailure(error)) throw error;
      if (attempt === 0) {
        log.warn({ dir, sequence, error }, 'a footer could not be written; trying again with the room set aside');
        await space.giveUp();
        continue;
      }
      if (!goOn()) return false;
      // The batch file is the largest thing that can be done without: its segment is then converted again.
      if (attempt === 1) await removeQuietly(files, join(dir, fileName(sequence, 'batches')));
      else await sleep(FOOTER_RETRY_MS);
    }
  }
}

/** The unsynced file of a segment's blocks. Failing to write it drops it, and nothing else. */
class BatchFile {
  private readonly deps: SealDeps;
  private readonly path: string;
  private file: SpoolFile | undefined;
  dropped = true;
  bytes = 0;

  constructor(deps: SealDeps, path: string) {
    this.deps = deps;
    this.path = path;
  }

  async open(keep: boolean): Promise<void> {
    try {
      await this.deps.files.remove(this.path);
      if (!keep || this.deps.space.isFull(0)) return;
      this.file = await this.deps.files.create(this.path);
      this.dropped = false;
    } catch (error) {
      this.deps.log.warn({ path: this.path, error }, 'no batch file; the segment is converted again when it is stored');
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.file === undefined || this.dropped) return;
    try {
      await writeAll(this.file, [bytes], this.bytes);
      this.bytes += bytes.length;
      this.deps.space.used(bytes.length);
    } catch (error) {
      this.deps.log.warn(
        { path: this.path, error },
        'batch file dropped; the segment is converted again when it is stored',
      );
      await this.drop();
    }
  }

  async drop(): Promise<void> {
    this.dropped = true;
    await this.close();
    await removeQuietly(this.deps.files, this.path);
  }

  async close(): Promise<void> {
    const file = this.file;
    this.file = undefined;
    try {
      await file?.close();
    } catch (error) {
      this.deps.log.warn({ path: this.path, error }, 'batch file could not be closed');
    }
  }
}

/** A batch file that stays costs room until its segment is removed, and nothing else. */
async function removeQuietly(files: SpoolFiles, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch {
    // As said.
  }
}
