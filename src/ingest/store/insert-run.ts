/**
 * One planned INSERT: load its batches' bytes, send them, say what became of each batch. Bytes are in memory from here
 * on only, and for the time of one INSERT.
 */
import { BackworkError, messageOf } from '../../base/errors.ts';
import { batchBytes, type BatchSourceDeps } from './batch-source.ts';
import type { PlanLimits } from './insert-plan.ts';
import type { Lane, StoredBatch } from './lanes.ts';
import type { StoreDeps } from './store-deps.ts';

/**
 * A slow engine is waited for: an INSERT of 32 MiB takes below 2 s, and giving up early would only add a question and
 * a second INSERT to what an engine at its limit has to do.
 */
const INSERT_TIMEOUT_MS = 180_000;

export type InsertRunDeps = BatchSourceDeps & Pick<StoreDeps, 'clickhouse'>;

export interface InsertRun {
  /** What the INSERT held. Empty: nothing was sent. */
  readonly sent: readonly StoredBatch[];
  /** Undefined: all of `sent` is stored. */
  readonly failure: BackworkError | undefined;
  /** Did not fit, by their true size, or could not be loaded now; certainly not sent. */
  readonly left: readonly StoredBatch[];
  /** Why the first of `left` could not be loaded now (the journal has no room). */
  readonly leftReason: BackworkError | undefined;
  /** No bytes can be made of these: the segment's files are damaged or gone. */
  readonly unreadable: readonly { readonly batch: StoredBatch; readonly reason: string }[];
  /** Converted again they have no rows. */
  readonly withoutRows: readonly StoredBatch[];
}

/** Never throws what the engine or a damaged segment throws: that is in the result. */
export async function runInsert(
  deps: InsertRunDeps,
  lane: Lane,
  batches: readonly StoredBatch[],
  queryId: string,
  limits: PlanLimits,
): Promise<InsertRun> {
  const load = await loadBatches(deps, batches, limits);
  let failure: BackworkError | undefined;
  if (load.blocks.length > 0) {
    const rowCount = load.sent.reduce((sum, batch) => sum + batch.rowCount, 0);
    try {
      await deps.clickhouse.insertNative({
        table: lane.table,
        blocks: load.blocks,
        rowCount,
        queryId,
        timeoutMs: INSERT_TIMEOUT_MS,
      });
    } catch (error) {
      failure = asStoreError(error);
    }
  }
  const { sent, left, leftReason, unreadable, withoutRows } = load;
  return { sent, failure, left, leftReason, unreadable, withoutRows };
}

/** An error that says nothing of the outcome says: unknown. */
export function asStoreError(error: unknown): BackworkError {
  if (error instanceof BackworkError) return error;
  return new BackworkError('store-unknown-outcome', messageOf(error), { retryable: true, cause: error });
}

interface Load {
  readonly blocks: Uint8Array[];
  readonly sent: StoredBatch[];
  readonly unreadable: { batch: StoredBatch; reason: string }[];
  readonly withoutRows: StoredBatch[];
  left: readonly StoredBatch[];
  leftReason: BackworkError | undefined;
}

async function loadBatches(deps: BatchSourceDeps, batches: readonly StoredBatch[], limits: PlanLimits): Promise<Load> {
  const load: Load = { blocks: [], sent: [], unreadable: [], withoutRows: [], left: [], leftReason: undefined };
  let bytes = 0;
  let rows = 0;
  for (const [index, batch] of batches.entries()) {
    try {
      const { dir, name } = batch.segment;
      const source = await batchBytes(deps, dir, name, batch.batch);
      batch.rowCount = source.rowCount;
      if (source.rowCount === 0) {
        load.withoutRows.push(batch);
        continue;
      }
      bytes += source.bytes.length;
      rows += source.rowCount;
      if (load.sent.length > 0 && (bytes > limits.bytesMax || rows > limits.rowsMax)) {
        load.left = batches.slice(index);
        break;
      }
      load.blocks.push(source.bytes);
      load.sent.push(batch);
    } catch (error) {
      if (error instanceof BackworkError && error.code === 'store-temporary') {
        load.left = batches.slice(index);
        load.leftReason = error;
        break;
      }
      load.unreadable.push({ batch, reason: messageOf(error) });
    }
  }
  return load;
}
