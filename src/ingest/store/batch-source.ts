/**
 * A batch's Native bytes: from the batch file beside its segment when they are there and their CRC holds, else converted
 * again from the records, which are the truth. A batch stays the same batch, BatchId and all, even if a newer converter
 * makes other rows of its requests, or requests of it are left out (retries.ts); its new row count is in the journal
 * before its bytes are handed out.
 */
import type { FooterBatch } from '../messages.ts';
import type { Journal } from './journal.ts';
import type { SegmentName } from './journal-notes.ts';
import { losesRows } from './retries.ts';
import type { StoreDeps } from './store-deps.ts';

export interface BatchBytes {
  /** One Native block; nobody else uses its memory. */
  readonly bytes: Uint8Array;
  /** 0: nothing is left to insert. */
  readonly rowCount: number;
}

export type BatchSourceDeps = Pick<StoreDeps, 'files' | 'readers' | 'reencode' | 'events'> & {
  readonly journal: Journal;
};

/**
 * Throws what the reader throws (`corrupt`, `newer-format`, a file error) when the records cannot be read, what the
 * conversion throws, and `store-temporary` when the journal has no room for a new row count.
 */
export async function batchBytes(
  deps: BatchSourceDeps,
  dir: string,
  name: SegmentName,
  batch: FooterBatch,
): Promise<BatchBytes> {
  const { files, readers, journal } = deps;
  const journalled = journal.state.rowCount(name, batch.batchId);
  const leftOut = journal.state.leftOut(name);
  // Once a batch was converted again to another row count, only that form counts: the decision survives restarts.
  if (journalled === undefined && batch.length > 0 && !losesRows(batch, leftOut)) {
    const bytes = await readers.readBatch(files, dir, name.sequence, batch);
    if (bytes !== undefined) return { bytes, rowCount: batch.rowCount };
  }
  deps.events?.convertedAgain({ rows: batch.rowCount });
  const range = { first: batch.firstRequest, last: batch.lastRequest };
  const converted = await deps.reencode(readers.readRecords(files, dir, name.sequence, range), batch, leftOut);
  if (converted.rowCount !== (journalled ?? batch.rowCount)) {
    await journal.write([{ kind: 'row-count', ...name, batchId: batch.batchId, rowCount: converted.rowCount }]);
  }
  return converted;
}
