/**
 * What the API shows of things, and takes: one schema each, which validates, types and documents. Each is a list of what may be
 * seen, so a column that is added is not shown until somebody decides that it is. Times are ISO 8601 in UTC.
 */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { API_SCOPES, type ApiKey } from '../../accounts/api-key.ts';
import type { AuditEntry } from '../../accounts/audit.ts';
import type { Invitation } from '../../accounts/invitation.ts';
import type { Organization } from '../../accounts/organization.ts';
import { ROLES } from '../../accounts/role.ts';
import type { Session } from '../../accounts/store/session-store.ts';
import { TEAM_ROLES, type Team } from '../../accounts/team.ts';
import { SCOPES, type Token } from '../../accounts/token.ts';
import type { Membership, User } from '../../accounts/user.ts';
import { BackworkError } from '../../base/errors.ts';

const Time = z.iso.datetime().openapi({ example: '2026-11-24T12:00:00.000Z' });
const Name = z.string().min(1).max(100);
export const Email = z.string().min(3).max(254).openapi({ example: 'ada@example.com' });
/** Its length in bytes is for accounts/password.ts to judge. */
export const Password = z.string().min(1).max(1_024).openapi({ format: 'password' });
export const Code = z.string().min(6).max(40);
/** What a link holds, behind its `#`. */
export const LinkSecret = z.string().min(20).max(100);

export const Role = z.enum(ROLES).openapi('Role');
export const TeamRole = z.enum(TEAM_ROLES).openapi('TeamRole');
export const Signal = z.enum(SCOPES as [string, ...string[]]).openapi('Signal');
export const ApiScopeName = z.enum(API_SCOPES).openapi('ApiScope');

export const OrgParam = z.object({
  org: z
    .string()
    .min(1)
    .max(60)
    .openapi({ param: { name: 'org', in: 'path' }, description: 'Id or slug of the organization.' }),
});

/** Of a thing in an organization: `{org}` and its own id. */
export function orgAnd<const N extends string>(name: N, description: string) {
  const id = z
    .string()
    .min(1)
    .max(60)
    .openapi({ param: { name, in: 'path' }, description });
  return OrgParam.extend({ [name]: id } as Record<N, typeof id>);
}

export const UserShape = z
  .object({
    id: z.string(),
    email: z.string(),
    name: z.string(),
    emailVerified: z.boolean(),
    secondFactor: z.boolean(),
    createdAt: Time,
  })
  .openapi('User');

export function showUser(user: User): z.infer<typeof UserShape> {
  const { id, email, name, hasSecondFactor, createdAtMs } = user;
  const emailVerified = user.emailVerifiedAtMs !== undefined;
  return { id, email, name, emailVerified, secondFactor: hasSecondFactor, createdAt: iso(createdAtMs) };
}

export const SessionShape = z
  .object({ id: z.string(), createdAt: Time, seenAt: Time, current: z.boolean() })
  .openapi('Session');

/** A session is named by the front of its digest: enough to tell, nothing to use. */
export function sessionId({ digest }: Session): string {
  return digest.slice(0, 16);
}

export function showSession(session: Session, current: Session): z.infer<typeof SessionShape> {
  const times = { createdAt: iso(session.createdAtMs), seenAt: iso(session.seenAtMs) };
  return { id: sessionId(session), ...times, current: session.digest === current.digest };
}

export const NewOrganization = z.object({ name: Name, slug: z.string().min(1).max(40).optional() }).strict();
export const OrganizationChange = z.object({ name: Name }).strict();
export const OrganizationShape = z
  .object({
    id: z.string(),
    slug: z.string(),
    name: z.string(),
    placement: z.enum(['own', 'shared']),
    retentionDays: z.object({ logs: z.int(), metrics: z.int(), traces: z.int() }),
    disabled: z.boolean(),
    role: Role.optional().openapi({ description: 'Yours; absent for API keys.' }),
    createdAt: Time,
  })
  .openapi('Organization');

export function showOrganization(organization: Organization, role?: string): z.infer<typeof OrganizationShape> {
  const { id, slug, name, placement, retentionDays, disabledAtMs, createdAtMs } = organization;
  return {
    ...{ id, slug, name, retentionDays: { ...retentionDays } },
    placement: placement === id ? 'own' : 'shared',
    disabled: disabledAtMs !== undefined,
    ...(role === undefined ? {} : { role: role as z.infer<typeof Role> }),
    createdAt: iso(createdAtMs),
  };
}

export const MemberShape = z
  .object({ userId: z.string(), email: z.string(), name: z.string(), role: Role, since: Time })
  .openapi('Member');

export function showMember(membership: Membership, user: User): z.infer<typeof MemberShape> {
  const { email, name } = user;
  return { userId: user.id, email, name, role: membership.role, since: iso(membership.createdAtMs) };
}

export const InvitationShape = z
  .object({ id: z.string(), email: z.string(), role: Role, invitedBy: z.string(), createdAt: Time, expiresAt: Time })
  .openapi('Invitation');

