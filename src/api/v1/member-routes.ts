/** Members of an organization and invitations into it. */
import { z } from '@hono/zod-openapi';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { invitationMail } from '../../accounts/mail-texts.ts';
import { mayGive, type Role as RoleName } from '../../accounts/role.ts';
import type { Membership } from '../../accounts/user.ts';
import { BackworkError, retryLater } from '../../base/errors.ts';
import { userOf } from './account-routes.ts';
import { body, endpoint, json, problem, type Router } from './endpoint.ts';
import { actorOf } from './principal.ts';
import {
  Email,
  InvitationShape,
  LinkSecret,
  MemberShape,
  OrgParam,
  orgAnd,
  PageQuery,
  page,
  pageOf,
  Role,
  showInvitation,
  showMember,
} from './shapes.ts';

const TAGS = ['Members'];
const NOTHING = { 204: { description: 'Done.' } } as const;
const MemberParam = orgAnd('user', 'Id of the user.');
/** Mails to people who did not ask for them, of one organization (reference 2.7). */
const INVITATIONS_PER_DAY_MAX = 100;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const InvitationParam = orgAnd('invitation', 'Id of the invitation.');

export function memberRoutes(router: Router, plane: ControlPlane): void {
  listMembers(router, plane);
  changeMembers(router, plane);
  listAndInvite(router, plane);
  withdrawAndAccept(router, plane);
}

function listMembers(router: Router, plane: ControlPlane): void {
  const { users } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'members:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/members',
      tags: TAGS,
      summary: 'Members',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(MemberShape), 'By id.') },
    },
    async (c) => {
      const shown = [];
      for (const membership of await users.membersOf(c.get('organization').id)) {
        const user = await users.find(membership.userId);
        if (user !== undefined) shown.push(showMember(membership, user));
      }
      return c.json(
        page(
          shown,
          ({ userId }) => userId,
          (one) => one,
          c.req.valid('query'),
        ),
        200,
      );
    },
  );
}

function changeMembers(router: Router, plane: ControlPlane): void {
  const { users } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write', confirmed: true },
    {
      method: 'put',
      path: '/organizations/{org}/members/{user}',
      tags: TAGS,
      summary: "Change a member's role",
      description:
        'Nobody gives more than they have, and only owners make or change owners. Two owners at a time are how ownership is handed over.',
      request: { params: MemberParam, body: body(z.object({ role: Role }).strict()) },
      responses: { 200: json(MemberShape, 'Changed.'), 409: problem(409) },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const before = await memberOf(plane, orgId, c.req.valid('param').user);
      const { role } = c.req.valid('json');
      requireMayGive(c.get('role'), before.role, role);
      const after = await users.setMembership(before.userId, orgId, role, plane.nowMs());
      await plane.audit(orgId, actorOf(c.get('principal')), 'member.change-role', before.userId);
      const user = await users.find(before.userId);
      if (user === undefined) throw noMember();
      return c.json(showMember(after, user), 200);
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer' }, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/members/{user}',
      tags: TAGS,
      summary: 'Remove a member, or leave',
      description: 'Admins remove others, owners also owners; everybody may leave. The only owner stays.',
      request: { params: MemberParam },
      responses: { ...NOTHING, 409: problem(409) },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const member = await memberOf(plane, orgId, c.req.valid('param').user);
      if (member.userId !== userOf(c).id) requireMayGive(c.get('role'), member.role, member.role);
      await users.removeMembership(member.userId, orgId);
      await plane.audit(orgId, actorOf(c.get('principal')), 'member.remove', member.userId);
      return c.body(null, 204);
    },
  );
}

function listAndInvite(router: Router, plane: ControlPlane): void {
  const { invitations } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/invitations',
      tags: TAGS,
      summary: 'Invitations that are not answered yet',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(InvitationShape), 'The oldest first.') },
    },
    async (c) => {
      const live = await invitations.list(c.get('organization').id, plane.nowMs());
      return c.json(
        page(live, ({ id }) => id, showInvitation, c.req.valid('query')),
        200,
      );
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'mail', creates: true },
    {
      method: 'post',
      path: '/organizations/{org}/invitations',
      tags: TAGS,
      summary: 'Invite an address',
      description:
        'A link is mailed there, good for 7 days and for an account of that address only. It is shown here too, once, for where no mail goes out.',
      request: { params: OrgParam, body: body(z.object({ email: Email, role: Role }).strict()) },
      responses: { 201: json(InvitationShape.extend({ link: z.string() }), 'Invited.') },
    },
    async (c) => {
      const { id: orgId, name } = c.get('organization');
      const { email, role } = c.req.valid('json');
      requireMayGive(c.get('role'), role, role);
      const { secret, digest } = plane.newSecret();
      const input = { orgId, email, role, invitedBy: userOf(c).id, digest, createdAtMs: plane.nowMs() };
      await requireInvitationsLeft(plane, orgId);
      const invitation = await invitations.create(input);
      await plane.outbox.queue('invitation', '', invitationMail(plane, invitation.email, name, secret), plane.nowMs());
      await plane.audit(orgId, userOf(c).id, 'member.invite', invitation.id);
      return c.json({ ...showInvitation(invitation), link: secret }, 201);
    },
  );
}

function withdrawAndAccept(router: Router, plane: ControlPlane): void {
  const { invitations, users } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/invitations/{invitation}',
      tags: TAGS,
      summary: 'Withdraw an invitation',
      request: { params: InvitationParam },
      responses: { ...NOTHING },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { invitation } = c.req.valid('param');
      await invitations.withdraw(orgId, invitation);
      await plane.audit(orgId, actorOf(c.get('principal')), 'member.withdraw-invitation', invitation);
      return c.body(null, 204);
    },
  );
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'mail' },
    {
      method: 'post',
      path: '/invitations/acceptance',
      tags: TAGS,
      summary: 'Accept an invitation with the link that was mailed',
      request: { body: body(z.object({ link: LinkSecret }).strict()) },
      responses: { 200: json(MemberShape, 'You are a member.'), 404: problem(404) },
    },
    async (c) => {
      const user = userOf(c);
      const digest = plane.digestOf(c.req.valid('json').link);
      const membership = await invitations.accept(digest, user.id, plane.nowMs());
      await plane.audit(membership.orgId, user.id, 'member.accept', user.id);
      const found = await users.find(user.id);
      return c.json(showMember(membership, found ?? user), 200);
    },
  );
}

async function memberOf(plane: ControlPlane, orgId: string, userId: string): Promise<Membership> {
  const membership = await plane.accounts.users.membership(userId, orgId);
  if (membership === undefined) throw noMember();
  return membership;
}

/** Throws `forbidden`. */
function requireMayGive(actor: RoleName | undefined, before: RoleName, after: RoleName): void {
  if (actor !== undefined && mayGive(actor, before) && mayGive(actor, after)) return;
  throw new BackworkError(
    'forbidden',
    'nobody gives or takes more than they have, and owners are for owners to change',
  );
}

function noMember(): BackworkError {
  return new BackworkError('not-found', 'the organization has no such member');
}

/** Throws `rate-limited`. */
async function requireInvitationsLeft(plane: ControlPlane, orgId: string): Promise<void> {
  const sent = await plane.accounts.audit.count(orgId, 'member.invite', plane.nowMs() - DAY_MS);
  if (sent < INVITATIONS_PER_DAY_MAX) return;
  throw retryLater('rate-limited', `${sent} invitations in 24 hours, at most ${INVITATIONS_PER_DAY_MAX}`, HOUR_MS);
}
