/** Retention against the real engine: what goes, what stays, and when. */
import { describe, expect, test } from 'vitest';
import { RetentionKeeper } from '../../src/housekeeping/retention-keeper.ts';
import { retentionProof } from '../../src/housekeeping/retention-proof.ts';
import type { RetentionPolicies } from '../../src/housekeeping/retention.ts';
import { dayText, expiresOnDay } from '../../src/tables/retention.ts';
import { recordingLog } from '../ingest/store/recording-log.ts';
import { until, useStore } from '../ingest/store/store-fixture.ts';

const it = useStore();
const DAY_MS = 86_400_000;
const TODAY = Math.floor(Date.now() / DAY_MS);
const [OWN, ONE, TWO] = ['org_aaaaaaaaaaaaaaaa', 'org_bbbbbbbbbbbbbbbb', 'org_cccccccccccccccc'];
let id = 0;

/** Rows that were received so many days ago; resolves to their ids. */
async function insert(orgId: string, placement: string, retentionDays: number, daysAgo: number, count = 3) {
  const receivedDay = TODAY - daysAgo;
  const expires = dayText(expiresOnDay(receivedDay * DAY_MS, retentionDays));
  const ids = Array.from({ length: count }, () => id++);
  const values = ids.map(
    (one) =>
      `('${orgId}', '${placement}', ${retentionDays}, '${expires}', '${dayText(receivedDay)} 12:00:00', 1, ${one}, 'x')`,
  );
  const columns = '(OrgId, Placement, RetentionDays, ExpiresOn, ReceivedAt, BatchId, Id, Text)';
  await it.command(`INSERT INTO ${it.table} ${columns} VALUES ${values.join(', ')}`);
  return ids;
}

async function ids(): Promise<number[]> {
  const rows = await it.engine
    .clickhouse()
    .query<{ id: number }>(`SELECT toUInt32(Id) AS id FROM ${it.table} ORDER BY Id`);
  return rows.map((row) => row.id);
}

function keep(policies: RetentionPolicies, graceMs = 0) {
  const clock = { nowMs: Date.now(), monotonicMs: 0 };
  const keeper = new RetentionKeeper({
    tables: new Map([[it.table, 'logs']]),
    policies: async () => policies,
    nowMs: () => clock.nowMs,
    monotonicMs: () => clock.monotonicMs,
    log: recordingLog(),
    graceMs,
  });
  return { clock, keeper, look: () => keeper.look(it.engine.clickhouse()) };
}

const policy = (logs: number) => ({ logs, metrics: 1, traces: 1 });

describe('retention', () => {
  test('drops what is over, in own and shared placements, and nothing else', async () => {
    await it.command(`SYSTEM STOP TTL MERGES ${it.table}`);
    await insert(OWN, OWN, 30, 40);
    await insert(ONE, 'shared-0', 7, 9);
    const kept = [...(await insert(OWN, OWN, 30, 10)), ...(await insert(ONE, 'shared-0', 7, 2))];
    const { keeper, look } = keep(new Map());
    await look();
    expect(await ids()).toEqual(kept);
    expect(keeper.state).toMatchObject({ behindMs: 0, droppedPartitions: 2, droppedRows: 6 });
  });

  test('that was lowered goes for stored rows too, in an own placement and in a shared one, and its neighbour keeps its own', async () => {
    await insert(OWN, OWN, 30, 20);
    const ownKept = await insert(OWN, OWN, 30, 2);
    await insert(ONE, 'shared-0', 30, 20);
    const sharedKept = await insert(ONE, 'shared-0', 30, 2);
    const neighbour = await insert(TWO, 'shared-0', 30, 20);
    const policies = new Map([
      [OWN, policy(7)],
      [ONE, policy(7)],
      [TWO, policy(30)],
    ]);
    await keep(policies).look();
    const left = [...ownKept, ...sharedKept, ...neighbour].sort((a, b) => a - b);
    await until(async () => (await ids()).length === left.length);
    expect(await ids()).toEqual(left);
  });

  test('that was raised leaves stored rows their own', async () => {
    const kept = await insert(OWN, OWN, 7, 2);
    await insert(OWN, OWN, 7, 10);
    await keep(new Map([[OWN, policy(365)]])).look();
    expect(await ids()).toEqual(kept);
  });

  test('is not enforced by a clock that is wrong for a quarter of an hour', async () => {
    const kept = await insert(OWN, OWN, 30, 1);
    const { clock, keeper, look } = keep(new Map(), 900_000);
    await look();
    clock.nowMs += 400 * DAY_MS;
    await look();
    clock.monotonicMs += 899_000;
    await look();
    expect(keeper.state.behindMs).toBeGreaterThan(300 * DAY_MS);
    clock.nowMs -= 400 * DAY_MS;
    await look();
    expect(keeper.state.behindMs).toBe(0);
    clock.nowMs += 400 * DAY_MS;
    clock.monotonicMs += 899_000;
    await look();
    expect(await ids()).toEqual(kept);
    clock.monotonicMs += 900_000;
    await look();
    expect(await ids()).toEqual([]);
  });

  test('that is behind says by how much until it could drop', async () => {
    await it.command(`SYSTEM STOP TTL MERGES ${it.table}`);
    await insert(OWN, OWN, 1, 5);
    const { keeper } = keep(new Map());
    const clickhouse = it.engine.clickhouse();
    const readOnly = {
      query: clickhouse.query.bind(clickhouse),
      command: (sql: string) => clickhouse.command(`${sql} SETTINGS readonly = 2, no_such_setting = 1`),
    };
    await keeper.look(readOnly as typeof clickhouse);
    expect(keeper.state.behindMs).toBeGreaterThanOrEqual(3 * DAY_MS);
    await keeper.look(clickhouse);
    expect(keeper.state).toMatchObject({ behindMs: 0, droppedPartitions: 1 });
  });
});

describe('the proof of retention', () => {
  test('is what the table holds of one organization', async () => {
    await it.command(`SYSTEM STOP TTL MERGES ${it.table}`);
    await insert(ONE, 'shared-0', 7, 9, 2);
    await insert(ONE, 'shared-0', 7, 3, 5);
    await insert(TWO, 'shared-0', 7, 5, 7);
    await insert(OWN, OWN, 30, 4, 11);
    const proof = (org: string) => retentionProof(it.engine.clickhouse(), [it.table], org, Date.now());
    const [one] = await proof(ONE);
    expect(one).toMatchObject({
      ...{ table: it.table, rows: 7, rowsOverdue: 2, bytesEstimated: true },
      oldestMs: (TODAY - 9) * DAY_MS + DAY_MS / 2,
      nextDropMs: (TODAY - 1) * DAY_MS,
    });
    const [own] = await proof(OWN);
    expect(own).toMatchObject({ rows: 11, rowsOverdue: 0, bytesEstimated: false });
    const bytes = await it.engine
      .clickhouse()
      .query<{ b: string }>(
        `SELECT toString(sum(bytes_on_disk)) AS b FROM system.parts WHERE active AND table = '${it.table}' AND partition LIKE '(%${OWN}%'`,
      );
    expect(own?.bytes).toBe(Number(bytes[0]?.b));
    expect(await proof('org_dddddddddddddddd')).toEqual([]);
  });
});
