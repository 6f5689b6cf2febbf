/** Who calls: a person by the session cookie, or a script by its API key. Never both, and a key is never read from a cookie. */
import { timingSafeEqual } from 'node:crypto';
import type { Context } from 'hono';
import { getCookie } from 'hono/cookie';
import type { ApiKey } from '../../accounts/api-key.ts';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import type { Session } from '../../accounts/store/session-store.ts';
import type { User } from '../../accounts/user.ts';
import { BackworkError } from '../../base/errors.ts';
import { parseToken } from '../../base/token-format.ts';

export type Principal =
  | { readonly kind: 'user'; readonly user: User; readonly session: Session }
  | { readonly kind: 'key'; readonly key: ApiKey };

/** `__Host-`: with Secure, Path=/ and no Domain, so no other host can set it (RFC 6265bis). */
export const SESSION_COOKIE = '__Host-bw_session';

/** Who calls, when it is a person. Throws `forbidden` for an API key. */
export function requirePerson(principal: Principal): Extract<Principal, { kind: 'user' }> {
  if (principal.kind === 'user') return principal;
  throw new BackworkError('forbidden', 'this is for people: an API key cannot do it');
}

/** For the audit log. */
export function actorOf(principal: Principal): string {
  return principal.kind === 'user' ? principal.user.id : `key:${principal.key.id}`;
}

/** Throws `unauthenticated`. */
export async function authenticate(c: Context, plane: ControlPlane): Promise<Principal> {
  const header = c.req.header('authorization');
  return header === undefined ? bySession(c, plane) : byKey(header, plane);
}

async function bySession(c: Context, plane: ControlPlane): Promise<Principal> {
  const cookie = getCookie(c, SESSION_COOKIE);
  if (cookie === undefined) throw new BackworkError('unauthenticated', 'log in, or send an API key');
  const session = await plane.sessions.of(cookie);
  const user = session === undefined ? undefined : await plane.accounts.users.find(session.userId);
  if (session === undefined || user === undefined || user.disabledAtMs !== undefined)
    throw new BackworkError('unauthenticated', 'the session is over: log in again');
  return { kind: 'user', user, session };
}

async function byKey(header: string, plane: ControlPlane): Promise<Principal> {
  const [, text] = /^Bearer ([^\s]+)$/i.exec(header) ?? [];
  const parsed = text === undefined ? undefined : parseToken(text);
  const wrong = () => new BackworkError('unauthenticated', 'this is no API key that is live');
  if (parsed?.kind === 'ing')
    throw new BackworkError('unauthenticated', 'this is an ingest token: the API takes an API key (bw_api_…)');
  if (parsed?.kind !== 'api') throw wrong();
  const found = await plane.accounts.apiKeys.use(parsed.id, plane.nowMs());
  const digest = Buffer.from(plane.digestOf(parsed.token), 'hex');
  if (found === undefined || !timingSafeEqual(digest, found.digest)) throw wrong();
  return { kind: 'key', key: found.key };
}
