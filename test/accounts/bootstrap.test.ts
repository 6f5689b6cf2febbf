import { rmSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { bootstrap, requireAccounts } from '../../src/accounts/bootstrap.ts';
import { loadPepper, pepperPath } from '../../src/accounts/key-file.ts';
import { openAccounts } from '../../src/accounts/store/accounts-database.ts';
import { accountsPath } from '../../src/accounts/store/sqlite.ts';
import { parseToken } from '../../src/base/token-format.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { makeOrganization, makeTokenOf, NOON_MS, temporaryDir } from './accounts-fixture.ts';

const SETTINGS = loadSettings({ BACKWORK_RETENTION_DAYS: '14' }, { cores: 2, memoryMib: 4_096 });

async function open() {
  const dataDir = temporaryDir();
  const accounts = await openAccounts({ dataDir });
  onTestFinished(() => accounts.close());
  return { accounts, dataDir, pepper: loadPepper(dataDir, { create: true }) };
}

describe('the first start', () => {
  it('makes organization default and its token, and the second makes nothing', async () => {
    const { accounts, pepper } = await open();
    const { orgId, token } = await bootstrap(accounts, SETTINGS, pepper, () => NOON_MS);
    const retentionDays = { logs: 14, metrics: 14, traces: 14 };
    expect(await accounts.organizations.find('default')).toMatchObject({ id: orgId, placement: orgId, retentionDays });
    const id = parseToken(token ?? '')?.id;
    expect(await accounts.tokens.list(orgId)).toMatchObject([{ id, scopes: ['logs', 'metrics', 'traces'] }]);
    expect(await bootstrap(accounts, SETTINGS, pepper)).toEqual({ orgId, token: undefined });
    expect(await accounts.organizations.list()).toHaveLength(1);
    expect(await accounts.tokens.list(orgId)).toHaveLength(1);
  });

  it('that was killed before its token was made is finished by the next one', async () => {
    const { accounts, pepper } = await open();
    const org = await makeOrganization(accounts, 'default');
    const { orgId, token } = await bootstrap(accounts, SETTINGS, pepper);
    expect(orgId).toBe(org.id);
    expect(token).toBeDefined();
  });

  it('makes no default, and no token, where the operator has made organizations', async () => {
    const { accounts, pepper } = await open();
    const org = await makeOrganization(accounts, 'Acme');
    expect(await bootstrap(accounts, SETTINGS, pepper)).toEqual({ orgId: org.id, token: undefined });
    expect(await accounts.organizations.list()).toHaveLength(1);
  });

  it('does not give a revoked first token a successor', async () => {
    const { accounts, pepper } = await open();
    const { orgId, token } = await bootstrap(accounts, SETTINGS, pepper, () => NOON_MS);
    await accounts.tokens.revoke(parseToken(token ?? '')?.id ?? '', NOON_MS);
    expect(await bootstrap(accounts, SETTINGS, pepper)).toEqual({ orgId, token: undefined });
  });

  it('refuses a key that is not the one of the live tokens, and says what to restore', async () => {
    const { accounts, dataDir } = await open();
    const org = await makeOrganization(accounts, 'Acme');
    const { row } = await makeTokenOf(accounts, dataDir, org.id);
    rmSync(pepperPath(dataDir));
    const other = loadPepper(dataDir, { create: true });
    const starting = bootstrap(accounts, SETTINGS, other);
    await expect(starting).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(row.pepperId) });
    await accounts.tokens.revoke(row.id, NOON_MS);
    await expect(bootstrap(accounts, SETTINGS, other)).resolves.toMatchObject({ orgId: org.id });
  });
});

describe('a database that is missing', () => {
  it('is made by a first start only: where there is a key, it was lost', async () => {
    const empty = temporaryDir();
    expect(() => requireAccounts(empty)).not.toThrow();
    const { accounts, dataDir } = await open();
    expect(() => requireAccounts(dataDir)).not.toThrow();
    await accounts.close();
    rmSync(accountsPath(dataDir));
    expect(() => requireAccounts(dataDir)).toThrow(expect.objectContaining({ code: 'not-found' }));
    rmSync(pepperPath(dataDir));
    expect(() => requireAccounts(dataDir)).not.toThrow();
  });
});
