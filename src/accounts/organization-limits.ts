/**
 * What an organization may use: its own limits, where it has any, before the defaults of the settings. Type, rules, pure
 * functions; ingest enforces them (ingest/limits).
 */
import { BackworkError } from '../base/errors.ts';
import { ORGANIZATION_WEIGHT_MAX } from '../base/limits.ts';

/** undefined: the default of the settings. 0: no limit, whatever the settings say. */
export interface OrganizationLimits {
  readonly bytesPerSecond: number | undefined;
  readonly itemsPerSecond: number | undefined;
  readonly requestsAtOnce: number | undefined;
  readonly spoolMib: number | undefined;
  /** 1 to 100; undefined: 10. */
  readonly weight: number | undefined;
}
export type LimitName = keyof OrganizationLimits;

interface Rule {
  readonly min: number;
  readonly max: number;
}

/** As the settings bound the defaults (settings/settings.ts). */
export const LIMIT_RULES: Readonly<Record<LimitName, Rule>> = {
  bytesPerSecond: { min: 0, max: 1_000_000_000_000 },
  itemsPerSecond: { min: 0, max: 1_000_000_000 },
  requestsAtOnce: { min: 0, max: 1_000_000 },
  spoolMib: { min: 0, max: 1_048_576 },
  weight: { min: 1, max: ORGANIZATION_WEIGHT_MAX },
};
export const LIMIT_NAMES = Object.keys(LIMIT_RULES) as readonly LimitName[];

/** Throws BackworkError `invalid-input` naming the limit, its bounds and the value. */
export function checkLimits(limits: Partial<OrganizationLimits>): void {
  for (const name of LIMIT_NAMES) {
    const value = limits[name];
    const { min, max } = LIMIT_RULES[name];
    if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) continue;
    throw new BackworkError('invalid-input', `${name} ${value} must be a whole number from ${min} to ${max}`);
  }
}
