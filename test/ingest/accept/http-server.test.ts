import http from 'node:http';
import zlib from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { BackworkError, retryLater } from '../../../src/base/errors.ts';
import type { AcceptDeps, AcceptLimits, AcceptServer } from '../../../src/ingest/accept/accept-server.ts';
import { createHttpServer } from '../../../src/ingest/accept/http-server.ts';
import { ERROR_ROWS } from './error-rows.ts';
import { decode, decodeStatus } from './google-rpc.ts';
import {
  type Behaviour,
  httpBytes,
  httpOnce,
  QUICK,
  RawHttp,
  type Seen,
  TENANT,
  TOKEN,
  until,
  watchedPath,
} from './peers.ts';

const LIMIT = 100_000;
const BODY = Buffer.from('any bytes: the path alone reads them');
const stops: Array<() => unknown> = [];

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

interface Running {
  server: AcceptServer;
  port: number;
  seen: Seen;
}

async function start(
  behaviour: Behaviour = {},
  limits: Partial<AcceptLimits> = {},
  more: Partial<AcceptDeps> = {},
): Promise<Running> {
  const { seen, deps } = watchedPath(behaviour);
  const allLimits = { bodyBytesMax: LIMIT, drainMs: 1_000, ...QUICK, ...limits };
  const server = createHttpServer({ ...deps, ...more, limits: allLimits });
  const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
  stops.push(() => server.drain());
  return { server, port, seen };
}

function connect(port: number): RawHttp {
  const client = new RawHttp(port);
  stops.push(() => client.close());
  return client;
}

const refusing = (error: BackworkError): Behaviour => ({
  open: () => {
    throw error;
  },
});

