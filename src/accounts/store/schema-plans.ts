/**
 * Columns of plans in `organizations`. What ingest reads stands there as it is in force (`retention_days_*`, `limit_*`, `weight`,
 * `placement`, `refused_until`); plan, overrides and choice are what it is worked out from (plan.ts), as JSON because nothing is
 * ever looked for in it.
 *
 * Organizations that are there already keep the retention they have, as if their owners had chosen it, and their limits as the
 * operator's: no migration may make stored rows expire earlier.
 */
import { type Kysely, sql } from 'kysely';
import type { Tables } from './schema.ts';

export interface PlanColumns {
  plan: string;
  /** JSON of PlanOverrides. */
  plan_overrides: string;
  /** JSON: signal → days. */
  chosen_days: string;
  /** Null: no limit. */
  volume_bytes_per_day: number | null;
  /** Ingest refuses until then: the volume of the day is used up. */
  refused_until: number | null;
}

const KEPT_DAYS = sql<string>`'{"logs":' || retention_days_logs || ',"metrics":' || retention_days_metrics
  || ',"traces":' || retention_days_traces || '}'`;

export async function plans(db: Kysely<Tables>): Promise<void> {
  const add = (name: string, type: 'text' | 'bigint', fallback?: string) =>
    db.schema
      .alterTable('organizations')
      .addColumn(name, type, (column) => (fallback === undefined ? column : column.notNull().defaultTo(fallback)))
      .execute();
  await add('plan', 'text', 'self-hosted');
  await add('plan_overrides', 'text', '{}');
  await add('chosen_days', 'text', '{}');
  await add('volume_bytes_per_day', 'bigint');
  await add('refused_until', 'bigint');
  await db.updateTable('organizations').set({ chosen_days: KEPT_DAYS }).execute();
  await keepLimits(db);
}

async function keepLimits(db: Kysely<Tables>): Promise<void> {
  const rows = await db.selectFrom('organizations').selectAll().execute();
  for (const row of rows) {
    const limits = {
      bytesPerSecond: row.limit_bytes_per_second ?? undefined,
      itemsPerSecond: row.limit_items_per_second ?? undefined,
      requestsAtOnce: row.limit_requests_at_once ?? undefined,
      spoolMib: row.limit_spool_mib ?? undefined,
      weight: row.weight ?? undefined,
    };
    if (Object.values(limits).every((limit) => limit === undefined)) continue;
    const overrides = JSON.stringify({ retentionDays: {}, limits });
    await db.updateTable('organizations').set({ plan_overrides: overrides }).where('id', '=', row.id).execute();
  }
}
