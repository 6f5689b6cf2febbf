/** What every accounts database must do, whatever it is made of: run for SQLite, and for PostgreSQL when it exists. */
import { brokenAt } from '../../../src/accounts/audit.ts';
import { describe, expect, it } from 'vitest';
import type { AccountsDatabase } from '../../../src/accounts/store/accounts-database.ts';
import {
  HOUR_MS,
  makeOrganization,
  makeTokenOf,
  NOON_MS,
  RULES,
  secretOf,
  PLANS,
  setLimits,
} from '../accounts-fixture.ts';

export interface AccountsUnderTest {
  /** An empty database, migrated; closed when the test ends. */
  readonly accounts: AccountsDatabase;
  /** A directory for the key file. */
  readonly dataDir: string;
}

export function accountsContract(name: string, open: () => Promise<AccountsUnderTest>): void {
  describe(`accounts in ${name}: organizations`, () => {
    it('are found by id and by slug with all that was given', async () => {
      const { accounts } = await open();
      const made = await makeOrganization(accounts, 'Café Niño 2');
      expect(made).toMatchObject({
        slug: 'cafe-nino-2',
        name: 'Café Niño 2',
        retentionDays: { logs: 7, metrics: 30, traces: 3 },
        disabledAtMs: undefined,
        createdAtMs: NOON_MS,
      });
      expect(made.id).toMatch(/^org_[a-z2-7]{16}$/);
      expect(await accounts.organizations.find(made.id)).toEqual(made);
      expect(await accounts.organizations.find('cafe-nino-2')).toEqual(made);
      expect(await accounts.organizations.find('org_aaaaaaaaaaaaaaaa')).toBeUndefined();
    });

    it('that are made at the same time are all made, and one that is refused takes nothing else back with it', async () => {
      const { accounts } = await open();
      const { id } = await makeOrganization(accounts, 'First');
      const entry = { orgId: id, atMs: NOON_MS, actor: 'operator', action: 'organization.rename', target: id } as const;
      const work = Array.from({ length: 30 }, async (_, index) => {
        await makeOrganization(accounts, 'Same name');
        await accounts.audit.append({ ...entry, result: 'done' });
        await accounts.organizations.setName(id, `Name ${index}`);
        const input = { name: 'x', slug: 'same-name', plan: PLANS.defaultPlan, createdAtMs: NOON_MS };
        await expect(accounts.organizations.create(input, RULES)).rejects.toMatchObject({ code: 'conflict' });
      });
      await Promise.all(work);
      const slugs = (await accounts.organizations.list()).map(({ slug }) => slug);
      expect(new Set(slugs).size).toBe(31);
      expect(brokenAt(await accounts.audit.read(id, 0, 100))).toBeUndefined();
      expect(await accounts.audit.read(id, 0, 100)).toHaveLength(30);
    });

    it('get a free slug when it comes from the name, and a refusal when it was asked for', async () => {
      const { accounts } = await open();
      await makeOrganization(accounts, 'Acme');
      expect((await makeOrganization(accounts, 'ACME!')).slug).toBe('acme-2');
      expect((await makeOrganization(accounts, 'acme')).slug).toBe('acme-3');
      const again = {
        name: 'x',
        slug: 'acme',
        plan: PLANS.defaultPlan,
        createdAtMs: NOON_MS,
      };
      await expect(accounts.organizations.create(again, RULES)).rejects.toMatchObject({ code: 'conflict' });
      const bad = { ...again, slug: 'Acme' };
      await expect(accounts.organizations.create(bad, RULES)).rejects.toMatchObject({ code: 'invalid-input' });
      expect(await accounts.organizations.list()).toHaveLength(3);
    });

    it('have the limits that were set, lose those that are set to the default, and keep the others', async () => {
      const { accounts } = await open();
      const made = await makeOrganization(accounts, 'Acme');
      const limits = { bytesPerSecond: 1_000_000, itemsPerSecond: 0, requestsAtOnce: 8, spoolMib: 64, weight: 100 };
      const set = await setLimits(accounts, made.id, limits);
      expect(set).toMatchObject({ limits, revision: made.revision + 1 });
      await setLimits(accounts, made.id, { requestsAtOnce: undefined, weight: 1 });
      const found = await accounts.organizations.find(made.id);
      expect(found?.limits).toEqual({ ...limits, requestsAtOnce: undefined, weight: 1 });
    });

    it('are refused limits that are none', async () => {
      const { accounts } = await open();
      const { id } = await makeOrganization(accounts, 'Acme');
      const cases = [
        { weight: 0 },
        { weight: 101 },
        { bytesPerSecond: -1 },
        { itemsPerSecond: 1.5 },
        { spoolMib: 2e6 },
      ];
      for (const limits of cases) {
        await expect(setLimits(accounts, id, limits)).rejects.toMatchObject({ code: 'invalid-input' });
      }
      const nobody = setLimits(accounts, 'org_aaaaaaaaaaaaaaaa', { weight: 1 });
      await expect(nobody).rejects.toMatchObject({ code: 'not-found' });
    });

    it('have their own placement until the maximum, then share', async () => {
      const { accounts } = await open();
      const rules = { ownPlacementsMax: 2, sharedPlacements: 4 };
      const made = [];
      for (const name of ['a', 'b', 'c', 'd']) made.push(await makeOrganization(accounts, name, rules));
      expect(made.slice(0, 2).map((one) => one.placement)).toEqual(made.slice(0, 2).map((one) => one.id));
      for (const one of made.slice(2)) expect(one.placement).toMatch(/^shared-[0-3]$/);
    });

    it('made at once by many callers never take more own placements than there are, nor one slug twice', async () => {
      const { accounts } = await open();
      const rules = { ownPlacementsMax: 3, sharedPlacements: 1 };
      const made = await Promise.all(Array.from({ length: 10 }, () => makeOrganization(accounts, 'same', rules)));
      expect(made.filter((one) => one.placement === one.id)).toHaveLength(3);
      expect(new Set(made.map((one) => one.slug)).size).toBe(10);
      expect(new Set(made.map((one) => one.revision)).size).toBe(10);
    });

    it('can be disabled and enabled, each time with a new revision', async () => {
      const { accounts } = await open();
      const made = await makeOrganization(accounts, 'Acme');
      const disabled = await accounts.organizations.setDisabled(made.id, NOON_MS + 1);
      expect(disabled).toMatchObject({ disabledAtMs: NOON_MS + 1, revision: made.revision + 1 });
      const enabled = await accounts.organizations.setDisabled(made.id, undefined);
      expect(enabled).toMatchObject({ disabledAtMs: undefined, revision: made.revision + 2 });
      const unknown = accounts.organizations.setDisabled('org_aaaaaaaaaaaaaaaa', NOON_MS);
      await expect(unknown).rejects.toMatchObject({ code: 'not-found' });
    });
  });

  describe(`accounts in ${name}: tokens`, () => {
    it('are found by id, belong to one organization, and are listed in the order they were made', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const other = await makeOrganization(accounts, 'Other');
      const one = await makeTokenOf(accounts, dataDir, org.id, { name: 'one', scopes: ['traces', 'logs'] });
      const two = await makeTokenOf(accounts, dataDir, org.id, { name: 'two', expiresAtMs: NOON_MS + HOUR_MS });
      await makeTokenOf(accounts, dataDir, other.id);
      expect(await accounts.tokens.find(one.row.id)).toEqual(one.row);
      expect(one.row).toMatchObject({ orgId: org.id, scopes: ['traces', 'logs'], expiresAtMs: undefined });
      expect(await accounts.tokens.list(org.id)).toEqual([one.row, two.row]);
    });

    it('need an organization that exists, a scope, a name, and an expiry that is to come', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const unknown = makeTokenOf(accounts, dataDir, 'org_aaaaaaaaaaaaaaaa');
      await expect(unknown).rejects.toMatchObject({ code: 'not-found' });
      for (const wrong of [{ scopes: [] }, { name: '' }, { name: 'a\nb' }, { expiresAtMs: NOON_MS }]) {
        await expect(makeTokenOf(accounts, dataDir, org.id, wrong)).rejects.toMatchObject({ code: 'invalid-input' });
      }
      expect(await accounts.tokens.list(org.id)).toEqual([]);
    });

    it('are at most two live ones of one name; revoked and expired ones do not count', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const first = await makeTokenOf(accounts, dataDir, org.id, { expiresAtMs: NOON_MS + HOUR_MS });
      const second = await makeTokenOf(accounts, dataDir, org.id);
      const third = () => makeTokenOf(accounts, dataDir, org.id);
      await expect(third()).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(first.row.id) });
      await makeTokenOf(accounts, dataDir, org.id, { name: 'other' });
      await accounts.tokens.revoke(second.row.id, NOON_MS);
      await third();
      await expect(third()).rejects.toMatchObject({ code: 'conflict' });
      await makeTokenOf(accounts, dataDir, org.id, { createdAtMs: NOON_MS + HOUR_MS });
    });

    it('are rotated: the new one lives at once, the old one until the overlap is over', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const { row } = await makeTokenOf(accounts, dataDir, org.id, { scopes: ['metrics'] });
      const { stored } = await secretOf(dataDir);
      const nowMs = NOON_MS + 10 * HOUR_MS;
      const { old, next } = await accounts.tokens.rotate(row.id, stored, { overlapMs: 24 * HOUR_MS, nowMs });
      expect(old).toMatchObject({ id: row.id, expiresAtMs: nowMs + 24 * HOUR_MS, revokedAtMs: undefined });
      expect(next).toMatchObject({
        id: stored.id,
        orgId: org.id,
        name: 'edge',
        scopes: ['metrics'],
        createdAtMs: nowMs,
      });
      expect(next).toMatchObject({ rotatedFrom: row.id, expiresAtMs: undefined, revokedAtMs: undefined });
      expect(old.revision).toBe(next.revision);
      expect(await accounts.tokens.list(org.id)).toEqual([old, next]);
    });

    it('are revoked at once when they are rotated without an overlap, even where two are live', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const { row } = await makeTokenOf(accounts, dataDir, org.id);
      await makeTokenOf(accounts, dataDir, org.id);
      const { stored } = await secretOf(dataDir);
      const { old } = await accounts.tokens.rotate(row.id, stored, { overlapMs: 0, nowMs: NOON_MS + 5 });
      expect(old).toMatchObject({ revokedAtMs: NOON_MS + 5 });
    });

    it('are not rotated twice, dead, beyond two live ones or with an overlap over seven days; nothing changes', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const { row } = await makeTokenOf(accounts, dataDir, org.id);
      const rotate = async (id: string, overlapMs: number, nowMs = NOON_MS) =>
        accounts.tokens.rotate(id, (await secretOf(dataDir)).stored, { overlapMs, nowMs });
      const tooLong = rotate(row.id, 7 * 24 * HOUR_MS + 1);
      await expect(tooLong).rejects.toMatchObject({ code: 'invalid-input' });
      await expect(rotate(row.id, -1)).rejects.toMatchObject({ code: 'invalid-input' });
      await expect(rotate('000000000000', 0)).rejects.toMatchObject({ code: 'not-found' });
      expect(await accounts.tokens.list(org.id)).toEqual([row]);

      const { next } = await rotate(row.id, HOUR_MS);
      const again = rotate(row.id, 0);
      await expect(again).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(next.id) });
      await expect(rotate(next.id, HOUR_MS)).rejects.toMatchObject({ code: 'conflict' });
      // When the overlap is over, the new one can be rotated and the old one cannot.
      await expect(rotate(row.id, 0, NOON_MS + HOUR_MS)).rejects.toMatchObject({ code: 'conflict' });
      await rotate(next.id, HOUR_MS, NOON_MS + HOUR_MS);
    });

    it('are revoked now and once', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      const { row } = await makeTokenOf(accounts, dataDir, org.id);
      const revoked = await accounts.tokens.revoke(row.id, NOON_MS + 1);
      expect(revoked).toMatchObject({ revokedAtMs: NOON_MS + 1, revision: row.revision + 1 });
      expect(await accounts.tokens.revoke(row.id, NOON_MS + 2)).toEqual(revoked);
      await expect(accounts.tokens.revoke('000000000000', NOON_MS)).rejects.toMatchObject({ code: 'not-found' });
    });

    it('tell which peppers live tokens need', async () => {
      const { accounts, dataDir } = await open();
      const org = await makeOrganization(accounts, 'Acme');
      expect(await accounts.tokens.livePepperIds(NOON_MS)).toEqual([]);
      const { row } = await makeTokenOf(accounts, dataDir, org.id);
      await makeTokenOf(accounts, dataDir, org.id, { expiresAtMs: NOON_MS + HOUR_MS });
      expect(await accounts.tokens.livePepperIds(NOON_MS)).toEqual([row.pepperId]);
      await accounts.tokens.revoke(row.id, NOON_MS);
      expect(await accounts.tokens.livePepperIds(NOON_MS)).toEqual([row.pepperId]);
      expect(await accounts.tokens.livePepperIds(NOON_MS + HOUR_MS)).toEqual([]);
    });
  });
}
