/**
 * Plans: what an organization gets unless something else was decided for it. Types, rules, pure functions; the catalogue comes
 * from a file (plan-catalogue.ts), what is in force stands in the organization's row, where ingest reads it.
 *
 *     in force  =  chosen by its owners, up to the plan's most  ??  set by the operator  ??  the plan's  ??  the settings'
 *                  (retention alone)                               (everything)
 */
import { BackworkError } from '../base/errors.ts';
import type { Organization } from './organization.ts';
import { checkLimits, LIMIT_NAMES, type LimitName, type OrganizationLimits } from './organization-limits.ts';
import { SCOPES, type Scope } from './token.ts';

/** `auto`: partitions of its own while few have them; an organization that has a placement keeps it. */
export type PlacementWish = 'auto' | 'own' | 'shared';
export const PLACEMENT_WISHES: readonly PlacementWish[] = ['auto', 'own', 'shared'];

export interface Plan {
  /** 1 to 40 of a-z, 0-9 and `-`. */
  readonly name: string;
  readonly retentionDays: Readonly<Record<Scope, number>>;
  /** Up to which owners may choose for themselves. */
  readonly retentionDaysMax: Readonly<Record<Scope, number>>;
  readonly limits: OrganizationLimits;
  /** Of bodies as received, a UTC day; undefined: no limit. */
  readonly bytesPerDay: number | undefined;
  readonly placement: PlacementWish;
  /** Owners may switch to it by themselves. */
  readonly selfService: boolean;
}

/** What was decided for one organization; undefined: nothing. */
export interface PlanOverrides {
  readonly retentionDays: Readonly<Partial<Record<Scope, number>>>;
  readonly limits: Partial<OrganizationLimits>;
  readonly bytesPerDay?: number | undefined;
  readonly placement?: PlacementWish | undefined;
}

export interface PlanChoice {
  readonly plan: string;
  /** By the operator. */
  readonly overrides: PlanOverrides;
  /** By its owners. */
  readonly chosenDays: Readonly<Partial<Record<Scope, number>>>;
}

export interface InForce {
  readonly retentionDays: Readonly<Record<Scope, number>>;
  readonly limits: OrganizationLimits;
  readonly bytesPerDay: number | undefined;
  readonly placement: PlacementWish;
}

export const NO_OVERRIDES: PlanOverrides = { retentionDays: {}, limits: {} };
export const BYTES_PER_DAY_MAX = 1_000_000_000_000_000;
/** As tables/retention.ts, which this room may not import: the settings are held against both. */
export const RETENTION_CHOICES: readonly number[] = [1, 3, 7, 14, 30, 60, 90, 180, 365, 730];

/** What holds for an organization with this plan and these decisions. */
export function inForce(plan: Plan, { overrides, chosenDays }: Omit<PlanChoice, 'plan'>): InForce {
  const days = (scope: Scope): number => {
    const given = overrides.retentionDays[scope] ?? plan.retentionDays[scope];
    return Math.min(chosenDays[scope] ?? given, retentionMax(plan, overrides, scope));
  };
  const limit = (name: LimitName): number | undefined => overrides.limits[name] ?? plan.limits[name];
  return {
    retentionDays: { logs: days('logs'), metrics: days('metrics'), traces: days('traces') },
    limits: {
      bytesPerSecond: limit('bytesPerSecond'),
      itemsPerSecond: limit('itemsPerSecond'),
      requestsAtOnce: limit('requestsAtOnce'),
      spoolMib: limit('spoolMib'),
      weight: limit('weight'),
    },
    bytesPerDay: overrides.bytesPerDay ?? plan.bytesPerDay,
    placement: overrides.placement ?? plan.placement,
  };
}

/** The longest retention that owners may choose: the plan's, or what the operator set where that is more. */
export function retentionMax(plan: Plan, overrides: PlanOverrides, scope: Scope): number {
  return Math.max(overrides.retentionDays[scope] ?? 0, plan.retentionDaysMax[scope]);
}

