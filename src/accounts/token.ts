/**
 * An ingest token: the right to send an organization's telemetry. Type, rules, pure functions; the rows are in
 * accounts/store. What is stored is a keyed digest, so a token can be shown once, when it is made, and never again.
 */
import { BackworkError } from '../base/errors.ts';
import type { KeyedHash } from '../base/keyed-hash.ts';
import { makeToken, type TokenKind } from '../base/token-format.ts';
import type { Pepper } from './key-file.ts';

/** What an ingest token may send; the names of OTLP's signals. */
export type Scope = 'logs' | 'metrics' | 'traces';
export const SCOPES: readonly Scope[] = ['logs', 'metrics', 'traces'];

export interface Token {
  /** Public: 12 base62 characters of the token. */
  readonly id: string;
  readonly orgId: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly pepperId: string;
  readonly createdAtMs: number;
  /** From here on it opens nothing; rotation sets it to the end of the overlap. */
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  /** Id of the token whose place this one took. */
  readonly rotatedFrom: string | undefined;
  readonly revision: number;
}

/** What is stored of a token that was just made. */
export interface TokenSecret {
  readonly id: string;
  /** Keyed BLAKE2b-256 of the whole token, 64 hex digits. */
  readonly digest: string;
  readonly pepperId: string;
}

export interface NewToken extends TokenSecret {
  readonly orgId: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
}

export const OVERLAP_MS_DEFAULT = 24 * 3_600_000;
export const OVERLAP_MS_MAX = 7 * 24 * 3_600_000;
export const LIVE_PER_NAME_MAX = 2;

export interface SecretDeps {
  readonly pepper: Pepper;
  readonly hash: KeyedHash;
  /** That many bytes of a CSPRNG. */
  readonly random: (bytes: number) => Uint8Array;
}

/** Makes a token. `token` is shown to its owner once and kept nowhere; `stored` is what the database gets. */
export function newTokenSecret(kind: TokenKind, deps: SecretDeps): { token: string; stored: TokenSecret } {
  const { token, id } = makeToken(kind, deps.random);
  const digest = Buffer.from(deps.hash(deps.pepper.key, Buffer.from(token, 'latin1'))).toString('hex');
  return { token, stored: { id, digest, pepperId: deps.pepper.id } };
}

/** Whether the token opens anything at this time. */
export function isLive(token: Pick<Token, 'expiresAtMs' | 'revokedAtMs'>, nowMs: number): boolean {
  return token.revokedAtMs === undefined && (token.expiresAtMs === undefined || nowMs < token.expiresAtMs);
}

/** Throws BackworkError `conflict` when one more token of this name would make three live ones. */
export function checkLivePerName(name: string, live: readonly Token[]): void {
  if (live.length < LIVE_PER_NAME_MAX) return;
  const ids = live.map((token) => token.id).join(' and ');
  const rule = `at most ${LIVE_PER_NAME_MAX} live tokens of one organization may have one name`;
  throw new BackworkError('conflict', `${rule}, and ${ids} are named ${JSON.stringify(name)}: revoke one first`);
}

export interface Rotation {
  readonly next: NewToken;
  /** When the old token ends: now (it is revoked), or later (it expires). */
  readonly oldEndsAtMs: number;
}

/**
 * What rotating means: the new token has the old one's organization, name and scopes, and its lifetime from now if it
 * had one; the old one ends after the overlap, never later than it would have. `live` are the live tokens of the same
 * name, the old one among them. Throws BackworkError: `conflict` (not live, already rotated, two live), `invalid-input`
 * (overlap).
 */
export function planRotation(
  old: Token,
  live: readonly Token[],
  secret: TokenSecret,
  overlapMs: number,
  nowMs: number,
): Rotation {
  if (!(overlapMs >= 0 && overlapMs <= OVERLAP_MS_MAX)) {
    throw new BackworkError('invalid-input', `overlap must be 0 to 7 days, not ${overlapMs / 3_600_000} hours`);
  }
  if (!isLive(old, nowMs))
    throw new BackworkError('conflict', `token ${old.id} is revoked or expired: create a new one`);
  const successor = live.find((token) => token.rotatedFrom === old.id);
  if (successor !== undefined) {
    throw new BackworkError('conflict', `token ${old.id} was rotated already: ${successor.id} has its place`);
  }
  checkLivePerName(old.name, overlapMs === 0 ? live.filter((token) => token.id !== old.id) : live);
  const expiresAtMs = old.expiresAtMs === undefined ? undefined : nowMs + (old.expiresAtMs - old.createdAtMs);
  return {
    next: { ...secret, orgId: old.orgId, name: old.name, scopes: old.scopes, createdAtMs: nowMs, expiresAtMs },
    oldEndsAtMs: Math.min(nowMs + overlapMs, old.expiresAtMs ?? Number.POSITIVE_INFINITY),
  };
}

/** `logs,traces` in any order, each once; throws BackworkError `invalid-input`. The result has SCOPES' order. */
export function parseScopes(text: string): Scope[] {
  const names = text.split(',');
  const unknown = names.find((name) => !SCOPES.includes(name as Scope));
  if (unknown !== undefined) {
    const rule = `scopes are ${SCOPES.join(', ')}, joined by commas`;
    throw new BackworkError('invalid-input', `scope ${JSON.stringify(unknown)} is unknown: ${rule}`);
  }
  return SCOPES.filter((scope) => names.includes(scope));
}
