/** `GET /healthz`: this process answers. `GET /readyz`: a request sent now would be accepted and made durable. */
import { Hono } from 'hono';
import { problemResponse } from './error-response.ts';

export interface Readiness {
  /** True when at least one ingest worker accepts. */
  readonly ready: boolean;
  /** Why not, or what is amiss although it is ready; one sentence each. */
  readonly reasons: readonly string[];
}

/** How long an orchestrator should wait before it asks again. */
const RETRY_AFTER_MS = 1_000;

export function healthRoutes(readiness: () => Readiness): Hono {
  const routes = new Hono();
  routes.get('/healthz', (c) => c.json({ status: 'alive' }, 200, { 'cache-control': 'no-store' }));
  routes.get('/readyz', (c) => {
    const { ready, reasons } = readiness();
    if (ready) return c.json({ status: 'ready', reasons }, 200, { 'cache-control': 'no-store' });
    return problemResponse(503, { code: 'not-ready', detail: reasons.join('; '), reasons }, RETRY_AFTER_MS);
  });
  return routes;
}
