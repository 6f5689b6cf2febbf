import { describe, expect, test } from 'vitest';
import { DoubleCheck } from '../../../src/ingest/store/double-check.ts';
import { anyRuns, QUERY_SLOTS, queryIdsOf, storedRowCounts } from '../../../src/ingest/store/insert-outcome.ts';
import { nativeBlock, partition, range } from './spool-fixture.ts';
import { A, B, until, useStore } from './store-fixture.ts';

const it = useStore();
/** The highest ids too: 64 bits that no JSON number holds. */
const IDS = ['ffffffffffffffff', '0000000000000001', '6f0a1b2c3d4e5f60'];

async function insert(batchId: string, ids: readonly number[], where = A): Promise<void> {
  const blocks = [nativeBlock(where, batchId, ids)];
  const clickhouse = it.engine.clickhouse();
  await clickhouse.insertNative({ table: it.table, blocks, rowCount: ids.length, queryId: 'test', timeoutMs: 10_000 });
}

describe('what the table holds of some batches', () => {
  test('is told by exact BatchId', async () => {
    for (const [index, id] of IDS.slice(0, 2).entries()) await insert(id, range(index * 10, 10));
    const where = { table: it.table, partition: A };
    expect(await storedRowCounts(it.engine.clickhouse(), where, IDS)).toEqual(
      new Map([
        [IDS[0], 10],
        [IDS[1], 10],
      ]),
    );
    expect(await storedRowCounts(it.engine.clickhouse(), where, ['fffffffffffffffe'])).toEqual(new Map());
  });

  test('is asked of the one partition', async () => {
    await insert(IDS[0]!, [1], B);
    const ask = (where: typeof A) =>
      storedRowCounts(it.engine.clickhouse(), { table: it.table, partition: where }, IDS);
    expect((await ask(B)).size).toBe(1);
    expect((await ask(A)).size).toBe(0);
    expect((await ask(partition('org_b', { retentionDays: 7 }))).size).toBe(0);
    expect((await ask(partition('org_b', { expiresOnDay: B.expiresOnDay + 1 }))).size).toBe(0);
  });

  test('is asked in several questions when there are many', async () => {
    const many = range(1, 2_500).map((id) => id.toString(16).padStart(16, '0'));
    await insert(many[0]!, [1]);
    await insert(many[2_499]!, [2, 3]);
    const counts = await storedRowCounts(it.engine.clickhouse(), { table: it.table, partition: A }, many);
    expect(counts).toEqual(
      new Map([
        [many[0], 1],
        [many[2_499], 2],
      ]),
    );
  });

  test('cannot be asked of what is no table or no BatchId', async () => {
    const ask = (table: string, id: string) => storedRowCounts(it.engine.clickhouse(), { table, partition: A }, [id]);
    await expect(ask('a`; DROP TABLE b', IDS[0]!)).rejects.toThrow('is no table name');
    await expect(ask(it.table, '1) OR (1')).rejects.toThrow('is no BatchId');
  });
});

test('whether INSERTs run is asked by all ids of a run', async () => {
  await it.command(`ALTER TABLE ${it.table} ADD COLUMN Slow UInt8 MATERIALIZED sleepEachRow(0.05)`);
  const ids = queryIdsOf('abc');
  expect(new Set(ids).size).toBe(QUERY_SLOTS);
  const blocks = [nativeBlock(A, IDS[0]!, range(0, 20))];
  const clickhouse = it.engine.clickhouse();
  const queryId = ids[5]!;
  const insert = clickhouse.insertNative({ table: it.table, blocks, rowCount: 20, queryId, timeoutMs: 10_000 });
  await until(() => anyRuns(clickhouse, ids));
  expect(await anyRuns(clickhouse, queryIdsOf('other'))).toBe(false);
  await insert;
  expect(await anyRuns(clickhouse, ids)).toBe(false);
});

test('a batch that is stored twice is an error in the log some time after its second INSERT', async () => {
  await insert(IDS[0]!, range(0, 10));
  await insert(IDS[1]!, range(10, 10));
  await insert(IDS[1]!, range(10, 10));
  const check = new DoubleCheck(it.engine.clickhouse(), it.log, 10);
  check.later(
    { table: it.table, partition: A },
    new Map([
      [IDS[0]!, 10],
      [IDS[1]!, 10],
    ]),
  );
  await until(() => it.log.lines.length > 0);
  expect(it.log.lines).toEqual([
    {
      level: 'error',
      message: 'a batch is stored more than once',
      fields: { table: it.table, batchId: IDS[1], rows: 20, expected: 10 },
    },
  ]);
  check.stop();
});
