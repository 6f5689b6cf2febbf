/** Sign-up, login, links that were mailed: what one may do before being logged in, and the session itself. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { deleteCookie, setCookie } from 'hono/cookie';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { SESSION_AGE_MS } from '../../accounts/store/session-store.ts';
import { BackworkError } from '../../base/errors.ts';
import { body, type Env, endpoint, json, problem, type Router } from './endpoint.ts';
import { authenticate, requirePerson, SESSION_COOKIE } from './principal.ts';
import { Code, Email, LinkSecret, Password, showUser, UserShape } from './shapes.ts';

export interface AccountRouteDeps {
  readonly plane: ControlPlane;
  /** Whether the cookie is safe on its way: TLS, or a client on this machine. */
  readonly isSecure: (c: Context) => boolean;
}

const OPEN_MAIL = { access: { kind: 'public' }, rate: 'mail' } as const;
const TAGS = ['Account'];

const SignUp = z
  .object({
    email: Email,
    name: z.string().min(1).max(100),
    password: Password,
    ageConfirmed: z.boolean().openapi({ description: 'That you are 16 or older. No birth date is asked.' }),
    invitation: LinkSecret.optional(),
  })
  .strict();
const SignedUp = z.object({
  outcome: z.enum(['ready', 'check-mail']).openapi({
    description: '`ready`: log in. `check-mail`: a mail says how to go on, whether the address has an account or not.',
  }),
});
const Login = z.object({ email: Email, password: Password, code: Code.optional() }).strict();
const Confirmation = z.object({ password: Password, code: Code.optional() }).strict();
const NewPassword = z.object({ link: LinkSecret, password: Password }).strict();
const Done = z.object({ outcome: z.enum(['done', 'check-mail']) });

export function accountRoutes(router: Router, deps: AccountRouteDeps): void {
  signUpRoutes(router, deps);
  sessionRoutes(router, deps);
  verificationRoutes(router, deps);
  resetRoutes(router, deps);
}

function signUpRoutes(router: Router, { plane }: AccountRouteDeps): void {
  endpoint(
    router,
    { access: { kind: 'public' }, rate: 'mail' },
    {
      method: 'post',
      path: '/sign-up',
      tags: TAGS,
      summary: 'Make an account',
      request: { body: body(SignUp) },
      responses: { 202: json(SignedUp, 'Done, or a mail says how to go on.'), 409: problem(409) },
    },
    async (c) => {
      const { invitation, ...rest } = c.req.valid('json');
      const input = invitation === undefined ? rest : { ...rest, invitation };
      const { outcome, user } = await plane.identity.signUp(input);
      // For an address that has an account too: it costs the same.
      const id = user?.id ?? 'nobody';
      await plane.audit('', id, 'user.sign-up', id, user === undefined ? 'refused' : 'done');
      return c.json({ outcome }, 202);
    },
  );
}

function sessionRoutes(router: Router, deps: AccountRouteDeps): void {
  const { plane } = deps;
  endpoint(
    router,
    { access: { kind: 'public' }, rate: 'login' },
    {
      method: 'post',
      path: '/session',
      tags: ['Session'],
      summary: 'Log in',
      description:
        'Answers 401 with the code `second-factor-needed` when the password is right and `code` is missing, 403 with `email-not-verified` when the address is not confirmed.',
      request: { body: body(Login) },
      responses: { 200: json(UserShape, 'Logged in; the cookie is set.'), 401: problem(401) },
    },
    async (c) => {
      requireSecure(c, deps);
      const { code, ...rest } = c.req.valid('json');
      const user = await plane.identity.login(code === undefined ? rest : { ...rest, code });
      await endSessionOf(c, plane);
      const { cookie } = await plane.sessions.begin(user.id);
      giveCookie(c, cookie);
      await plane.audit('', user.id, 'session.begin', user.id);
      return c.json(showUser(user), 200);
    },
  );
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'read' },
    {
      method: 'get',
      path: '/session',
      tags: ['Session'],
      summary: 'Who is logged in',
      responses: { 200: json(UserShape, 'The user.') },
    },
    (c) => c.json(showUser(userOf(c)), 200),
  );
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'write' },
    {
      method: 'delete',
      path: '/session',
      tags: ['Session'],
      summary: 'Log out',
      responses: { 204: { description: 'Logged out.' } },
    },
    async (c) => {
      await plane.accounts.sessions.end(requirePerson(c.get('principal')).session.digest);
      deleteCookie(c, SESSION_COOKIE, { path: '/', secure: true });
      return c.body(null, 204);
    },
  );
  confirmationRoute(router, deps);
}

