/** What `doctor` looks at in our databases: accounts and their key, a token, the telemetry store and its schema. */
import { timingSafeEqual } from 'node:crypto';
import { existsSync } from 'node:fs';
import { loadPepper, pepperPath } from '../accounts/key-file.ts';
import { type AccountsDatabase, openAccounts } from '../accounts/store/accounts-database.ts';
import { accountsPath } from '../accounts/store/sqlite.ts';
import { openTokenSource } from '../accounts/store/token-source.ts';
import { BackworkError, messageOf } from '../base/errors.ts';
import { loadKeyedHash } from '../base/keyed-hash.ts';
import { parseToken } from '../base/token-format.ts';
import type { StoreTarget } from './data-directory.ts';
import type { Finding } from './doctor-machine.ts';

const NEW_TOKEN = 'make another: npm run -s backwork -- token create --org default --name my-app';

/** Readable, of this program's format, with the key that its live tokens were made with. */
export async function checkAccounts(dataDir: string, nowMs: number): Promise<Finding[]> {
  if (!existsSync(accountsPath(dataDir))) {
    return [{ level: 'ok', subject: 'accounts', found: 'no database yet; the first start makes it' }];
  }
  let accounts: AccountsDatabase | undefined;
  try {
    accounts = await openAccounts({ dataDir, readOnly: true });
    const organizations = await accounts.organizations.list();
    const count = organizations.length === 1 ? '1 organization' : `${organizations.length} organizations`;
    return [{ level: 'ok', subject: 'accounts', found: count }, await checkKey(accounts, dataDir, nowMs)];
  } catch (error) {
    return [failed('accounts', error, `restore ${accountsPath(dataDir)} from a backup when it is damaged`)];
  } finally {
    await accounts?.close();
  }
}

async function checkKey(accounts: AccountsDatabase, dataDir: string, nowMs: number): Promise<Finding> {
  const subject = 'key file';
  const needed = await accounts.tokens.livePepperIds(nowMs);
  const mend = `restore ${pepperPath(dataDir)} from a backup, or revoke the tokens and make others`;
  try {
    const { id } = loadPepper(dataDir);
    if (needed.every((pepperId) => pepperId === id)) return { level: 'ok', subject, found: `key ${id}` };
    return { level: 'problem', subject, found: `it is key ${id}, and live tokens need ${needed.join(', ')}`, mend };
  } catch (error) {
    return failed(subject, error, mend);
  }
}

/** What ingest would say of this token, and whose it is. Never repeats it. */
export async function checkToken(text: string, dataDir: string, nowMs: number): Promise<Finding> {
  const subject = 'token';
  const parsed = parseToken(text);
  if (parsed === undefined) {
    const found = `not a token of backwork, or mistyped: ${text.length} characters, its form or checksum is wrong`;
    return { level: 'problem', subject, found, mend: 'copy it again, whole' };
  }
  if (!existsSync(accountsPath(dataDir))) {
    return {
      level: 'problem',
      subject,
      found: 'unknown: there are no accounts here yet',
      mend: 'start the service first',
    };
  }
  const accounts = await openAccounts({ dataDir, readOnly: true });
  try {
    const token = await accounts.tokens.find(parsed.id);
    if (token === undefined || !(await isStored(parsed.token, parsed.id, token.revokedAtMs !== undefined, dataDir))) {
      return { level: 'problem', subject, found: `${parsed.id}: unknown here`, mend: NEW_TOKEN };
    }
    const organization = await accounts.organizations.find(token.orgId);
    const whose = `${parsed.id} of organization ${organization?.slug ?? '?'} (${token.orgId})`;
    if (token.revokedAtMs !== undefined) {
      return {
        level: 'problem',
        subject,
        found: `${whose}: revoked on ${dateText(token.revokedAtMs)}`,
        mend: NEW_TOKEN,
      };
    }
    if (token.expiresAtMs !== undefined && token.expiresAtMs <= nowMs) {
      return {
        level: 'problem',
        subject,
        found: `${whose}: expired on ${dateText(token.expiresAtMs)}`,
        mend: NEW_TOKEN,
      };
    }
    if (organization?.disabledAtMs !== undefined) {
      return { level: 'problem', subject, found: `${whose}: the organization is disabled`, mend: 'enable it again' };
    }
    const until = token.expiresAtMs === undefined ? '' : `, until ${dateText(token.expiresAtMs)}`;
    return { level: 'ok', subject, found: `${whose}: may send ${token.scopes.join(', ')}${until}` };
  } finally {
    await accounts.close();
  }
}

/** Whether the secret is that of this id. A revoked token's digest is not read by ingest any more: its id decides. */
async function isStored(token: string, id: string, revoked: boolean, dataDir: string): Promise<boolean> {
  if (revoked) return true;
  const source = openTokenSource(dataDir);
  try {
    const row = source.changesSince(0).rows.find((grant) => grant.id === id);
    const hash = await loadKeyedHash();
    const digest = hash(loadPepper(dataDir).key, Buffer.from(token, 'latin1'));
    return row !== undefined && timingSafeEqual(Buffer.from(row.digest, 'hex'), digest);
  } finally {
    source.close();
  }
}

/** Whether it answers, its version, and whether the tables are as every INSERT needs them. */
export async function checkStore(target: StoreTarget, embedded: boolean): Promise<Finding[]> {
  const subject = embedded ? 'engine' : 'ClickHouse';
  const { connectClickHouse } = await import('../engine/clickhouse.ts');
  const clickhouse = connectClickHouse(target);
  try {
    if (!(await clickhouse.ping())) {
      const mend = embedded ? 'it may be restarting: ask again; else see the log of the service' : 'start the server';
      return [{ level: 'problem', subject, found: `${target.url} does not answer`, mend }];
    }
    const rows = await clickhouse.query<{ version: string }>('SELECT version() AS version');
    const found = `${target.url} answers, version ${rows[0]?.version ?? 'unknown'}`;
    return [{ level: 'ok', subject, found }, await checkSchema()];
  } catch (error) {
    return [failed(subject, error, embedded ? 'see the log of the service' : 'check user, password and database')];
  } finally {
    await clickhouse.close();
  }

  async function checkSchema(): Promise<Finding> {
    const { checkTables } = await import('../engine/migrate.ts');
    try {
      await checkTables(clickhouse, { embedded });
      return { level: 'ok', subject: 'schema', found: 'all tables and their settings are as they must be' };
    } catch (error) {
      return failed('schema', error, 'start the service once, it makes what is missing; else see the message');
    }
  }
}

function failed(subject: string, error: unknown, mend: string): Finding {
  const code = error instanceof BackworkError ? `${error.code}: ` : '';
  return { level: 'problem', subject, found: `${code}${messageOf(error)}`, mend };
}

function dateText(ms: number): string {
  return new Date(ms).toISOString();
}
