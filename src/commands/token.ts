/**
 * `token create|list|rotate|revoke`: ingest tokens, in the accounts database directly, with or without a running
 * service, which sees a change within a second.
 */
import { randomBytes } from 'node:crypto';
import type { AccountsDatabase } from '../accounts/store/accounts-database.ts';
import type { Token } from '../accounts/token.ts';
import { BackworkError } from '../base/errors.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';

export const usage = `token create --org ID|SLUG --name N [--scopes logs,metrics,traces] [--expires 90d|2027-01-31]
       token list --org ID|SLUG
       token rotate TOKEN_ID [--overlap 24h]
       token revoke TOKEN_ID`;

/** `create` and `rotate` print the new token and nothing else on stdout; `list` prints tab-separated columns. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  if (action === 'create') return create(rest, context);
  if (action === 'list') return list(rest, context);
  if (action === 'rotate') return rotate(rest, context);
  if (action === 'revoke') return revoke(rest, context);
  const choice = 'create, list, rotate or revoke?';
  throw new UsageError(action === undefined ? choice : `token ${action}: ${choice}`, usage);
}

async function create(args: readonly string[], context: CommandContext): Promise<number> {
  const { text } = readArguments(args, { org: 'text', name: 'text', scopes: 'text', expires: 'text' }, usage);
  const name = required(text['name'], '--name');
  const org = required(text['org'], '--org');
  const nowMs = Date.now();
  const expiresAtMs = text['expires'] === undefined ? undefined : expiryMs(text['expires'], nowMs);
  const { parseScopes, SCOPES } = await import('../accounts/token.ts');
  const scopes = text['scopes'] === undefined ? SCOPES : parseScopes(text['scopes']);
  return withAccounts(context, async (accounts) => {
    const orgId = await organizationId(accounts, org);
    const { token, stored } = await newSecret(accounts, context);
    await accounts.tokens.create({ ...stored, orgId, name, scopes, createdAtMs: nowMs, expiresAtMs });
    context.stdout(`${token}\n`);
    return 0;
  });
}

async function list(args: readonly string[], context: CommandContext): Promise<number> {
  const { text } = readArguments(args, { org: 'text' }, usage);
  const org = required(text['org'], '--org');
  return withAccounts(context, async (accounts) => {
    const nowMs = Date.now();
    context.stdout('ID\tNAME\tSCOPES\tCREATED\tEXPIRES\tSTATE\tROTATED_FROM\n');
    for (const token of await accounts.tokens.list(await organizationId(accounts, org))) {
      const columns = [token.id, token.name, token.scopes.join(','), dateText(token.createdAtMs)];
      const expires = token.expiresAtMs === undefined ? '-' : dateText(token.expiresAtMs);
      context.stdout(`${[...columns, expires, stateOf(token, nowMs), token.rotatedFrom ?? '-'].join('\t')}\n`);
    }
    return 0;
  });
}

async function rotate(args: readonly string[], context: CommandContext): Promise<number> {
  const { words, text } = readArguments(args, { overlap: 'text' }, usage, 1);
  const id = tokenId(words[0] ?? '');
  const { OVERLAP_MS_DEFAULT } = await import('../accounts/token.ts');
  const overlapMs = text['overlap'] === undefined ? OVERLAP_MS_DEFAULT : durationMs('--overlap', text['overlap']);
  return withAccounts(context, async (accounts) => {
    const { token, stored } = await newSecret(accounts, context);
    const { old } = await accounts.tokens.rotate(id, stored, { overlapMs, nowMs: Date.now() });
    const ends = old.revokedAtMs === undefined ? `ends at ${dateText(old.expiresAtMs ?? 0)}` : 'is revoked';
    context.stdout(`${token}\n`);
    context.stderr(`token ${old.id} ${ends}\n`);
    return 0;
  });
}

async function revoke(args: readonly string[], context: CommandContext): Promise<number> {
  const id = tokenId(readArguments(args, {}, usage, 1).words[0] ?? '');
  return withAccounts(context, async (accounts) => {
    const token = await accounts.tokens.revoke(id, Date.now());
    context.stdout(`${token.id} revoked at ${dateText(token.revokedAtMs ?? 0)}\n`);
    return 0;
  });
}

async function withAccounts(
  context: CommandContext,
  work: (accounts: AccountsDatabase) => Promise<number>,
): Promise<number> {
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    return await work(accounts);
  } finally {
    await accounts.close();
  }
}

async function newSecret(accounts: AccountsDatabase, context: CommandContext) {
  const { checkPepper } = await import('../accounts/bootstrap.ts');
  const { loadPepper } = await import('../accounts/key-file.ts');
  const { loadKeyedHash } = await import('../base/keyed-hash.ts');
  const { newTokenSecret } = await import('../accounts/token.ts');
  // A lost key is not replaced while tokens that need it are live: it may still be found in a backup.
  const create = (await accounts.tokens.livePepperIds(Date.now())).length === 0;
  const pepper = loadPepper(context.settings.dataDir, { create });
  await checkPepper(accounts, pepper, Date.now());
  return newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes });
}

async function organizationId(accounts: AccountsDatabase, idOrSlug: string): Promise<string> {
  const organization = await accounts.organizations.find(idOrSlug);
  if (organization !== undefined) return organization.id;
  const first = idOrSlug === 'default' ? ', which the first start of the service makes' : '';
  throw new BackworkError('not-found', `there is no organization ${JSON.stringify(idOrSlug)}${first}; see org list`);
}

function required(value: string | undefined, option: string): string {
  if (value === undefined) throw new UsageError(`${option} is missing`, usage);
  return value;
}

/** An id, not a whole token: that would stand in the shell's history and, in an error, on the screen. */
function tokenId(text: string): string {
  if (/^[0-9A-Za-z]{12}$/.test(text)) return text;
  const hint = text.startsWith('bw_') ? ': give the 12 characters after its second _, not the token' : '';
  throw new UsageError(`a token id has 12 letters and digits${hint}`, usage);
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationMs(option: string, text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text === '0' ? '0s' : text);
  if (match !== null) return Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? 0);
  throw new UsageError(`${option} ${JSON.stringify(text)} must be a number with s, m, h or d, such as 24h`, usage);
}

/** A duration from now, or a date or time as ISO 8601 writes it; without a zone it is UTC. */
function expiryMs(text: string, nowMs: number): number {
  if (/^\d{1,6}[smhd]$/.test(text)) return nowMs + durationMs('--expires', text);
  const match = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2})?)?(Z|[+-]\d{2}:\d{2})?$/.exec(text);
  const atMs = match === null ? Number.NaN : Date.parse(`${match[1]}${match[2] ?? 'T00:00'}${match[3] ?? 'Z'}`);
  if (!Number.isNaN(atMs)) return atMs;
  throw new UsageError(`--expires ${JSON.stringify(text)} must be like 90d, 2027-01-31 or 2027-01-31T12:00Z`, usage);
}

function dateText(ms: number): string {
  return new Date(ms).toISOString();
}

function stateOf(token: Token, nowMs: number): string {
  if (token.revokedAtMs !== undefined) return 'revoked';
  return token.expiresAtMs !== undefined && token.expiresAtMs <= nowMs ? 'expired' : 'live';
}
