/** What OTLP/HTTP takes and how it answers, from the whole service: paths, types, codings, empty and partly valid requests. */
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SETTINGS } from '../../src/settings/settings.ts';
import { decode } from '../ingest/accept/google-rpc.ts';
import { type HttpRequestParts, type HttpResult, httpBytes, httpOnce, RawHttp } from '../ingest/accept/peers.ts';
import { encodeIds } from '../support/load.ts';
import { encodeRequest } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';
import { CHUNKED, chunk, headersOf, JSON_TYPE, LAST_CHUNK, PROTOBUF, plainHeaders, statusOf } from './http-peer.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '100', BACKWORK_WORKERS: '1' } });
});
afterAll(() => service.stopAndRemove());

/** With the token of the service; headers given win. */
function post(request: HttpRequestParts): Promise<HttpResult> {
  return httpOnce(service.ports.http, withToken(request));
}

function withToken(request: HttpRequestParts): HttpRequestParts {
  return { ...request, headers: { authorization: `Bearer ${service.token}`, ...request.headers } };
}

function jsonLogs(body: string): Buffer {
  const record = { timeUnixNano: '1700000000000000000', body: { stringValue: body } };
  return Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] }));
}

/** Waits for the log rows whose body begins so, and gives their bodies. */
async function bodies(prefix: string, count: number): Promise<string[]> {
  const sql = `SELECT Body FROM otel_logs WHERE startsWith(Body, '${prefix}') ORDER BY Body`;
  const rows = await service.queryUntil<{ Body: string }>(sql, (found) => found.length >= count);
  return rows.map(({ Body }) => Body);
}

const OK_PROTOBUF = { status: 200, headers: plainHeaders(PROTOBUF, 0), body: Buffer.alloc(0) };

function wire(result: HttpResult) {
  return { ...result, headers: headersOf(result) };
}

