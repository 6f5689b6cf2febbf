/**
 * Tables of what belongs to an organization beside its members and ingest tokens: teams, invitations, API keys, and what was
 * answered to requests with an idempotency key. As schema.ts says of all.
 *
 *     organizations ──< teams ──< team_members >── users      organizations ──< invitations, api_keys
 *
 * The one personal column is `invitations.email` (and its key), which goes when the invitation is used, withdrawn or over.
 */
import { type Kysely, sql } from 'kysely';
import type { Tables } from './schema.ts';

export interface TeamsTable {
  id: string;
  org_id: string;
  name: string;
  created_at: number;
  revision: number;
}

export interface TeamMembersTable {
  team_id: string;
  user_id: string;
  role: string;
  revision: number;
}

export interface InvitationsTable {
  id: string;
  org_id: string;
  email: string;
  email_key: string;
  role: string;
  /** Keyed hash of what the link holds. */
  digest: string;
  invited_by: string;
  created_at: number;
  expires_at: number;
}

export interface ApiKeysTable {
  id: string;
  digest: string;
  pepper_id: string;
  org_id: string;
  name: string;
  /** Names joined by commas, in the order of API_SCOPES. */
  scopes: string;
  created_by: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  used_at: number | null;
  revision: number;
}

export interface IdempotencyTable {
  /** Hash over who asked, method, path and the key that the client chose. */
  digest: string;
  /** Hash over the body: the same key with another one is a mistake. */
  request: string;
  /** Null: the first request has not ended yet. */
  status: number | null;
  /** Sealed (secret-box.ts): JSON without what is shown once. */
  body: string;
  created_at: number;
}

export interface TeamTables {
  teams: TeamsTable;
  team_members: TeamMembersTable;
  invitations: InvitationsTable;
  api_keys: ApiKeysTable;
  idempotency: IdempotencyTable;
}

const DIGEST_FORM = sql`length(digest) = 64`;

export async function teamsAndKeys(db: Kysely<Tables>): Promise<void> {
  await teams(db);
  await db.schema
    .createTable('invitations')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('org_id', 'text', (column) => column.notNull().references('organizations.id').onDelete('cascade'))
    .addColumn('email', 'text', (column) => column.notNull())
    .addColumn('email_key', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull().unique().check(DIGEST_FORM))
    .addColumn('invited_by', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addUniqueConstraint('invitations_address', ['org_id', 'email_key'])
    .execute();
  await db.schema
    .createTable('api_keys')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('digest', 'text', (column) => column.notNull().check(DIGEST_FORM))
    .addColumn('pepper_id', 'text', (column) => column.notNull())
    .addColumn('org_id', 'text', (column) => column.notNull().references('organizations.id').onDelete('cascade'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('used_at', 'bigint')
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('api_keys_organization').on('api_keys').column('org_id').execute();
  await db.schema
    .createTable('idempotency')
    .addColumn('digest', 'text', (column) => column.primaryKey().notNull().check(DIGEST_FORM))
    .addColumn('request', 'text', (column) => column.notNull())
    .addColumn('status', 'integer')
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
}

async function teams(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('teams')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('org_id', 'text', (column) => column.notNull().references('organizations.id').onDelete('cascade'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addUniqueConstraint('teams_name', ['org_id', 'name'])
    .execute();
  await db.schema
    .createTable('team_members')
    .addColumn('team_id', 'text', (column) => column.notNull().references('teams.id').onDelete('cascade'))
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('role', 'text', (column) => column.notNull().check(sql`role IN ('lead', 'member')`))
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('team_members_key', ['team_id', 'user_id'])
    .execute();
}
