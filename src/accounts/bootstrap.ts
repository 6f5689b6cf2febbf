/** What the first start makes: the organization `default` and its first ingest token. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { BackworkError } from '../base/errors.ts';
import { loadKeyedHash } from '../base/keyed-hash.ts';
import { type Pepper, pepperPath } from './key-file.ts';
import { DEFAULT_SLUG, placementRules } from './organization.ts';
import { loadPlanCatalogue } from './plan-catalogue.ts';
import type { AccountsDatabase } from './store/accounts-database.ts';
import { accountsPath } from './store/sqlite.ts';
import { newTokenSecret, SCOPES } from './token.ts';

/** What of the settings a first organization needs. */
export interface BootstrapSettings {
  readonly retentionDays: number;
  readonly plansFile: string;
  readonly ownPlacementsMax: number;
  readonly clickhouseUrl: string;
}

/**
 * Makes organization `default` when there is no organization yet, and a token for every signal when `default` never had
 * one; `token` is set then, to be printed once. `orgId` is that of `default`, or of the oldest organization when the
 * operator made others only. Throws as checkPepper does.
 */
export async function bootstrap(
  accounts: AccountsDatabase,
  settings: BootstrapSettings,
  pepper: Pepper,
  nowMs: () => number = Date.now,
): Promise<{ orgId: string; token: string | undefined }> {
  await checkPepper(accounts, pepper, nowMs());
  const organizations = await accounts.organizations.list();
  const first = organizations.find((organization) => organization.slug === DEFAULT_SLUG);
  if (first === undefined && organizations[0] !== undefined) return { orgId: organizations[0].id, token: undefined };
  const orgId = first?.id ?? (await createDefault(accounts, settings, nowMs()));
  // A first start that was killed between the two steps is finished by the next one.
  if ((await accounts.tokens.list(orgId)).length > 0) return { orgId, token: undefined };
  const { token, stored } = newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes });
  const rest = { orgId, name: DEFAULT_SLUG, scopes: SCOPES, createdAtMs: nowMs(), expiresAtMs: undefined };
  await accounts.tokens.create({ ...stored, ...rest });
  return { orgId, token };
}

/**
 * To be called before the database is opened, which would make a new one. Throws BackworkError `not-found` when there is a
 * key but no database: it was lost, or its disk is not there. With a new one every token would be unknown, and clients drop
 * what is answered 401 (reference F36).
 */
export function requireAccounts(dataDir: string): void {
  const path = accountsPath(dataDir);
  if (existsSync(path) || !existsSync(pepperPath(dataDir))) return;
  const advice = 'restore it from a backup; to start anew, without organizations and tokens, remove keys/ as well';
  throw new BackworkError(
    'not-found',
    `${path} is missing, but keys/pepper.key says that there were tokens: ${advice}`,
  );
}

/**
 * Throws BackworkError `conflict` when live tokens need another key than `pepper`: with it they would all be answered
 * 401, which makes clients drop what they send.
 */
export async function checkPepper(accounts: AccountsDatabase, pepper: Pepper, nowMs: number): Promise<void> {
  const missing = (await accounts.tokens.livePepperIds(nowMs)).filter((id) => id !== pepper.id);
  if (missing.length === 0) return;
  const what = `live tokens were made with key ${missing.join(', ')}, but keys/pepper.key is key ${pepper.id}`;
  throw new BackworkError('conflict', `${what}: restore keys/pepper.key of the data directory from a backup`);
}

async function createDefault(accounts: AccountsDatabase, settings: BootstrapSettings, nowMs: number): Promise<string> {
  const plan = loadPlanCatalogue(settings).defaultPlan;
  const input = { name: DEFAULT_SLUG, slug: DEFAULT_SLUG, plan, createdAtMs: nowMs };
  return (await accounts.organizations.create(input, placementRules(settings))).id;
}