/** Throws BackworkError `invalid-input` when owners may not choose this. */
export function checkChosen(plan: Plan, choice: Omit<PlanChoice, 'plan'>): void {
  for (const scope of SCOPES) {
    const days = choice.chosenDays[scope];
    if (days === undefined) continue;
    checkDays(`retention of ${scope}`, days);
    const max = retentionMax(plan, choice.overrides, scope);
    if (days > max)
      throw new BackworkError('invalid-input', `retention of ${scope} ${days} days is over the ${max} of the plan`, {
        field: scope,
      });
  }
}

/** Throws BackworkError `invalid-input` naming what is wrong. */
export function checkOverrides(overrides: PlanOverrides): void {
  for (const scope of SCOPES) {
    const days = overrides.retentionDays[scope];
    if (days !== undefined) checkDays(`retention of ${scope}`, days);
  }
  checkLimits(overrides.limits);
  if (overrides.bytesPerDay !== undefined) checkBytesPerDay(overrides.bytesPerDay);
}

/** What the placement of an organization becomes, for what it sends from then on. */
export function placementUnder(
  wish: PlacementWish,
  { id, placement }: Pick<Organization, 'id' | 'placement'>,
  shared: string,
): string {
  if (wish === 'own') return id;
  return wish === 'shared' && placement === id ? shared : placement;
}

/** The plan of that name. Throws BackworkError `invalid-input` with the names there are. */
export function planOf(plans: ReadonlyMap<string, Plan>, name: string): Plan {
  const plan = plans.get(name);
  if (plan !== undefined) return plan;
  const names = [...plans.keys()].join(', ');
  throw new BackworkError('invalid-input', `there is no plan ${JSON.stringify(name)}: ${names}`, { field: 'plan' });
}

export function checkDays(what: string, days: number): void {
  if (RETENTION_CHOICES.includes(days)) return;
  throw new BackworkError('invalid-input', `${what} ${days} must be one of ${RETENTION_CHOICES.join(', ')} days`);
}

export function checkBytesPerDay(bytes: number): void {
  if (Number.isInteger(bytes) && bytes >= 0 && bytes <= BYTES_PER_DAY_MAX) return;
  throw new BackworkError(
    'invalid-input',
    `bytesPerDay ${bytes} must be a whole number from 0 to ${BYTES_PER_DAY_MAX}`,
  );
}

/** Limits without those that are undefined. */
export function namedLimits(limits: Partial<OrganizationLimits>): Partial<OrganizationLimits> {
  return Object.fromEntries(
    LIMIT_NAMES.filter((name) => limits[name] !== undefined).map((name) => [name, limits[name]]),
  );
}

export interface PlanEffect {
  readonly signal: Scope;
  readonly daysBefore: number;
  readonly days: number;
  /** What becomes of rows that are stored already. */
  readonly storedRows: 'keep-theirs' | 'held-to-it';
  /** A sentence. */
  readonly text: string;
}

/** What a change of retention does, signal by signal, for whoever made it (architecture section 5). */
export function effectsOf(
  before: Pick<Organization, 'retentionDays'>,
  after: Pick<Organization, 'retentionDays'>,
): PlanEffect[] {
  return SCOPES.filter((scope) => before.retentionDays[scope] !== after.retentionDays[scope]).map((signal) => {
    const [daysBefore, days] = [before.retentionDays[signal], after.retentionDays[signal]];
    const storedRows = days < daysBefore ? 'held-to-it' : 'keep-theirs';
    const stored =
      storedRows === 'held-to-it'
        ? `stored rows that are older are hidden at once and deleted within a day of the end of their bucket`
        : `stored rows keep the ${daysBefore} days they came with`;
    const text = `${signal}: what arrives from now on is kept ${days} days instead of ${daysBefore}; ${stored}`;
    return { signal, daysBefore, days, storedRows, text };
  });
}
