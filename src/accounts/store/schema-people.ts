/**
 * Tables of people: users, what they are members of, their sessions and links, and the audit log. As schema.ts says of all.
 *
 *     users ──< memberships >── organizations      users ──< sessions, links      audit: one chain an organization
 *
 * Personal columns are `users.email`, `users.email_key`, `users.name`, and those of `links` until the link is used or over
 * (privacy promise P2). Passwords are argon2id strings; seeds are sealed (secret-box.ts); sessions and links hold digests.
 */
import { type Kysely, sql } from 'kysely';
import type { Tables } from './schema.ts';

export interface UsersTable {
  id: string;
  email: string;
  email_key: string;
  name: string;
  password: string;
  email_verified_at: number | null;
  age_confirmed_at: number;
  totp_seed: string | null;
  totp_last_step: number;
  disabled_at: number | null;
  created_at: number;
  revision: number;
}

export interface MembershipsTable {
  user_id: string;
  org_id: string;
  role: string;
  created_at: number;
  revision: number;
}

export interface SessionsTable {
  /** Keyed hash of the session's id; the cookie alone holds that. */
  digest: string;
  user_id: string;
  created_at: number;
  seen_at: number;
  /** When the password was last given: dangerous acts want it to be recent. */
  authenticated_at: number;
}

export interface RecoveryCodesTable {
  user_id: string;
  digest: string;
}

/** Waiting to be sent; a row goes when it was. `sealed` holds recipient, subject and text (secret-box.ts). */
export interface MailsTable {
  id: string;
  /** Of the account that it is about; '' for an invitation. */
  user_id: string;
  kind: string;
  sealed: string;
  created_at: number;
  attempts: number;
  next_at: number;
}

export interface LinksTable {
  digest: string;
  purpose: string;
  /** '' for a link that opens nothing: made where there is no account, so that both cases do the same. */
  user_id: string;
  /** The address it was mailed to: a link counts for that one alone. */
  email_key: string;
  /** The address to change to; '' for every other purpose. */
  email: string;
  created_at: number;
  expires_at: number;
}

export interface AuditTable {
  org_id: string;
  number: number;
  at: number;
  actor: string;
  action: string;
  target: string;
  result: string;
  hash: string;
}

export interface PeopleTables {
  users: UsersTable;
  memberships: MembershipsTable;
  sessions: SessionsTable;
  recovery_codes: RecoveryCodesTable;
  mails: MailsTable;
  links: LinksTable;
  audit: AuditTable;
}

const DIGEST_FORM = sql`length(digest) = 64`;

export async function people(db: Kysely<Tables>): Promise<void> {
  await users(db);
  await db.schema
    .createTable('memberships')
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('org_id', 'text', (column) => column.notNull().references('organizations.id').onDelete('cascade'))
    .addColumn('role', 'text', (column) => column.notNull().check(sql`role IN ('owner', 'admin', 'member', 'viewer')`))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('memberships_key', ['user_id', 'org_id'])
    .execute();
  await db.schema.createIndex('memberships_organization').on('memberships').column('org_id').execute();
  await db.schema
    .createTable('sessions')
    .addColumn('digest', 'text', (column) => column.primaryKey().notNull().check(DIGEST_FORM))
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .addColumn('authenticated_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('sessions_user').on('sessions').column('user_id').execute();
  await db.schema
    .createTable('links')
    .addColumn('digest', 'text', (column) => column.primaryKey().notNull().check(DIGEST_FORM))
    .addColumn('purpose', 'text', (column) => column.notNull())
    .addColumn('user_id', 'text', (column) => column.notNull())
    .addColumn('email_key', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('links_user').on('links').columns(['user_id', 'purpose']).execute();
  await db.schema
    .createTable('recovery_codes')
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('digest', 'text', (column) => column.notNull().check(DIGEST_FORM))
    .addPrimaryKeyConstraint('recovery_codes_key', ['user_id', 'digest'])
    .execute();
  await db.schema
    .createTable('mails')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('user_id', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('attempts', 'integer', (column) => column.notNull())
    .addColumn('next_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema.createIndex('mails_next').on('mails').column('next_at').execute();
  await audit(db);
}

async function users(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('users')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('email', 'text', (column) => column.notNull())
    .addColumn('email_key', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('password', 'text', (column) => column.notNull())
    .addColumn('email_verified_at', 'bigint')
    .addColumn('age_confirmed_at', 'bigint', (column) => column.notNull())
    .addColumn('totp_seed', 'text')
    .addColumn('totp_last_step', 'bigint', (column) => column.notNull())
    .addColumn('disabled_at', 'bigint')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('revision', 'bigint', (column) => column.notNull())
    .addCheckConstraint('users_id_form', sql`length(id) = 20 AND substr(id, 1, 4) = 'usr_'`)
    .addCheckConstraint('users_password_form', sql`substr(password, 1, 10) = '$argon2id$'`)
    .execute();
}

async function audit(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('audit')
    .addColumn('org_id', 'text', (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('target', 'text', (column) => column.notNull())
    .addColumn('result', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('audit_key', ['org_id', 'number'])
    .execute();
}
