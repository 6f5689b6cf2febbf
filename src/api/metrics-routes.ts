/** `GET /metrics`: counts of all processes, in Prometheus' text format. No label is an id, so it needs no more than /readyz. */
import { Hono } from 'hono';

export interface MetricsPage {
  readonly contentType: string;
  readonly text: string;
}

export function metricsRoutes(metrics: () => Promise<MetricsPage>): Hono {
  const routes = new Hono();
  routes.get('/metrics', async (c) => {
    const { contentType, text } = await metrics();
    return c.body(text, 200, { 'content-type': contentType, 'cache-control': 'no-store' });
  });
  return routes;
}