describe('paths and methods', () => {
  it('H1: port 4318 of 127.0.0.1 is the default, and no other address of the machine answers', async () => {
    expect(SETTINGS.otlpHost.default).toBe('127.0.0.1');
    expect(SETTINGS.otlpHttpPort.default).toBe(4318);
    const others = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    for (const { address, internal, family } of others) {
      if (internal || family !== 'IPv4') continue;
      const refused = await new Promise((resolve) => {
        const socket = net.connect(service.ports.http, address);
        socket.on('connect', () => resolve(socket.destroy() && false));
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
      });
      expect(refused, address).toBe(true);
    }
  });

  it('H2: the three signals are received by POST at their paths, and their rows are stored', async () => {
    for (const signal of ['logs', 'metrics', 'traces'] as const) {
      const result = await post({ path: `/v1/${signal}`, body: encodeIds([`h2-${signal}`], signal) });
      expect(wire(result)).toEqual(OK_PROTOBUF);
    }
    const sql = `SELECT Body AS id FROM otel_logs WHERE Body = 'h2-logs'
      UNION ALL SELECT SpanAttributes['id'] FROM otel_traces WHERE SpanAttributes['id'] = 'h2-traces'
      UNION ALL SELECT Attributes['id'] FROM otel_metrics_gauge WHERE Attributes['id'] = 'h2-metrics'`;
    expect(await service.queryUntil(sql, (rows) => rows.length === 3)).toHaveLength(3);
  });

  it.each(['/v1/profiles', '/v1development/profiles'])(
    'H2: %s is 404 and says that profiles are not received',
    async (path) => {
      const result = await post({ path });
      expect(result.status).toBe(404);
      expect(statusOf(result)).toEqual({ code: 12, message: 'profiles are not received here', details: [] });
    },
  );

  it('H3: one trailing slash, a query, and an absolute URL name the same path', async () => {
    for (const path of ['/v1/logs/', '/v1/logs?a=b', '/v1/logs/?', `http://localhost:${service.ports.http}/v1/logs`]) {
      expect(wire(await post({ path })), path).toEqual(OK_PROTOBUF);
    }
  });

  it.each([
    ['/', 'unknown path; OTLP/HTTP is received by POST at /v1/logs, /v1/metrics, /v1/traces'],
    ['', 'unknown path; OTLP/HTTP is received by POST at /v1/logs, /v1/metrics, /v1/traces'],
    ['/v1/traces/v1/traces', 'unknown path; OTLP/HTTP is received by POST at /v1/traces'],
    ['/v1/traces//', 'unknown path; OTLP/HTTP is received by POST at /v1/traces'],
    ['//v1/traces', 'unknown path; OTLP/HTTP is received by POST at /v1/traces'],
    ['/V1/traces', 'unknown path; OTLP/HTTP is received by POST at /v1/traces'],
    ['/v1/trace', 'unknown path; OTLP/HTTP is received by POST at /v1/logs, /v1/metrics, /v1/traces'],
    ['/v1/metrics/extra', 'unknown path; OTLP/HTTP is received by POST at /v1/metrics'],
    ['/v1/logs%2F', 'unknown path; OTLP/HTTP is received by POST at /v1/logs'],
  ])('H3, H24: "%s" is 404, no redirect, and names the right path', async (path, message) => {
    const url = path === '' ? 'http://localhost' : path;
    for (const type of [PROTOBUF, JSON_TYPE]) {
      const result = await post({ path: url, headers: { 'content-type': type } });
      expect(result.status).toBe(404);
      expect(headersOf(result)).toEqual(plainHeaders(type, result.body.length));
      expect(statusOf(result)).toEqual({ code: 12, message, details: [] });
    }
  });

  it.each(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY'])('H24: %s is 405 with Allow', async (method) => {
    const client = new RawHttp(service.ports.http);
    client.write(`${method} /v1/logs HTTP/1.1\r\nHost: a\r\n\r\n`);
    const text = '{"code":12,"message":"OTLP/HTTP is received by POST"}';
    const body = method === 'HEAD' ? '' : text;
    await expect.poll(() => client.received.toString().endsWith(`\r\n\r\n${body}`)).toBe(true);
    const [head = ''] = client.received.toString().split('\r\n\r\n');
    const lines = head.split('\r\n').filter((line) => !line.startsWith('Date: '));
    expect(lines).toEqual([
      'HTTP/1.1 405 Method Not Allowed',
      `Content-Type: ${JSON_TYPE}`,
      `Content-Length: ${text.length}`,
      'Allow: POST, OPTIONS',
      'Connection: keep-alive',
      'Keep-Alive: timeout=75',
    ]);
    client.close();
  });

  it('H24: CONNECT is 405 with Allow, and its connection is closed', async () => {
    const client = new RawHttp(service.ports.http);
    client.write('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n');
    const result = await client.response();
    expect(result.status).toBe(405);
    expect(headersOf(result)).toEqual({
      ...plainHeaders(JSON_TYPE, result.body.length, 'closed'),
      allow: 'POST, OPTIONS',
    });
    expect(statusOf(result)).toEqual({ code: 12, message: 'this is no proxy', details: [] });
    await expect.poll(() => client.ended).toBe(true);
  });

  it('H24: OPTIONS without an origin says what is allowed and needs no token', async () => {
    const result = await httpOnce(service.ports.http, { method: 'OPTIONS', headers: { authorization: '' } });
    expect(result.status).toBe(204);
    expect(headersOf(result)).toEqual({ allow: 'POST, OPTIONS', connection: 'keep-alive', 'keep-alive': 'timeout=75' });
  });
});

