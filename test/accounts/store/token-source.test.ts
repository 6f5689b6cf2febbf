import { renameSync, rmSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openAccounts } from '../../../src/accounts/store/accounts-database.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { NEWER, openTokenSource } from '../../../src/accounts/store/token-source.ts';
import type { TokenSource } from '../../../src/ingest/authenticate/token-table.ts';
import { makeOrganization, makeTokenOf, NOON_MS, temporaryDir } from '../accounts-fixture.ts';

async function open() {
  const dataDir = temporaryDir();
  const accounts = await openAccounts({ dataDir });
  onTestFinished(() => accounts.close());
  // What the data plane declares is what accounts gives, though neither room imports the other.
  const source: TokenSource = openTokenSource(dataDir);
  onTestFinished(() => source.close());
  return { accounts, dataDir, source };
}

describe('the token source', () => {
  it('tells whether anything changed, and then only what is newer', async () => {
    const { accounts, dataDir, source } = await open();
    const org = await makeOrganization(accounts, 'Acme');
    const one = await makeTokenOf(accounts, dataDir, org.id, { name: 'one' });
    expect(source.changed()).toBe(true);
    expect(source.changed()).toBe(false);
    const first = source.changesSince(0);
    expect(first.rows.map((row) => row.id)).toEqual([one.row.id]);
    expect(first.complete).toBe(true);
    const two = await makeTokenOf(accounts, dataDir, org.id, { name: 'two' });
    expect(source.changed()).toBe(true);
    const second = source.changesSince(first.revision);
    expect(second).toMatchObject({ complete: false, revision: two.row.revision });
    expect(second.rows.map((row) => row.id)).toEqual([two.row.id]);
    expect(source.changesSince(second.revision).rows).toEqual([]);
    await accounts.organizations.setDisabled(org.id, NOON_MS);
    const third = source.changesSince(second.revision).rows.map((row) => [row.id, row.organization.disabled]);
    expect(new Map(third as [string, boolean][])).toEqual(new Map([one, two].map((made) => [made.row.id, true])));
  });

  it('reads a change by what changed, not by all there is', async () => {
    const { accounts, dataDir } = await open();
    await makeOrganization(accounts, 'Acme');
    const database = openSqlite(accountsPath(dataDir), { readOnly: true, busyMs: 100 });
    const steps = database.prepare(`EXPLAIN QUERY PLAN ${NEWER}`).all(1) as { detail: string }[];
    database.close();
    const searched = steps
      .map(({ detail }) => /^(SCAN|SEARCH) (\w)/.exec(detail)?.slice(1, 3).join(' '))
      .filter(Boolean);
    expect(searched).toEqual(['SEARCH t', 'SEARCH o', 'SEARCH o', 'SEARCH t']);
  });

  it('gives everything when the database was put back to an older state in place', async () => {
    const { accounts, dataDir, source } = await open();
    const org = await makeOrganization(accounts, 'Acme');
    const one = await makeTokenOf(accounts, dataDir, org.id, { name: 'one' });
    const two = await makeTokenOf(accounts, dataDir, org.id, { name: 'two' });
    const { revision } = source.changesSince(0);
    const database = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 100 });
    database.exec(`DELETE FROM tokens WHERE id = '${two.row.id}'; UPDATE revision_counter SET revision = revision - 1`);
    database.close();
    expect(source.changed()).toBe(true);
    const after = source.changesSince(revision);
    expect(after).toMatchObject({ complete: true, revision: revision - 1 });
    expect(after.rows.map((row) => row.id)).toEqual([one.row.id]);
  });

  it('gives everything when another file stands in the place of the database, newer or not', async () => {
    const { accounts, dataDir, source } = await open();
    const org = await makeOrganization(accounts, 'Acme');
    await makeTokenOf(accounts, dataDir, org.id);
    const { revision } = source.changesSince(0);
    const elsewhere = await open();
    for (const name of ['a', 'b', 'c']) await makeOrganization(elsewhere.accounts, name);
    const theirs = await makeOrganization(elsewhere.accounts, 'd');
    const { row } = await makeTokenOf(elsewhere.accounts, dataDir, theirs.id);
    await accounts.close();
    await elsewhere.accounts.close();
    for (const suffix of ['-wal', '-shm']) rmSync(accountsPath(dataDir) + suffix, { force: true });
    renameSync(accountsPath(elsewhere.dataDir), accountsPath(dataDir));
    expect(source.changed()).toBe(true);
    const after = source.changesSince(revision);
    expect(after.revision).toBeGreaterThan(revision);
    expect(after).toMatchObject({ complete: true, rows: [{ id: row.id, organization: { orgId: theirs.id } }] });
  });

  it('throws while there is no database, and reads it when there is', async () => {
    const dataDir = temporaryDir();
    const source = openTokenSource(dataDir);
    onTestFinished(() => source.close());
    expect(() => source.changed()).toThrow('ENOENT');
    expect(() => source.changesSince(0)).toThrow('ENOENT');
    const accounts = await openAccounts({ dataDir });
    onTestFinished(() => accounts.close());
    expect(source.changed()).toBe(true);
    expect(source.changesSince(0)).toEqual({ revision: 0, rows: [], complete: true });
  });
});
