/** What stands before every route: the steps that endpoint.ts draws. Whatever throws here is a refusal; nothing goes on. */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { clientKey, type Rate, RateLimiter } from '../../accounts/attempts.ts';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { mayAs } from '../../accounts/role.ts';
import { AUTHENTICATED_MS } from '../../accounts/store/session-store.ts';
import { BackworkError } from '../../base/errors.ts';
import { type Access, type Env, type Guard, RATE_CLASSES, type RateClass, type Rules } from './endpoint.ts';
import { actorOf, authenticate, type Principal, requirePerson } from './principal.ts';

export interface GuardDeps {
  readonly plane: ControlPlane;
  /** Origin of the pages that may call with a cookie: `https://backwork.example.com`. */
  readonly originOf: (c: Context) => string;
  /** Address of the client, by the rightmost hop that is trusted. */
  readonly addressOf: (c: Context) => string;
}

/** For each client; logins and mails for all together too (reference 2.3). */
const RATES: Readonly<Record<RateClass, Rate>> = {
  read: { countMax: 600, perMs: 60_000 },
  write: { countMax: 120, perMs: 60_000 },
  login: { countMax: 30, perMs: 60_000 },
  mail: { countMax: 10, perMs: 60_000 },
};
const ALL_CLIENTS = 20;
/** Shown once: a stored answer has null in their place. */
const SHOWN_ONCE: ReadonlySet<string> = new Set(['token', 'key', 'recoveryCodes', 'link']);
const KEY_FORM = /^[\x21-\x7e]{8,100}$/;

export function createGuard(deps: GuardDeps): Guard {
  const limiters = new Map(RATE_CLASSES.map((name) => [name, new RateLimiter(RATES[name])]));
  const global = new Map(
    RATE_CLASSES.map((name) => [
      name,
      new RateLimiter({ ...RATES[name], countMax: RATES[name].countMax * ALL_CLIENTS }),
    ]),
  );
  return (rules) => async (c, next) => {
    const nowMs = deps.plane.nowMs();
    limiters.get(rules.rate)?.take(clientKey(deps.addressOf(c)), nowMs);
    if (rules.rate === 'login' || rules.rate === 'mail') global.get(rules.rate)?.take('', nowMs);
    requireJson(c);
    if (rules.access.kind === 'public') requireOwnOrigin(c, deps, false);
    else await admit(c, deps, rules, nowMs);
    if (rules.creates === true) return once(c, deps.plane, next);
    await next();
    return undefined;
  };
}

async function admit(c: Context<Env>, deps: GuardDeps, rules: Rules, nowMs: number): Promise<void> {
  const principal = await authenticate(c, deps.plane);
  if (principal.kind === 'user') requireOwnOrigin(c, deps, true);
  c.set('principal', principal);
  if (rules.access.kind === 'user') requirePerson(principal);
  if (rules.access.kind === 'organization') await requireRole(c, deps.plane, principal, rules.access);
  if (rules.confirmed === true && principal.kind === 'user') {
    if (nowMs - principal.session.authenticatedAtMs >= AUTHENTICATED_MS)
      throw new BackworkError('confirmation-needed', 'give the password once more: POST /api/v1/session/confirmation');
  }
}

/** A foreign organization is one that is not there. */
async function requireRole(
  c: Context<Env>,
  plane: ControlPlane,
  principal: Principal,
  access: Extract<Access, { kind: 'organization' }>,
): Promise<void> {
  const none = () => new BackworkError('not-found', 'there is no such organization');
  const organization = await plane.accounts.organizations.find(c.req.param('org') ?? '');
  if (organization === undefined) throw none();
  c.set('organization', organization);
  if (principal.kind === 'key') {
    const { key } = principal;
    if (key.orgId !== organization.id) throw none();
    if (access.scope === undefined) requirePerson(principal);
    else if (!key.scopes.includes(access.scope))
      throw new BackworkError('forbidden', `this needs an API key with the scope ${access.scope}`);
    c.set('role', undefined);
    return;
  }
  const membership = await plane.accounts.users.membership(principal.user.id, organization.id);
  if (membership === undefined) throw none();
  if (!mayAs(membership.role, access.role))
    throw new BackworkError('forbidden', `this needs the role ${access.role}; yours is ${membership.role}`);
  c.set('role', membership.role);
}

function isUnsafe(c: Context): boolean {
  return c.req.method !== 'GET' && c.req.method !== 'HEAD';
}

/**
 * Against requests that another site makes a browser send (CSRF): with a cookie, what changes something must say that it comes from
 * our own pages. Without one there is nothing to ride on, but an origin that is said must be ours all the same.
 */
function requireOwnOrigin(c: Context, { originOf }: GuardDeps, hasCookie: boolean): void {
  if (!isUnsafe(c)) return;
  const origin = c.req.header('origin');
  const site = c.req.header('sec-fetch-site');
  const own = originOf(c);
  if (origin === undefined ? hasCookie : origin !== own)
    throw new BackworkError('forbidden', `with a session cookie the header Origin must be ${own}`);
  if (site !== undefined && site !== 'same-origin')
    throw new BackworkError('forbidden', 'requests of other sites are refused');
}

/** Only JSON: a form of another site cannot send it. */
function requireJson(c: Context): void {
  if (!isUnsafe(c)) return;
  const length = c.req.header('content-length');
  const hasBody = c.req.header('transfer-encoding') !== undefined || (length !== undefined && length !== '0');
  const type = c.req.header('content-type') ?? '';
  if ((hasBody || type !== '') && !/^application\/json\s*(;|$)/i.test(type))
    throw new BackworkError('unsupported-content-type', 'the body must be application/json');
}

/** The same creation sent again, because its answer was lost, is answered and not done. */
async function once(c: Context<Env>, plane: ControlPlane, next: () => Promise<void>): Promise<Response | undefined> {
  const key = c.req.header('idempotency-key');
  if (key === undefined) {
    await next();
    return undefined;
  }
  if (!KEY_FORM.test(key))
    throw new BackworkError('invalid-input', 'an Idempotency-Key has 8 to 100 visible ASCII characters', {
      field: 'Idempotency-Key',
    });
  const { idempotency } = plane.accounts;
  const digest = sha256([actorOf(c.get('principal')), c.req.method, c.req.path, key].join('\n'));
  const begun = await idempotency.begin(digest, sha256(await c.req.text()), plane.nowMs());
  if (begun.kind === 'other-request')
    throw new BackworkError('conflict', 'this Idempotency-Key was used with another body');
  if (begun.kind === 'running')
    throw new BackworkError('conflict', 'the first request with this Idempotency-Key has not ended yet');
  if (begun.kind === 'again') {
    const { status, body } = begun.answer;
    const headers = { 'content-type': 'application/json', 'idempotency-replayed': 'true' };
    return new Response(plane.keptAnswers.open(digest, body), { status, headers });
  }
  await next();
  if (c.res.ok) {
    const body = plane.keptAnswers.seal(digest, await withoutSecrets(c.res.clone()));
    await idempotency.finish(digest, { status: c.res.status, body });
  } else await idempotency.forget(digest);
  return undefined;
}

async function withoutSecrets(response: Response): Promise<string> {
  return JSON.stringify(await response.json(), (name, value: unknown) => (SHOWN_ONCE.has(name) ? null : value));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
