/** Personal rights and notices: what is stored of oneself, another address, what the operator announces; and the theme of the pages. */
import { z } from '@hono/zod-openapi';
import { setCookie } from 'hono/cookie';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { emailKey } from '../../accounts/user.ts';
import { userOf } from './account-routes.ts';
import { body, endpoint, json, problem, type Router } from './endpoint.ts';
import { PersonalExport, showExport } from './personal-export.ts';
import { Email, iso, LinkSecret } from './shapes.ts';

const ME = ['Me'];
const USER = { access: { kind: 'user' } } as const;
const Outcome = z.object({ outcome: z.enum(['done', 'check-mail']) });
const NoticeShape = z
  .object({
    id: z.string(),
    title: z.string(),
    body: z.string().openapi({ description: 'Plain text.' }),
    effectiveAt: z.iso.datetime(),
    publishedAt: z.iso.datetime(),
  })
  .openapi('Notice');
const NoticeParam = z.object({
  notice: z
    .string()
    .length(20)
    .openapi({ param: { name: 'notice', in: 'path' }, description: 'Id of the notice.' }),
});
/** One of the two cookies there are (privacy promise P5); a year, and no browser tells it to another site. */
export const THEME_COOKIE = 'bw_theme';
const THEME_SECONDS = 365 * 24 * 3_600;

export function privacyRoutes(router: Router, plane: ControlPlane): void {
  exportRoute(router, plane);
  emailRoutes(router, plane);
  noticeRoutes(router, plane);
  themeRoute(router);
}

function exportRoute(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { ...USER, rate: 'mail', confirmed: true },
    {
      method: 'post',
      path: '/me/export',
      tags: ME,
      summary: 'All that is stored of you',
      description:
        'Answered at once and kept nowhere. What you sent as telemetry belongs to your organizations and is exported there.',
      responses: { 200: json(PersonalExport, 'With what it is for, who gets it and how long it is kept.') },
    },
    async (c) => {
      const user = userOf(c);
      const data = await plane.accounts.personal.of({ id: user.id, emailKey: emailKey(user.email) });
      await plane.audit('', user.id, 'user.export', user.id);
      return c.json(showExport(user, data, plane.nowMs()), 200, {
        'content-disposition': 'attachment; filename="backwork-personal-data.json"',
      });
    },
  );
}

function emailRoutes(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { ...USER, rate: 'mail', confirmed: true },
    {
      method: 'post',
      path: '/me/email',
      tags: ME,
      summary: 'Change your address',
      description: 'A link is mailed to the new one; nothing changes until it is opened.',
      request: { body: body(z.object({ email: Email }).strict()) },
      responses: { 202: json(Outcome, 'A mail is on its way, whether the address has an account or not.') },
    },
    async (c) => {
      await plane.identity.askForEmailChange(userOf(c), c.req.valid('json').email);
      return c.json({ outcome: 'check-mail' as const }, 202);
    },
  );
  endpoint(
    router,
    { access: { kind: 'public' }, rate: 'mail' },
    {
      method: 'post',
      path: '/email-change',
      tags: ['Account'],
      summary: 'Take the new address, with the link that was mailed there',
      description: 'Ends every session; the old address is told.',
      request: { body: body(z.object({ link: LinkSecret }).strict()) },
      responses: { 200: json(Outcome, 'Changed.'), 404: problem(404), 409: problem(409) },
    },
    async (c) => {
      const user = await plane.identity.changeEmail(c.req.valid('json').link);
      await plane.audit('', user.id, 'user.change-email', user.id);
      return c.json({ outcome: 'done' as const }, 200);
    },
  );
}

function noticeRoutes(router: Router, plane: ControlPlane): void {
  const { notices } = plane.accounts;
  endpoint(
    router,
    { ...USER, rate: 'read' },
    {
      method: 'get',
      path: '/me/notices',
      tags: ME,
      summary: 'What the operator announces and you have not read',
      responses: { 200: json(z.object({ items: z.array(NoticeShape) }), 'The oldest first.') },
    },
    async (c) => {
      const items = (await notices.unreadOf(userOf(c))).map(({ effectiveAtMs, publishedAtMs, ...rest }) => ({
        ...rest,
        effectiveAt: iso(effectiveAtMs),
        publishedAt: iso(publishedAtMs),
      }));
      return c.json({ items }, 200);
    },
  );
  endpoint(
    router,
    { ...USER, rate: 'write' },
    {
      method: 'post',
      path: '/me/notices/{notice}/read',
      tags: ME,
      summary: 'You have read it',
      request: { params: NoticeParam },
      responses: { 204: { description: 'It is not shown again.' }, 404: problem(404) },
    },
    async (c) => {
      await notices.read(c.req.valid('param').notice, userOf(c).id, plane.nowMs());
      return c.body(null, 204);
    },
  );
}

function themeRoute(router: Router): void {
  endpoint(
    router,
    { access: { kind: 'public' }, rate: 'write' },
    {
      method: 'put',
      path: '/theme',
      tags: ['Document'],
      summary: 'Light or dark pages',
      description: `Kept in the cookie \`${THEME_COOKIE}\` of your browser and nowhere else.`,
      request: { body: body(z.object({ theme: z.enum(['light', 'dark']) }).strict()) },
      responses: { 204: { description: 'Kept.' } },
    },
    (c) => {
      const { theme } = c.req.valid('json');
      setCookie(c, THEME_COOKIE, theme, { path: '/', secure: true, sameSite: 'Lax', maxAge: THEME_SECONDS });
      return c.body(null, 204);
    },
  );
}
