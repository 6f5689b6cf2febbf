/**
 * The API under `/api/v1`: its rooms, its document, its page. Made when it is first asked for, because zod and what is built with
 * it take 30 MB that an idle service does not need.
 */
import { type Hook, OpenAPIHono } from '@hono/zod-openapi';
import { type Context, Hono } from 'hono';
import { routePath } from 'hono/route';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { BackworkError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { ClickHouse } from '../../engine/clickhouse.ts';
import { errorResponse } from '../error-response.ts';
import { accountRoutes } from './account-routes.ts';
import { documentRoutes } from './document-routes.ts';
import type { Declared, Env, RequestNote, Router } from './endpoint.ts';
import { createGuard } from './guard.ts';
import { memberRoutes } from './member-routes.ts';
import { meRoutes } from './me-routes.ts';
import { organizationRoutes } from './organization-routes.ts';
import { retentionRoutes } from './retention-routes.ts';
import { privacyRoutes } from './privacy-routes.ts';
import { planRoutes } from './plan-routes.ts';
import { teamRoutes } from './team-routes.ts';
import { tokenRoutes } from './token-routes.ts';

export interface V1Deps {
  readonly plane: ControlPlane;
  readonly log: Log;
  /** Of the request's sender: the socket's, or what the rightmost trusted proxy says. */
  readonly addressOf: (c: Context) => string;
  /** Came over TLS, or from this machine to this machine. */
  readonly isSecure: (c: Context) => boolean;
  readonly telemetry: Telemetry;
  /** Of the pages that may call with a session cookie. */
  readonly originOf: (c: Context) => string;
}

/** What is stored, for those who ask about their own. */
export interface Telemetry {
  /** One connection, kept. */
  readonly clickhouse: () => Promise<ClickHouse>;
  /** Names of all tables. */
  readonly tables: readonly string[];
}

export interface V1App {
  fetch(request: Request, env: object, note: RequestNote): Promise<Response>;
  readonly declared: readonly Declared[];
}

/** No request of the API holds more: names, addresses, lists of scopes. */
export const API_BODY_BYTES_MAX = 65_536;
export const V1_PATH = '/api/v1';

export function createV1(deps: V1Deps): V1App {
  const app = new OpenAPIHono<Env>({ defaultHook });
  app.use(async (c, next) => {
    await next();
    // What is said of people and keys stays in no cache, and is read as nothing else than what it is.
    c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
    c.header('referrer-policy', 'no-referrer');
    c.env.note.route = `${V1_PATH}${templateOf(c)}`;
    c.env.note.orgId = c.get('organization')?.id;
  });
  app.use(async (c, next) => {
    checkLength(c.req.header('content-length'), c.req.header('transfer-encoding'));
    await next();
  });
  const router: Router = { app, guard: createGuard(deps), declared: [] };
  accountRoutes(router, deps);
  meRoutes(router, deps.plane);
  privacyRoutes(router, deps.plane);
  organizationRoutes(router, deps.plane);
  planRoutes(router, deps.plane);
  retentionRoutes(router, deps.plane, deps.telemetry);
  memberRoutes(router, deps.plane);
  teamRoutes(router, deps.plane);
  tokenRoutes(router, deps.plane);
  documentRoutes(router);
  app.onError((error, c) => {
    const { note } = c.env;
    const response = errorResponse(known(error), note.requestId);
    if (response.status === 500)
      deps.log.error({ requestId: note.requestId, route: templateOf(c), error }, 'request failed');
    return response;
  });
  const mounted = new Hono<Env>();
  mounted.route(V1_PATH, app);
  mounted.notFound((c) => noRoute(c, router.declared));
  return {
    fetch: async (request, env, note) => mounted.fetch(request, { ...env, note }),
    declared: router.declared,
  };
}

/** The length is said before anything is read, and Node's parser holds the sender to it. Throws `too-large`, `invalid-input`. */
function checkLength(length: string | undefined, transferEncoding: string | undefined): void {
  if (transferEncoding !== undefined)
    throw new BackworkError('invalid-input', 'the body must come with a Content-Length', { field: 'Content-Length' });
  if (Number(length ?? 0) > API_BODY_BYTES_MAX)
    throw new BackworkError('too-large', `the body of ${length} bytes is over the limit of ${API_BODY_BYTES_MAX}`);
}

/** What a schema refuses, in the words of all other refusals. The value that was sent is not repeated. */
const defaultHook: Hook<unknown, Env, string, unknown> = (result) => {
  if (result.success) return;
  const [issue] = result.error.issues;
  const field = issue?.path.join('.') ?? '';
  throw new BackworkError('invalid-input', `${field === '' ? 'the request' : field}: ${issue?.message ?? 'is wrong'}`, {
    field,
  });
};

/** A body that is no JSON is told by an exception of Hono's own. */
function known(error: Error): unknown {
  const status = (error as { status?: unknown }).status;
  if (error instanceof BackworkError || status !== 400) return error;
  return new BackworkError('malformed', 'the body is not JSON');
}

/** The pattern, never the path that the client sent; `/-` where no route matched. */
function templateOf(c: Context): string {
  const path = routePath(c, -1).replace(V1_PATH, '');
  return path === '' || path.includes('*') ? '/-' : path;
}

function noRoute(c: Context, declared: readonly Declared[]): Response {
  const { note } = c.env as { note: RequestNote };
  const path = c.req.path.slice(V1_PATH.length);
  const methods = declared
    .filter((route) => new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path))
    .map(({ method }) => method.toUpperCase());
  if (methods.length === 0) return errorResponse(new BackworkError('not-found', 'no such path'), note.requestId);
  const refusal = new BackworkError('method-not-allowed', `${c.req.method} is not allowed here`);
  const response = errorResponse(refusal, note.requestId);
  response.headers.set('allow', methods.map((method) => (method === 'GET' ? 'GET, HEAD' : method)).join(', '));
  return response;
}
