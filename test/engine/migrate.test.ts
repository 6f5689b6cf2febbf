import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClickHouse, connectClickHouse } from '../../src/engine/clickhouse.ts';
import { checkTables, createTableSql, migrate } from '../../src/engine/migrate.ts';
import { SCHEMA_VERSION, TABLES } from '../../src/tables/all-tables.ts';
import { LOGS } from '../../src/tables/logs.ts';
import { TRACES } from '../../src/tables/traces.ts';
import { type RunningEngine, startEngine } from './engine-fixture.ts';

const embedded = { embedded: true };
let engine: RunningEngine;
let clickhouse: ClickHouse;

beforeAll(async () => {
  engine = await startEngine();
  clickhouse = connectClickHouse({ ...engine, database: 'default' });
});
afterAll(async () => {
  await clickhouse?.close();
  await engine?.stop();
});
beforeEach(async () => {
  for (const { name } of [...TABLES, { name: 'backwork_schema' }])
    await clickhouse.command(`DROP TABLE IF EXISTS ${name} SYNC`);
});

const one = async (sql: string) => Object.values((await clickhouse.query<Record<string, unknown>>(sql))[0] ?? {})[0];

describe('migrate', () => {
  it('makes all eight tables with every column, and changes nothing the second time', async () => {
    await migrate(clickhouse, embedded);
    const state =
      'SELECT groupArray(create_table_query) FROM (SELECT * FROM system.tables WHERE database = currentDatabase() ORDER BY name)';
    const before = await one(state);
    expect(before).toHaveLength(TABLES.length + 1);
    await migrate(clickhouse, embedded);
    expect(await one(state)).toEqual(before);
    expect(await one('SELECT toUInt32(count()) FROM backwork_schema')).toBe(1);
    expect(await one('SELECT max(Version) FROM backwork_schema')).toBe(SCHEMA_VERSION);
    for (const table of TABLES) {
      const names = await clickhouse.query<{ name: string }>(
        'SELECT name FROM system.columns WHERE table = {table:String} ORDER BY position',
        { table: table.name },
      );
      expect(names.map(({ name }) => name)).toEqual([...table.columns, ...table.derived].map(({ name }) => name));
    }
  });

  it('makes a text index that lower(Body) uses, MATERIALIZED columns that fill, and an ALIAS', async () => {
    await migrate(clickhouse, embedded);
    await clickhouse.command(
      `INSERT INTO otel_logs (OrgId, Timestamp, Body, ResourceAttributes, ExpiresOn)
       SELECT 'o', toDateTime64('2026-11-23 01:02:03', 9), concat('Line ', toString(number), ' Word', toString(intDiv(number, 8192))),
       map('k8s.pod.name', 'pod'), '2200-01-01' FROM numbers(50000)`,
    );
    const found = 'SELECT toUInt32(count()) FROM otel_logs WHERE hasToken(lower(Body), {w:String})';
    expect(await clickhouse.query(found, { w: 'word3' })).toEqual([{ 'toUInt32(count())': 8192 }]);
    const explained = await clickhouse.query<{ explain: string }>(`EXPLAIN indexes = 1 ${found}`, { w: 'word3' });
    expect(explained.map((row) => row.explain).join('\n')).toContain('idx_lower_body');
    const row = await clickhouse.query(
      'SELECT DISTINCT `__otel_materialized_k8s.pod.name` AS pod, toString(TimestampTime) AS time FROM otel_logs',
    );
    expect(row).toEqual([{ pod: 'pod', time: '2026-11-23 01:02:03' }]);
  });

  it('finishes what a killed start left half done', async () => {
    await clickhouse.command(createTableSql(TRACES, embedded));
    await migrate(clickhouse, embedded);
    expect(await one('SELECT max(Version) FROM backwork_schema')).toBe(SCHEMA_VERSION);
  });

  it('refuses the schema of a newer version', async () => {
    await migrate(clickhouse, embedded);
    await clickhouse.command(`INSERT INTO backwork_schema SELECT ${SCHEMA_VERSION + 1}, now64(3)`);
    await expect(migrate(clickhouse, embedded)).rejects.toMatchObject({ code: 'newer-format' });
  });
});

describe('checkTables', () => {
  it.each([
    [
      'a setting that was changed',
      ['ALTER TABLE otel_logs MODIFY SETTING non_replicated_deduplication_window = 100'],
      'table otel_logs: setting non_replicated_deduplication_window is 100, must be 0',
    ],
    [
      "a setting that was taken back to the server's default",
      ['ALTER TABLE otel_traces RESET SETTING fsync_after_insert'],
      'table otel_traces: setting fsync_after_insert is 0, must be 1',
    ],
    [
      'a column that is missing',
      ['ALTER TABLE otel_logs DROP COLUMN EventName'],
      'column EventName is missing, must be String',
    ],
    [
      'a column of another type',
      ['ALTER TABLE otel_logs MODIFY COLUMN Flags UInt64'],
      'table otel_logs: column Flags is UInt64, must be UInt32',
    ],
    [
      'another TTL',
      ['ALTER TABLE otel_logs MODIFY TTL ExpiresOn + INTERVAL 1 DAY'],
      'table otel_logs: TTL is ExpiresOn + toIntervalDay(1), must be ExpiresOn',
    ],
    ['a table that is missing', ['DROP TABLE otel_metrics_sum'], 'table otel_metrics_sum is missing'],
    [
      'another partition and sort key',
      [
        'DROP TABLE otel_logs SYNC',
        createTableSql(LOGS, embedded)
          .replace('(Placement, RetentionDays, ExpiresOn)', 'ExpiresOn')
          .replace(LOGS.orderBy, '(OrgId, Timestamp)'),
      ],
      'PARTITION BY is ExpiresOn, must be Placement, RetentionDays, ExpiresOn; table otel_logs: ORDER BY is OrgId, Timestamp',
    ],
  ])('refuses %s', async (_name, changes, problem) => {
    await migrate(clickhouse, embedded);
    for (const change of changes) await clickhouse.command(change);
    const error = await checkTables(clickhouse, embedded).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'store-settings' });
    expect((error as Error).message).toContain(problem);
  });

  it('takes a column and an index that an operator added', async () => {
    await migrate(clickhouse, embedded);
    await clickhouse.command("ALTER TABLE otel_logs ADD COLUMN Mine String DEFAULT 'x'");
    await clickhouse.command('ALTER TABLE otel_logs ADD INDEX mine Mine TYPE minmax GRANULARITY 1');
    await checkTables(clickhouse, embedded);
  });

  it('asks nothing of a server that only this machine needs', async () => {
    for (const table of TABLES) await clickhouse.command(createTableSql(table, { embedded: false }));
    await checkTables(clickhouse, { embedded: false });
    await expect(checkTables(clickhouse, embedded)).rejects.toThrow('fsync_part_directory is 0, must be 1');
  });
});
