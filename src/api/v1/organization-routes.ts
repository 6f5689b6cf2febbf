/** Organizations: those one is a member of, a new one, its name; and the audit log of one. */
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { BackworkError } from '../../base/errors.ts';
import { userOf } from './account-routes.ts';
import { body, endpoint, json, problem, type Router } from './endpoint.ts';
import { actorOf } from './principal.ts';
import {
  AuditShape,
  checkVersion,
  etag,
  NewOrganization,
  OrganizationChange,
  OrganizationShape,
  OrgParam,
  PageQuery,
  page,
  pageOf,
  showAudit,
  showOrganization,
} from './shapes.ts';

const TAGS = ['Organizations'];
/** Of those that one person made and owns: who needs more asks the operator. */
const OWNED_MAX = 20;

export function organizationRoutes(router: Router, plane: ControlPlane): void {
  listAndCreate(router, plane);
  readAndChange(router, plane);
  auditRoute(router, plane);
}

function listAndCreate(router: Router, plane: ControlPlane): void {
  const { accounts } = plane;
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations',
      tags: TAGS,
      summary: 'Organizations that you are a member of',
      request: { query: PageQuery },
      responses: { 200: json(pageOf(OrganizationShape), 'By id.') },
    },
    async (c) => {
      const memberships = await accounts.users.membershipsOf(userOf(c).id);
      const shown = [];
      for (const { orgId, role } of memberships) {
        const organization = await accounts.organizations.find(orgId);
        if (organization !== undefined) shown.push(showOrganization(organization, role));
      }
      return c.json(
        page(
          shown,
          ({ id }) => id,
          (one) => one,
          c.req.valid('query'),
        ),
        200,
      );
    },
  );
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'write', creates: true },
    {
      method: 'post',
      path: '/organizations',
      tags: TAGS,
      summary: 'Make an organization, of which you are the owner',
      request: { body: body(NewOrganization) },
      responses: { 201: json(OrganizationShape, 'Made.') },
    },
    async (c) => {
      const { id: userId } = userOf(c);
      const owned = (await accounts.users.membershipsOf(userId)).filter(({ role }) => role === 'owner').length;
      if (owned >= OWNED_MAX)
        throw new BackworkError('conflict', `you own ${owned} organizations, at most ${OWNED_MAX}`);
      const { name, slug } = c.req.valid('json');
      const input = { name, plan: plane.plans.defaultPlan, createdAtMs: plane.nowMs(), ownerId: userId };
      const created = await accounts.organizations.create(
        slug === undefined ? input : { ...input, slug },
        plane.placementRules,
      );
      await plane.audit(created.id, userId, 'organization.create', created.id);
      return c.json(showOrganization(created, 'owner'), 201, { etag: etag(created) });
    },
  );
}

function readAndChange(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'organization:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}',
      tags: TAGS,
      summary: 'An organization',
      request: { params: OrgParam },
      responses: { 200: json(OrganizationShape, 'It.') },
    },
    (c) => {
      const organization = c.get('organization');
      return c.json(showOrganization(organization, c.get('role')), 200, { etag: etag(organization) });
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write' },
    {
      method: 'patch',
      path: '/organizations/{org}',
      tags: TAGS,
      summary: 'Change its name',
      request: { params: OrgParam, body: body(OrganizationChange) },
      responses: { 200: json(OrganizationShape, 'Changed.'), 412: problem(412) },
    },
    async (c) => {
      const before = c.get('organization');
      checkVersion(c, before);
      const after = await plane.accounts.organizations.setName(before.id, c.req.valid('json').name);
      await plane.audit(after.id, actorOf(c.get('principal')), 'organization.rename', after.id);
      return c.json(showOrganization(after, c.get('role')), 200, { etag: etag(after) });
    },
  );
}

function auditRoute(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: { kind: 'organization', role: 'owner', scope: 'audit:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/audit',
      tags: TAGS,
      summary: 'Who did what, the oldest first',
      description: 'Each entry holds the hash of the one before it: SHA-256 over that hash and its own fields.',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(AuditShape), 'Entries by number.') },
    },
    async (c) => {
      const { after = '0', limit } = c.req.valid('query');
      if (!/^\d{1,15}$/.test(after))
        throw new BackworkError('invalid-input', 'after must be the number of an entry', { field: 'after' });
      // One more tells whether there is another page.
      const entries = await plane.accounts.audit.read(c.get('organization').id, Number(after), limit + 1);
      const items = entries.slice(0, limit).map(showAudit);
      return c.json({ items, next: entries.length > limit ? String(items.at(-1)?.number) : null }, 200);
    },
  );
}