describe('success', () => {
  test.each(['logs', 'metrics', 'traces'] as const)('%s: 200, no byte of body, bare content type', async (signal) => {
    const { port, seen } = await start();
    const result = await httpOnce(port, { path: `/v1/${signal}`, body: BODY });

    expect(result.status).toBe(200);
    expect(result.body).toHaveLength(0);
    expect(result.headers).toMatchObject({ 'content-type': 'application/x-protobuf', 'content-length': '0' });
    expect(result.headers['connection']).not.toBe('close');
    expect(seen.heads).toEqual([
      { signal, protocol: 'http', authorization: `Bearer ${TOKEN}`, bodyBytesDeclared: BODY.length },
    ]);
    expect(seen.bodies).toEqual([{ body: BODY, encoding: 'protobuf' }]);
    await until(() => seen.log.length === 1);
    expect(seen.released).toEqual([true]);
    expect(seen.log).toEqual([
      { route: `/v1/${signal}`, status: 200, bytes: BODY.length, ms: expect.any(Number), orgId: TENANT.orgId },
    ]);
  });

  test('JSON is answered by {}, whatever case and parameters its content type has', async () => {
    const { port, seen } = await start();
    for (const type of ['application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON;x=y']) {
      const result = await httpOnce(port, { headers: { 'content-type': type }, body: '{}' });
      expect(result).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
      expect(result.body.toString()).toBe('{}');
    }
    expect(seen.bodies.map(({ encoding }) => encoding)).toEqual(['json', 'json', 'json']);
  });

  test('partial success in both encodings', async () => {
    const { port } = await start({ submit: () => ({ rejected: 3, message: 'time is 0' }) });
    const protobuf = await httpOnce(port, { body: BODY });
    const json = await httpOnce(port, { headers: { 'content-type': 'application/json' }, body: '{}' });
    expect(protobuf.status).toBe(200);
    expect(decode('ExportResponse', protobuf.body)).toEqual({
      partialSuccess: { rejected: 3, errorMessage: 'time is 0' },
    });
    expect(JSON.parse(json.body.toString())).toEqual({
      partialSuccess: { rejectedLogRecords: '3', errorMessage: 'time is 0' },
    });
  });

  test('one trailing slash and a query are allowed', async () => {
    const { port, seen } = await start();
    expect((await httpOnce(port, { path: '/v1/traces/', body: BODY })).status).toBe(200);
    expect((await httpOnce(port, { path: '/v1/traces?token=abc', body: BODY })).status).toBe(200);
    expect(seen.heads.map(({ signal }) => signal)).toEqual(['traces', 'traces']);
  });

  test('an empty body is passed on', async () => {
    const { port, seen } = await start();
    expect((await httpOnce(port, {})).status).toBe(200);
    expect((await httpOnce(port, { headers: { 'content-length': '' } })).status).toBe(200);
    expect(seen.bodies.map(({ body }) => body.length)).toEqual([0, 0]);
  });

  test('a chunked body without a length, in many pieces', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '', 'transfer-encoding': 'chunked' } }));
    for (let i = 0; i < 20; i++) client.write('3e8\r\n', Buffer.alloc(1_000, i), '\r\n');
    client.write('0\r\n\r\n');
    expect((await client.response()).status).toBe(200);
    expect(seen.heads[0]?.bodyBytesDeclared).toBeUndefined();
    const expected = Buffer.concat(Array.from({ length: 20 }, (_, i) => Buffer.alloc(1_000, i)));
    expect(seen.bodies[0]?.body.equals(expected)).toBe(true);
    expect(seen.reserved[0]).toBe(20_000);
  });

  test('a body larger than every buffer arrives whole', async () => {
    const { port, seen } = await start({}, { bodyBytesMax: 24 * 2 ** 20 });
    const body = Buffer.alloc(20 * 2 ** 20, 'abc');
    expect((await httpOnce(port, { body })).status).toBe(200);
    expect(seen.bodies[0]?.body.equals(body)).toBe(true);
  });

  test('pipelined requests are answered in their order', async () => {
    const { port, seen } = await start({ submit: (body) => ({ rejected: body.length, message: 'x' }) });
    const client = connect(port);
    client.write(Buffer.concat([1, 2, 3].map((bytes) => httpBytes({ body: Buffer.alloc(bytes) }))));
    for (const rejected of [1, 2, 3]) {
      expect(decode('ExportResponse', (await client.response()).body)).toMatchObject({ partialSuccess: { rejected } });
    }
    await until(() => seen.released.length === 3);
    expect(seen.released).toEqual([true, true, true]);
  });

  test('200 connections at once', async () => {
    const { port, seen } = await start();
    const results = await Promise.all(
      Array.from({ length: 200 }, (_, i) => httpOnce(port, { body: Buffer.from(`body ${i}`) })),
    );
    expect(results.every(({ status }) => status === 200)).toBe(true);
    await until(() => seen.released.length === 200);
    expect(new Set(seen.bodies.map(({ body }) => body.toString())).size).toBe(200);
  });

  test('a client that ends its side after the request gets its answer', async () => {
    const { port, seen } = await start({
      submit: async () => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        return { rejected: 0, message: '' };
      },
    });
    const client = connect(port);
    client.socket.end(httpBytes({ body: BODY }));
    expect((await client.response()).status).toBe(200);
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([true]);
  });

  test('Expect: 100-continue is answered only when the body is wanted', async () => {
    const wanted = connect((await start()).port);
    const headers = { expect: '100-continue', 'content-length': String(BODY.length) };
    wanted.write(httpBytes({ headers }));
    expect((await wanted.response()).status).toBe(100);
    wanted.write(BODY);
    expect((await wanted.response()).status).toBe(200);

    const refused = connect((await start(refusing(new BackworkError('unauthenticated', 'no')))).port);
    refused.write(httpBytes({ headers }));
    const answer = await refused.response();
    expect(answer).toMatchObject({ status: 401, headers: { connection: 'close' } });
    await until(() => refused.ended);
  });
});

