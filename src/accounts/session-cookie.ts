/**
 * The session cookie's value: a compact JWS (HS256 by jose) over the session's id. The signature tells garbage from cookies of
 * ours without a look-up; the row in the database decides whether the session lives (reference 2.4).
 *
 *   {alg: HS256, kid, typ: bw-session} . {sid, iss, aud, iat, exp} . signature
 */
import { errors, jwtVerify, SignJWT } from 'jose';
import type { KeyRing } from './key-ring.ts';
import { SESSION_AGE_MS } from './store/session-store.ts';

const TYPE = 'bw-session';
const ISSUER = 'backwork';
const AUDIENCE = 'backwork-api';
const SID = /^[A-Za-z0-9_-]{43}$/;

/** `sid`: 32 random bytes as base64url. */
export function signSession(sid: string, keys: KeyRing, nowMs: number): Promise<string> {
  const nowSeconds = Math.floor(nowMs / 1_000);
  return new SignJWT({ sid })
    .setProtectedHeader({ alg: 'HS256', kid: keys.current.id, typ: TYPE })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + SESSION_AGE_MS / 1_000)
    .sign(keys.current.bytes);
}

/** The id that was signed; undefined for whatever is not a cookie of ours, or is too old. */
export async function verifySession(cookie: string, keys: KeyRing, nowMs: number): Promise<string | undefined> {
  try {
    const { payload } = await jwtVerify(
      cookie,
      ({ kid }) => {
        const key = keys.find(kid ?? '');
        // Only names of ours: `jku`, `jwk` and `x5u` are never looked at.
        if (key === undefined) throw new errors.JWSInvalid('unknown key');
        return key.bytes;
      },
      { algorithms: ['HS256'], typ: TYPE, issuer: ISSUER, audience: AUDIENCE, currentDate: new Date(nowMs) },
    );
    const sid = payload['sid'];
    return typeof sid === 'string' && SID.test(sid) ? sid : undefined;
  } catch (error) {
    if (error instanceof errors.JOSEError) return undefined;
    throw error;
  }
}
