/** Teams of an organization. Admins and owners make them; a lead changes the members of their own. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { mayAs } from '../../accounts/role.ts';
import { BackworkError } from '../../base/errors.ts';
import { userOf } from './account-routes.ts';
import { body, type Env, endpoint, json, problem, type Router } from './endpoint.ts';
import {
  checkVersion,
  etag,
  NewTeam,
  OrgParam,
  orgAnd,
  PageQuery,
  page,
  pageOf,
  showTeam,
  TeamRole,
  TeamShape,
} from './shapes.ts';

const TAGS = ['Teams'];
const NOTHING = { 204: { description: 'Done.' } } as const;
const TeamParam = orgAnd('team', 'Id of the team.');
const TeamMemberParam = TeamParam.extend({
  user: z
    .string()
    .min(1)
    .max(60)
    .openapi({ param: { name: 'user', in: 'path' }, description: 'Id of the member.' }),
});
const TeamMemberShape = z.object({ userId: z.string(), role: TeamRole }).openapi('TeamMember');
const WithMembers = TeamShape.extend({ members: z.array(TeamMemberShape) });

export function teamRoutes(router: Router, plane: ControlPlane): void {
  listAndCreate(router, plane);
  readAndChange(router, plane);
  teamMembers(router, plane);
}

function listAndCreate(router: Router, plane: ControlPlane): void {
  const { teams } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'members:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/teams',
      tags: TAGS,
      summary: 'Teams',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(TeamShape), 'By name.') },
    },
    async (c) => {
      const all = await teams.list(c.get('organization').id);
      return c.json(
        page(all, ({ id }) => id, showTeam, c.req.valid('query')),
        200,
      );
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write', creates: true },
    {
      method: 'post',
      path: '/organizations/{org}/teams',
      tags: TAGS,
      summary: 'Make a team',
      request: { params: OrgParam, body: body(NewTeam) },
      responses: { 201: json(TeamShape, 'Made.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const team = await teams.create(orgId, c.req.valid('json').name, plane.nowMs());
      await plane.audit(orgId, userOf(c).id, 'team.create', team.id);
      return c.json(showTeam(team), 201, { etag: etag(team) });
    },
  );
}

function readAndChange(router: Router, plane: ControlPlane): void {
  const { teams } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'members:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/teams/{team}',
      tags: TAGS,
      summary: 'A team and its members',
      request: { params: TeamParam },
      responses: { 200: json(WithMembers, 'It.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const team = await teamOf(plane, orgId, c.req.valid('param').team);
      const members = (await teams.members(orgId, team.id)).map(({ userId, role }) => ({ userId, role }));
      return c.json({ ...showTeam(team), members }, 200, { etag: etag(team) });
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'member' }, rate: 'write' },
    {
      method: 'patch',
      path: '/organizations/{org}/teams/{team}',
      tags: TAGS,
      summary: "Change a team's name",
      description: 'For its leads, and for admins and owners.',
      request: { params: TeamParam, body: body(NewTeam) },
      responses: { 200: json(TeamShape, 'Changed.'), 409: problem(409), 412: problem(412) },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const before = await teamOf(plane, orgId, c.req.valid('param').team);
      await requireLead(c, plane, before.id);
      checkVersion(c, before);
      const team = await teams.rename(orgId, before.id, c.req.valid('json').name);
      await plane.audit(orgId, userOf(c).id, 'team.rename', team.id);
      return c.json(showTeam(team), 200, { etag: etag(team) });
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/teams/{team}',
      tags: TAGS,
      summary: 'Remove a team',
      description: 'Its members stay members of the organization.',
      request: { params: TeamParam },
      responses: { ...NOTHING },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { team } = c.req.valid('param');
      await teams.remove(orgId, team);
      await plane.audit(orgId, userOf(c).id, 'team.remove', team);
      return c.body(null, 204);
    },
  );
}

function teamMembers(router: Router, plane: ControlPlane): void {
  const { teams } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'member' }, rate: 'write' },
    {
      method: 'put',
      path: '/organizations/{org}/teams/{team}/members/{user}',
      tags: TAGS,
      summary: 'Add a member to a team, or change their role there',
      description: 'For its leads, and for admins and owners.',
      request: { params: TeamMemberParam, body: body(z.object({ role: TeamRole }).strict()) },
      responses: { 200: json(TeamMemberShape, 'Done.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { team, user } = c.req.valid('param');
      await teamOf(plane, orgId, team);
      await requireLead(c, plane, team);
      const { userId, role } = await teams.setMember(orgId, team, user, c.req.valid('json').role);
      await plane.audit(orgId, userOf(c).id, 'team.set-member', team);
      return c.json({ userId, role }, 200);
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer' }, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/teams/{team}/members/{user}',
      tags: TAGS,
      summary: 'Take a member out of a team, or leave it',
      request: { params: TeamMemberParam },
      responses: { ...NOTHING },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { team, user } = c.req.valid('param');
      await teamOf(plane, orgId, team);
      if (user !== userOf(c).id) await requireLead(c, plane, team);
      await teams.removeMember(orgId, team, user);
      await plane.audit(orgId, userOf(c).id, 'team.remove-member', team);
      return c.body(null, 204);
    },
  );
}

async function teamOf(plane: ControlPlane, orgId: string, id: string) {
  const team = await plane.accounts.teams.find(orgId, id);
  if (team === undefined) throw new BackworkError('not-found', 'there is no such team');
  return team;
}

/** Throws `forbidden`. */
async function requireLead(c: Context<Env>, plane: ControlPlane, teamId: string): Promise<void> {
  const role = c.get('role');
  if (role !== undefined && mayAs(role, 'admin')) return;
  const members = await plane.accounts.teams.members(c.get('organization').id, teamId);
  if (members.some((member) => member.userId === userOf(c).id && member.role === 'lead')) return;
  throw new BackworkError('forbidden', 'this is for a lead of the team, or an admin of the organization');
}
