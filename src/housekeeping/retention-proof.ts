/**
 * What is stored of an organization and until when, table by table, as the tables themselves say: for the API, and for whoever has
 * to show that retention holds.
 */
import type { ClickHouse } from '../engine/clickhouse.ts';

export interface RetentionProof {
  readonly table: string;
  readonly rows: number;
  /** Compressed, on the disk: of a placement of its own exactly, in a shared one by its part of the rows. */
  readonly bytes: number;
  readonly bytesEstimated: boolean;
  /** Of receipt. */
  readonly oldestMs: number;
  /** When the next rows go: start of that UTC day. */
  readonly nextDropMs: number;
  /** Rows whose own day has come and that are still there. */
  readonly rowsOverdue: number;
}

interface OrganizationRow {
  readonly table: string;
  readonly rows: string;
  readonly oldest: string;
  readonly next: number;
  readonly overdue: string;
}

interface PartRow {
  readonly table: string;
  readonly own: string;
  readonly others: string;
  readonly ownRows: string;
  readonly otherRows: string;
}

const DAY_MS = 86_400_000;

/** Tables without a row of it are left out. Throws what ClickHouse throws. */
export async function retentionProof(
  clickhouse: Pick<ClickHouse, 'query'>,
  tables: readonly string[],
  orgId: string,
  nowMs: number,
): Promise<RetentionProof[]> {
  const today = Math.floor(nowMs / DAY_MS);
  const each = tables.map(
    (
      table,
    ) => `SELECT '${table}' AS table, toString(count()) AS rows, toString(toUnixTimestamp64Milli(min(ReceivedAt))) AS oldest,
      toUInt32(toRelativeDayNum(min(ExpiresOn))) AS next, toString(countIf(toRelativeDayNum(ExpiresOn) <= {today:UInt32})) AS overdue
    FROM ${table} WHERE OrgId = {org:String} HAVING count() > 0`,
  );
  const found = await clickhouse.query<OrganizationRow>(each.join('\nUNION ALL\n'), { org: orgId, today });
  if (found.length === 0) return [];
  const inOwn = "startsWith(partition, concat('(\\'', {org:String}, '\\','))";
  const parts = await clickhouse.query<PartRow>(
    `SELECT table, toString(sumIf(bytes_on_disk, ${inOwn})) AS own,
       toString(sumIf(bytes_on_disk, startsWith(partition, '(\\'shared-'))) AS others,
       toString(sumIf(rows, startsWith(partition, '(\\'shared-'))) AS otherRows, toString(sumIf(rows, ${inOwn})) AS ownRows
     FROM system.parts WHERE active AND database = currentDatabase() AND has({tables:Array(String)}, table) GROUP BY table`,
    { org: orgId, tables: [...tables] },
  );
  const byTable = new Map(parts.map((part) => [part.table, part]));
  return found.map((row) => proofOf(row, byTable.get(row.table)));
}

function proofOf(row: OrganizationRow, part: PartRow | undefined): RetentionProof {
  const rows = Number(row.rows);
  const sharedRows = Math.max(0, rows - Number(part?.ownRows ?? 0));
  const share = sharedRows === 0 ? 0 : sharedRows / Math.max(1, Number(part?.otherRows ?? 0));
  return {
    ...{ table: row.table, rows, rowsOverdue: Number(row.overdue) },
    bytes: Math.round(Number(part?.own ?? 0) + Number(part?.others ?? 0) * share),
    bytesEstimated: sharedRows > 0,
    oldestMs: Number(row.oldest),
    nextDropMs: row.next * DAY_MS,
  };
}
