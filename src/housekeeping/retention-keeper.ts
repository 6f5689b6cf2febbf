/**
 * Enforces retention in the telemetry store: whole partitions when they are due (retention.ts), and in shared placements the rows
 * of organizations whose retention was lowered. ClickHouse's TTL is only the backstop: it waits hours (M5).
 *
 * A clock that is wrong must not delete: what is due is dropped when it has been due in every look for GRACE_MS of the monotonic
 * clock, so a jump that is set right within that time costs nothing.
 */
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ClickHouse } from '../engine/clickhouse.ts';
import type { Signal } from '../ingest/messages.ts';
import {
  type DuePartition,
  duePartitions,
  parsePartition,
  type RetentionPolicies,
  type StoredPartition,
} from './retention.ts';

export interface RetentionKeeperDeps {
  /** Tables with the signal whose retention holds for them. */
  readonly tables: ReadonlyMap<string, Signal>;
  readonly policies: () => Promise<RetentionPolicies>;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly log: Log;
  readonly graceMs?: number;
}

export interface RetentionState {
  /** Monotonic; undefined before the first look that ended well. */
  readonly lookedAtMs: number | undefined;
  /** How long ago the partition that is most overdue should have been gone; 0 when none is. */
  readonly behindMs: number;
  readonly droppedPartitions: number;
  readonly droppedRows: number;
}

const DAY_MS = 86_400_000;
const GRACE_MS = 15 * 60_000;
/** Deleting rows one by one reads the organizations of all rows in shared placements: not with every look. */
const SHARED_EVERY_MS = 6 * 3_600_000;

export class RetentionKeeper {
  readonly #deps: RetentionKeeperDeps;
  /** Since when (monotonic) each partition has been due in every look. */
  #dueSince = new Map<string, number>();
  #sharedDueAtMs = Number.NEGATIVE_INFINITY;
  #state: RetentionState = { lookedAtMs: undefined, behindMs: 0, droppedPartitions: 0, droppedRows: 0 };

  constructor(deps: RetentionKeeperDeps) {
    this.#deps = deps;
  }

  get state(): RetentionState {
    return this.#state;
  }

