/** Exporters in browsers: what the page of an origin may send and read, from the header level. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retryLater } from '../../src/base/errors.ts';
import { SETTINGS } from '../../src/settings/settings.ts';
import { type HttpRequestParts, type HttpResult, httpBytes, httpOnce } from '../ingest/accept/peers.ts';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import { connect, headersOf, JSON_TYPE, ownServer, PROTOBUF, plainHeaders, statusOf } from './http-peer.ts';

const ORIGIN = 'https://app.example.com';
const KEPT = { connection: 'keep-alive', 'keep-alive': 'timeout=75' };
/** On every answer to a page of an allowed origin. */
const ALLOWED = {
  'access-control-allow-origin': ORIGIN,
  'access-control-expose-headers': 'Retry-After',
  vary: 'Origin',
};
/** What a browser asks before the page may send JSON with a token. */
const PREFLIGHT = {
  method: 'OPTIONS',
  headers: {
    authorization: '',
    'content-type': '',
    'content-length': '',
    origin: ORIGIN,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  },
};

let service: TestService;

beforeAll(async () => {
  const origins = `${ORIGIN}, http://localhost:3000, https://*.pages.example`;
  service = await startService({ env: { BACKWORK_CORS_ORIGINS: origins, BACKWORK_WORKERS: '1' } });
});
afterAll(() => service.stopAndRemove());

function post(request: HttpRequestParts): Promise<HttpResult> {
  const authorization = `Bearer ${service.token}`;
  return httpOnce(service.ports.http, { ...request, headers: { authorization, origin: ORIGIN, ...request.headers } });
}

describe('off', () => {
  it('C1: without configured origins no answer has a header of CORS, and a preflight is an OPTIONS like any other', async () => {
    expect(SETTINGS.corsOrigins.default).toBe('');
    const { port } = await ownServer();
    const preflight = await httpOnce(port, PREFLIGHT);
    expect(preflight.status).toBe(204);
    expect(headersOf(preflight)).toEqual({ allow: 'POST, OPTIONS', ...KEPT });
    expect((await httpOnce(port, { ...PREFLIGHT, path: '/nowhere' })).status).toBe(404);
    for (const request of [PREFLIGHT, {}, { path: '/nowhere' }, { method: 'GET' }]) {
      const result = await httpOnce(port, { headers: { origin: ORIGIN }, ...request });
      expect(Object.keys(result.headers).filter((name) => /^access-control|^vary/.test(name))).toEqual([]);
    }
  });
});

describe('preflights', () => {
  it('C2, T8 (tests): 204 without a token, with all that the browser asks', async () => {
    for (const path of ['/v1/logs', '/v1/metrics', '/v1/traces', '/v1/traces/']) {
      const result = await httpOnce(service.ports.http, { ...PREFLIGHT, path });
      expect(result.status).toBe(204);
      expect(headersOf(result)).toEqual({
        allow: 'POST, OPTIONS',
        ...ALLOWED,
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers': 'content-type, content-encoding, authorization, x-api-key',
        'access-control-max-age': '7200',
        ...KEPT,
      });
      expect(result.body).toHaveLength(0);
    }
  });

  it('C2: one to a wrong path succeeds, so that the page can read the 404 that names the right one', async () => {
    expect((await httpOnce(service.ports.http, { ...PREFLIGHT, path: '/v1/trace' })).status).toBe(204);
    const result = await post({ path: '/v1/trace', headers: { 'content-type': JSON_TYPE } });
    expect(result.status).toBe(404);
    expect(headersOf(result)).toEqual({ ...plainHeaders(JSON_TYPE, result.body.length), ...ALLOWED });
    expect(statusOf(result).message).toContain('/v1/traces');
  });

  it.each([
    'https://other.example.com',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://app.example.com.evil.example',
    'https://APP.example.com',
    'http://localhost:3001',
    'https://pages.example',
    'https://evilpages.example',
    'https://a.pages-example',
    'https://a.pages.example.evil.example',
    'https://a/.pages.example',
    'null',
    '*',
  ])('C2: origin "%s" is not allowed, and the answer says only that it depends on the origin', async (origin) => {
    const result = await httpOnce(service.ports.http, { ...PREFLIGHT, headers: { ...PREFLIGHT.headers, origin } });
    expect(result.status).toBe(204);
    expect(headersOf(result)).toEqual({ allow: 'POST, OPTIONS', vary: 'Origin', ...KEPT });
    // The browser keeps the answer from the page; the request itself is like any other.
    const sent = await post({ headers: { origin } });
    expect(sent.status).toBe(200);
    expect(headersOf(sent)).toEqual({ ...plainHeaders(PROTOBUF, 0), vary: 'Origin' });
  });

  it.each(['http://localhost:3000', 'https://a.pages.example', 'https://a.b.pages.example'])(
    'C2: origin %s is allowed, and echoed as it stands',
    async (origin) => {
      const result = await httpOnce(service.ports.http, { ...PREFLIGHT, headers: { ...PREFLIGHT.headers, origin } });
      expect(result.headers['access-control-allow-origin']).toBe(origin);
      expect((await post({ headers: { origin } })).headers['access-control-allow-origin']).toBe(origin);
    },
  );

  it('C2: with * every origin is echoed; credentials are never allowed', async () => {
    const { port } = await ownServer({}, {}, { corsOrigins: ['*'] });
    for (const origin of ['https://anything.example', 'null']) {
      for (const request of [{ ...PREFLIGHT, headers: { ...PREFLIGHT.headers, origin } }, { headers: { origin } }]) {
        const result = await httpOnce(port, request);
        expect(result.headers['access-control-allow-origin']).toBe(origin);
        expect(result.headers['access-control-allow-credentials']).toBeUndefined();
      }
    }
  });
});

