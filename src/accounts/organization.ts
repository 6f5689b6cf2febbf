/**
 * An organization: whose data it is, where it is placed and how long it is kept. Type, rules, pure functions; the rows
 * are in accounts/store.
 */
import { crc32 } from 'node:zlib';
import { BackworkError } from '../base/errors.ts';
import type { OrganizationLimits } from './organization-limits.ts';
import type { Plan, PlanOverrides } from './plan.ts';
import type { Scope } from './token.ts';

export interface Organization {
  /** `org_` and 16 base32 characters. Never changes and is never given again. */
  readonly id: string;
  /** Unique; what people type. The first organization's is `default`. */
  readonly slug: string;
  readonly name: string;
  /** The id (partitions of its own) or `shared-<k>`. */
  readonly placement: string;
  /** In force, as all that ingest reads: worked out from plan, overrides and choice (plan.ts). */
  readonly retentionDays: Readonly<Record<Scope, number>>;
  /** Set: ingest answers `forbidden`; data is kept. */
  readonly disabledAtMs: number | undefined;
  readonly limits: OrganizationLimits;
  /** Undefined: no limit. */
  readonly bytesPerDay: number | undefined;
  /** Set, and not past: the volume of the day is used up, and ingest refuses until then. */
  readonly refusedUntilMs: number | undefined;
  /** Name of a plan of the catalogue. */
  readonly plan: string;
  readonly overrides: PlanOverrides;
  readonly chosenDays: Readonly<Partial<Record<Scope, number>>>;
  readonly createdAtMs: number;
  readonly revision: number;
}

/** What the one who makes an organization decides. */
export interface NewOrganization {
  readonly name: string;
  /** Derived from the name, and made unique by a number, when it is not given. */
  readonly slug?: string;
  readonly plan: Plan;
  /** What differs from the plan's retention; up to the plan's most. */
  readonly chosenDays?: Readonly<Partial<Record<Scope, number>>>;
  readonly createdAtMs: number;
  /** User who becomes its owner with it; an organization of the command line has none until somebody is invited. */
  readonly ownerId?: string;
}

export interface PlacementRules {
  /** Organizations that get partitions of their own. */
  readonly ownPlacementsMax: number;
  /** Buckets that the others share. */
  readonly sharedPlacements: number;
}

export const DEFAULT_SLUG = 'default';
export const SLUG_LENGTH_MAX = 40;
const NAME_LENGTH_MAX = 100;
const ID_BYTES = 10;
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const SLUG = /^[a-z]([a-z0-9-]*[a-z0-9])?$/;
/** Shared placements with a server, where partitions cost less than in the embedded engine, which has one. */
const SHARED_PLACEMENTS_SERVER = 16;

/** The rules of placement that follow from the settings (architecture section 5). */
export function placementRules(settings: {
  readonly ownPlacementsMax: number;
  readonly clickhouseUrl: string;
}): PlacementRules {
  const sharedPlacements = settings.clickhouseUrl === '' ? 1 : SHARED_PLACEMENTS_SERVER;
  return { ownPlacementsMax: settings.ownPlacementsMax, sharedPlacements };
}

/** A new id: 80 random bits as lower-case base32 of RFC 4648. `random` gives that many bytes of a CSPRNG. */
export function newOrganizationId(random: (bytes: number) => Uint8Array): string {
  let bits = 0n;
  for (const byte of random(ID_BYTES)) bits = (bits << 8n) | BigInt(byte);
  let digits = '';
  for (let shift = 8 * ID_BYTES - 5; shift >= 0; shift -= 5) digits += BASE32[Number((bits >> BigInt(shift)) & 31n)];
  return `org_${digits}`;
}

export function isOrganizationId(text: string): boolean {
  return /^org_[a-z2-7]{16}$/.test(text);
}

/** Own while fewer than the maximum exist, else a bucket by the id's hash. Decided once; moves for new data only. */
export function choosePlacement(id: string, ownPlacements: number, rules: PlacementRules): string {
  return ownPlacements < rules.ownPlacementsMax ? id : `shared-${crc32(id) % rules.sharedPlacements}`;
}

/** Throws BackworkError `invalid-input` naming the rule. A slug cannot look like an id: it has no underscore. */
export function checkSlug(slug: string): string {
  if (slug.length > SLUG_LENGTH_MAX || !SLUG.test(slug)) {
    const rule = `1 to ${SLUG_LENGTH_MAX} of a-z, 0-9 and -, the first a letter, the last not -`;
    throw new BackworkError('invalid-input', `slug ${JSON.stringify(slug)} must be ${rule}`);
  }
  return slug;
}

/** 1 to 100 characters, no control characters, no blanks around them; throws BackworkError `invalid-input`. */
export function checkName(name: string): string {
  if (name.length === 0 || name.length > NAME_LENGTH_MAX || name.trim() !== name || /\p{C}/u.test(name)) {
    const rule = `1 to ${NAME_LENGTH_MAX} printable characters without blanks around them`;
    throw new BackworkError('invalid-input', `name ${JSON.stringify(name)} must be ${rule}`);
  }
  return name;
}

/** A slug made of a name: `Café Niño 2` becomes `cafe-nino-2`; `org` where nothing of the name can stand in a slug. */
export function slugOf(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const joined = plain.replace(/[^a-z0-9]+/g, '-').replace(/^[^a-z]+/, '');
  return joined.slice(0, SLUG_LENGTH_MAX).replace(/-+$/, '') || 'org';
}

/** The first of `slug`, `slug-2`, `slug-3`, … that is not taken. */
export function freeSlug(slug: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const suffix = number === 1 ? '' : `-${number}`;
    const candidate = slug.slice(0, SLUG_LENGTH_MAX - suffix.length).replace(/-+$/, '') + suffix;
    if (!taken.has(candidate)) return candidate;
  }
}
