/**
 * What became of an INSERT whose outcome is unknown: wait until it runs no more, then ask the table which of the
 * batches it holds in that partition (reference R7). A batch went as part of one block into one partition, so one row
 * of it is proof that all of it is there. Nothing else is a proof: deduplication tokens can lose rows (M20).
 */
import assert from 'node:assert';
import type { ClickHouse } from '../../engine/clickhouse.ts';
import { dayText } from '../../tables/retention.ts';
import type { Partition } from '../messages.ts';

/** BatchIds in one question: about 21 KB of SQL. */
const IDS_PER_QUESTION_MAX = 1_000;

/** Which part of a table the batches are in. */
export interface TablePartition {
  readonly table: string;
  readonly partition: Partition;
}

/** Query ids for one run of the store: few, used again, so that the next run can ask about all of them. */
export const QUERY_SLOTS = 32;

export function queryIdOf(run: string, slot: number): string {
  return `backwork-${run}-${slot}`;
}

export function queryIdsOf(run: string): string[] {
  return Array.from({ length: QUERY_SLOTS }, (_, slot) => queryIdOf(run, slot));
}

/** Whether one of these INSERTs runs still; while it does, the table's answer means nothing. */
export async function anyRuns(clickhouse: ClickHouse, queryIds: readonly string[]): Promise<boolean> {
  return queryIds.length > 0 && (await clickhouse.running(queryIds)).size > 0;
}

/**
 * Rows stored of each of these batches; those without any are left out. Throws what the engine throws: then nothing is
 * known, and the caller asks again.
 */
export async function storedRowCounts(
  clickhouse: ClickHouse,
  where: TablePartition,
  batchIds: readonly string[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (let from = 0; from < batchIds.length; from += IDS_PER_QUESTION_MAX) {
    const asked = batchIds.slice(from, from + IDS_PER_QUESTION_MAX);
    const rows = await clickhouse.query<{ batchId: string; rowCount: string }>(questionSql(where, asked), {
      placement: where.partition.placement,
      retentionDays: where.partition.retentionDays,
      expiresOn: dayText(where.partition.expiresOnDay),
    });
    for (const row of rows) counts.set(BigInt(row.batchId).toString(16).padStart(16, '0'), Number(row.rowCount));
  }
  return counts;
}

/**
 * The partition's columns prune parts by their minmax, the BatchIds granules by their index; 64-bit numbers travel as
 * text, because JSON readers round them.
 */
function questionSql({ table }: TablePartition, batchIds: readonly string[]): string {
  assert(/^[A-Za-z0-9_]+$/.test(table), `${table} is no table name`);
  const ids = batchIds.map((id) => {
    assert(/^[0-9a-f]{16}$/.test(id), `${id} is no BatchId`);
    return BigInt(`0x${id}`).toString();
  });
  return `SELECT toString(BatchId) AS batchId, toString(count()) AS rowCount FROM \`${table}\`
WHERE Placement = {placement:String} AND RetentionDays = {retentionDays:UInt16} AND ExpiresOn = {expiresOn:Date}
AND BatchId IN (${ids.join(', ')}) GROUP BY BatchId`;
}
