/**
 * Puts the missing rows of a refused request back, each batch once (entry.ts says why that holds). Only one replay runs
 * at a time: the caller holds replay.lock. The entry keeps every batch that is not certainly stored and synced.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError } from '../../base/errors.ts';
import type { ClickHouse } from '../../engine/clickhouse.ts';
import type { FooterBatch, Partition, SpoolRecord } from '../messages.ts';
import type { MissingRows, RefusedEntry } from './entry.ts';
import type { Quarantine } from './quarantine.ts';

const INSERT_TIMEOUT_MS = 180_000;
const RUNNING_POLL_MS = 250;
/** How often the table is asked again after an INSERT whose outcome is unknown, before the operator is told to try later. */
const ATTEMPTS_MAX = 5;
const ATTEMPT_WAIT_MS = 1_000;
const MS_PER_DAY = 86_400_000;

export interface ReplayDeps {
  readonly quarantine: Pick<Quarantine, 'readRecord' | 'withdraw'>;
  readonly clickhouse: Pick<ClickHouse, 'insertNative' | 'running'>;
  /** Rows that the table holds of these batches (R7). */
  readonly storedRowCounts: (
    where: { readonly table: string; readonly partition: Partition },
    batchIds: readonly string[],
  ) => Promise<ReadonlyMap<string, number>>;
  /** Converts one batch from these records. */
  readonly reencode: (
    records: AsyncIterable<{ index: number; record: SpoolRecord }>,
    batch: FooterBatch,
  ) => Promise<{ bytes: Uint8Array; rowCount: number }>;
  /** Makes the directories of these tables durable. */
  readonly syncTables: (tables: readonly string[]) => Promise<void>;
  readonly nowMs: () => number;
}

export type BatchReplay =
  /** Inserted now. */
  | { readonly kind: 'inserted'; readonly rows: number }
  /** The table held it already: an earlier replay was cut short. */
  | { readonly kind: 'found'; readonly rows: number }
  /** Converted again, it has no rows. */
  | { readonly kind: 'no-rows' }
  /** Its retention is over. */
  | { readonly kind: 'expired' }
  /** The store may still send it. */
  | { readonly kind: 'undecided' }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Replay {
  readonly batches: readonly { readonly rows: MissingRows; readonly outcome: BatchReplay }[];
  /** Nothing is missing any more: the entry is gone. */
  readonly complete: boolean;
}

/**
 * Replays one entry. What is stored is taken out of it when its table's directory is synced. Throws what the engine
 * throws when the outcome stays unknown or the engine is away, and what `readRecord` throws: the entry stays, to be replayed again.
 */
export async function replayEntry(deps: ReplayDeps, entry: RefusedEntry): Promise<Replay> {
  const record = await deps.quarantine.readRecord(entry);
  const batches: { rows: MissingRows; outcome: BatchReplay }[] = [];
  try {
    for (const rows of entry.missing) batches.push({ rows, outcome: await replayBatch(deps, entry, record, rows) });
  } finally {
    await settle(deps, entry, batches);
  }
  return { batches, complete: batches.every(({ outcome }) => isOver(outcome)) };
}

async function settle(
  deps: ReplayDeps,
  entry: RefusedEntry,
  batches: readonly { readonly rows: MissingRows; readonly outcome: BatchReplay }[],
): Promise<void> {
  const over = batches.filter(({ outcome }) => isOver(outcome)).map(({ rows }) => rows);
  if (over.length === 0) return;
  await deps.syncTables([...new Set(over.map(({ table }) => table))]);
  await deps.quarantine.withdraw(entry.orgId, entry.id, new Set(over.map(({ batchId }) => batchId)));
}

function isOver({ kind }: BatchReplay): boolean {
  return kind === 'inserted' || kind === 'found' || kind === 'no-rows';
}

async function replayBatch(
  deps: ReplayDeps,
  entry: RefusedEntry,
  record: SpoolRecord,
  rows: MissingRows,
): Promise<BatchReplay> {
  const { table, partition, batchId, decided } = rows;
  if (!decided) return { kind: 'undecided' };
  if (partition.expiresOnDay <= Math.floor(deps.nowMs() / MS_PER_DAY)) return { kind: 'expired' };
  // The same for each replay of this batch: the next one finds what a killed one left running.
  const queryId = `backwork-replay-${batchId}`;
  for (let attempt = 1; ; attempt++) {
    while ((await deps.clickhouse.running([queryId])).size > 0) await sleep(RUNNING_POLL_MS);
    const stored = (await deps.storedRowCounts({ table, partition }, [batchId])).get(batchId);
    if (stored !== undefined) return { kind: 'found', rows: stored };
    const block = await deps.reencode(oneRecord(entry.request, record), batchOf(entry.request, rows));
    if (block.rowCount === 0) return { kind: 'no-rows' };
    try {
      const { bytes, rowCount } = block;
      await deps.clickhouse.insertNative({ table, blocks: [bytes], rowCount, queryId, timeoutMs: INSERT_TIMEOUT_MS });
      return { kind: 'inserted', rows: rowCount };
    } catch (error) {
      if (error instanceof BackworkError && error.code === 'store-permanent')
        return { kind: 'refused', reason: error.message };
      if (attempt >= ATTEMPTS_MAX) throw error;
      await sleep(ATTEMPT_WAIT_MS);
    }
  }
}

async function* oneRecord(index: number, record: SpoolRecord): AsyncGenerator<{ index: number; record: SpoolRecord }> {
  yield { index, record };
}

function batchOf(request: number, { table, partition, batchId, rowFrom, rowCount }: MissingRows): FooterBatch {
  const range = { firstRequest: request, lastRequest: request, rowFrom, rowCount };
  return { table, partition, batchId, ...range, offset: 0, length: 0, crc: 0 };
}