describe('errors', () => {
  test.each(ERROR_ROWS)('$code is $http with a Status body', async ({ code, grpc, http: status, retry, close }) => {
    for (const where of ['open', 'submit'] as const) {
      const { port, seen } = await start({
        [where]: () => {
          throw new BackworkError(code, `refused: ${code}`, { retryAfterMs: 2_500, field: 'resourceLogs[0]' });
        },
      });
      const client = connect(port);
      client.write(httpBytes({ body: BODY }));
      const protobuf = await client.response();
      expect(protobuf.status).toBe(status);
      expect(protobuf.headers['content-type']).toBe('application/x-protobuf');
      expect(protobuf.headers['retry-after']).toBe(retry ? '3' : undefined);
      expect(protobuf.headers['connection'] === 'close').toBe(close === true);
      const message = status === 500 ? expect.stringContaining('internal') : `refused: ${code}`;
      expect(decodeStatus(protobuf.body)).toMatchObject({ code: grpc, message });
      if (close) await until(() => client.ended);
      else client.write(httpBytes({ headers: { 'content-type': 'application/json' }, body: '{}' }));

      const json = close
        ? await httpOnce(port, { headers: { 'content-type': 'application/json' }, body: '{}' })
        : await client.response();
      expect(json).toMatchObject({ status, headers: { 'content-type': 'application/json' } });
      expect(JSON.parse(json.body.toString())).toMatchObject({ code: grpc, message });
      await until(() => seen.log.length === 2);
      expect(seen.log.map((fields) => fields.status)).toEqual([status, status]);
      expect(seen.released).toEqual(where === 'open' ? [] : [false, false]);
      expect(JSON.stringify([protobuf.headers, json.headers, seen.log])).not.toContain(TOKEN);
      expect(protobuf.body.toString('latin1') + json.body.toString()).not.toContain(TOKEN);
    }
  });

  test.each([
    ['/', /\/v1\/logs, \/v1\/metrics, \/v1\/traces/],
    ['/v1/traces/v1/traces', /at \/v1\/traces$/],
    ['/v1/traces//', /at \/v1\/traces$/],
    ['/v1/LOGS', /\/v1\/logs/],
    ['/v1/profiles', /profiles are not received/],
    ['/v1development/profiles', /profiles are not received/],
  ])('%s is 404 and names the right path', async (path, message) => {
    const { port, seen } = await start();
    const result = await httpOnce(port, { path, body: BODY });
    expect(result.status).toBe(404);
    expect(decodeStatus(result.body)).toMatchObject({ code: 12, message: expect.stringMatching(message) });
    expect(seen.heads).toEqual([]);
    expect(seen.log.map(({ route }) => route)).toEqual(['(other)']);
  });

  test.each(['GET', 'PUT', 'DELETE', 'PATCH'])('%s is 405 and leaves the connection open', async (method) => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(httpBytes({ method, headers: { 'content-type': '' } }));
    const result = await client.response();
    expect(result).toMatchObject({
      status: 405,
      headers: { allow: 'POST, OPTIONS', 'content-type': 'application/json' },
    });
    expect(JSON.parse(result.body.toString())).toMatchObject({ code: 12 });
    client.write(httpBytes({ body: BODY }));
    expect((await client.response()).status).toBe(200);
    expect(seen.heads).toHaveLength(1);
  });

  test('HEAD is 405 without a body', async () => {
    const { port } = await start();
    const status = await new Promise((resolve, reject) => {
      const request = http.request({ port, host: '127.0.0.1', method: 'HEAD', path: '/v1/logs', agent: false });
      request.on('response', (response) => resolve(response.statusCode));
      request.on('error', reject);
      request.end();
    });
    expect(status).toBe(405);
  });

  test.each(['text/plain', 'application/x-protobuf2', 'application/grpc', ''])('type "%s" is 415', async (type) => {
    const { port, seen } = await start();
    const result = await httpOnce(port, { headers: { 'content-type': type }, body: BODY });
    expect(result).toMatchObject({ status: 415, headers: { 'content-type': 'application/json' } });
    expect(JSON.parse(result.body.toString())).toMatchObject({ code: 12 });
    expect(seen.released).toEqual([false]);
  });

  test.each(['br', 'gzip, gzip', 'identity, gzip', 'compress', 'snappy', 'x-gzip'])(
    'coding %s is 415',
    async (coding) => {
      const { port, seen } = await start();
      const result = await httpOnce(port, { headers: { 'content-encoding': coding }, body: BODY });
      expect(result.status).toBe(415);
      expect(decodeStatus(result.body)).toMatchObject({ code: 12, message: expect.stringContaining('gzip') });
      expect(seen.bodies).toEqual([]);
    },
  );

  test('what the token says comes before what the head says, and that before admission', async () => {
    const headers = { 'content-type': 'text/plain' };
    const unknown = await start(refusing(new BackworkError('unauthenticated', 'no such token')));
    const full = await start(refusing(retryLater('spool-full', 'full')));
    const first = await httpOnce(unknown.port, { headers });
    expect(first).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect((await httpOnce(full.port, { headers })).status).toBe(415);
    // A body that is too large by its own word is no matter of room.
    const large = await httpOnce(full.port, { headers: { 'content-length': String(LIMIT + 1) } });
    expect(large.status).toBe(413);
    expect(full.seen.heads[1]?.bodyBytesDeclared).toBeUndefined();
  });
});

