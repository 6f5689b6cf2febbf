/**
 * The tables of the accounts database as Kysely sees them, and the steps that make them. Only what SQLite and
 * PostgreSQL both understand: text, integer and bigint columns, times in milliseconds since 1970 (UTC), digests as hex.
 *
 *     schema_version     one row: the number of the last migration
 *     revision_counter   one row, raised first in every write, so that writers follow one another and a reader of
 *                        "what is newer than n" misses none
 *     organizations ──< tokens      people: schema-people.ts      teams and keys: schema-teams.ts
 *                                plans: columns of organizations, schema-plans.ts
 *                                notices: schema-privacy.ts
 *
 * A row that changes takes the new revision. A migration that was released is never edited: add one.
 */
import { type Kysely, sql } from 'kysely';
import { type PeopleTables, people } from './schema-people.ts';
import { type PrivacyTables, privacy } from './schema-privacy.ts';
import { type PlanColumns, plans } from './schema-plans.ts';
import { type TeamTables, teamsAndKeys } from './schema-teams.ts';

export interface OrganizationsTable extends PlanColumns {
  id: string;
  slug: string;
  name: string;
  placement: string;
  retention_days_logs: number;
  retention_days_metrics: number;
  retention_days_traces: number;
  disabled_at: number | null;
  created_at: number;
  revision: number;
  /** These five: null is the default of the settings, 0 is no limit. */
  limit_bytes_per_second: number | null;
  limit_items_per_second: number | null;
  limit_requests_at_once: number | null;
  limit_spool_mib: number | null;
  weight: number | null;
}

export interface TokensTable {
  id: string;
  digest: string;
  pepper_id: string;
  org_id: string;
  name: string;
  /** Scope names joined by commas, in the order of SCOPES. */
  scopes: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  rotated_from: string | null;
  revision: number;
}

export interface Tables extends PeopleTables, TeamTables, PrivacyTables {
  schema_version: { version: number };
  revision_counter: { id: number; revision: number };
  organizations: OrganizationsTable;
  tokens: TokensTable;
}

export interface Migration {
  readonly version: number;
  /** Runs in a transaction of its own, which also writes the version. */
  readonly up: (db: Kysely<Tables>) => Promise<void>;
}

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, up: organizationsAndTokens },
  { version: 2, up: organizationLimits },
  { version: 3, up: people },
  { version: 4, up: teamsAndKeys },
  { version: 5, up: plans },
  { version: 6, up: privacy },
];

/** `ltrim` of all allowed characters leaves nothing: the one test of a form that both databases have. */
const ID_FORM = sql`length(id) = 20 AND substr(id, 1, 4) = 'org_'
  AND ltrim(substr(id, 5), 'abcdefghijklmnopqrstuvwxyz234567') = ''`;
const SLUG_FORM = sql`length(slug) BETWEEN 1 AND 40 AND ltrim(slug, 'abcdefghijklmnopqrstuvwxyz0123456789-') = ''`;

async function organizationsAndTokens(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('revision_counter')
    .addColumn('id', 'integer', (column) => column.primaryKey().check(sql`id = 1`))
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .execute();
  await db.insertInto('revision_counter').values({ id: 1, revision: 0 }).execute();
  await db.schema
    .createTable('organizations')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('slug', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('placement', 'text', (column) => column.notNull())
    .addColumn('retention_days_logs', 'integer', (column) => column.notNull())
    .addColumn('retention_days_metrics', 'integer', (column) => column.notNull())
    .addColumn('retention_days_traces', 'integer', (column) => column.notNull())
    .addColumn('disabled_at', 'bigint')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addCheckConstraint('organizations_id_form', ID_FORM)
    .addCheckConstraint('organizations_slug_form', SLUG_FORM)
    .execute();
  await db.schema.createIndex('organizations_revision').on('organizations').column('revision').execute();
  await db.schema
    .createTable('tokens')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('pepper_id', 'text', (column) => column.notNull())
    .addColumn('org_id', 'text', (column) => column.notNull().references('organizations.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('rotated_from', 'text')
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addCheckConstraint('tokens_id_form', sql`length(id) = 12`)
    .addCheckConstraint('tokens_digest_form', sql`length(digest) = 64`)
    .execute();
  await db.schema.createIndex('tokens_revision').on('tokens').column('revision').execute();
  await db.schema.createIndex('tokens_organization').on('tokens').columns(['org_id', 'name']).execute();
}

async function organizationLimits(db: Kysely<Tables>): Promise<void> {
  const amounts = ['limit_bytes_per_second', 'limit_items_per_second', 'limit_requests_at_once', 'limit_spool_mib'];
  for (const name of amounts) {
    await db.schema
      .alterTable('organizations')
      .addColumn(name, 'bigint', (column) => column.check(sql`${sql.ref(name)} >= 0`))
      .execute();
  }
  await db.schema
    .alterTable('organizations')
    .addColumn('weight', 'integer', (column) => column.check(sql`weight BETWEEN 1 AND 100`))
    .execute();
}