  /** One look, and what follows from it. Throws what ClickHouse and accounts throw; the next look begins anew. */
  async look(clickhouse: Pick<ClickHouse, 'query' | 'command'>): Promise<void> {
    const { monotonicMs, nowMs, graceMs = GRACE_MS } = this.#deps;
    const policies = await this.#deps.policies();
    const today = Math.floor(nowMs() / DAY_MS);
    const atMs = monotonicMs();
    const due = duePartitions(await this.#partitions(clickhouse), policies, today);
    const before = this.#dueSince;
    this.#dueSince = new Map(due.map((one) => [keyOf(one), before.get(keyOf(one)) ?? atMs]));
    const left: DuePartition[] = [];
    for (const one of due) {
      const waitedMs = atMs - (this.#dueSince.get(keyOf(one)) ?? atMs);
      if (waitedMs < graceMs || !(await this.#drop(clickhouse, one))) left.push(one);
    }
    if (atMs >= this.#sharedDueAtMs) {
      await this.#deleteLowered(clickhouse, policies, today);
      this.#sharedDueAtMs = atMs + SHARED_EVERY_MS;
    }
    const behindMs = Math.max(0, ...left.map(({ sinceDay }) => nowMs() - sinceDay * DAY_MS));
    this.#state = { ...this.#state, lookedAtMs: atMs, behindMs };
  }

  async #partitions(clickhouse: Pick<ClickHouse, 'query'>): Promise<StoredPartition[]> {
    const { tables } = this.#deps;
    const found = await clickhouse.query<{ table: string; id: string; partition: string; rows: string; bytes: string }>(
      `SELECT table, partition_id AS id, any(partition) AS partition, toString(sum(rows)) AS rows,
         toString(sum(bytes_on_disk)) AS bytes
       FROM system.parts WHERE active AND database = currentDatabase() AND has({tables:Array(String)}, table)
       GROUP BY table, partition_id`,
      { tables: [...tables.keys()] },
    );
    return found.flatMap(({ table, id, partition, rows, bytes }) => {
      const parsed = parsePartition(partition);
      const signal = tables.get(table);
      if (parsed === undefined || signal === undefined) return [];
      return [{ table, signal, id, ...parsed, rows: Number(rows), bytes: Number(bytes) }];
    });
  }

  /** False: it stays until the next look. */
  async #drop(clickhouse: Pick<ClickHouse, 'command'>, due: DuePartition): Promise<boolean> {
    const { table, id, placement, retentionDays, rows, bytes, why } = due;
    const { log } = this.#deps;
    try {
      // A partition's id is a hash: 32 hexadecimal digits.
      if (!/^[0-9a-f]{32}$/.test(id)) throw new Error(`partition id of ${id.length} characters`);
      await clickhouse.command(`ALTER TABLE ${table} DROP PARTITION ID '${id}'`);
    } catch (error) {
      log.warn(
        { table, placement, reason: messageOf(error) },
        'a partition whose retention is over could not be dropped yet',
      );
      return false;
    }
    log.info({ table, placement, retentionDays, rows, bytes, why }, 'dropped a partition whose retention is over');
    const { droppedPartitions, droppedRows } = this.#state;
    this.#state = { ...this.#state, droppedPartitions: droppedPartitions + 1, droppedRows: droppedRows + rows };
    this.#dueSince.delete(keyOf(due));
    return true;
  }

  /** The rows go as soon as ClickHouse has rewritten their parts; what was not done by then is asked for again. */
  async #deleteLowered(
    clickhouse: Pick<ClickHouse, 'query' | 'command'>,
    policies: RetentionPolicies,
    today: number,
  ): Promise<void> {
    for (const [table, signal] of this.#deps.tables) {
      const groups = await this.#overdueInShared(clickhouse, table, signal, policies, today);
      if (groups.length === 0) continue;
      const conditions = groups.map(({ orgId, days }) => rowsOver(orgId, days, today));
      await clickhouse.command(`ALTER TABLE ${table} DELETE WHERE ${conditions.join(' OR ')}`);
      const rows = groups.reduce((sum, one) => sum + one.rows, 0);
      this.#deps.log.info(
        { table, organizations: groups.length, rows },
        'deleting rows of retentions that were lowered',
      );
    }
  }

  async #overdueInShared(
    clickhouse: Pick<ClickHouse, 'query'>,
    table: string,
    signal: Signal,
    policies: RetentionPolicies,
    today: number,
  ): Promise<{ orgId: string; days: number; rows: number }[]> {
    const groups = await clickhouse.query<{ orgId: string; retention: number; oldest: number; rows: string }>(
      `SELECT OrgId AS orgId, toUInt32(max(RetentionDays)) AS retention, toUInt32(min(toRelativeDayNum(ReceivedAt, 'UTC'))) AS oldest,
         toString(count()) AS rows
       FROM ${table} WHERE startsWith(Placement, 'shared-') GROUP BY OrgId`,
    );
    return groups.flatMap(({ orgId, retention, oldest, rows }) => {
      const days = policies.get(orgId)?.[signal];
      const isOver = days !== undefined && days < retention && oldest + days + 1 <= today;
      return isOver && /^org_[a-z2-7]{16}$/.test(orgId) ? [{ orgId, days, rows: Number(rows) }] : [];
    });
  }
}

/** Rows of shared placements whose retention of today is over. The id was checked: nothing else stands in the text. */
function rowsOver(orgId: string, days: number, today: number): string {
  const lastDay = `toRelativeDayNum(ReceivedAt, 'UTC') <= ${today - days - 1}`;
  return `(OrgId = '${orgId}' AND startsWith(Placement, 'shared-') AND RetentionDays > ${days} AND ${lastDay})`;
}

function keyOf({ table, id }: StoredPartition): string {
  return `${table} ${id}`;
}
