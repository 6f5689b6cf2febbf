/**
 * The store's schema, made from the column lists of tables/ and held to them: `migrate` brings a store to this version
 * in ordered, idempotent steps, `checkTables` refuses to run on tables that would lose or double what is stored in them
 * (architecture sections 5 and 6).
 *
 *   backwork_schema (Version, AppliedAt)   one row a step that was done; a version above ours is another program's
 */
import { BackworkError } from '../base/errors.ts';
import { SCHEMA_VERSION, TABLES } from '../tables/all-tables.ts';
import type { Table } from '../tables/column.ts';
import type { ClickHouse } from './clickhouse.ts';
import { checkTable, type FoundColumn, type FoundTable } from './table-check.ts';
import { tableSettings } from './table-settings.ts';

export interface MigrateOptions {
  /** The engine on this machine's disk, whose INSERTs and merges must be synced. */
  readonly embedded: boolean;
}

/** The only partition key there is: whose rows, when they go. */
export const PARTITION_BY = '(Placement, RetentionDays, ExpiresOn)';

const VERSION_TABLE = 'backwork_schema';

/** One step for each schema version, in order. Each may have been done, wholly or in part, before. */
const STEPS: ReadonlyArray<(clickhouse: ClickHouse, options: MigrateOptions) => Promise<void>> = [createTables];

/**
 * Brings the store to SCHEMA_VERSION, then checks its tables. May be called at every start. Throws BackworkError
 * `newer-format` when a newer version of this program has been there, `store-settings` as checkTables does, and what
 * the store throws.
 */
export async function migrate(clickhouse: ClickHouse, options: MigrateOptions): Promise<void> {
  await clickhouse.command(versionTableSql(options));
  const version = await schemaVersion(clickhouse);
  if (version > SCHEMA_VERSION) {
    const message = `the store's schema has version ${version}, this program knows ${SCHEMA_VERSION}: update it`;
    throw new BackworkError('newer-format', message);
  }
  for (let next = version + 1; next <= SCHEMA_VERSION; next++) {
    await STEPS[next - 1]?.(clickhouse, options);
    await clickhouse.command(`INSERT INTO ${VERSION_TABLE} (Version, AppliedAt) SELECT ${next}, now64(3)`);
  }
  await checkTables(clickhouse, options);
}

/** Throws BackworkError `store-settings`, naming table, setting, found and wanted, of everything that differs. */
export async function checkTables(clickhouse: ClickHouse, options: MigrateOptions): Promise<void> {
  const names = TABLES.map((table) => table.name);
  const inOurs = 'database = currentDatabase() AND table IN {names:Array(String)}';
  const tables = await clickhouse.query<FoundTable>(
    `SELECT name, engine, engine_full AS engineFull, partition_key AS partitionKey, sorting_key AS sortingKey
     FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}`,
    { names },
  );
  const columns = await clickhouse.query<FoundColumn>(
    `SELECT table, name, type, default_kind AS defaultKind, default_expression AS defaultExpression
     FROM system.columns WHERE ${inOurs}`,
    { names },
  );
  const defaults = await clickhouse.query<{ name: string; value: string }>(
    'SELECT name, value FROM system.merge_tree_settings WHERE name IN {names:Array(String)}',
    { names: Object.keys(tableSettings(options)) },
  );
  const found = { tables, columns, defaults: new Map(defaults.map(({ name, value }) => [name, value])) };
  const problems = TABLES.flatMap((table) => checkTable(table, found, tableSettings(options), PARTITION_BY));
  if (problems.length > 0) throw new BackworkError('store-settings', problems.join('; '));
}

/** `CREATE TABLE IF NOT EXISTS …` of one table. */
export function createTableSql(table: Table, options: MigrateOptions): string {
  const lines = [
    ...table.columns.map((column) => `${quoted(column.name)} ${column.type} CODEC(${column.codec})`),
    ...table.derived.map((column) => `${quoted(column.name)} ${column.type} ${column.expression}`),
    ...table.indexes.map(
      (index) => `INDEX ${index.name} ${index.expression} TYPE ${index.type}${granularity(index.type)}`,
    ),
  ];
  return [
    `CREATE TABLE IF NOT EXISTS ${quoted(table.name)} (`,
    lines.map((line) => `  ${line}`).join(',\n'),
    ') ENGINE = MergeTree',
    `PARTITION BY ${PARTITION_BY}`,
    `ORDER BY ${table.orderBy}`,
    'TTL ExpiresOn DELETE',
    `SETTINGS ${settingsSql(options)}`,
  ].join('\n');
}

async function createTables(clickhouse: ClickHouse, options: MigrateOptions): Promise<void> {
  for (const table of TABLES) await clickhouse.command(createTableSql(table, options));
}

async function schemaVersion(clickhouse: ClickHouse): Promise<number> {
  const rows = await clickhouse.query<{ version: number }>(`SELECT max(Version) AS version FROM ${VERSION_TABLE}`);
  return Number(rows[0]?.version ?? 0);
}

function versionTableSql(options: MigrateOptions): string {
  const settings = options.embedded ? ' SETTINGS fsync_after_insert = 1, fsync_part_directory = 1' : '';
  return `CREATE TABLE IF NOT EXISTS ${VERSION_TABLE} (Version UInt32, AppliedAt DateTime64(3)) ENGINE = MergeTree ORDER BY Version${settings}`;
}

function settingsSql(options: MigrateOptions): string {
  return Object.entries(tableSettings(options))
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ');
}

/** A text index covers the whole part, and takes no granularity. */
function granularity(type: string): string {
  return type.startsWith('text(') ? '' : ' GRANULARITY 1';
}

function quoted(name: string): string {
  return `\`${name}\``;
}
