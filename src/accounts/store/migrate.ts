/** Brings the accounts database to the newest format, one step at a time, each in a transaction of its own. */
import { type Kysely, sql } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { MIGRATIONS, type Migration, type Tables } from './schema.ts';

/**
 * Applies what is missing. Two processes may do this at once: the version is read again inside each transaction. Throws
 * BackworkError `newer-format` when the database was made by a newer program.
 */
export async function migrateAccounts(
  db: Kysely<Tables>,
  path: string,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await tx.schema.createTable('schema_version').ifNotExists().addColumn('version', 'integer').execute();
  });
  for (const migration of migrations) {
    await db.transaction().execute(async (tx) => {
      const version = await versionOf(tx);
      refuseNewer(version, migrations, path);
      if (version >= migration.version) return;
      await migration.up(tx);
      await tx.deleteFrom('schema_version').execute();
      await tx.insertInto('schema_version').values({ version: migration.version }).execute();
    });
  }
}

/**
 * For those who only read: throws `newer-format`, or `not-found` when the database was not brought to this program's
 * format yet.
 */
export async function checkFormat(db: Kysely<Tables>, path: string): Promise<void> {
  const version = await versionOf(db).catch((error: unknown) => {
    if (error instanceof BackworkError) throw error;
    return 0;
  });
  refuseNewer(version, MIGRATIONS, path);
  const newest = newestOf(MIGRATIONS);
  if (version < newest) {
    const advice = 'start the service, or use any command that writes, to bring it up to date';
    throw new BackworkError('not-found', `${path} has format ${version}, not ${newest}: ${advice}`);
  }
}

async function versionOf(db: Kysely<Tables>): Promise<number> {
  const found = await db.selectFrom('schema_version').select(sql<number | null>`max(version)`.as('version')).execute();
  return found[0]?.version ?? 0;
}

function newestOf(migrations: readonly Migration[]): number {
  return Math.max(0, ...migrations.map((migration) => migration.version));
}

function refuseNewer(version: number, migrations: readonly Migration[], path: string): void {
  const newest = newestOf(migrations);
  if (version <= newest) return;
  const text = `${path} has format ${version}, this program knows formats up to ${newest}: use the newer program`;
  throw new BackworkError('newer-format', text);
}
