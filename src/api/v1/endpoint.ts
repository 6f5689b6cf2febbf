/**
 * How a route of the API is declared: who may call it, how often, and what stands in the OpenAPI document, all in one place. What
 * is not declared here does not exist: `endpoint` is the only way to add a route, and every request passes its guard first.
 *
 *   rate class ─► content type ─► who calls (session or API key) ─► CSRF ─► organization, role, scope ─► confirmed? ─► idempotency
 *                                                                                        ─► validation ─► handler
 */
import { createRoute, type OpenAPIHono, type RouteConfig, type RouteHandler, z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import type { ApiScope } from '../../accounts/api-key.ts';
import type { Organization } from '../../accounts/organization.ts';
import type { Role } from '../../accounts/role.ts';
import type { Principal } from './principal.ts';

export type Access =
  | { readonly kind: 'public' }
  /** A person who is logged in. */
  | { readonly kind: 'user' }
  /** A member of the organization `{org}` with this role or a higher one; with a scope, its API keys that have it too. */
  | { readonly kind: 'organization'; readonly role: Role; readonly scope?: ApiScope };

export const RATE_CLASSES = ['read', 'write', 'login', 'mail'] as const;
export type RateClass = (typeof RATE_CLASSES)[number];

export interface Rules {
  readonly access: Access;
  readonly rate: RateClass;
  /** Of a session: the password was given within ten minutes. */
  readonly confirmed?: true;
  /** Creates something: takes an Idempotency-Key. */
  readonly creates?: true;
}

/** What the request log is told by the route: its template, and whose organization it was about (privacy promise P4). */
export interface RequestNote {
  readonly requestId: string;
  route: string;
  orgId: string | undefined;
}

export interface Variables {
  /** Set by the guard, for every route that is not public. */
  principal: Principal;
  organization: Organization;
  role: Role | undefined;
}

export type Env = { Variables: Variables; Bindings: { note: RequestNote } };
export type V1 = OpenAPIHono<Env>;

/** The guard of one route. */
export type Guard = (rules: Rules) => MiddlewareHandler<Env>;

export interface Declared extends Rules {
  readonly method: string;
  /** As in the document: `/organizations/{org}`. */
  readonly path: string;
}

export interface Router {
  readonly app: V1;
  readonly guard: Guard;
  /** Every route, in the order of the document. */
  readonly declared: Declared[];
}

/** Of which every answer that is no success consists (RFC 9457). */
export const Problem = z
  .object({
    title: z.string(),
    status: z.int(),
    code: z.string().openapi({ description: 'Stable; for programs.' }),
    detail: z.string().optional(),
    field: z.string().optional(),
  })
  .openapi('Problem');

const PROBLEM_TEXTS: Readonly<Record<number, string>> = {
  400: 'The request is not as described here.',
  401: 'Nobody is logged in, or the credentials are wrong.',
  403: 'Not allowed to this caller.',
  404: 'There is none, or it belongs to somebody else.',
  409: 'It contradicts what is there.',
  412: 'It was changed since it was read: `If-Match` names another version.',
  413: 'The body is too large.',
  415: 'The body is not `application/json`.',
  429: 'Too many of these; `Retry-After` says when to come back.',
  503: 'Not now; `Retry-After` says when to come back.',
};

/** Adds a route with its guard. Problems that every route may answer are added to those of `route`. */
export function endpoint<const R extends RouteConfig>(
  router: Router,
  rules: Rules,
  route: R,
  handler: RouteHandler<R, Env>,
): void {
  const { app, guard, declared } = router;
  const full = createRoute({
    ...route,
    middleware: guard(rules),
    security: securityOf(rules),
    responses: { ...problems(rules, route), ...route.responses },
    'x-access': accessText(rules),
  });
  declared.push({ ...rules, method: route.method, path: route.path });
  app.openapi(full as unknown as R, handler as never);
}

function problems(rules: Rules, route: RouteConfig): RouteConfig['responses'] {
  const statuses = [429, 503];
  if (route.request !== undefined) statuses.push(400);
  if (route.method !== 'get') statuses.push(403, 413, 415);
  if (rules.access.kind !== 'public') statuses.push(401);
  if (rules.access.kind === 'organization') statuses.push(403, 404);
  if (rules.creates === true) statuses.push(409);
  return Object.fromEntries(statuses.map((status) => [status, problem(status)]));
}

export function problem(status: number) {
  const content = { 'application/problem+json': { schema: Problem } };
  return { description: PROBLEM_TEXTS[status] ?? 'A problem.', content };
}

/** A JSON answer. */
export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

/** A required JSON body. */
export function body<T extends z.ZodType>(schema: T) {
  return { required: true as const, content: { 'application/json': { schema } } };
}

function securityOf({ access }: Rules): NonNullable<RouteConfig['security']> {
  if (access.kind === 'public') return [];
  const session = { session: [] };
  return access.kind === 'organization' && access.scope !== undefined ? [session, { apiKey: [] }] : [session];
}

function accessText({ access, confirmed }: Rules): string {
  const recent = confirmed === true ? ', password given within ten minutes' : '';
  if (access.kind === 'public') return 'everybody';
  if (access.kind === 'user') return `whoever is logged in${recent}`;
  const keys = access.scope === undefined ? '' : `; API keys with ${access.scope}`;
  return `${access.role} of the organization or higher${recent}${keys}`;
}
