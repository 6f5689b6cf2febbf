/**
 * The catalogue of plans: the file that BACKWORK_PLANS_FILE names, or what stands here.
 *
 *     { "default": "free",                              plan of a new organization
 *       "plans": { "free": { "retentionDays": 3,        or { "logs": 3, "metrics": 7, "traces": 3 }; one of the short list
 *                            "retentionDaysMax": 7,     what owners may choose up to; without it what the plan gives
 *                            "limits": { "bytesPerSecond": …, "itemsPerSecond": …, "requestsAtOnce": …, "spoolMib": …, "weight": … },
 *                            "bytesPerDay": …, "placement": "auto" | "own" | "shared", "selfService": true } } }
 *
 * All that is left out is not limited, or as the settings say. A name that is not known is an error: a limit with a typing
 * mistake would be no limit.
 */
import { readFileSync } from 'node:fs';
import { BackworkError } from '../base/errors.ts';
import { checkLimits, LIMIT_NAMES, type OrganizationLimits } from './organization-limits.ts';
import { checkBytesPerDay, checkDays, PLACEMENT_WISHES, type Plan, type PlacementWish } from './plan.ts';
import { SCOPES, type Scope } from './token.ts';

export interface PlanCatalogue {
  readonly plans: ReadonlyMap<string, Plan>;
  /** Of a new organization. */
  readonly defaultPlan: Plan;
}

export interface PlanSettings {
  /** Path; '' for the catalogue of this file. */
  readonly plansFile: string;
  /** Of `self-hosted`. */
  readonly retentionDays: number;
}

type Json = Readonly<Record<string, unknown>>;

const RETENTION_MAX = 730;
const NAME = /^[a-z][a-z0-9-]{0,39}$/;
const PLAN_KEYS = ['retentionDays', 'retentionDaysMax', 'limits', 'bytesPerDay', 'placement', 'selfService'];
const GIB = 1_073_741_824;

/** Throws BackworkError `bad-setting` naming the file, the plan and the rule. */
export function loadPlanCatalogue({ plansFile, retentionDays }: PlanSettings): PlanCatalogue {
  if (plansFile === '') return parse(ownCatalogue(retentionDays));
  try {
    return parse(JSON.parse(readFileSync(plansFile, 'utf8')));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BackworkError('bad-setting', `BACKWORK_PLANS_FILE ${plansFile}: ${reason}`, { cause: error });
  }
}

/** `self-hosted` is what everybody has who has no file; the others are examples, for the operator to put organizations on. */
function ownCatalogue(retentionDays: number): Json {
  const MIB_PER_SECOND = 1_048_576;
  return {
    default: 'self-hosted',
    plans: {
      'self-hosted': { retentionDays, retentionDaysMax: RETENTION_MAX },
      free: {
        retentionDays: 3,
        limits: { bytesPerSecond: MIB_PER_SECOND, requestsAtOnce: 20, spoolMib: 256, weight: 1 },
        bytesPerDay: GIB,
        placement: 'shared',
      },
      team: {
        retentionDays: 14,
        retentionDaysMax: 30,
        limits: { bytesPerSecond: 10 * MIB_PER_SECOND, requestsAtOnce: 100, spoolMib: 2_048, weight: 10 },
        bytesPerDay: 50 * GIB,
      },
      business: {
        retentionDays: 90,
        retentionDaysMax: 365,
        limits: { bytesPerSecond: 50 * MIB_PER_SECOND, weight: 30 },
        bytesPerDay: 500 * GIB,
        placement: 'own',
      },
    },
  };
}

function parse(value: unknown): PlanCatalogue {
  const { default: defaultName, plans: given, ...others } = object('the file', value);
  refuseOthers('the file', Object.keys(others));
  const plans = new Map<string, Plan>();
  for (const [name, plan] of Object.entries(object('plans', given))) {
    if (!NAME.test(name)) throw wrong(`the plan's name ${JSON.stringify(name)} is not 1 to 40 of a-z, 0-9 and -`);
    plans.set(name, parsePlan(name, object(`plan ${name}`, plan)));
  }
  const defaultPlan = plans.get(String(defaultName));
  if (defaultPlan === undefined) throw wrong(`default ${JSON.stringify(defaultName)} is none of its plans`);
  return { plans, defaultPlan };
}

function parsePlan(name: string, given: Json): Plan {
  const where = `plan ${name}`;
  refuseOthers(
    where,
    Object.keys(given).filter((key) => !PLAN_KEYS.includes(key)),
  );
  const { placement = 'auto', selfService = false, bytesPerDay } = given;
  const retentionDays = days(`${where}: retentionDays`, given['retentionDays']);
  const retentionDaysMax = days(`${where}: retentionDaysMax`, given['retentionDaysMax'] ?? retentionDays);
  for (const scope of SCOPES) {
    if (retentionDaysMax[scope] < retentionDays[scope])
      throw wrong(`${where}: retentionDaysMax of ${scope} is the lesser`);
  }
  if (!PLACEMENT_WISHES.includes(placement as PlacementWish))
    throw wrong(`${where}: placement must be one of ${PLACEMENT_WISHES.join(', ')}`);
  if (typeof selfService !== 'boolean') throw wrong(`${where}: selfService must be true or false`);
  if (bytesPerDay !== undefined) checkBytesPerDay(number(`${where}: bytesPerDay`, bytesPerDay));
  return {
    ...{ name, retentionDays, retentionDaysMax, selfService },
    limits: limits(where, given['limits'] ?? {}),
    bytesPerDay: bytesPerDay as number | undefined,
    placement: placement as PlacementWish,
  };
}

function days(where: string, value: unknown): Record<Scope, number> {
  if (typeof value === 'number') return days(where, { logs: value, metrics: value, traces: value });
  const given = object(where, value);
  refuseOthers(
    where,
    Object.keys(given).filter((key) => !SCOPES.includes(key as Scope)),
  );
  const of = (scope: Scope): number => {
    const number_ = number(`${where}.${scope}`, given[scope]);
    checkDays(`${where}.${scope}`, number_);
    return number_;
  };
  return { logs: of('logs'), metrics: of('metrics'), traces: of('traces') };
}

function limits(where: string, value: unknown): OrganizationLimits {
  const given = object(`${where}: limits`, value);
  refuseOthers(
    `${where}: limits`,
    Object.keys(given).filter((key) => !LIMIT_NAMES.some((name) => name === key)),
  );
  const found = Object.fromEntries(
    LIMIT_NAMES.map((name) => [
      name,
      given[name] === undefined ? undefined : number(`${where}: limits.${name}`, given[name]),
    ]),
  ) as unknown as OrganizationLimits;
  checkLimits(found);
  return found;
}

function object(where: string, value: unknown): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw wrong(`${where} must be an object`);
}

function number(where: string, value: unknown): number {
  if (typeof value === 'number') return value;
  throw wrong(`${where} must be a number`);
}

function refuseOthers(where: string, keys: readonly string[]): void {
  if (keys.length > 0) throw wrong(`${where} has ${keys.join(', ')}, which means nothing here`);
}

function wrong(rule: string): BackworkError {
  return new BackworkError('bad-setting', rule);
}