describe('codings', () => {
  const encoders: ReadonlyArray<readonly [string, (body: Buffer) => Buffer]> = [
    ['gzip', (body) => zlib.gzipSync(body)],
    ['GZIP', (body) => zlib.gzipSync(body)],
    ['deflate', (body) => zlib.deflateSync(body)],
    ['deflate', (body) => zlib.deflateRawSync(body)],
    ['zstd', (body) => zlib.zstdCompressSync(body)],
    ['identity', (body) => body],
  ];

  test.each(encoders)('%s is read', async (coding, encode) => {
    const { port, seen } = await start();
    const body = Buffer.alloc(90_000, 'abcdefg');
    const result = await httpOnce(port, { headers: { 'content-encoding': coding }, body: encode(body) });
    expect(result.status).toBe(200);
    expect(seen.bodies[0]?.body.equals(body)).toBe(true);
    expect(seen.reserved[0]).toBe(coding === 'identity' ? body.length : encode(body).length + body.length);
  });

  test.each(encoders.slice(0, -1))('%s cut off, or with bytes behind it, is 400', async (coding, encode) => {
    const { port } = await start();
    for (const body of [
      encode(BODY).subarray(0, -2),
      Buffer.concat([encode(BODY), Buffer.alloc(3)]),
      Buffer.alloc(0),
    ]) {
      const result = await httpOnce(port, { headers: { 'content-encoding': coding }, body });
      expect(result.status).toBe(400);
      expect(decodeStatus(result.body)).toMatchObject({ code: 3, details: [{ type: 'BadRequest' }] });
    }
  });

  test.each(encoders)('%s: the limit passes, one byte more is 413', async (coding, encode) => {
    const { port, seen } = await start();
    const headers = { 'content-encoding': coding };
    expect((await httpOnce(port, { headers, body: encode(Buffer.alloc(LIMIT)) })).status).toBe(200);
    const over = await httpOnce(port, { headers, body: encode(Buffer.alloc(LIMIT + 1)) });
    expect(over.status).toBe(413);
    expect(over.headers['retry-after']).toBeUndefined();
    expect(decodeStatus(over.body)).toMatchObject({ code: 8, message: expect.stringContaining(String(LIMIT)) });
    await until(() => seen.released.length === 2);
    expect(seen.released).toEqual([true, false]);
  });
});

describe('refusing early', () => {
  test('too large a Content-Length is refused before any byte of the body', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '99999999999' } }));
    const result = await client.response();
    expect(result).toMatchObject({ status: 413, headers: { connection: 'close' } });
    expect(decodeStatus(result.body).message).toContain('99999999999 bytes is over the limit');
    expect(seen.bodies).toEqual([]);
  });

  test('a chunked body is refused when it passes the limit, by one byte already', async () => {
    for (const [lastBytes, status] of [
      [0, 200],
      [1, 413],
      [10_000, 413],
    ] as const) {
      const { port, seen } = await start();
      const client = connect(port);
      client.write(httpBytes({ headers: { 'content-length': '', 'transfer-encoding': 'chunked' } }));
      for (let i = 0; i < 10; i++) client.write('2710\r\n', Buffer.alloc(10_000), '\r\n');
      if (lastBytes > 0) client.write(`${lastBytes.toString(16)}\r\n`, Buffer.alloc(lastBytes), '\r\n');
      client.write('0\r\n\r\n');
      expect((await client.response()).status).toBe(status);
      expect(seen.reserved[0]).toBeLessThanOrEqual(LIMIT);
    }
  });

  test('a client that writes everything before it reads sees the refusal', async () => {
    for (const error of [new BackworkError('unauthenticated', 'no'), retryLater('spool-full', 'full')]) {
      const { port, seen } = await start(refusing(error), { bodyBytesMax: 2 ** 24 });
      const client = connect(port);
      client.socket.pause();
      const written = new Promise<void>((resolve) => {
        client.socket.write(httpBytes({ body: Buffer.alloc(12_000_000) }), () => resolve());
      });
      await written;
      client.socket.resume();
      expect(await client.response()).toMatchObject({
        status: error.code === 'spool-full' ? 503 : 401,
        headers: { connection: 'close' },
      });
      await until(() => client.ended);
      expect(seen.bodies).toEqual([]);
    }
  });

  test.each([
    ['bytes', { refusedDrainBytesMax: 300_000 }],
    ['time', { refusedDrainMs: 60 }],
  ])('beyond the bound of %s the connection is closed', async (_, limits) => {
    const { port } = await start(refusing(retryLater('spool-full', 'full')), { bodyBytesMax: 2 ** 24, ...limits });
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '9000000' } }), Buffer.alloc(400_000));
    expect((await client.response()).status).toBe(503);
    await until(() => client.ended);
  });

  test('a body that outgrows the budget is refused while it is read', async () => {
    const { port, seen } = await start({
      reserve: (bytes) => {
        if (bytes > 50_000) throw retryLater('overloaded', 'no room');
      },
    });
    const result = await httpOnce(port, { body: Buffer.alloc(90_000) });
    expect(result).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(seen.released).toEqual([false]);
  });
});

