/** What a table is against what it should be; pure. */
import type { Table } from '../tables/column.ts';
import type { TableSettings } from './table-settings.ts';

/** A row of system.tables. */
export interface FoundTable {
  readonly name: string;
  readonly engine: string;
  readonly engineFull: string;
  readonly partitionKey: string;
  readonly sortingKey: string;
}

/** A row of system.columns. */
export interface FoundColumn {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  /** MATERIALIZED, ALIAS, DEFAULT or nothing. */
  readonly defaultKind: string;
  readonly defaultExpression: string;
}

export interface Found {
  readonly tables: readonly FoundTable[];
  readonly columns: readonly FoundColumn[];
  /** The server's value of a setting that a table does not name. */
  readonly defaults: ReadonlyMap<string, string>;
}

/** One sentence for each difference: table, what, found, wanted. Columns that only the store has are no difference. */
export function checkTable(
  table: Table,
  found: Found,
  settings: TableSettings,
  partitionBy: string,
): readonly string[] {
  const state = found.tables.find(({ name }) => name === table.name);
  if (state === undefined) return [`table ${table.name} is missing`];
  const problems: string[] = [];
  const expect = (what: string, foundValue: string, wanted: string) => {
    if (foundValue !== wanted)
      problems.push(`table ${table.name}: ${what} is ${foundValue || 'missing'}, must be ${wanted}`);
  };
  // Replicated and Shared ones too: a cluster has them.
  if (!state.engine.endsWith('MergeTree')) expect('the engine', state.engine, 'MergeTree');
  expect('PARTITION BY', bare(state.partitionKey), bare(partitionBy));
  expect('ORDER BY', bare(state.sortingKey), bare(table.orderBy));
  expect('TTL', clause(state.engineFull, 'TTL'), 'ExpiresOn');
  const own = ownSettings(state.engineFull);
  for (const [name, wanted] of Object.entries(settings)) {
    expect(`setting ${name}`, own.get(name) ?? found.defaults.get(name) ?? '', wanted);
  }
  const columns = new Map(found.columns.filter((column) => column.table === table.name).map((c) => [c.name, c]));
  for (const column of table.columns) {
    const { type = '', defaultKind = '' } = columns.get(column.name) ?? {};
    expect(`column ${column.name}`, `${defaultKind} ${type}`.trim(), column.type);
  }
  for (const column of table.derived) {
    const { type = '', defaultKind = '', defaultExpression = '' } = columns.get(column.name) ?? {};
    const wanted = `${column.type} ${column.expression}`;
    expect(`column ${column.name}`, `${type} ${defaultKind} ${defaultExpression}`.trim(), wanted);
  }
  return problems;
}

/** A key without its brackets: ClickHouse prints one with them and the other without. */
function bare(key: string): string {
  return key.replace(/^(?:tuple)?\(([\s\S]*)\)$/, '$1').trim();
}

/** `TTL ExpiresOn SETTINGS …` of engine_full; a TTL with a deletion mode or a GROUP BY is not ours. */
function clause(engineFull: string, name: string): string {
  return new RegExp(` ${name} (.+?)(?: SETTINGS |$)`).exec(engineFull)?.[1]?.replace(/ DELETE$/, '') ?? '';
}

function ownSettings(engineFull: string): ReadonlyMap<string, string> {
  const list = / SETTINGS (.+)$/.exec(engineFull)?.[1] ?? '';
  return new Map([...list.matchAll(/(\w+) = ('[^']*'|[^,\s]+)/g)].map(([, name = '', value = '']) => [name, value]));
}
