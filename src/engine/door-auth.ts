/** Who may talk to the door: one user, whose name and password stand in engine.json. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { exception } from './exception.ts';

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/**
 * Takes basic auth, X-ClickHouse-User and X-ClickHouse-Key, or `user` and `password` of the URL, in that order. Throws
 * 194 (HTTP 401) when there are none and 516 (HTTP 403) when they are wrong. The time taken tells nothing of how wrong.
 */
export function authenticate(request: IncomingMessage, url: URL, expected: Credentials): void {
  const given = basic(request) ?? headers(request) ?? parameters(url);
  if (given === undefined) {
    throw exception('REQUIRED_PASSWORD', 'Authentication failed: user and password are required');
  }
  const user = equal(given.user, expected.user);
  const password = equal(given.password, expected.password);
  if (user && password) return;
  const message = 'Authentication failed: password is incorrect, or there is no user with such name';
  throw exception('AUTHENTICATION_FAILED', message);
}

function basic(request: IncomingMessage): Credentials | undefined {
  const match = /^basic\s+(\S+)$/i.exec(request.headers.authorization ?? '');
  if (match?.[1] === undefined) return undefined;
  const [user = '', ...password] = Buffer.from(match[1], 'base64').toString('utf8').split(':');
  return { user, password: password.join(':') };
}

function headers(request: IncomingMessage): Credentials | undefined {
  const user = request.headers['x-clickhouse-user'];
  if (user === undefined) return undefined;
  return { user: String(user), password: String(request.headers['x-clickhouse-key'] ?? '') };
}

function parameters(url: URL): Credentials | undefined {
  const user = url.searchParams.get('user');
  if (user === null) return undefined;
  return { user, password: url.searchParams.get('password') ?? '' };
}

function equal(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