describe('time', () => {
  test('a body that does not come whole by its deadline is 503 and the end of the connection', async () => {
    const { port, seen } = await start({}, { bodyDeadlineMs: 60, refusedDrainMs: 60 });
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '100' }, body: BODY }));
    expect(await client.response()).toMatchObject({
      status: 503,
      headers: { connection: 'close', 'retry-after': '1' },
    });
    await until(() => client.ended);
    expect(seen.released).toEqual([false]);
  });

  test('headers that do not come whole by their deadline: closed without an answer', async () => {
    const { port } = await start({}, { headersDeadlineMs: 100 });
    const half = connect(port);
    const silent = connect(port);
    half.write('POST /v1/logs HTTP/1.1\r\nHost: a\r\n');
    await until(() => half.ended && silent.ended);
    expect(half.received).toHaveLength(0);
    expect(silent.received).toHaveLength(0);
  });

  test('an idle connection outlives the deadline for headers', async () => {
    const { port } = await start({}, { headersDeadlineMs: 100 });
    const client = connect(port);
    for (let i = 0; i < 2; i++) {
      client.write(httpBytes({ body: BODY }));
      expect((await client.response()).status).toBe(200);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(client.ended).toBe(false);
  });

  test('the first answer on an aged connection closes it', async () => {
    const { port } = await start({}, { connectionAgeMs: 50 });
    const client = connect(port);
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.write(httpBytes({ body: BODY }));
    expect(await client.response()).toMatchObject({ status: 200, headers: { connection: 'close' } });
    await until(() => client.ended);
  });
});

describe('a client that goes away', () => {
  test('while it sends: released, and nothing was submitted', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '100' }, body: BODY }));
    await until(() => seen.reserved[0] !== undefined);
    client.socket.resetAndDestroy();
    await until(() => seen.log.length === 1);
    expect(seen.released).toEqual([false]);
    expect(seen.bodies).toEqual([]);
    expect(seen.log[0]?.status).toBe('client gone');
  });

  test('while its requests are made durable: all released, as not sent, once that has ended', async () => {
    const ready = Promise.withResolvers<void>();
    const { port, seen } = await start({ submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })) });
    const client = connect(port);
    // The second and the third wait behind the first one's answer.
    client.write(Buffer.concat([1, 2, 3].map(() => httpBytes({ body: BODY }))));
    await until(() => seen.bodies.length === 3);
    client.socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen.released).toEqual([]);
    ready.resolve();
    await until(() => seen.released.length === 3);
    expect(seen.released).toEqual([false, false, false]);
  });

  test('behind another answer on its connection: released as not sent', async () => {
    const first = Promise.withResolvers<void>();
    let submits = 0;
    const { port, seen } = await start({
      submit: async () => {
        if (++submits === 1) await first.promise;
        return { rejected: 0, message: '' };
      },
    });
    const client = connect(port);
    client.write(Buffer.concat([1, 2].map(() => httpBytes({ body: BODY }))));
    await until(() => seen.bodies.length === 2);
    client.socket.resetAndDestroy();
    await until(() => seen.released.length === 1);
    first.resolve();
    await until(() => seen.released.length === 2);
    expect(seen.released).toEqual([false, false]);
  });

  test('with a cut-off body: 400 when it can still read', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.socket.end(httpBytes({ headers: { 'content-length': '100' }, body: BODY }));
    expect(await client.response()).toMatchObject({ status: 400, headers: { connection: 'close' } });
    await until(() => client.ended);
    expect(seen.released).toEqual([false]);
  });

  test('that never reads its answers: closed at the deadline, those not taken count as not sent', async () => {
    const message = 'x'.repeat(1_000);
    const { port, seen } = await start({ submit: () => ({ rejected: 1, message }) }, { answerDeadlineMs: 100 });
    const client = connect(port);
    client.socket.pause();
    const request = httpBytes({ body: BODY });
    let gone = false;
    client.socket.on('close', () => {
      gone = true;
    });
    for (let i = 0; i < 400 && !gone; i++) {
      client.write(Buffer.concat(Array(50).fill(request)));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until(() => seen.released.includes(false));
    await until(() => seen.released.length === seen.heads.length);
    expect(seen.released).toContain(true);
  });
});

