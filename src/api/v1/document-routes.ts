/** `GET /openapi.json`, and a page that shows it and loads nothing: plain HTML, made once from the document. */
import { z } from '@hono/zod-openapi';
import { endpoint, json, type Router, type V1 } from './endpoint.ts';

const OPEN = { access: { kind: 'public' }, rate: 'read' } as const;
const PAGE_POLICY = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'";

export function documentRoutes(router: Router): void {
  const { app } = router;
  app.openAPIRegistry.registerComponent('securitySchemes', 'session', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-bw_session',
    description: 'Set by `POST /session`. What changes something needs the header `Origin` of our own pages with it.',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, `bw_api_…`. It belongs to one organization and has scopes.',
  });
  let document: unknown;
  const get = () => (document ??= documentOf(app));
  endpoint(
    router,
    OPEN,
    {
      method: 'get',
      path: '/openapi.json',
      tags: ['Document'],
      summary: 'This document',
      responses: { 200: json(z.record(z.string(), z.unknown()), 'OpenAPI 3.1.') },
    },
    (c) => c.json(get() as Record<string, unknown>, 200),
  );
  endpoint(
    router,
    OPEN,
    {
      method: 'get',
      path: '/docs',
      tags: ['Document'],
      summary: 'This document as a page',
      responses: { 200: { description: 'HTML.', content: { 'text/html': { schema: z.string() } } } },
    },
    (c) => c.html(pageOf(get() as Document), 200, { 'content-security-policy': PAGE_POLICY }),
  );
}

function documentOf(app: V1): unknown {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'backwork',
      version: 'v1',
      description:
        'Accounts, organizations, tokens and plans of a backwork installation. Errors are problem documents (RFC 9457).',
    },
    servers: [{ url: '/api/v1' }],
  });
}

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly 'x-access'?: string;
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

function pageOf({ paths }: Document): string {
  const sections = new Map<string, string[]>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? '';
      sections.set(tag, [...(sections.get(tag) ?? []), operationHtml(method, path, operation)]);
    }
  }
  const body = [...sections].map(([tag, items]) => `<h2>${escapeHtml(tag)}</h2>${items.join('')}`).join('');
  const head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>backwork API</title>';
  const intro =
    '<h1>backwork API</h1><p>All paths begin with <code>/api/v1</code>. For programs: <a href="openapi.json">openapi.json</a>.</p>';
  return `<!doctype html><html lang="en"><head>${head}</head><body>${intro}${body}</body></html>`;
}

function operationHtml(method: string, path: string, operation: Operation): string {
  const { summary = '', description = '', responses = {} } = operation;
  const answers = Object.entries(responses)
    .map(([status, { description: text = '' }]) => `<li><code>${status}</code> ${escapeHtml(text)}</li>`)
    .join('');
  const title = `<code>${method.toUpperCase()} ${escapeHtml(path)}</code> ${escapeHtml(summary)}`;
  const text = `<p>${escapeHtml(description)}</p><p>For ${escapeHtml(operation['x-access'] ?? '')}.</p><ul>${answers}</ul>`;
  return `<details><summary>${title}</summary>${text}</details>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
