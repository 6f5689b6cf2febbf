/**
 * The accounts database: organizations, tokens and people in SQLite, `<dataDir>/accounts.sqlite`. This folder holds the only
 * SQL for them. Command lines and the service may have it open at the same time (WAL).
 */
import { Kysely } from 'kysely';
import { type ApiKeyStore, apiKeyStore } from './api-key-store.ts';
import { type AuditStore, auditStore } from './audit-store.ts';
import { type IdempotencyStore, idempotencyStore } from './idempotency-store.ts';
import { type InvitationStore, invitationStore } from './invitation-store.ts';
import { type LinkStore, linkStore } from './link-store.ts';
import { type MailStore, mailStore } from './mail-store.ts';
import { checkFormat, migrateAccounts } from './migrate.ts';
import { type NoticeStore, noticeStore } from './notice-store.ts';
import { type OrganizationStore, organizationStore } from './organization-store.ts';
import { type PersonalStore, personalStore } from './personal-store.ts';
import type { Tables } from './schema.ts';
import { type SecondFactorStore, secondFactorStore } from './second-factor-store.ts';
import { type SessionStore, sessionStore } from './session-store.ts';
import { accountsPath, openSqlite } from './sqlite.ts';
import { nodeSqliteDialect } from './sqlite-dialect.ts';
import { type TeamStore, teamStore } from './team-store.ts';
import { type TokenStore, tokenStore } from './token-store.ts';
import { type UserStore, userStore } from './user-store.ts';

export interface AccountsDatabase {
  readonly organizations: OrganizationStore;
  readonly tokens: TokenStore;
  readonly users: UserStore;
  readonly sessions: SessionStore;
  readonly secondFactors: SecondFactorStore;
  readonly links: LinkStore;
  readonly mails: MailStore;
  readonly invitations: InvitationStore;
  readonly teams: TeamStore;
  readonly apiKeys: ApiKeyStore;
  readonly idempotency: IdempotencyStore;
  readonly notices: NoticeStore;
  readonly personal: PersonalStore;
  readonly audit: AuditStore;
  close(): Promise<void>;
}

/** How long one statement holds this thread for another's lock; a transaction waits longer, without holding it. */
const BUSY_MS = 20;

/**
 * Opens the database; unless read-only, makes it when it is missing and brings it to the newest format. Throws
 * BackworkError `newer-format`, `locked`, `corrupt`, `bad-setting` (no WAL on this disk), and when read-only `not-found`.
 */
export async function openAccounts(options: { dataDir: string; readOnly?: boolean }): Promise<AccountsDatabase> {
  const path = accountsPath(options.dataDir);
  const readOnly = options.readOnly ?? false;
  const dialect = nodeSqliteDialect(openSqlite(path, { readOnly, busyMs: BUSY_MS }), path);
  const db = new Kysely<Tables>({ dialect });
  try {
    await (readOnly ? checkFormat(db, path) : migrateAccounts(db, path));
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return {
    organizations: organizationStore(db),
    tokens: tokenStore(db),
    users: userStore(db),
    sessions: sessionStore(db),
    secondFactors: secondFactorStore(db),
    links: linkStore(db),
    mails: mailStore(db),
    invitations: invitationStore(db),
    teams: teamStore(db),
    apiKeys: apiKeyStore(db),
    idempotency: idempotencyStore(db),
    notices: noticeStore(db),
    personal: personalStore(db),
    audit: auditStore(db),
    close: () => db.destroy(),
  };
}