describe('drain', () => {
  test('what runs is answered and closed, what is new is refused, the port is closed', async () => {
    const ready = Promise.withResolvers<void>();
    const { port, server, seen } = await start({
      submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })),
    });
    const running = connect(port);
    const late = connect(port);
    const idle = connect(port);
    running.write(httpBytes({ body: BODY }));
    late.write(httpBytes({ body: BODY }).subarray(0, 40));
    await until(() => seen.bodies.length === 1);
    const drained = server.drain();
    late.write(httpBytes({ body: BODY }).subarray(40));
    const refused = await late.response();
    expect(refused).toMatchObject({ status: 503, headers: { connection: 'close', 'retry-after': '1' } });
    ready.resolve();
    expect(await running.response()).toMatchObject({ status: 200, headers: { connection: 'close' } });
    await drained;
    await until(() => idle.ended && running.ended);
    expect(seen.released).toEqual([true]);
    await expect(httpOnce(port, { body: BODY })).rejects.toThrow(/closed without/);
  });

  test('ends in time though a request does not', async () => {
    const never = Promise.withResolvers<never>();
    const { port, server, seen } = await start({ submit: () => never.promise }, { drainMs: 100 });
    connect(port).write(httpBytes({ body: BODY }));
    await until(() => seen.bodies.length === 1);
    await server.drain();
    never.reject(new BackworkError('internal', 'end of the test'));
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });
});

describe('broken HTTP', () => {
  test.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['a header without a colon', 'POST /v1/logs HTTP/1.1\r\nHost a\r\n\r\n'],
    ['two lengths', 'POST /v1/logs HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['length and chunks', 'POST /v1/logs HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a negative length', 'POST /v1/logs HTTP/1.1\r\nContent-Length: -1\r\n\r\n'],
    ['headers without end', `POST /v1/logs HTTP/1.1\r\n${'a: b\r\n'.repeat(5_000)}`],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('%s is 400 with a Status body, then closed', async (name, bytes) => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(bytes);
    const result = await client.response();
    expect(result).toMatchObject({ status: 400, headers: { connection: 'close', 'content-type': 'application/json' } });
    expect(JSON.parse(result.body.toString())).toMatchObject({ code: 3 });
    await until(() => client.ended);
    expect(seen.log).toMatchObject([{ route: name === 'HTTP/2' ? '(HTTP/2)' : '(no HTTP)', status: 400 }]);
    expect((await httpOnce(port, { body: BODY })).status).toBe(200);
  });

  test('broken chunks are 400, and what was opened is released', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '', 'transfer-encoding': 'chunked' } }), 'zz\r\nhi');
    expect((await client.response()).status).toBe(400);
    await until(() => client.ended);
    expect(seen.released).toEqual([false]);
  });

  test('more than the length says is thrown away until the client is done: its answer is not lost to a reset', async () => {
    const ready = Promise.withResolvers<void>();
    const { port, seen } = await start({ submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })) });
    const client = connect(port);
    const errors: Error[] = [];
    client.socket.on('error', (error) => errors.push(error));
    client.write(httpBytes({ body: BODY }));
    await until(() => seen.bodies.length === 1);
    await new Promise((resolve) => client.socket.write(Buffer.alloc(65_536), resolve));
    // The server has met it before it answers.
    await new Promise((resolve) => setTimeout(resolve, 50));
    ready.resolve();
    await until(() => client.ended);
    for (let i = 0; i < 16; i++) await new Promise((resolve) => client.socket.write(Buffer.alloc(65_536), resolve));
    expect(await client.response()).toMatchObject({ status: 200, headers: { connection: 'close' } });
    expect(errors).toEqual([]);
    client.close();
  });

  test('a TLS handshake is closed, and the log gives the hint', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    client.write(Buffer.from('16030100c8010000c403034242', 'hex'));
    await until(() => client.ended);
    expect(seen.log[0]?.route).toMatch(/TLS handshake/);
  });

  test('3,000 mutated requests do not end the process, and all that was opened is released', async () => {
    const { port, seen } = await start({}, { headersDeadlineMs: 300, bodyDeadlineMs: 300, refusedDrainMs: 100 });
    const good = Buffer.concat([
      httpBytes({ headers: { 'content-encoding': 'gzip' }, body: zlib.gzipSync(BODY) }),
      Buffer.from(
        'POST /v1/logs HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
      ),
    ]);
    let state = 20_261_123;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const converse = async (): Promise<void> => {
      const bytes = Buffer.from(good);
      for (let i = random(5) + 1; i > 0; i--) bytes[random(bytes.length)] = random(256);
      const client = new RawHttp(port);
      client.socket.end(bytes);
      await until(() => client.ended);
      client.close();
    };
    for (let round = 0; round < 30; round++) await Promise.all(Array.from({ length: 100 }, converse));
    expect((await httpOnce(port, { body: BODY })).status).toBe(200);
    await until(() => seen.released.length === seen.heads.length);
    expect(seen.faults).toEqual([]);
    expect(seen.bodies.length).toBeGreaterThan(100);
  });
});

