/** Sessions of people: a cookie that is signed, over a row that decides. What is stored of the cookie's id is a keyed hash. */
import type { KeyRing } from './key-ring.ts';
import { signSession, verifySession } from './session-cookie.ts';
import type { Session, SessionStore } from './store/session-store.ts';

export interface Sessions {
  /** Begins one; the cookie's value is shown once. */
  begin(userId: string): Promise<{ cookie: string; session: Session }>;
  /** The live session that a cookie names. */
  of(cookie: string): Promise<Session | undefined>;
  /** The same session under a new cookie, after its owner gave the password again or got other rights. */
  renew(session: Session, authenticated: boolean): Promise<{ cookie: string; session: Session } | undefined>;
}

export interface SessionsDeps {
  readonly store: SessionStore;
  readonly keys: () => KeyRing;
  readonly newSecret: () => { readonly secret: string; readonly digest: string };
  readonly digestOf: (secret: string) => string;
  readonly nowMs: () => number;
}

export function createSessions({ store, keys, newSecret, digestOf, nowMs }: SessionsDeps): Sessions {
  return {
    async begin(userId) {
      const { secret, digest } = newSecret();
      const session = await store.create(digest, userId, nowMs());
      return { cookie: await signSession(secret, keys(), nowMs()), session };
    },
    async of(cookie) {
      const sid = await verifySession(cookie, keys(), nowMs());
      return sid === undefined ? undefined : store.use(digestOf(sid), nowMs());
    },
    async renew(session, authenticated) {
      const { secret, digest } = newSecret();
      const renewed = await store.renew(session.digest, digest, nowMs(), authenticated);
      return renewed === undefined
        ? undefined
        : { cookie: await signSession(secret, keys(), nowMs()), session: renewed };
    },
  };
}
