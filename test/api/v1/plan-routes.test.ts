import { describe, expect, it } from 'vitest';
import { openTestApi } from './v1-fixture.ts';

describe('the plan of an organization', () => {
  it('is chosen by its owners, up to what it gives, and the answer says what becomes of stored rows', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'owner', 'ada@example.com');
    const path = '/organizations/default/plan';
    const before = await ada.get(path);
    expect(before.body).toMatchObject({ name: 'self-hosted', retentionDays: { logs: 30, metrics: 30, traces: 30 } });
    const change = (body: object) => ada.call('PATCH', path, { body });
    const changed = await change({ retentionDays: { logs: 7, traces: 365 } });
    expect(changed).toMatchObject({
      status: 200,
      body: {
        retentionDays: { logs: 7, metrics: 30, traces: 365 },
        chosenDays: { logs: 7, traces: 365 },
        effects: [
          { signal: 'logs', daysBefore: 30, days: 7, storedRows: 'held-to-it' },
          { signal: 'traces', daysBefore: 30, days: 365, storedRows: 'keep-theirs' },
        ],
      },
    });
    expect(await change({ retentionDays: { logs: 8 } })).toMatchObject({
      status: 400,
      body: { code: 'invalid-input' },
    });
    expect((await change({ retentionDays: { logs: null } })).body.retentionDays.logs).toBe(30);
    await api.plane.accounts.organizations.decide(
      api.orgId,
      { plan: 'team' },
      api.plane.plans,
      api.plane.placementRules,
    );
    expect((await ada.get(path)).body).toMatchObject({ name: 'team', retentionDays: { logs: 14, traces: 30 } });
    expect((await change({ retentionDays: { logs: 60 } })).status).toBe(400);
    const actions = (await ada.get('/organizations/default/audit')).body.items.map(
      (entry: { action: string }) => entry.action,
    );
    expect(actions).toContain('organization.plan');
  });

  it('is switched by owners to one that is open to them, and by nobody else or to another', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'owner', 'ada@example.com');
    const change = (body: object) => ada.call('PATCH', '/organizations/default/plan', { body });
    expect(await change({ plan: 'business' })).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await change({ plan: 'gold' })).toMatchObject({ status: 400, body: { field: 'plan' } });
    expect((await ada.get('/plans')).body).toMatchObject({
      default: 'self-hosted',
      items: [
        { name: 'self-hosted' },
        { name: 'free', bytesPerDay: 1_073_741_824 },
        { name: 'team' },
        { name: 'business' },
      ],
    });
    expect((await ada.get('/organizations/default/plan')).body.name).toBe('self-hosted');
  });
});
