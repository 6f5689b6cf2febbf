import { Kysely } from 'kysely';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkFormat, migrateAccounts } from '../../../src/accounts/store/migrate.ts';
import { MIGRATIONS, type Migration, type Tables } from '../../../src/accounts/store/schema.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { nodeSqliteDialect } from '../../../src/accounts/store/sqlite-dialect.ts';
import { temporaryDir } from '../accounts-fixture.ts';

function open(path = accountsPath(temporaryDir())) {
  const dialect = nodeSqliteDialect(openSqlite(path, { readOnly: false, busyMs: 20 }), path);
  const db = new Kysely<Tables>({ dialect });
  onTestFinished(() => db.destroy());
  return { db, path };
}

const addColumn: Migration = {
  version: 2,
  up: (db) => db.schema.alterTable('organizations').addColumn('color', 'text').execute(),
};
const failing: Migration = {
  version: 3,
  async up(db) {
    await db.schema.createTable('half_done').addColumn('id', 'integer').execute();
    throw new Error('the power went out');
  },
};

async function state(db: Kysely<Tables>) {
  const rows = await db.selectFrom('schema_version').selectAll().execute();
  const tables = await db.introspection.getTables();
  return { rows, tables: tables.map((table) => table.name) };
}

describe('migrations', () => {
  it('run in order, once each, and write one version', async () => {
    const { db, path } = open();
    for (let time = 0; time < 2; time++) await migrateAccounts(db, path);
    expect((await state(db)).rows).toEqual([{ version: 1 }]);
    for (let time = 0; time < 2; time++) await migrateAccounts(db, path, [...MIGRATIONS, addColumn]);
    expect((await state(db)).rows).toEqual([{ version: 2 }]);
  });

  it('that fail leave nothing of themselves, and keep those before', async () => {
    const { db, path } = open();
    const migrating = migrateAccounts(db, path, [...MIGRATIONS, addColumn, failing]);
    await expect(migrating).rejects.toThrow('the power went out');
    const { rows, tables } = await state(db);
    expect(rows).toEqual([{ version: 2 }]);
    expect(tables).toContain('tokens');
    expect(tables).not.toContain('half_done');
  });

  it('of a newer program are refused, and of an older one not yet readable', async () => {
    const { db, path } = open();
    await expect(checkFormat(db, path)).rejects.toMatchObject({ code: 'not-found' });
    await migrateAccounts(db, path, [...MIGRATIONS, addColumn]);
    await expect(migrateAccounts(db, path)).rejects.toMatchObject({ code: 'newer-format' });
    await expect(checkFormat(db, path)).rejects.toMatchObject({ code: 'newer-format' });
  });

  it('by two programs at once run once', async () => {
    const { db, path } = open();
    const other = open(path).db;
    await Promise.all([migrateAccounts(db, path), migrateAccounts(other, path)]);
    expect((await state(other)).rows).toEqual([{ version: 1 }]);
  });
});