describe('headers', () => {
  test('the first authorization counts; x-api-key does when there is none', async () => {
    const { port, seen } = await start();
    const client = connect(port);
    const lines = [
      'authorization: a\r\nauthorization: b',
      'x-api-key: k1\r\nx-api-key: k2',
      'x-api-key: k\r\nauthorization: a',
      'x: y',
    ];
    for (const line of lines) {
      client.write(
        `POST /v1/logs HTTP/1.1\r\n${line}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n`,
      );
      await client.response();
    }
    expect(seen.heads.map(({ authorization }) => authorization)).toEqual(['a', 'Bearer k1', 'a', undefined]);
  });
});

describe('CORS', () => {
  const preflight = {
    method: 'OPTIONS',
    headers: { authorization: '', origin: 'https://a.example', 'access-control-request-method': 'POST' },
  };

  test('is off by default', async () => {
    const { port, seen } = await start();
    const result = await httpOnce(port, preflight);
    expect(result).toMatchObject({ status: 204, headers: { allow: 'POST, OPTIONS' } });
    expect(Object.keys(result.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(seen.heads).toEqual([]);
  });

  test('a preflight of a configured origin needs no token', async () => {
    const { port } = await start({}, {}, { corsOrigins: ['https://a.example'] });
    expect(await httpOnce(port, preflight)).toMatchObject({
      status: 204,
      headers: {
        'access-control-allow-origin': 'https://a.example',
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers': 'content-type, content-encoding, authorization, x-api-key',
        'access-control-max-age': '7200',
        vary: 'Origin',
      },
    });
    const other = await httpOnce(port, {
      ...preflight,
      headers: { ...preflight.headers, origin: 'https://b.example' },
    });
    expect(other.headers['access-control-allow-origin']).toBeUndefined();
    expect(other.headers['vary']).toBe('Origin');
  });

  test('answers and errors carry the headers too', async () => {
    const more = { corsOrigins: ['*'] };
    const headers = { origin: 'https://any.example' };
    const expected = {
      'access-control-allow-origin': 'https://any.example',
      'access-control-expose-headers': 'Retry-After',
    };
    const good = await start({}, {}, more);
    const full = await start(refusing(retryLater('spool-full', 'full')), {}, more);
    expect(await httpOnce(good.port, { headers, body: BODY })).toMatchObject({ status: 200, headers: expected });
    expect(await httpOnce(full.port, { headers, body: BODY })).toMatchObject({ status: 503, headers: expected });
  });
});

test('a port in use is named', async () => {
  const { port } = await start();
  const second = createHttpServer(watchedPath().deps);
  const listening = second.listen({ host: '127.0.0.1', port, reusePort: false });
  await expect(listening).rejects.toMatchObject({ code: 'port-busy', message: expect.stringContaining(String(port)) });
});
