/**
 * The embedded engine as the oracle of stored bytes: a real chDB session on a directory of its own, the tables of
 * src/tables as migrations make them, and a way to insert a Native block as it is.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';
import { createTableSql } from '../../src/engine/migrate.ts';
import type { Table } from '../../src/tables/column.ts';

export interface TableEngine {
  create(table: Table): Promise<void>;
  /** INSERT … FORMAT Native of one or more blocks. */
  insert(table: string, block: Uint8Array): Promise<void>;
  /** INSERT … FORMAT JSONEachRow of these lines. */
  insertJson(table: string, lines: readonly string[]): Promise<void>;
  run(sql: string): Promise<void>;
  /** Rows as JSONEachRow prints them: 64-bit integers as text, times as `2026-11-23 00:00:00.000000000` (UTC). */
  rows(sql: string): Promise<Record<string, unknown>[]>;
  close(): void;
}

export function openTableEngine(): TableEngine {
  const dir = mkdtempSync(join(tmpdir(), 'backwork-engine-'));
  const session = new Session(join(dir, 'db'), { connectionArgs: ['--timezone=UTC'] });
  let inserts = 0;
  return {
    async create(table) {
      await session.queryAsync(createTableSql(table, { embedded: true }));
    },
    async insert(table, block) {
      const file = join(dir, `block-${inserts++}.native`);
      writeFileSync(file, block);
      await session.queryAsync(`INSERT INTO ${table} FROM INFILE '${file}' SETTINGS async_insert = 0 FORMAT Native`);
      rmSync(file);
    },
    async insertJson(table, lines) {
      const file = join(dir, `rows-${inserts++}.json`);
      writeFileSync(file, lines.join('\n'));
      // The default reader of doubles is off by a last bit now and then.
      const settings = 'async_insert = 0, precise_float_parsing = 1';
      await session.queryAsync(`INSERT INTO ${table} FROM INFILE '${file}' SETTINGS ${settings} FORMAT JSONEachRow`);
      rmSync(file);
    },
    async run(sql) {
      await session.queryAsync(sql);
    },
    async rows(sql) {
      const settings = "SETTINGS output_format_json_quote_64bit_integers = 1, date_time_output_format = 'simple'";
      const result = await session.queryAsync(`${sql} ${settings}`, { format: 'JSONEachRow' });
      return result
        .text()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
    close() {
      session.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