function confirmationRoute(router: Router, { plane }: AccountRouteDeps): void {
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'login' },
    {
      method: 'post',
      path: '/session/confirmation',
      tags: ['Session'],
      summary: 'Give the password once more',
      description:
        'Opens for ten minutes what answers 403 with the code `confirmation-needed`. The cookie is a new one.',
      request: { body: body(Confirmation) },
      responses: { 200: json(UserShape, 'Confirmed.') },
    },
    async (c) => {
      const { user, session } = requirePerson(c.get('principal'));
      const { password, code } = c.req.valid('json');
      await plane.identity.confirm(user, password, code);
      const renewed = await plane.sessions.renew(session, true);
      if (renewed === undefined) throw new BackworkError('unauthenticated', 'the session is over: log in again');
      giveCookie(c, renewed.cookie);
      return c.json(showUser(user), 200);
    },
  );
}

function verificationRoutes(router: Router, { plane }: AccountRouteDeps): void {
  endpoint(
    router,
    OPEN_MAIL,
    {
      method: 'post',
      path: '/email-verification',
      tags: TAGS,
      summary: 'Confirm an address with the link that was mailed there',
      request: { body: body(z.object({ link: LinkSecret }).strict()) },
      responses: { 200: json(Done, 'Confirmed.'), 404: problem(404) },
    },
    async (c) => {
      const user = await plane.identity.verifyEmail(c.req.valid('json').link);
      await plane.audit('', user.id, 'user.verify-email', user.id);
      return c.json({ outcome: 'done' as const }, 200);
    },
  );
  endpoint(
    router,
    OPEN_MAIL,
    {
      method: 'post',
      path: '/email-verification/mail',
      tags: TAGS,
      summary: 'Have another link mailed',
      request: { body: body(Login) },
      responses: { 202: json(Done, 'A mail is on its way, unless the address is confirmed.'), 401: problem(401) },
    },
    async (c) => {
      const { email, password } = c.req.valid('json');
      await plane.identity.mailVerification({ email, password });
      return c.json({ outcome: 'check-mail' as const }, 202);
    },
  );
}

function resetRoutes(router: Router, { plane }: AccountRouteDeps): void {
  endpoint(
    router,
    OPEN_MAIL,
    {
      method: 'post',
      path: '/password-reset/mail',
      tags: TAGS,
      summary: 'Have a link mailed that sets a new password',
      request: { body: body(z.object({ email: Email }).strict()) },
      responses: { 202: json(Done, 'A mail is on its way, whether the address has an account or not.') },
    },
    async (c) => {
      await plane.identity.askForReset(c.req.valid('json').email);
      return c.json({ outcome: 'check-mail' as const }, 202);
    },
  );
  endpoint(
    router,
    OPEN_MAIL,
    {
      method: 'post',
      path: '/password-reset',
      tags: TAGS,
      summary: 'Set a new password with the link that was mailed',
      description: 'Ends every session. A second factor stays switched on.',
      request: { body: body(NewPassword) },
      responses: { 200: json(Done, 'Set.'), 404: problem(404) },
    },
    async (c) => {
      const { link, password } = c.req.valid('json');
      const user = await plane.identity.resetPassword(link, password);
      await plane.audit('', user.id, 'user.reset-password', user.id);
      return c.json({ outcome: 'done' as const }, 200);
    },
  );
}

function requireSecure(c: Context, { isSecure }: AccountRouteDeps): void {
  if (isSecure(c)) return;
  const advice = 'use https (a proxy that ends TLS and BACKWORK_PUBLIC_URL), or log in from the machine itself';
  throw new BackworkError(
    'forbidden',
    `a password and a session would be read on their way over plain HTTP: ${advice}`,
  );
}

/** The session that this browser had is not left behind. */
async function endSessionOf(c: Context<Env>, plane: ControlPlane): Promise<void> {
  try {
    const before = await authenticate(c, plane);
    if (before.kind === 'user') await plane.accounts.sessions.end(before.session.digest);
  } catch (error) {
    if (!(error instanceof BackworkError && error.code === 'unauthenticated')) throw error;
  }
}

function giveCookie(c: Context, value: string): void {
  const maxAge = SESSION_AGE_MS / 1_000;
  setCookie(c, SESSION_COOKIE, value, { path: '/', secure: true, httpOnly: true, sameSite: 'Lax', maxAge });
}

/** Of a route whose access is `user`. */
export function userOf(c: Context<Env>) {
  return requirePerson(c.get('principal')).user;
}
