/**
 * The API as a Hono app, and its server. Order: request id and request log, then the routes, then one place for what is
 * not found and one for what was thrown. Every route is listed by its room; what is not listed is 404, and a listed
 * path with another method is 405.
 *
 * The request log holds time, request id, route template, status, bytes and milliseconds, and nothing that a client
 * wrote: no address, path, query, header or body (privacy promise P4). The request id is ours, never the client's.
 */
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { routePath } from 'hono/route';
import { BackworkError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { errorResponse } from './error-response.ts';
import { healthRoutes, type Readiness } from './health-routes.ts';
import { type MetricsPage, metricsRoutes } from './metrics-routes.ts';
import type { RequestNote } from './v1/endpoint.ts';
import type { V1App } from './v1/v1.ts';

/** As v1/v1.ts has it, which is loaded later. */
const V1_PATH = '/api/v1';

export interface ApiDeps {
  readonly log: Log;
  readonly readiness: () => Readiness;
  readonly metrics: () => Promise<MetricsPage>;
  /** What stands under /api/v1, made when it is first asked for. */
  readonly v1: () => Promise<V1App>;
}

export interface ApiServer {
  readonly port: number;
  /** Takes no more connections, closes idle ones, resolves when the rest are done or `graceMs` have passed. */
  close(graceMs: number): Promise<void>;
}

type Variables = { note: RequestNote };
export type Api = Hono<{ Variables: Variables }>;

export function createApi({ log, readiness, metrics, v1 }: ApiDeps): Api {
  const app: Api = new Hono<{ Variables: Variables }>();
  app.use(async (c, next) => {
    const startMs = performance.now();
    const requestId = randomUUID();
    const note: RequestNote = { requestId, route: '', orgId: undefined };
    c.set('note', note);
    await next();
    c.header('x-request-id', requestId);
    const bytes = Number(c.res.headers.get('content-length') ?? (await bodyBytes(c)));
    const ms = Math.round(performance.now() - startMs);
    const route = note.route === '' ? template(c) : note.route;
    const orgId = note.orgId === undefined ? {} : { orgId: note.orgId };
    log.debug({ requestId, route, status: c.res.status, bytes, ms, ...orgId }, 'request');
  });
  app.route('/', healthRoutes(readiness));
  app.route('/', metricsRoutes(metrics));
  app.all(`${V1_PATH}/*`, async (c) => (await v1()).fetch(c.req.raw, (c.env ?? {}) as object, c.get('note')));
  app.notFound((c) => {
    const methods = app.routes.filter(({ method, path }) => method !== 'ALL' && path === c.req.path);
    if (methods.length === 0) return errorResponse(new BackworkError('not-found', 'no such path'), requestIdOf(c));
    const message = `${c.req.method} is not allowed here`;
    const response = errorResponse(new BackworkError('method-not-allowed', message), requestIdOf(c));
    response.headers.set('allow', methods.map(({ method }) => (method === 'GET' ? 'GET, HEAD' : method)).join(', '));
    return response;
  });
  app.onError((error, c) => {
    const requestId = requestIdOf(c);
    const response = errorResponse(error, requestId);
    if (response.status === 500) log.error({ requestId, route: template(c), error }, 'request failed');
    return response;
  });
  return app;
}

/** Listens; port 0 takes a free one. Throws the system's error (EADDRINUSE …) as it is: the caller names the setting. */
export async function serveApi(api: Api, host: string, port: number): Promise<ApiServer> {
  const server = createAdaptorServer({ fetch: api.fetch, overrideGlobalObjects: false });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, host, () => resolve());
  await promise;
  server.off('error', reject);
  return {
    port: (server.address() as AddressInfo).port,
    close: (graceMs) => {
      const closed = Promise.withResolvers<void>();
      const force = setTimeout(() => {
        if ('closeAllConnections' in server) server.closeAllConnections();
      }, graceMs);
      server.close(() => {
        clearTimeout(force);
        closed.resolve();
      });
      return closed.promise;
    },
  };
}

/** The route's pattern, `-` for what no route matched: never the path that the client sent. */
function template(c: Context): string {
  const path = routePath(c, -1);
  return path === '' || path === '*' || path === '/*' ? '-' : path;
}

/** Our answers are whole, so counting them costs a copy: a few hundred bytes, of /metrics some ten thousand. */
async function bodyBytes(c: Context): Promise<number> {
  return c.res.body === null ? 0 : (await c.res.clone().arrayBuffer()).byteLength;
}

function requestIdOf(c: Context): string {
  return (c.get('note') as RequestNote | undefined)?.requestId ?? randomUUID();
}
