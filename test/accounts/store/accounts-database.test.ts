import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openAccounts } from '../../../src/accounts/store/accounts-database.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { makeOrganization, makeTokenOf, NOON_MS, secretOf, temporaryDir } from '../accounts-fixture.ts';
import { accountsContract } from './accounts.contract.ts';
import { peopleContract } from './people.contract.ts';
import { plansContract } from './plans.contract.ts';
import { teamsContract } from './teams.contract.ts';

async function openTemporary() {
  const dataDir = temporaryDir();
  const accounts = await openAccounts({ dataDir });
  onTestFinished(() => accounts.close());
  return { accounts, dataDir };
}

accountsContract('SQLite', openTemporary);
peopleContract('SQLite', openTemporary);
teamsContract('SQLite', openTemporary);
plansContract('SQLite', openTemporary);

/** Every file below the directory that holds the text, by name. */
function filesWith(dir: string, text: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(text))
    .map((entry) => entry.name);
}

describe('the accounts database in SQLite', () => {
  it('makes the directory and the file for its owner only', async () => {
    const dataDir = join(temporaryDir(), 'new', 'data');
    const accounts = await openAccounts({ dataDir });
    await makeOrganization(accounts, 'Acme');
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(dataDir)) {
      expect([name, statSync(join(dataDir, name)).mode & 0o777]).toEqual([name, 0o600]);
    }
    await accounts.close();
  });

  it.each([false, true])(
    'has WAL, full sync, secure delete and foreign keys on every open (read-only: %s)',
    async (readOnly) => {
      const { dataDir } = await openTemporary();
      for (let time = 0; time < 2; time++) {
        const database = openSqlite(accountsPath(dataDir), { readOnly, busyMs: 77 });
        const value = (pragma: string) => Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0];
        expect(value('journal_mode')).toBe('wal');
        expect(value('synchronous')).toBe(2);
        expect(value('secure_delete')).toBe(1);
        expect(value('foreign_keys')).toBe(1);
        expect(value('busy_timeout')).toBe(77);
        database.close();
      }
    },
  );

  it('holds no token, while the same search finds its id', async () => {
    const { accounts, dataDir } = await openTemporary();
    const org = await makeOrganization(accounts, 'Acme');
    const tokens: Awaited<ReturnType<typeof makeTokenOf>>[] = [];
    for (let i = 0; i < 20; i++) tokens.push(await makeTokenOf(accounts, dataDir, org.id, { name: `token ${i}` }));
    const { token: rotated, stored } = await secretOf(dataDir);
    const first = tokens[0]?.row.id ?? '';
    await accounts.tokens.rotate(first, stored, { overlapMs: 0, nowMs: NOON_MS });
    const search = () => {
      for (const token of [...tokens.map((made) => made.token), rotated]) {
        expect(filesWith(dataDir, token)).toEqual([]);
        expect(filesWith(dataDir, token.slice(20, 63))).toEqual([]);
        expect(filesWith(dataDir, token.slice(7, 19))).not.toEqual([]);
      }
    };
    search(); // in the WAL
    await accounts.close();
    search(); // in the database, where the last connection's close put it
  });

  it('refuses a row that belongs to no organization, and an id of another form', async () => {
    const { dataDir } = await openTemporary();
    const database = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 100 });
    onTestFinished(() => database.close());
    const org = (id: string, slug: string) => () =>
      database.exec(
        `INSERT INTO organizations (id, slug, name, placement, retention_days_logs, retention_days_metrics, retention_days_traces,
          created_at, revision) VALUES ('${id}', '${slug}', 'n', 'shared-0', 1, 1, 1, 1, 1)`,
      );
    expect(org('org_aaaaaaaaaaaaaaa1', 'a')).toThrow('organizations_id_form');
    expect(org('org_aaaaaaaaaaaaaaa', 'a')).toThrow('organizations_id_form');
    expect(org('ORG_aaaaaaaaaaaaaaaa', 'a')).toThrow('organizations_id_form');
    expect(org('org_aaaaaaaaaaaaaaaa', 'a b')).toThrow('organizations_slug_form');
    expect(org('org_aaaaaaaaaaaaaaaa', 'a')).not.toThrow();
    const token = `INSERT INTO tokens VALUES ('123456789012', '${'0'.repeat(64)}', 'p', 'org_bbbbbbbbbbbbbbbb', 'n', 'logs', 1,
      NULL, NULL, NULL, 1)`;
    expect(() => database.exec(token)).toThrow('FOREIGN KEY');
  });

  it('keeps what is there when it is opened again, by two at once too', async () => {
    const { accounts, dataDir } = await openTemporary();
    const org = await makeOrganization(accounts, 'Acme');
    const other = await openAccounts({ dataDir });
    onTestFinished(() => other.close());
    const second = await makeOrganization(other, 'Other');
    expect(await accounts.organizations.list()).toEqual(expect.arrayContaining([org, second]));
    expect(second.revision).toBe(org.revision + 1);
    const reader = await openAccounts({ dataDir, readOnly: true });
    onTestFinished(() => reader.close());
    expect(await reader.organizations.find('acme')).toEqual(org);
    await expect(makeOrganization(reader, 'x')).rejects.toThrow('readonly');
  });

  it('lets a writer wait for another connection without holding the event loop', async () => {
    const { accounts, dataDir } = await openTemporary();
    const other = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 20 });
    onTestFinished(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    const making = makeOrganization(accounts, 'Acme');
    // This turn of the loop comes only if the writer gave it free; then the lock is given back.
    setTimeout(() => other.exec('COMMIT'), 100);
    expect((await making).slug).toBe('acme');
  });

  it('refuses a newer format, read-only or not', async () => {
    const { accounts, dataDir } = await openTemporary();
    await accounts.close();
    const database = new DatabaseSync(accountsPath(dataDir));
    database.exec('UPDATE schema_version SET version = 99');
    database.close();
    for (const readOnly of [false, true]) {
      const opened = openAccounts({ dataDir, readOnly });
      await expect(opened).rejects.toMatchObject({
        code: 'newer-format',
        message: expect.stringContaining('format 99'),
      });
    }
  });

  it('says not-found when there is nothing to read, and corrupt when the file is no database', async () => {
    const dataDir = temporaryDir();
    await expect(openAccounts({ dataDir, readOnly: true })).rejects.toMatchObject({ code: 'not-found' });
    writeFileSync(accountsPath(dataDir), 'no database at all, but long enough to be taken for one'.repeat(100));
    for (const readOnly of [false, true]) {
      await expect(openAccounts({ dataDir, readOnly })).rejects.toMatchObject({ code: 'corrupt' });
    }
  });
});