describe('content types', () => {
  it('H4: both encodings on one port and one connection, chosen by Content-Type', async () => {
    const client = new RawHttp(service.ports.http);
    client.write(httpBytes(withToken({ body: encodeIds(['h4-protobuf']) })));
    expect(wire(await client.response())).toEqual(OK_PROTOBUF);
    client.write(httpBytes(withToken({ headers: { 'content-type': JSON_TYPE }, body: jsonLogs('h4-json') })));
    const json = await client.response();
    expect(wire(json)).toEqual({ status: 200, headers: plainHeaders(JSON_TYPE, 2), body: Buffer.from('{}') });
    client.close();
    expect(await bodies('h4-', 2)).toEqual(['h4-json', 'h4-protobuf']);
    // The type decides, not the body.
    const crossed = await post({ headers: { 'content-type': JSON_TYPE }, body: encodeIds(['h4-never']) });
    expect(crossed.status).toBe(400);
  });

  it.each([
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'Application/Json;charset="UTF-8";x=y',
    ' application/json ',
    'application/x-protobuf; messageType="x"',
    'Application/X-Protobuf',
  ])('H5, H6: "%s" is taken, and answered by the bare type', async (type) => {
    const json = type.toLowerCase().includes('json');
    const accepted = await post({ headers: { 'content-type': type }, body: json ? '{}' : '' });
    expect(accepted.status).toBe(200);
    expect(headersOf(accepted)).toEqual(json ? plainHeaders(JSON_TYPE, 2) : plainHeaders(PROTOBUF, 0));
    const refused = await post({ headers: { 'content-type': type }, body: '\x0a' });
    expect(refused.status).toBe(400);
    expect(refused.headers['content-type']).toBe(json ? JSON_TYPE : PROTOBUF);
  });

  it.each([
    '',
    'text/plain',
    'application/protobuf',
    'application/x-protobuf2',
    'application/grpc',
    'application/jsonl',
    ';',
  ])('H18, H24: type "%s" is 415 with a JSON Status of code 12', async (type) => {
    const result = await post({ headers: { 'content-type': type }, body: encodeIds(['h18-never']) });
    expect(result.status).toBe(415);
    expect(headersOf(result)).toEqual(plainHeaders(JSON_TYPE, result.body.length));
    const message = 'the content type must be application/x-protobuf or application/json';
    expect(statusOf(result)).toEqual({ code: 12, message, details: [] });
  });

  it('H18: a wrong token with an unknown content type is 401, not 500', async () => {
    const result = await post({ headers: { 'content-type': 'text/plain', authorization: 'Bearer x' } });
    expect(result.status).toBe(401);
    expect(statusOf(result).code).toBe(16);
  });
});

describe('answers', () => {
  it('H14: full success has no partial_success: zero bytes of protobuf, {} of JSON', async () => {
    expect(wire(await post({ body: encodeIds(['h14']) }))).toEqual(OK_PROTOBUF);
    const json = await post({ headers: { 'content-type': JSON_TYPE }, body: jsonLogs('h14') });
    expect(wire(json)).toEqual({ status: 200, headers: plainHeaders(JSON_TYPE, 2), body: Buffer.from('{}') });
  });

  it('H15: partial success is 200 with the count and the reason, in both encodings', async () => {
    const spans = [
      { traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name: 'good' },
      { traceId: Buffer.alloc(16), spanId: Buffer.alloc(8, 1), name: 'bad' },
    ];
    const body = encodeRequest('traces', { resourceSpans: [{ scopeSpans: [{ spans }] }] });
    const protobuf = await post({ path: '/v1/traces', body });
    expect(protobuf.status).toBe(200);
    expect(decode('ExportResponse', protobuf.body)).toEqual({
      partialSuccess: { rejected: 1, errorMessage: expect.stringContaining('resourceSpans[0].scopeSpans[0].spans[1]') },
    });
    const hexed = spans.map((span) => ({
      ...span,
      traceId: span.traceId.toString('hex'),
      spanId: span.spanId.toString('hex'),
    }));
    const request = { resourceSpans: [{ scopeSpans: [{ spans: hexed }] }] };
    const headers = { 'content-type': JSON_TYPE };
    const json = await post({ path: '/v1/traces', headers, body: JSON.stringify(request) });
    expect(json.status).toBe(200);
    expect(JSON.parse(json.body.toString())).toEqual({
      partialSuccess: {
        rejectedSpans: '1',
        errorMessage: expect.stringContaining('resourceSpans[0].scopeSpans[0].spans[1]'),
      },
    });
  });

  it('H16: zero bytes of protobuf, with and without a length, and {} are empty requests', async () => {
    expect(wire(await post({}))).toEqual(OK_PROTOBUF);
    expect(wire(await post({ headers: { 'content-length': '' } }))).toEqual(OK_PROTOBUF);
    const client = new RawHttp(service.ports.http);
    client.write(httpBytes(withToken({ headers: CHUNKED })), LAST_CHUNK);
    expect(wire(await client.response())).toEqual(OK_PROTOBUF);
    client.close();
    const json = await post({ headers: { 'content-type': JSON_TYPE }, body: '{}' });
    expect(wire(json)).toEqual({ status: 200, headers: plainHeaders(JSON_TYPE, 2), body: Buffer.from('{}') });
  });

  it.each([
    ['zero bytes of JSON', JSON_TYPE, ''],
    ['JSON cut off', JSON_TYPE, '{"resourceLogs":['],
    ['protobuf cut off', PROTOBUF, encodeIds(['h20']).subarray(0, -3)],
    ['protobuf that is text', PROTOBUF, 'hello'],
  ])('H16, H20: %s is 400 with BadRequest', async (_, type, body) => {
    const result = await post({ headers: { 'content-type': type }, body });
    expect(result.status).toBe(400);
    expect(headersOf(result)).toEqual(plainHeaders(type, result.body.length));
    const status = statusOf(result);
    expect(status).toMatchObject({ code: 3, message: expect.stringMatching(/./), details: [{ type: 'BadRequest' }] });
    expect(status.details[0]?.['fieldViolations']).toMatchObject([{ description: status.message }]);
  });

  it('H25: answers are not compressed, whatever the client accepts', async () => {
    for (const accepted of ['gzip', 'gzip, deflate, br, zstd', '*']) {
      const good = await post({ headers: { 'accept-encoding': accepted }, body: encodeIds(['h25']) });
      expect(wire(good)).toEqual(OK_PROTOBUF);
      const bad = await post({ headers: { 'accept-encoding': accepted }, body: 'hello' });
      expect(headersOf(bad)).toEqual(plainHeaders(PROTOBUF, bad.body.length));
      expect(statusOf(bad).code).toBe(3);
    }
  });
});

