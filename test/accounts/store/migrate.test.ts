import { Kysely, sql } from 'kysely';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkFormat, migrateAccounts } from '../../../src/accounts/store/migrate.ts';
import { organizationStore } from '../../../src/accounts/store/organization-store.ts';
import { MIGRATIONS, type Migration, type Tables } from '../../../src/accounts/store/schema.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { nodeSqliteDialect } from '../../../src/accounts/store/sqlite-dialect.ts';
import { loadPlanCatalogue } from '../../../src/accounts/plan-catalogue.ts';
import { RULES, temporaryDir } from '../accounts-fixture.ts';

function open(path = accountsPath(temporaryDir())) {
  const dialect = nodeSqliteDialect(openSqlite(path, { readOnly: false, busyMs: 20 }), path);
  const db = new Kysely<Tables>({ dialect });
  onTestFinished(() => db.destroy());
  return { db, path };
}

const NEWEST = MIGRATIONS.length;
const addColumn: Migration = {
  version: NEWEST + 1,
  up: (db) => db.schema.alterTable('organizations').addColumn('color', 'text').execute(),
};
const failing: Migration = {
  version: NEWEST + 2,
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
    expect((await state(db)).rows).toEqual([{ version: NEWEST }]);
    for (let time = 0; time < 2; time++) await migrateAccounts(db, path, [...MIGRATIONS, addColumn]);
    expect((await state(db)).rows).toEqual([{ version: NEWEST + 1 }]);
  });

  it('that fail leave nothing of themselves, and keep those before', async () => {
    const { db, path } = open();
    const migrating = migrateAccounts(db, path, [...MIGRATIONS, addColumn, failing]);
    await expect(migrating).rejects.toThrow('the power went out');
    const { rows, tables } = await state(db);
    expect(rows).toEqual([{ version: NEWEST + 1 }]);
    expect(tables).toContain('tokens');
    expect(tables).not.toContain('half_done');
  });

  it('keep what an older format held: an organization of format 1 has no limits of its own', async () => {
    const { db, path } = open();
    await migrateAccounts(db, path, MIGRATIONS.slice(0, 1));
    await sql`INSERT INTO organizations VALUES
      ('org_aaaaaaaaaaaaaaaa', 'old', 'Old', 'shared-0', 7, 7, 7, NULL, 1, 1)`.execute(db);
    await migrateAccounts(db, path);
    const found = await organizationStore(db).find('old');
    const none = undefined;
    const limits = { bytesPerSecond: none, itemsPerSecond: none, requestsAtOnce: none, spoolMib: none, weight: none };
    expect(found).toMatchObject({ id: 'org_aaaaaaaaaaaaaaaa', name: 'Old', limits });
  });

  it('make no stored row expire earlier: what an organization had before there were plans stays decided for it', async () => {
    const { db, path } = open();
    await migrateAccounts(db, path, MIGRATIONS.slice(0, 4));
    await sql`INSERT INTO organizations VALUES
      ('org_aaaaaaaaaaaaaaaa', 'old', 'Old', 'shared-0', 90, 365, 7, NULL, 1, 1, 1000, NULL, 0, NULL, 50)`.execute(db);
    await migrateAccounts(db, path);
    const store = organizationStore(db);
    const applied = await store.applyPlans(loadPlanCatalogue({ plansFile: '', retentionDays: 1 }), RULES);
    expect(applied.changed).toEqual([]);
    expect(await store.find('old')).toMatchObject({
      plan: 'self-hosted',
      retentionDays: { logs: 90, metrics: 365, traces: 7 },
      limits: { bytesPerSecond: 1_000, requestsAtOnce: 0, weight: 50 },
    });
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
    expect((await state(other)).rows).toEqual([{ version: NEWEST }]);
  });
});