export function showInvitation(invitation: Invitation): z.infer<typeof InvitationShape> {
  const { id, email, role, invitedBy, createdAtMs, expiresAtMs } = invitation;
  return { id, email, role, invitedBy, createdAt: iso(createdAtMs), expiresAt: iso(expiresAtMs) };
}

export const NewTeam = z.object({ name: Name }).strict();
export const TeamShape = z.object({ id: z.string(), name: z.string(), createdAt: Time }).openapi('Team');

export function showTeam({ id, name, createdAtMs }: Team): z.infer<typeof TeamShape> {
  return { id, name, createdAt: iso(createdAtMs) };
}

export const NewToken = z
  .object({
    name: Name,
    scopes: z.array(Signal).min(1).max(SCOPES.length).optional().openapi({ description: 'All signals without it.' }),
    expiresAt: Time.optional().openapi({ description: 'Never without it.' }),
  })
  .strict();
export const TokenShape = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(Signal),
    createdAt: Time,
    expiresAt: Time.nullable(),
    revokedAt: Time.nullable(),
    rotatedFrom: z.string().nullable(),
    live: z.boolean(),
  })
  .openapi('IngestToken');

export function showToken(token: Token, live: boolean): z.infer<typeof TokenShape> {
  const { id, name, scopes, createdAtMs, expiresAtMs, revokedAtMs, rotatedFrom } = token;
  const times = { createdAt: iso(createdAtMs), expiresAt: isoOrNull(expiresAtMs), revokedAt: isoOrNull(revokedAtMs) };
  return { id, name, scopes: [...scopes], ...times, rotatedFrom: rotatedFrom ?? null, live };
}

export const NewApiKey = z
  .object({ name: Name, scopes: z.array(ApiScopeName).min(1).max(API_SCOPES.length), expiresAt: Time.optional() })
  .strict();
export const ApiKeyShape = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(ApiScopeName),
    createdBy: z.string(),
    createdAt: Time,
    expiresAt: Time.nullable(),
    revokedAt: Time.nullable(),
    usedAt: Time.nullable().openapi({ description: 'To within five minutes.' }),
  })
  .openapi('ApiKey');

export function showApiKey(key: ApiKey): z.infer<typeof ApiKeyShape> {
  const { id, name, scopes, createdBy, createdAtMs, expiresAtMs, revokedAtMs, usedAtMs } = key;
  const ends = { expiresAt: isoOrNull(expiresAtMs), revokedAt: isoOrNull(revokedAtMs), usedAt: isoOrNull(usedAtMs) };
  return { id, name, scopes: [...scopes], createdBy, createdAt: iso(createdAtMs), ...ends };
}

export const AuditShape = z
  .object({
    number: z.int(),
    at: Time,
    actor: z.string(),
    action: z.string(),
    target: z.string(),
    result: z.enum(['done', 'refused']),
    hash: z.string(),
  })
  .openapi('AuditEntry');

export function showAudit({
  number,
  atMs,
  actor,
  action,
  target,
  result,
  hash,
}: AuditEntry): z.infer<typeof AuditShape> {
  return { number, at: iso(atMs), actor, action, target, result, hash };
}

// ---------------------------------------------------------------- pages and versions

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 200;

export const PageQuery = z.object({
  after: z.string().max(60).optional().openapi({ description: '`next` of the page before.' }),
  limit: z.coerce.number().int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT),
});

export function pageOf<T extends z.ZodType>(item: T) {
  const next = z.string().nullable().openapi({ description: 'For `after`; null on the last page.' });
  return z.object({ items: z.array(item), next });
}

/** The page behind the item with the id `after`. Throws `invalid-input` when there is none. */
export function page<Item, Shown>(
  items: readonly Item[],
  idOf: (item: Item) => string,
  show: (item: Item) => Shown,
  { after, limit }: z.infer<typeof PageQuery>,
): { items: Shown[]; next: string | null } {
  let from = 0;
  if (after !== undefined) {
    from = items.findIndex((item) => idOf(item) === after) + 1;
    if (from === 0) throw new BackworkError('invalid-input', 'there is no such page: begin anew', { field: 'after' });
  }
  const some = items.slice(from, from + limit);
  const last = some.at(-1);
  const more = last !== undefined && from + limit < items.length;
  return { items: some.map(show), next: more ? idOf(last) : null };
}

/** The version of a thing for `ETag`. */
export function etag({ revision }: { readonly revision: number }): string {
  return `"${revision}"`;
}

/** Throws `precondition-failed` when the client has seen another version. */
export function checkVersion(c: Context, thing: { readonly revision: number }): void {
  const seen = c.req.header('if-match');
  if (seen === undefined || seen === '*' || seen.split(',').some((one) => one.trim() === etag(thing))) return;
  throw new BackworkError('precondition-failed', 'it was changed since you read it: read it again');
}

export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : iso(ms);
}
