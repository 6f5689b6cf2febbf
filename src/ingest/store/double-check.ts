/**
 * With a server, the table is asked once more some time after a second INSERT of the same batches: an INSERT that was
 * still on its way when its outcome was asked would show then. A double is an alarm for the operator, nothing mends it.
 */
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ClickHouse } from '../../engine/clickhouse.ts';
import { storedRowCounts, type TablePartition } from './insert-outcome.ts';

const CHECK_AFTER_MS = 60_000;
/** A server that is away for so many checks in a row is not asked again for them. */
const CHECKS_MAX = 60;

export class DoubleCheck {
  private readonly clickhouse: ClickHouse;
  private readonly log: Log;
  private readonly afterMs: number;
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(clickhouse: ClickHouse, log: Log, afterMs = CHECK_AFTER_MS) {
    this.clickhouse = clickhouse;
    this.log = log;
    this.afterMs = afterMs;
  }

  /** `rowCounts`: rows that each of these batches has. */
  later(where: TablePartition, rowCounts: ReadonlyMap<string, number>, checksLeft = CHECKS_MAX): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      void this.check(where, rowCounts, checksLeft);
    }, this.afterMs);
    timer.unref();
    this.timers.add(timer);
  }

  stop(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private async check(
    where: TablePartition,
    rowCounts: ReadonlyMap<string, number>,
    checksLeft: number,
  ): Promise<void> {
    try {
      const stored = await storedRowCounts(this.clickhouse, where, [...rowCounts.keys()]);
      for (const [batchId, rows] of stored) {
        const expected = rowCounts.get(batchId) ?? 0;
        if (rows > expected)
          this.log.error({ table: where.table, batchId, rows, expected }, 'a batch is stored more than once');
      }
    } catch (error) {
      if (checksLeft > 1) this.later(where, rowCounts, checksLeft - 1);
      else
        this.log.warn(
          { table: where.table, reason: messageOf(error) },
          'could not look for doubles after a second INSERT',
        );
    }
  }
}
