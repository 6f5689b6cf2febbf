/**
 * Which partitions are due to be dropped; pure. A partition holds rows of one placement and one retention that expire together
 * (tables/retention.ts). It is due when
 *
 *   expired   its day ExpiresOn has come
 *   lowered   its organization has it to itself and keeps this signal shorter by now than when the rows came: the newest of them
 *             was received at most ExpiresOn − RetentionDays − 1, and would be over under the retention of today
 *
 * Rows of a lowered retention in shared placements are deleted one by one (retention-keeper.ts).
 */
import type { Signal } from '../ingest/messages.ts';

export interface StoredPartition {
  readonly table: string;
  readonly signal: Signal;
  /** ClickHouse's id of it. */
  readonly id: string;
  readonly placement: string;
  readonly retentionDays: number;
  /** Days since 1970-01-01 (UTC). */
  readonly expiresOnDay: number;
  readonly rows: number;
  readonly bytes: number;
}

/** Retention in force, by organization. */
export type RetentionPolicies = ReadonlyMap<string, Readonly<Record<Signal, number>>>;

export interface DuePartition extends StoredPartition {
  readonly why: 'expired' | 'lowered';
  /** The day from which on it is due. */
  readonly sinceDay: number;
}

export function duePartitions(
  partitions: readonly StoredPartition[],
  policies: RetentionPolicies,
  today: number,
): DuePartition[] {
  return partitions.flatMap((partition) => {
    const due = dueSince(partition, policies);
    return due.sinceDay <= today ? [{ ...partition, ...due }] : [];
  });
}

function dueSince(
  { placement, signal, retentionDays, expiresOnDay }: StoredPartition,
  policies: RetentionPolicies,
): { why: DuePartition['why']; sinceDay: number } {
  const now = policies.get(placement)?.[signal];
  if (now === undefined || now >= retentionDays) return { why: 'expired', sinceDay: expiresOnDay };
  return { why: 'lowered', sinceDay: expiresOnDay - retentionDays + now };
}

/** `('org_…',30,'2026-12-25')`, as system.parts prints a partition; undefined for one of another form. */
export function parsePartition(
  text: string,
): { readonly placement: string; readonly retentionDays: number; readonly expiresOnDay: number } | undefined {
  const [, placement, days, date] = /^\('([^']+)',(\d+),'(\d{4}-\d{2}-\d{2})'\)$/.exec(text) ?? [];
  if (placement === undefined) return undefined;
  const expiresOnDay = Math.floor(Date.parse(`${date}T00:00:00Z`) / 86_400_000);
  return { placement, retentionDays: Number(days), expiresOnDay };
}
