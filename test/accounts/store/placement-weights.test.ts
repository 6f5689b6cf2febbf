import { rmSync, writeFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { openAccounts } from '../../../src/accounts/store/accounts-database.ts';
import { placementWeights } from '../../../src/accounts/store/placement-weights.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { makeOrganization, temporaryDir } from '../accounts-fixture.ts';

const LONG_MS = 60_000;

/** `set` is SQL over the organizations 'one', 'two' and 'three', the last two of one placement. */
async function open() {
  const dataDir = temporaryDir();
  const accounts = await openAccounts({ dataDir });
  onTestFinished(() => accounts.close());
  for (const name of ['one', 'two', 'three']) await makeOrganization(accounts, name);
  const set = (sql: string): void => {
    const database = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 1_000 });
    database.exec(sql);
    database.close();
  };
  set(`UPDATE organizations SET placement = CASE name WHEN 'one' THEN id ELSE 'shared-1' END`);
  const clock = { nowMs: 0 };
  const errors: unknown[] = [];
  const onUnreadable = (error: unknown) => errors.push(error);
  const weightOf = placementWeights({ dataDir, defaultWeight: 10, nowMs: () => clock.nowMs, onUnreadable });
  const one = (await accounts.organizations.list()).find(({ name }) => name === 'one')!.placement;
  return { dataDir, set, clock, errors, weightOf, one };
}

it("an organization's own placement has its weight, and a shared one the largest of those that share it", async () => {
  const { set, clock, errors, weightOf, one } = await open();
  expect([one, 'shared-1', 'shared-7'].map(weightOf)).toEqual([10, 10, 10]);
  set(
    `UPDATE organizations SET weight = 40 WHERE name = 'one'; UPDATE organizations SET weight = 5 WHERE name = 'two'`,
  );
  expect(weightOf(one)).toBe(10);
  clock.nowMs += LONG_MS;
  expect([one, 'shared-1'].map(weightOf)).toEqual([40, 10]);
  set(`UPDATE organizations SET weight = 30 WHERE name = 'three'`);
  clock.nowMs += LONG_MS;
  expect([one, 'shared-1'].map(weightOf)).toEqual([40, 30]);
  expect(errors).toEqual([]);
});

it('what was read last goes on while accounts cannot be read', async () => {
  const { dataDir, set, clock, errors, weightOf, one } = await open();
  set(`UPDATE organizations SET weight = 40 WHERE name = 'one'`);
  expect(weightOf(one)).toBe(40);
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${accountsPath(dataDir)}${suffix}`, { force: true });
  clock.nowMs += LONG_MS;
  expect(weightOf(one)).toBe(40);
  writeFileSync(accountsPath(dataDir), 'no database');
  clock.nowMs += LONG_MS;
  expect(weightOf(one)).toBe(40);
  expect(errors.length).toBe(2);
});
