import { describe, expect, it } from 'vitest';
import { duePartitions, parsePartition, type StoredPartition } from '../../src/housekeeping/retention.ts';
import { expiresOnDay } from '../../src/tables/retention.ts';

const DAY_MS = 86_400_000;
const TODAY = 20_780;
const ORG = 'org_aaaaaaaaaaaaaaaa';
const days = (logs: number) => new Map([[ORG, { logs, metrics: 1, traces: 1 }]]);

function stored(changes: Partial<StoredPartition> = {}): StoredPartition {
  const partition = { placement: ORG, retentionDays: 30, expiresOnDay: TODAY + 1, rows: 5, bytes: 100 };
  return { table: 'otel_logs', signal: 'logs', id: 'a'.repeat(32), ...partition, ...changes };
}

describe('a partition', () => {
  it('is due when its day has come, whatever the policy of today', () => {
    expect(duePartitions([stored(), stored({ expiresOnDay: TODAY })], days(365), TODAY)).toMatchObject([
      { expiresOnDay: TODAY, why: 'expired', sinceDay: TODAY },
    ]);
    const shared = stored({ placement: 'shared-0', expiresOnDay: TODAY - 3 });
    expect(duePartitions([shared], days(1), TODAY)).toMatchObject([{ why: 'expired', sinceDay: TODAY - 3 }]);
  });

  it.each([1, 3, 7, 14, 30, 60, 90, 180, 365, 730])(
    'with a retention of %i days that was lowered is due when its newest row is over, never before, and at most a bucket late',
    (before) => {
      for (const now of [1, 3, 7, 14, 30, 60, 90, 180, 365].filter((one) => one < before)) {
        for (let receivedDay = TODAY - 800; receivedDay <= TODAY; receivedDay += 7) {
          const one = stored({ retentionDays: before, expiresOnDay: expiresOnDay(receivedDay * DAY_MS, before) });
          const isDue = duePartitions([one], days(now), TODAY).length === 1;
          const bucketDays = Math.max(1, Math.ceil(before / 16));
          const overSince = TODAY - (receivedDay + now + 1);
          if (overSince < 0) expect([before, now, receivedDay, isDue]).toEqual([before, now, receivedDay, false]);
          if (overSince >= bucketDays)
            expect([before, now, receivedDay, isDue]).toEqual([before, now, receivedDay, true]);
        }
      }
    },
  );

  it('of a shared placement, or of another signal, is not judged by a retention that was lowered', () => {
    const newest = { retentionDays: 365, expiresOnDay: TODAY + 200 };
    expect(duePartitions([stored({ ...newest, placement: 'shared-0' })], days(1), TODAY)).toEqual([]);
    const policies = new Map([[ORG, { logs: 365, metrics: 1, traces: 1 }]]);
    expect(duePartitions([stored(newest)], policies, TODAY)).toEqual([]);
    expect(duePartitions([stored({ ...newest, signal: 'traces' })], policies, TODAY)).toHaveLength(1);
  });

  it('is read from its text in system.parts', () => {
    expect(parsePartition("('shared-0',30,'1970-01-11')")).toEqual({
      placement: 'shared-0',
      retentionDays: 30,
      expiresOnDay: 10,
    });
    for (const text of ['tuple()', "('a',b,'1970-01-11')", "('a',1,'yesterday')", ''])
      expect(parsePartition(text)).toBeUndefined();
  });
});
