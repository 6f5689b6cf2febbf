/** What organizations have by their plan, in any accounts database. */
import { describe, expect, it } from 'vitest';
import type { PlanCatalogue } from '../../../src/accounts/plan-catalogue.ts';
import { DAYS, makeOrganization, NOON_MS, PLANS, RULES } from '../accounts-fixture.ts';
import type { AccountsUnderTest } from './accounts.contract.ts';

export function plansContract(name: string, open: () => Promise<AccountsUnderTest>): void {
  describe(`plans in ${name}`, () => {
    it('give an organization what stands in its row, changed at once with the plan', async () => {
      const { accounts } = await open();
      const made = await makeOrganization(accounts, 'Acme');
      expect(made).toMatchObject({
        plan: 'self-hosted',
        chosenDays: DAYS,
        retentionDays: DAYS,
        bytesPerDay: undefined,
      });
      const free = await accounts.organizations.decide(made.id, { plan: 'free' }, PLANS, RULES);
      // What was chosen holds up to what the plan gives at most.
      expect(free).toMatchObject({
        plan: 'free',
        retentionDays: { logs: 3, metrics: 3, traces: 3 },
        limits: { bytesPerSecond: 1_048_576, weight: 1 },
        bytesPerDay: 1_073_741_824,
        placement: 'shared-0',
        revision: made.revision + 1,
      });
      const back = await accounts.organizations.decide(made.id, { plan: 'self-hosted' }, PLANS, RULES);
      expect(back).toMatchObject({ retentionDays: DAYS, placement: 'shared-0', bytesPerDay: undefined });
      const business = await accounts.organizations.decide(made.id, { plan: 'business' }, PLANS, RULES);
      expect(business.placement).toBe(made.id);
    });

    it('cannot be left by a choice beyond them, nor named when they are none', async () => {
      const { accounts } = await open();
      const { id } = await makeOrganization(accounts, 'Acme');
      const decide = (decision: object) => accounts.organizations.decide(id, decision, PLANS, RULES);
      await decide({ plan: 'team' });
      await expect(decide({ chosenDays: { logs: 60 } })).rejects.toMatchObject({
        code: 'invalid-input',
        field: 'logs',
      });
      await expect(decide({ chosenDays: { logs: 2 } })).rejects.toMatchObject({ code: 'invalid-input' });
      await expect(decide({ plan: 'gold' })).rejects.toMatchObject({ code: 'invalid-input', field: 'plan' });
      expect((await decide({ overrides: { retentionDays: { logs: 90 }, limits: {} } })).retentionDays.logs).toBe(7);
      expect((await decide({ chosenDays: { logs: 60 } })).retentionDays.logs).toBe(60);
      const nobody = accounts.organizations.decide('org_aaaaaaaaaaaaaaaa', { plan: 'free' }, PLANS, RULES);
      await expect(nobody).rejects.toMatchObject({ code: 'not-found' });
    });

    it('that changed in the catalogue change the organizations that have them, and no others', async () => {
      const { accounts } = await open();
      const acme = await makeOrganization(accounts, 'Acme');
      const other = await makeOrganization(accounts, 'Other');
      const lost = await makeOrganization(accounts, 'Lost');
      await accounts.organizations.decide(acme.id, { plan: 'team', chosenDays: {} }, PLANS, RULES);
      await accounts.organizations.decide(lost.id, { plan: 'free' }, PLANS, RULES);
      const team = PLANS.plans.get('team') ?? PLANS.defaultPlan;
      const changed = { ...team, retentionDays: { logs: 7, metrics: 14, traces: 14 }, bytesPerDay: undefined };
      const catalogue: PlanCatalogue = {
        defaultPlan: PLANS.defaultPlan,
        plans: new Map([
          ['self-hosted', PLANS.defaultPlan],
          ['team', changed],
        ]),
      };
      const applied = await accounts.organizations.applyPlans(catalogue, RULES);
      expect(applied.changed.map(({ after }) => after)).toMatchObject([
        { id: acme.id, retentionDays: changed.retentionDays, bytesPerDay: undefined },
      ]);
      expect(applied.unknown.map(({ id }) => id)).toEqual([lost.id]);
      expect((await accounts.organizations.find(other.id))?.revision).toBe(other.revision);
      expect((await accounts.organizations.applyPlans(catalogue, RULES)).changed).toEqual([]);
    });

    it('let an organization in again when their volume is changed', async () => {
      const { accounts } = await open();
      const { id } = await makeOrganization(accounts, 'Acme');
      await accounts.organizations.decide(id, { plan: 'team' }, PLANS, RULES);
      await accounts.organizations.setRefusedUntil(id, NOON_MS);
      const same = await accounts.organizations.decide(id, { chosenDays: {} }, PLANS, RULES);
      expect(same.refusedUntilMs).toBe(NOON_MS);
      const raised = await accounts.organizations.decide(id, { plan: 'business' }, PLANS, RULES);
      expect(raised.refusedUntilMs).toBeUndefined();
    });
  });
}
