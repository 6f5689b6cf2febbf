/**
 * One planned INSERT: load its batches' bytes, send them, say what became of each batch. Bytes are in memory from here
 * on only, and for the time of one INSERT.
 */
import { BackworkError, messageOf } from '../../base/errors.ts';
import { NO_FAULT_POINTS } from '../../base/fault-points.ts';
import type { NativeInsert } from '../../engine/clickhouse.ts';
import { batchBytes, type BatchSourceDeps } from './batch-source.ts';
import type { PlanLimits } from './insert-plan.ts';
import type { Lane, StoredBatch } from './lanes.ts';
import type { StoreDeps } from './store-deps.ts';

/**
 * A slow engine is waited for: an INSERT of 32 MiB takes below 2 s, and giving up early would only add a question and
 * a second INSERT to what an engine at its limit has to do.
 */
const INSERT_TIMEOUT_MS = 180_000;

export type InsertRunDeps = BatchSourceDeps & Pick<StoreDeps, 'clickhouse' | 'faults' | 'events'>;

export interface Unreadable {
  readonly batch: StoredBatch;
  readonly reason: string;
  /** The segment's records are gone, and the batch is not in the batch file either. */
  readonly gone: boolean;
}

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
  readonly unreadable: readonly Unreadable[];
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
    const faults = deps.faults ?? NO_FAULT_POINTS;
    const insert: NativeInsert = {
      table: lane.table,
      blocks: load.blocks,
      rowCount: load.sent.reduce((sum, batch) => sum + batch.rowCount, 0),
      queryId,
      timeoutMs: INSERT_TIMEOUT_MS,
      onSent: () => faults.reached('insert-sent'),
    };
    const startedMs = performance.now();
    try {
      await deps.clickhouse.insertNative(insert);
      if (faults.planted('double-batch')) await deps.clickhouse.insertNative(insert);
    } catch (error) {
      failure = asStoreError(error);
    }
    faults.reached('insert-answered');
    countInsert(deps, insert, load.sent, failure, performance.now() - startedMs);
  }
  const { sent, left, leftReason, unreadable, withoutRows } = load;
  return { sent, failure, left, leftReason, unreadable, withoutRows };
}

function countInsert(
  { events }: InsertRunDeps,
  { table, blocks, rowCount: rows }: NativeInsert,
  sent: readonly StoredBatch[],
  failure: BackworkError | undefined,
  ms: number,
): void {
  const sentBefore = sent.filter((batch) => batch.sent).length;
  for (const batch of sent) batch.sent = true;
  const bytes = blocks.reduce((sum, block) => sum + block.length, 0);
  events?.inserted({ table, outcome: failure?.code ?? 'stored', batches: sent.length, sentBefore, rows, bytes, ms });
}

/** An error that says nothing of the outcome says: unknown. */
export function asStoreError(error: unknown): BackworkError {
  if (error instanceof BackworkError) return error;
  return new BackworkError('store-unknown-outcome', messageOf(error), { retryable: true, cause: error });
}

interface Load {
  readonly blocks: Uint8Array[];
  readonly sent: StoredBatch[];
  readonly unreadable: Unreadable[];
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
      const gone = error instanceof BackworkError && error.code === 'not-found';
      load.unreadable.push({ batch, reason: messageOf(error), gone });
    }
  }
  return load;
}
