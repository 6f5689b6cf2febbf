/** What a person sees and changes of their own account: name, password, sessions, second factor. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import type { Session } from '../../accounts/store/session-store.ts';
import { BackworkError } from '../../base/errors.ts';
import { userOf } from './account-routes.ts';
import { body, type Env, endpoint, json, problem, type Router } from './endpoint.ts';
import { requirePerson } from './principal.ts';
import {
  Code,
  checkVersion,
  etag,
  Password,
  SessionShape,
  sessionId,
  showSession,
  showUser,
  UserShape,
} from './shapes.ts';

const TAGS = ['Me'];
const USER = { access: { kind: 'user' } } as const;
const NOTHING = { 204: { description: 'Done.' } } as const;
const SessionParam = z.object({
  session: z
    .string()
    .length(16)
    .openapi({ param: { name: 'session', in: 'path' }, description: 'Id of the session.' }),
});

export function meRoutes(router: Router, plane: ControlPlane): void {
  profileRoutes(router, plane);
  mySessionRoutes(router, plane);
  secondFactorRoutes(router, plane);
}

function profileRoutes(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { ...USER, rate: 'read' },
    { method: 'get', path: '/me', tags: TAGS, summary: 'Your account', responses: { 200: json(UserShape, 'You.') } },
    (c) => c.json(showUser(userOf(c)), 200, { etag: etag(userOf(c)) }),
  );
  endpoint(
    router,
    { ...USER, rate: 'write' },
    {
      method: 'patch',
      path: '/me',
      tags: TAGS,
      summary: 'Change your name',
      request: { body: body(z.object({ name: z.string().min(1).max(100) }).strict()) },
      responses: { 200: json(UserShape, 'Changed.'), 412: problem(412) },
    },
    async (c) => {
      checkVersion(c, userOf(c));
      const user = await plane.accounts.users.setName(userOf(c).id, c.req.valid('json').name);
      return c.json(showUser(user), 200, { etag: etag(user) });
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'write', confirmed: true },
    {
      method: 'delete',
      path: '/me',
      tags: TAGS,
      summary: 'Delete your account',
      description:
        'With memberships, sessions and links, at once. Not while you are the only owner of an organization.',
      responses: { ...NOTHING, 409: problem(409) },
    },
    async (c) => {
      const { id } = userOf(c);
      await plane.accounts.users.remove(id);
      await plane.audit('', id, 'user.delete', id);
      return c.body(null, 204);
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'login', confirmed: true },
    {
      method: 'post',
      path: '/me/password',
      tags: TAGS,
      summary: 'Set another password',
      description: 'Ends every session, this one too.',
      request: { body: body(z.object({ password: Password }).strict()) },
      responses: { ...NOTHING },
    },
    async (c) => {
      await plane.identity.changePassword(userOf(c), c.req.valid('json').password);
      await plane.audit('', userOf(c).id, 'user.change-password', userOf(c).id);
      return c.body(null, 204);
    },
  );
}

function mySessionRoutes(router: Router, plane: ControlPlane): void {
  const { sessions } = plane.accounts;
  endpoint(
    router,
    { ...USER, rate: 'read' },
    {
      method: 'get',
      path: '/me/sessions',
      tags: TAGS,
      summary: 'Where you are logged in',
      responses: { 200: json(z.object({ items: z.array(SessionShape) }), 'Live sessions, the newest first.') },
    },
    async (c) => {
      const live = await sessions.list(userOf(c).id, plane.nowMs());
      return c.json({ items: live.map((session) => showSession(session, sessionOf(c))) }, 200);
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'write' },
    {
      method: 'delete',
      path: '/me/sessions',
      tags: TAGS,
      summary: 'Log out everywhere else',
      responses: { ...NOTHING },
    },
    async (c) => {
      await sessions.endAll(userOf(c).id, sessionOf(c).digest);
      return c.body(null, 204);
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'write' },
    {
      method: 'delete',
      path: '/me/sessions/{session}',
      tags: TAGS,
      summary: 'End a session',
      request: { params: SessionParam },
      responses: { ...NOTHING, 404: problem(404) },
    },
    async (c) => {
      const { session } = c.req.valid('param');
      const found = (await sessions.list(userOf(c).id, plane.nowMs())).find((one) => sessionId(one) === session);
      if (found === undefined) throw new BackworkError('not-found', 'you have no such session');
      await sessions.end(found.digest);
      return c.body(null, 204);
    },
  );
}

function secondFactorRoutes(router: Router, plane: ControlPlane): void {
  const { secondFactors } = plane;
  endpoint(
    router,
    { ...USER, rate: 'write', confirmed: true },
    {
      method: 'post',
      path: '/me/second-factor/offer',
      tags: TAGS,
      summary: 'Begin with a second factor',
      description: 'Nothing changes until the first code is given. The offer is good for 15 minutes.',
      responses: {
        200: json(z.object({ uri: z.string(), offer: z.string() }), 'For the QR code, and to be given back.'),
      },
    },
    (c) => c.json({ ...secondFactors.offer(userOf(c)) }, 200),
  );
  endpoint(
    router,
    { ...USER, rate: 'login', confirmed: true },
    {
      method: 'post',
      path: '/me/second-factor',
      tags: TAGS,
      summary: 'Switch the second factor on with its first code',
      request: { body: body(z.object({ offer: z.string().max(500), code: Code }).strict()) },
      responses: { 200: json(z.object({ recoveryCodes: z.array(z.string()) }), 'Shown once; each opens once.') },
    },
    async (c) => {
      const { offer, code } = c.req.valid('json');
      const recoveryCodes = await secondFactors.confirm(userOf(c), offer, code);
      await plane.audit('', userOf(c).id, 'second-factor.set', userOf(c).id);
      return c.json({ recoveryCodes }, 200);
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'write', confirmed: true },
    {
      method: 'delete',
      path: '/me/second-factor',
      tags: TAGS,
      summary: 'Switch the second factor off',
      responses: { ...NOTHING },
    },
    async (c) => {
      await secondFactors.remove(userOf(c).id);
      await plane.audit('', userOf(c).id, 'second-factor.remove', userOf(c).id);
      return c.body(null, 204);
    },
  );
}

function sessionOf(c: Context<Env>): Session {
  return requirePerson(c.get('principal')).session;
}
