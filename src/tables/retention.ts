/**
 * From retention to partition; pure. ExpiresOn = UTC day of receipt + retention + 1, rounded up to an epoch-aligned
 * bucket of max(1, ceil(retention ÷ 16)) days, so an organization has at most about 18 live partitions in a table
 * (architecture section 5).
 */
const MS_PER_DAY = 86_400_000;

/** The values a retention may have, in days. */
export const RETENTION_DAYS: readonly number[] = [1, 3, 7, 14, 30, 60, 90, 180, 365, 730];

/** Days since the epoch on which a row received now is dropped. `retentionDays` is one of RETENTION_DAYS. */
export function expiresOnDay(receivedAtMs: number, retentionDays: number): number {
  const bucketDays = Math.max(1, Math.ceil(retentionDays / 16));
  const day = Math.floor(receivedAtMs / MS_PER_DAY) + retentionDays + 1;
  return Math.ceil(day / bucketDays) * bucketDays;
}

/** `2026-12-25`, as ClickHouse writes and reads a Date. */
export function dayText(day: number): string {
  return new Date(day * MS_PER_DAY).toISOString().slice(0, 10);
}