describe('codings of the whole service', () => {
  it.each([
    ['gzip', (body: Buffer) => zlib.gzipSync(body)],
    ['identity', (body: Buffer) => body],
    ['', (body: Buffer) => body],
  ])('H7, H10: coding "%s", with a length and chunked, becomes the row that was sent', async (coding, encode) => {
    const name = `h7-${coding}-`;
    const headers = { 'content-encoding': coding };
    expect(wire(await post({ headers, body: encode(encodeIds([`${name}length`])) }))).toEqual(OK_PROTOBUF);
    const client = new RawHttp(service.ports.http);
    const body = encode(encodeIds([`${name}chunked`]));
    client.write(httpBytes(withToken({ headers: { ...headers, ...CHUNKED } })));
    client.write(chunk(body.subarray(0, 10)), chunk(body.subarray(10)), LAST_CHUNK);
    expect(wire(await client.response())).toEqual(OK_PROTOBUF);
    client.close();
    expect(await bodies(name, 2)).toEqual([`${name}chunked`, `${name}length`]);
  });

  it('H27: an upgrade to HTTP/2, as the client of the JDK asks for it, is answered in HTTP/1.1', async () => {
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAEAAEAAAAIAAAAA' };
    expect(wire(await post({ headers, body: encodeIds(['h27']) }))).toEqual(OK_PROTOBUF);
    expect(await bodies('h27', 1)).toEqual(['h27']);
  });

  it('H27: gRPC clients on this port are a warning in the log of the service, once, not a line for each', async () => {
    for (let i = 0; i < 3; i++) {
      const client = new RawHttp(service.ports.http);
      client.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      expect((await client.response()).status).toBe(400);
      client.close();
    }
    const lines = (): string[] => service.stderr.split('\n').filter((line) => line.includes('BACKWORK_OTLP_GRPC_PORT'));
    await expect.poll(() => lines().length).toBe(1);
    expect(JSON.parse(lines()[0] ?? '')).toMatchObject({
      level: 'warn',
      msg: expect.stringContaining(
        'a gRPC client (or another that speaks HTTP/2 without TLS) connected to the OTLP/HTTP port',
      ),
    });
  });
});
