/**
 * An API key: the right of a script to call the API for one organization, as far as its scopes say. It belongs to the
 * organization, not to who made it, so it goes on when that person leaves; what is stored is a keyed digest, as of an ingest token.
 */
import { BackworkError } from '../base/errors.ts';

export const API_SCOPES = [
  'organization:read',
  'members:read',
  'tokens:read',
  'tokens:write',
  'usage:read',
  'audit:read',
] as const;
export type ApiScope = (typeof API_SCOPES)[number];

export interface ApiKey {
  /** Public: 12 base62 digits of the key. */
  readonly id: string;
  readonly orgId: string;
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly pepperId: string;
  /** Id of the user. */
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  /** To within API_KEY_USED_EVERY_MS. */
  readonly usedAtMs: number | undefined;
  readonly revision: number;
}

/** How often a use is written down: a request is no write. */
export const API_KEY_USED_EVERY_MS = 300_000;
export const API_KEYS_PER_ORGANIZATION_MAX = 100;

/** Whether the key opens anything at this time. */
export function isLiveKey(key: Pick<ApiKey, 'expiresAtMs' | 'revokedAtMs'>, nowMs: number): boolean {
  return key.revokedAtMs === undefined && (key.expiresAtMs === undefined || nowMs < key.expiresAtMs);
}

/** Each once, in the order of API_SCOPES. Throws `invalid-input` for none and for unknown ones. */
export function checkApiScopes(names: readonly string[]): ApiScope[] {
  const unknown = names.find((name) => !(API_SCOPES as readonly string[]).includes(name));
  const rule = `scopes of an API key are ${API_SCOPES.join(', ')}`;
  if (unknown !== undefined) throw new BackworkError('invalid-input', `${JSON.stringify(unknown)} is unknown: ${rule}`);
  if (names.length === 0) throw new BackworkError('invalid-input', `an API key needs at least one scope; ${rule}`);
  return API_SCOPES.filter((scope) => names.includes(scope));
}