describe('answers', () => {
  const REFUSALS: ReadonlyArray<readonly [number, HttpRequestParts]> = [
    [400, { body: 'hello' }],
    [401, { headers: { authorization: 'Bearer wrong' } }],
    [401, { headers: { authorization: '' } }],
    [404, { path: '/v1/profiles' }],
    [405, { method: 'GET', headers: { 'content-length': '' } }],
    [413, { headers: { 'content-length': String(2 ** 40) } }],
    [415, { headers: { 'content-type': 'text/plain' } }],
    [415, { headers: { 'content-encoding': 'br' } }],
  ];

  it.each(REFUSALS)('C2, T8 (tests): %d carries the headers of CORS', async (status, request) => {
    const result = await post(request);
    expect(result.status).toBe(status);
    expect(result.headers).toMatchObject(ALLOWED);
  });

  it('C2, T8 (tests): 200 carries them, with rows stored', async () => {
    const result = await post({ body: encodeIds(['from-a-page']) });
    expect(result.status).toBe(200);
    expect(headersOf(result)).toEqual({ ...plainHeaders(PROTOBUF, 0), ...ALLOWED });
    const sql = "SELECT Body FROM otel_logs WHERE Body = 'from-a-page'";
    expect(await service.queryUntil(sql, (rows) => rows.length > 0)).toHaveLength(1);
  });

  it('C2, T8 (tests): 503 and 429 carry them, with a Retry-After that the page may read', async () => {
    for (const [code, status] of [
      ['spool-full', 503],
      ['accounts-unavailable', 503],
      ['rate-limited', 429],
    ] as const) {
      const { port } = await ownServer(
        {
          open: () => {
            throw retryLater(code, 'come back', 2_000);
          },
        },
        {},
        { corsOrigins: [ORIGIN] },
      );
      const result = await httpOnce(port, { headers: { origin: ORIGIN } });
      expect(result.status).toBe(status);
      expect(headersOf(result)).toEqual({
        ...plainHeaders(PROTOBUF, result.body.length),
        ...ALLOWED,
        'retry-after': '2',
      });
    }
  });

  it('C2: what is answered while draining and what is our bug carry them, too', async () => {
    const more = { corsOrigins: [ORIGIN] };
    const broken = await ownServer(
      {
        open: () => {
          throw new Error('a bug');
        },
      },
      {},
      more,
    );
    const fault = await httpOnce(broken.port, { headers: { origin: ORIGIN } });
    expect(fault.status).toBe(500);
    expect(fault.headers).toMatchObject(ALLOWED);
    const draining = await ownServer({}, {}, more);
    const client = connect(draining.port);
    const bytes = httpBytes({ headers: { origin: ORIGIN } });
    client.write(bytes.subarray(0, 30));
    // Its head has begun when another connection, opened after it, was served.
    await httpOnce(draining.port, {});
    const drained = draining.server.drain();
    client.write(bytes.subarray(30));
    const late = await client.response();
    expect(late.status).toBe(503);
    expect(late.headers).toMatchObject({ ...ALLOWED, 'retry-after': '1', connection: 'close' });
    await drained;
  });
});

it('C3: what the JS exporter does in a browser works over one connection: preflight, JSON, and a refusal that it can read', async () => {
  let full = false;
  const { port, seen } = await ownServer(
    {
      open: () => {
        if (full) throw retryLater('overloaded', 'full');
      },
    },
    {},
    { corsOrigins: [ORIGIN] },
  );
  const client = connect(port);
  client.write(httpBytes({ ...PREFLIGHT, path: '/v1/traces' }));
  const preflight = await client.response();
  const allowed = (preflight.headers['access-control-allow-headers'] ?? '').split(', ');
  for (const asked of PREFLIGHT.headers['access-control-request-headers'].split(',')) expect(allowed).toContain(asked);
  expect(preflight.headers['access-control-allow-methods']).toBe('POST');
  const send = async (): Promise<HttpResult> => {
    client.write(httpBytes({ path: '/v1/traces', headers: { origin: ORIGIN, 'content-type': JSON_TYPE }, body: '{}' }));
    return client.response();
  };
  const accepted = await send();
  expect(accepted.status).toBe(200);
  expect(headersOf(accepted)).toEqual({ ...plainHeaders(JSON_TYPE, 2), ...ALLOWED });
  full = true;
  const refused = await send();
  expect(refused.status).toBe(503);
  const exposed = (refused.headers['access-control-expose-headers'] ?? '').split(', ');
  expect(exposed).toContain('Retry-After');
  expect(refused.headers['retry-after']).toBe('1');
  expect(seen.bodies.map(({ encoding }) => encoding)).toEqual(['json']);
});
