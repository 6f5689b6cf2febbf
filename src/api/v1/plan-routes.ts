/** Plans: which there are, which one an organization has, and what its owners choose of it. */
import { z } from '@hono/zod-openapi';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import type { Organization } from '../../accounts/organization.ts';
import { effectsOf, type Plan, planOf, retentionMax } from '../../accounts/plan.ts';
import { SCOPES, type Scope } from '../../accounts/token.ts';
import { BackworkError } from '../../base/errors.ts';
import { body, endpoint, json, problem, type Router } from './endpoint.ts';
import { actorOf } from './principal.ts';
import { checkVersion, etag, iso, OrgParam, Signal } from './shapes.ts';

const TAGS = ['Plans'];
const Days = z.object({ logs: z.int(), metrics: z.int(), traces: z.int() });
const Limits = z
  .object({
    bytesPerSecond: z.int().nullable(),
    itemsPerSecond: z.int().nullable(),
    requestsAtOnce: z.int().nullable(),
    spoolMib: z.int().nullable(),
    weight: z.int().nullable(),
  })
  .openapi({ description: 'Null: as the installation is set up. 0: no limit.' });
const PlanShape = z
  .object({
    name: z.string(),
    retentionDays: Days,
    retentionDaysMax: Days.openapi({ description: 'Up to which owners may choose.' }),
    limits: Limits,
    bytesPerDay: z.int().nullable().openapi({ description: 'Of bodies as received, a UTC day. Null or 0: no limit.' }),
    selfService: z.boolean().openapi({ description: 'Owners may switch to it by themselves.' }),
  })
  .openapi('Plan');
const InForceShape = PlanShape.extend({
  chosenDays: Days.partial().openapi({ description: 'By owners.' }),
  placement: z.enum(['own', 'shared']),
  refusedUntil: z.iso
    .datetime()
    .nullable()
    .openapi({ description: 'The volume of the day is used up: refused until.' }),
}).openapi('PlanInForce');
const Effect = z.object({
  signal: Signal,
  daysBefore: z.int(),
  days: z.int(),
  storedRows: z.enum(['keep-theirs', 'held-to-it']),
  text: z.string(),
});
const Change = z
  .object({
    plan: z.string().min(1).max(40).optional().openapi({ description: 'One that is open to owners.' }),
    retentionDays: z
      .object({ logs: z.int().nullable(), metrics: z.int().nullable(), traces: z.int().nullable() })
      .partial()
      .strict()
      .optional()
      .openapi({ description: "1, 3, 7, 14, 30, 60, 90, 180, 365 or 730; null: the plan's." }),
  })
  .strict();

export function planRoutes(router: Router, plane: ControlPlane): void {
  readRoutes(router, plane);
  changeRoute(router, plane);
}

function readRoutes(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: { kind: 'user' }, rate: 'read' },
    {
      method: 'get',
      path: '/plans',
      tags: TAGS,
      summary: 'The plans that there are',
      responses: {
        200: json(z.object({ items: z.array(PlanShape), default: z.string() }), 'In the order of the file.'),
      },
    },
    (c) => {
      const { plans, defaultPlan } = plane.plans;
      return c.json({ items: [...plans.values()].map(showPlan), default: defaultPlan.name }, 200);
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'organization:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/plan',
      tags: TAGS,
      summary: 'What an organization may use, and how long it is kept',
      request: { params: OrgParam },
      responses: { 200: json(InForceShape, 'What is in force.') },
    },
    (c) => {
      const organization = c.get('organization');
      return c.json(showInForce(plane, organization), 200, { etag: etag(organization) });
    },
  );
}

function changeRoute(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: { kind: 'organization', role: 'owner' }, rate: 'write', confirmed: true },
    {
      method: 'patch',
      path: '/organizations/{org}/plan',
      tags: TAGS,
      summary: 'Choose a plan or a retention',
      description:
        'Holds for what arrives within a second. A longer retention leaves stored rows as they are; a shorter one holds for them too. `effects` says which.',
      request: { params: OrgParam, body: body(Change) },
      responses: { 200: json(InForceShape.extend({ effects: z.array(Effect) }), 'Changed.'), 412: problem(412) },
    },
    async (c) => {
      const before = c.get('organization');
      checkVersion(c, before);
      const { plan, retentionDays = {} } = c.req.valid('json');
      if (plan !== undefined && plan !== before.plan && !planOf(plane.plans.plans, plan).selfService)
        throw new BackworkError('forbidden', `the plan ${plan} is given by the operator`);
      const decision = { chosenDays: chosen(before.chosenDays, retentionDays) };
      const after = await plane.accounts.organizations.decide(
        before.id,
        plan === undefined ? decision : { ...decision, plan },
        plane.plans,
        plane.placementRules,
      );
      await plane.audit(after.id, actorOf(c.get('principal')), 'organization.plan', after.id);
      const effects = effectsOf(before, after);
      return c.json({ ...showInForce(plane, after), effects }, 200, { etag: etag(after) });
    },
  );
}

function chosen(
  before: Organization['chosenDays'],
  changes: { readonly [Name in Scope]?: number | null | undefined },
): Organization['chosenDays'] {
  const after: { -readonly [Name in Scope]?: number } = { ...before };
  for (const scope of SCOPES) {
    const days = changes[scope];
    if (days === null) delete after[scope];
    else if (days !== undefined) after[scope] = days;
  }
  return after;
}

function showPlan({ name, retentionDays, retentionDaysMax, limits, bytesPerDay, selfService }: Plan) {
  const shown = { name, retentionDays: { ...retentionDays }, retentionDaysMax: { ...retentionDaysMax }, selfService };
  return { ...shown, limits: showLimits(limits), bytesPerDay: bytesPerDay ?? null };
}

function showInForce({ plans: { plans, defaultPlan }, nowMs }: ControlPlane, organization: Organization) {
  const { plan: name, overrides, retentionDays, chosenDays, limits, bytesPerDay, placement, id } = organization;
  // A plan that is no longer in the catalogue goes on as it was worked out last.
  const plan = plans.get(name) ?? { ...defaultPlan, retentionDaysMax: retentionDays, selfService: false };
  const max = (scope: Scope): number => retentionMax(plan, overrides, scope);
  const { refusedUntilMs = 0 } = organization;
  return {
    ...{ name, selfService: plan.selfService, retentionDays: { ...retentionDays }, chosenDays: { ...chosenDays } },
    retentionDaysMax: { logs: max('logs'), metrics: max('metrics'), traces: max('traces') },
    limits: showLimits(limits),
    bytesPerDay: bytesPerDay ?? null,
    placement: placement === id ? ('own' as const) : ('shared' as const),
    refusedUntil: refusedUntilMs > nowMs() ? iso(refusedUntilMs) : null,
  };
}

function showLimits({ bytesPerSecond, itemsPerSecond, requestsAtOnce, spoolMib, weight }: Organization['limits']) {
  return {
    bytesPerSecond: bytesPerSecond ?? null,
    itemsPerSecond: itemsPerSecond ?? null,
    requestsAtOnce: requestsAtOnce ?? null,
    spoolMib: spoolMib ?? null,
    weight: weight ?? null,
  };
}
