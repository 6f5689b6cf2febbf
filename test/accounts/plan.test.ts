import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { effectsOf, inForce, NO_OVERRIDES, type Plan } from '../../src/accounts/plan.ts';
import { loadPlanCatalogue } from '../../src/accounts/plan-catalogue.ts';
import { temporaryDir } from './accounts-fixture.ts';

const NO_LIMITS = {
  bytesPerSecond: undefined,
  itemsPerSecond: undefined,
  requestsAtOnce: undefined,
  spoolMib: undefined,
  weight: undefined,
};
const each = (days: number) => ({ logs: days, metrics: days, traces: days });
const TEAM: Plan = {
  name: 'team',
  retentionDays: each(14),
  retentionDaysMax: each(30),
  limits: { ...NO_LIMITS, weight: 10, bytesPerSecond: 1_000 },
  bytesPerDay: 5_000,
  placement: 'auto',
  selfService: false,
};

describe('what is in force', () => {
  it('is the plan when nothing was decided', () => {
    expect(inForce(TEAM, { overrides: NO_OVERRIDES, chosenDays: {} })).toEqual({
      retentionDays: each(14),
      limits: TEAM.limits,
      bytesPerDay: 5_000,
      placement: 'auto',
    });
  });

  it("is the operator's before the plan's, one by one", () => {
    const overrides = {
      retentionDays: { logs: 90 },
      limits: { weight: 50, itemsPerSecond: 0 },
      bytesPerDay: 0,
      placement: 'own' as const,
    };
    expect(inForce(TEAM, { overrides, chosenDays: {} })).toEqual({
      retentionDays: { logs: 90, metrics: 14, traces: 14 },
      limits: { ...TEAM.limits, weight: 50, itemsPerSecond: 0 },
      bytesPerDay: 0,
      placement: 'own',
    });
  });

  it("is the owners' choice up to the plan's most, or to what the operator set where that is more", () => {
    const chosenDays = { logs: 3, metrics: 60, traces: 60 };
    const overrides = { ...NO_OVERRIDES, retentionDays: { traces: 90 } };
    expect(inForce(TEAM, { overrides, chosenDays }).retentionDays).toEqual({ logs: 3, metrics: 30, traces: 60 });
  });
});

describe('effects of a change', () => {
  it('tell raised from lowered, and nothing of what stays', () => {
    const before = { retentionDays: { logs: 7, metrics: 30, traces: 3 } };
    const after = { retentionDays: { logs: 3, metrics: 30, traces: 14 } };
    expect(effectsOf(before, after)).toMatchObject([
      { signal: 'logs', daysBefore: 7, days: 3, storedRows: 'held-to-it' },
      { signal: 'traces', daysBefore: 3, days: 14, storedRows: 'keep-theirs' },
    ]);
  });
});

describe('the catalogue', () => {
  const load = (catalogue: unknown) => {
    const plansFile = join(temporaryDir(), 'plans.json');
    writeFileSync(plansFile, typeof catalogue === 'string' ? catalogue : JSON.stringify(catalogue));
    return loadPlanCatalogue({ plansFile, retentionDays: 30 });
  };

  it('has without a file a plan that limits nothing, with the retention of the settings', () => {
    const { plans, defaultPlan } = loadPlanCatalogue({ plansFile: '', retentionDays: 7 });
    expect([...plans.keys()]).toEqual(['self-hosted', 'free', 'team', 'business']);
    expect(defaultPlan).toEqual({
      name: 'self-hosted',
      retentionDays: each(7),
      retentionDaysMax: each(730),
      limits: NO_LIMITS,
      bytesPerDay: undefined,
      placement: 'auto',
      selfService: false,
    });
  });

  it('is what the file says', () => {
    const { plans, defaultPlan } = load({
      default: 'small',
      plans: {
        small: {
          retentionDays: { logs: 1, metrics: 3, traces: 1 },
          retentionDaysMax: 7,
          limits: { bytesPerSecond: 1_000, weight: 1 },
          bytesPerDay: 1_000_000,
          placement: 'shared',
          selfService: true,
        },
      },
    });
    expect(plans.size).toBe(1);
    expect(defaultPlan).toEqual({
      name: 'small',
      retentionDays: { logs: 1, metrics: 3, traces: 1 },
      retentionDaysMax: each(7),
      limits: { ...NO_LIMITS, bytesPerSecond: 1_000, weight: 1 },
      bytesPerDay: 1_000_000,
      placement: 'shared',
      selfService: true,
    });
  });

  it.each([
    ['no JSON', '{', 'JSON'],
    ['a list', [], 'must be an object'],
    ['a plan with a name that is none', { default: 'A', plans: { A: { retentionDays: 1 } } }, "the plan's name"],
    ['no default', { default: 'b', plans: { a: { retentionDays: 1 } } }, 'default "b" is none of its plans'],
    ['no retention', { default: 'a', plans: { a: {} } }, 'plan a: retentionDays must be an object'],
    ['a retention off the list', { default: 'a', plans: { a: { retentionDays: 2 } } }, 'must be one of 1, 3, 7'],
    ['a most below it', { default: 'a', plans: { a: { retentionDays: 7, retentionDaysMax: 3 } } }, 'is the lesser'],
    ['a mistyped key', { default: 'a', plans: { a: { retentionDays: 7, limit: {} } } }, 'plan a has limit'],
    ['a mistyped limit', { default: 'a', plans: { a: { retentionDays: 7, limits: { weigth: 1 } } } }, 'has weigth'],
    ['a limit out of bounds', { default: 'a', plans: { a: { retentionDays: 7, limits: { weight: 0 } } } }, 'weight 0'],
    [
      'a volume that is text',
      { default: 'a', plans: { a: { retentionDays: 7, bytesPerDay: '1' } } },
      'must be a number',
    ],
    [
      'a placement that is none',
      { default: 'a', plans: { a: { retentionDays: 7, placement: 'x' } } },
      'auto, own, shared',
    ],
  ])('with %s is refused with the file and the reason', (_, catalogue, reason) => {
    expect(() => load(catalogue)).toThrow(expect.objectContaining({ code: 'bad-setting' }));
    expect(() => load(catalogue)).toThrow(/BACKWORK_PLANS_FILE \/.*plans\.json: /);
    expect(() => load(catalogue)).toThrow(reason);
  });

  it('that cannot be read is refused with its path', () => {
    expect(() => loadPlanCatalogue({ plansFile: '/nowhere/plans.json', retentionDays: 30 })).toThrow(
      '/nowhere/plans.json',
    );
  });
});
