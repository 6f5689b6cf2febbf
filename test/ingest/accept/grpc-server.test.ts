import http2 from 'node:http2';
import zlib from 'node:zlib';
import grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { BackworkError, retryLater } from '../../../src/base/errors.ts';
import type { AcceptLimits, AcceptServer } from '../../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../../src/ingest/accept/grpc-server.ts';
import { ERROR_ROWS } from './error-rows.ts';
import { decode, decodeStatus, encode } from './google-rpc.ts';
import {
  type Behaviour,
  callOnce,
  grpcFrame,
  QUICK,
  resultOf,
  SIGNAL_PATHS,
  type Seen,
  startCall,
  TENANT,
  TOKEN,
  until,
  watchedPath,
} from './peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, RawH2 } from './raw-h2.ts';

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

async function start(behaviour: Behaviour = {}, limits: Partial<AcceptLimits> = {}): Promise<Running> {
  const { seen, deps } = watchedPath(behaviour);
  const server = createGrpcServer({ ...deps, limits: { bodyBytesMax: LIMIT, drainMs: 1_000, ...QUICK, ...limits } });
  const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
  stops.push(() => server.drain());
  return { server, port, seen };
}

function connect(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  stops.push(() => session.destroy());
  return session;
}

describe('success', () => {
  test.each(['logs', 'metrics', 'traces'] as const)('%s: an empty message, then status 0', async (signal) => {
    const { port, seen } = await start();
    const result = await callOnce(port, { path: SIGNAL_PATHS[signal], body: grpcFrame(BODY) });

    expect(result.headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc' });
    expect(result.trailersOnly).toBe(false);
    expect(result.data).toEqual(Buffer.alloc(5));
    expect(result.trailers['grpc-status']).toBe('0');
    expect(seen.heads).toEqual([
      { signal, protocol: 'grpc', authorization: `Bearer ${TOKEN}`, bodyBytesDeclared: undefined },
    ]);
    expect(seen.bodies).toEqual([{ body: BODY, encoding: 'protobuf' }]);
    await until(() => seen.log.length === 1);
    expect(seen.released).toEqual([true]);
    expect(seen.log).toEqual([
      {
        route: SIGNAL_PATHS[signal],
        status: 'OK',
        bytes: BODY.length + 5,
        ms: expect.any(Number),
        orgId: TENANT.orgId,
      },
    ]);
  });

  test('partial success carries count and message', async () => {
    const { port } = await start({ submit: () => ({ rejected: 3, message: 'time is 0' }) });
    const result = await callOnce(port, { body: grpcFrame(BODY) });

    expect(decode('ExportResponse', result.data.subarray(5))).toEqual({
      partialSuccess: { rejected: 3, errorMessage: 'time is 0' },
    });
    expect(result.data.readUInt32BE(1)).toBe(result.data.length - 5);
    expect(result.trailers['grpc-status']).toBe('0');
  });

  test('a zero-length message is a request', async () => {
    const { port, seen } = await start();
    const result = await callOnce(port, { body: grpcFrame(Buffer.alloc(0)) });
    expect(result.trailers['grpc-status']).toBe('0');
    expect(seen.bodies).toEqual([{ body: Buffer.alloc(0), encoding: 'protobuf' }]);
  });

  test('200 calls run at once on one connection', async () => {
    const waiting: Array<() => void> = [];
    const { port, seen } = await start({
      submit: async () => {
        await new Promise<void>((resolve) => waiting.push(resolve));
        return { rejected: 0, message: '' };
      },
    });
    const session = connect(port);
    const results = Array.from({ length: 200 }, (_, i) =>
      resultOf(startCall(session, { body: grpcFrame(Buffer.from(`body ${i}`)) })),
    );
    await until(() => waiting.length === 200);
    for (const resume of waiting) resume();

    expect((await Promise.all(results)).every(({ trailers }) => trailers['grpc-status'] === '0')).toBe(true);
    await until(() => seen.log.length === 200);
    expect(seen.released).toEqual(Array(200).fill(true));
    expect(new Set(seen.bodies.map(({ body }) => body.toString()))).toHaveProperty('size', 200);
  });

  test('a message larger than every window arrives whole', async () => {
    const { port, seen } = await start({}, { bodyBytesMax: 24 * 2 ** 20 });
    const body = Buffer.alloc(20 * 2 ** 20, 'ab');
    const result = await callOnce(port, { body: grpcFrame(body) });
    expect(result.trailers['grpc-status']).toBe('0');
    expect(seen.bodies[0]?.body.equals(body)).toBe(true);
    expect(seen.reserved[0]).toBe(body.length);
  });
});

describe('errors', () => {
  test.each(ERROR_ROWS)('$code is Trailers-Only with status $grpc', async ({ code, grpc: status, retry }) => {
    for (const where of ['open', 'submit'] as const) {
      const { port, seen } = await start({
        [where]: () => {
          throw new BackworkError(code, `refused: ${code}`, { retryAfterMs: 2_500, field: 'resourceLogs[0]' });
        },
      });
      const { headers, trailersOnly, data } = await callOnce(port, { body: grpcFrame(BODY) });

      expect(trailersOnly).toBe(true);
      expect(data).toHaveLength(0);
      expect(headers).toMatchObject({
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': String(status),
        'grpc-message': status === 13 ? expect.stringContaining('internal') : `refused: ${code}`,
      });
      const details = headers['grpc-status-details-bin'];
      expect(headers['google.rpc.retryinfo-bin'] !== undefined).toBe(retry === true);
      expect(details !== undefined).toBe(retry === true || code === 'malformed');
      if (retry) {
        const decoded = decodeStatus(Buffer.from(String(details), 'base64'));
        expect(decoded.details).toEqual([{ type: 'RetryInfo', retryDelay: { seconds: 3, nanos: 0 } }]);
      }
      await until(() => seen.log.length === 1);
      expect(seen.released).toEqual(where === 'open' ? [] : [false]);
      expect(seen.faults).toHaveLength(status === 13 ? 1 : 0);
      expect(JSON.stringify([headers, seen.log])).not.toContain(TOKEN);
    }
  });

  test('profiles are UNIMPLEMENTED with a message, unknown methods name the served ones', async () => {
    const { port, seen } = await start();
    const profiles = '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export';
    const first = await callOnce(port, { path: profiles, body: grpcFrame(BODY) });
    const second = await callOnce(port, { path: '/some.Service/Method', body: grpcFrame(BODY) });
    expect(first.headers).toMatchObject({ 'grpc-status': '12', 'grpc-message': expect.stringMatching(/profiles/) });
    expect(second.headers).toMatchObject({ 'grpc-status': '12', 'grpc-message': expect.stringMatching(/LogsService/) });
    expect(seen.heads).toEqual([]);
  });

  test('what is no gRPC call is answered by an HTTP status', async () => {
    const { port, seen } = await start();
    const json = await callOnce(port, { headers: { 'content-type': 'application/json' }, body: BODY });
    const web = await callOnce(port, { headers: { 'content-type': 'application/grpc-web' }, body: BODY });
    const get = await callOnce(port, { headers: { ':method': 'GET' } });
    expect(json.headers[':status']).toBe(415);
    expect(web.headers[':status']).toBe(415);
    expect(get.headers).toMatchObject({ ':status': 405, allow: 'POST' });
    expect(seen.heads).toEqual([]);
  });

  test.each(['application/grpc+proto', 'application/grpc;x=y', 'Application/GRPC'])('%s is gRPC', async (type) => {
    const { port } = await start();
    const result = await callOnce(port, { headers: { 'content-type': type }, body: grpcFrame(BODY) });
    expect(result.trailers['grpc-status']).toBe('0');
  });

  test('messages in JSON are UNIMPLEMENTED', async () => {
    const { port } = await start();
    const headers = { 'content-type': 'application/grpc+json' };
    expect((await callOnce(port, { headers, body: grpcFrame(BODY) })).headers['grpc-status']).toBe('12');
  });

  test.each(['zstd', 'br', 'deflate', 'gzip, gzip', 'identity,gzip'])('coding %s is UNIMPLEMENTED', async (coding) => {
    const { port, seen } = await start();
    const result = await callOnce(port, { headers: { 'grpc-encoding': coding }, body: grpcFrame(BODY) });
    expect(result.headers).toMatchObject({ 'grpc-status': '12', 'grpc-accept-encoding': 'identity,gzip' });
    expect(seen.bodies).toEqual([]);
    expect(seen.released).toEqual([false]);
  });

  test('what the token says comes before what the head says, and that before admission', async () => {
    const headers = { 'grpc-encoding': 'br' };
    const refuse = (error: BackworkError) => ({
      open: () => {
        throw error;
      },
    });
    const unknown = await start(refuse(new BackworkError('unauthenticated', 'no such token')));
    const full = await start(refuse(retryLater('spool-full', 'full')));
    expect((await callOnce(unknown.port, { headers, body: BODY })).headers['grpc-status']).toBe('16');
    expect((await callOnce(full.port, { headers, body: BODY })).headers['grpc-status']).toBe('12');
  });
});

describe('the message', () => {
  test.each([
    ['no message', Buffer.alloc(0), {}],
    ['cut off', grpcFrame(BODY).subarray(0, -1), {}],
    ['two messages', Buffer.concat([grpcFrame(BODY), grpcFrame(BODY)]), {}],
    ['flag 2', Buffer.from([2, 0, 0, 0, 0]), {}],
    ['flag 1 without a coding', grpcFrame(zlib.gzipSync(BODY), true), {}],
    ['flag 1 with identity', grpcFrame(zlib.gzipSync(BODY), true), { 'grpc-encoding': 'identity' }],
    ['broken gzip', grpcFrame(Buffer.from('no gzip'), true), { 'grpc-encoding': 'gzip' }],
    ['empty gzip', grpcFrame(Buffer.alloc(0), true), { 'grpc-encoding': 'gzip' }],
    ['cut-off gzip', grpcFrame(zlib.gzipSync(BODY).subarray(0, -4), true), { 'grpc-encoding': 'gzip' }],
    ['gzip and junk', grpcFrame(Buffer.concat([zlib.gzipSync(BODY), BODY]), true), { 'grpc-encoding': 'gzip' }],
  ])('%s is INVALID_ARGUMENT, and the connection serves on', async (_, body, headers) => {
    const { port, seen } = await start();
    const session = connect(port);
    const refused = await resultOf(startCall(session, { headers, body }));
    const served = await resultOf(startCall(session, { body: grpcFrame(BODY) }));

    expect(refused.headers['grpc-status']).toBe('3');
    expect(decodeStatus(Buffer.from(String(refused.headers['grpc-status-details-bin']), 'base64'))).toMatchObject({
      code: 3,
      details: [{ type: 'BadRequest' }],
    });
    expect(served.trailers['grpc-status']).toBe('0');
    await until(() => seen.log.length === 2);
    expect(seen.released).toEqual([false, true]);
  });

  test('gzip with the flag set is inflated; without it the message is taken as it is', async () => {
    const { port, seen } = await start();
    const headers = { 'grpc-encoding': 'gzip' };
    const members = Buffer.concat([zlib.gzipSync(BODY), zlib.gzipSync(BODY)]);
    await callOnce(port, { headers, body: grpcFrame(zlib.gzipSync(BODY), true) });
    await callOnce(port, { headers, body: grpcFrame(BODY) });
    await callOnce(port, { headers, body: grpcFrame(members, true) });
    expect(seen.bodies.map(({ body }) => body)).toEqual([BODY, BODY, Buffer.concat([BODY, BODY])]);
    expect(seen.reserved[0]).toBe(zlib.gzipSync(BODY).length + BODY.length);
  });

  test('the limit holds on the wire and for what is inflated; one byte less passes', async () => {
    const { port } = await start();
    const headers = { 'grpc-encoding': 'gzip' };
    const gzip = (bytes: number) => grpcFrame(zlib.gzipSync(Buffer.alloc(bytes)), true);
    const over = [
      await callOnce(port, { body: grpcFrame(Buffer.alloc(LIMIT + 1)) }),
      await callOnce(port, { headers, body: gzip(LIMIT + 1) }),
      // A prefix that lies: nothing of the message is needed for the refusal.
      await callOnce(port, { body: Buffer.from([0, 0xff, 0xff, 0xff, 0xff]) }),
    ];
    for (const result of over) {
      expect(result.headers['grpc-status']).toBe('8');
      expect(result.headers['google.rpc.retryinfo-bin']).toBeUndefined();
      expect(result.headers['grpc-message']).toContain(`limit of ${LIMIT} bytes`);
    }
    const within = [
      await callOnce(port, { body: grpcFrame(Buffer.alloc(LIMIT)) }),
      await callOnce(port, { headers, body: gzip(LIMIT) }),
    ];
    for (const result of within) expect(result.trailers['grpc-status']).toBe('0');
  });

  test('a body that outgrows the budget is refused while it is read', async () => {
    const { port, seen } = await start({
      reserve: (bytes) => {
        if (bytes > 50_000) throw retryLater('overloaded', 'no room');
      },
    });
    const result = await callOnce(port, { body: grpcFrame(Buffer.alloc(90_000)) });
    expect(result.headers['grpc-status']).toBe('14');
    expect(seen.released).toEqual([false]);
  });
});

describe('headers', () => {
  test('x-api-key counts as a bearer token when there is no authorization', async () => {
    const { port, seen } = await start();
    const session = connect(port);
    const plain = { ':method': 'POST', ':path': SIGNAL_PATHS.logs, 'content-type': 'application/grpc' };
    for (const headers of [
      { 'x-api-key': 'k1' },
      { 'x-api-key': ['k1', 'k2'] },
      { 'x-api-key': 'k', authorization: 'a' },
      {},
    ]) {
      const stream = session.request({ ...plain, ...headers });
      stream.end(grpcFrame(BODY));
      await resultOf(stream);
    }
    expect(seen.heads.map(({ authorization }) => authorization)).toEqual(['Bearer k1', 'Bearer k1', 'a', undefined]);
  });

  test('the token is judged before anything of the body is sent', async () => {
    const { port, seen } = await start({
      open: () => {
        throw new BackworkError('unauthenticated', 'the token is unknown');
      },
    });
    const stream = startCall(connect(port), { end: false });
    const result = resultOf(stream);
    await new Promise((resolve) => stream.once('response', resolve));
    stream.end();
    expect((await result).headers['grpc-status']).toBe('16');
    expect(seen.bodies).toEqual([]);
  });
});

describe('refusing early', () => {
  const refusing: Behaviour = {
    open: () => {
      throw retryLater('spool-full', 'full');
    },
  };

  test('a client that writes everything first sees the refusal, and its connection serves on', async () => {
    const { port, seen } = await start(refusing);
    const session = connect(port);
    for (let i = 0; i < 3; i++) {
      const result = await resultOf(startCall(session, { body: grpcFrame(Buffer.alloc(3_000_000)) }));
      expect(result.headers['grpc-status']).toBe('14');
      expect(result.rstCode).toBe(0);
    }
    expect(session.destroyed).toBe(false);
    expect(seen.log).toHaveLength(3);
  });

  test.each([
    ['bytes', { refusedDrainBytesMax: 50_000 }],
    ['time', { refusedDrainMs: 60 }],
  ])('beyond the bound of %s the stream alone is reset with NO_ERROR', async (_, limits) => {
    const { port } = await start(refusing, limits);
    const session = connect(port);
    const stream = startCall(session, { end: false, body: Buffer.alloc(200_000) });
    const result = await resultOf(stream);
    expect(result.headers['grpc-status']).toBe('14');
    expect(result.rstCode).toBe(0);
    const next = await resultOf(startCall(session, { body: grpcFrame(BODY) }));
    expect(next.headers['grpc-status']).toBe('14');
  });
});

describe('time', () => {
  test('a body that does not come whole by its deadline is UNAVAILABLE', async () => {
    const { port, seen } = await start({}, { bodyDeadlineMs: 60, refusedDrainMs: 60 });
    const result = await resultOf(startCall(connect(port), { end: false, body: grpcFrame(BODY).subarray(0, 9) }));
    expect(result.headers).toMatchObject({ 'grpc-status': '14', 'google.rpc.retryinfo-bin': expect.any(String) });
    expect(seen.released).toEqual([false]);
  });

  test('an aged connection says GOAWAY and lets its call end', async () => {
    const ready = Promise.withResolvers<void>();
    const { port } = await start(
      { submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })) },
      { connectionAgeMs: 50 },
    );
    const session = connect(port);
    const result = resultOf(startCall(session, { body: grpcFrame(BODY) }));
    await new Promise((resolve) => session.once('goaway', resolve));
    ready.resolve();
    expect((await result).trailers['grpc-status']).toBe('0');
    await until(() => session.closed);
  });

  test('after the grace an aged connection is closed, whatever runs', async () => {
    const limits = { connectionAgeMs: 50, connectionGraceMs: 60 };
    const never = Promise.withResolvers<never>();
    const { port } = await start({ submit: () => never.promise }, limits);
    const session = connect(port);
    const result = await resultOf(startCall(session, { body: grpcFrame(BODY) }));
    expect(result.trailers['grpc-status']).toBeUndefined();
    never.reject(new BackworkError('internal', 'end of the test'));
  });

  test('an idle connection is closed', async () => {
    const { port } = await start({}, { grpcIdleMs: 60 });
    const session = connect(port);
    await resultOf(startCall(session, { body: grpcFrame(BODY) }));
    await until(() => session.destroyed);
  });

  test('a client that never takes its answer loses the stream, and the answer counts as not sent', async () => {
    const { port, seen } = await start({}, { answerDeadlineMs: 60 });
    const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    stops.push(() => session.destroy());
    await resultOf(startCall(session, { body: grpcFrame(BODY) }));
    await until(() => seen.log.length === 1);
    expect(seen.released).toEqual([false]);
    expect(seen.log[0]?.status).toBe('client gone');
  });
});

describe('a client that goes away', () => {
  test('while it sends: released, and nothing was submitted', async () => {
    const { port, seen } = await start();
    for (const end of [
      (client: RawH2) => client.socket.write(frame(FRAME.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8]))),
      (client: RawH2) => client.close(),
    ]) {
      const client = new RawH2(port);
      stops.push(() => client.close());
      const before = seen.released.length;
      client.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock(CALL_HEADERS)));
      client.socket.write(frame(FRAME.DATA, 0, 1, grpcFrame(BODY).subarray(0, 20)));
      await until(() => seen.reserved[before] !== undefined);
      end(client);
      await until(() => seen.log.length === before + 1);
    }
    expect(seen.released).toEqual([false, false]);
    expect(seen.bodies).toEqual([]);
    expect(seen.log.map(({ status }) => status)).toEqual(['client gone', 'client gone']);
  });

  test('while its request is made durable: released once that has ended, as not sent', async () => {
    const ready = Promise.withResolvers<void>();
    const { port, seen } = await start({ submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })) });
    const session = connect(port);
    startCall(session, { body: grpcFrame(BODY) });
    await until(() => seen.bodies.length === 1);
    session.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen.released).toEqual([]);
    ready.resolve();
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });

  test('by a reset that meets the answer on its way: released as not sent', async () => {
    let client: RawH2 | undefined;
    const { port, seen } = await start({
      submit: async () => {
        // In the same turn as the answer: the server has not heard of the reset when it writes.
        client?.socket.resetAndDestroy();
        return { rejected: 0, message: '' };
      },
    });
    client = new RawH2(port);
    client.call(1, grpcFrame(BODY));
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });

  test('in order once it has its answer: released as sent', async () => {
    const { port, seen } = await start();
    for (let calls = 1; calls <= 20; calls++) {
      await callOnce(port, { body: grpcFrame(BODY) });
      await until(() => seen.released.length === calls);
    }
    expect(seen.released).toEqual(Array(20).fill(true));
  });
});

describe('drain', () => {
  test('what runs is answered, a later call is told that it was not touched, the port is closed', async () => {
    const ready = Promise.withResolvers<void>();
    const { port, server, seen } = await start({
      submit: () => ready.promise.then(() => ({ rejected: 0, message: '' })),
    });
    const client = new RawH2(port);
    stops.push(() => client.close());
    client.call(1, grpcFrame(BODY));
    await until(() => seen.bodies.length === 1);
    const drained = server.drain();
    await until(() => client.frames.some(({ type }) => type === FRAME.GOAWAY));
    client.call(3, grpcFrame(BODY));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(client.answered(1)).toBe(false);
    ready.resolve();
    await drained;

    expect(client.answered(1)).toBe(true);
    // GOAWAY names the last stream that is served.
    expect(client.frames.find(({ type }) => type === FRAME.GOAWAY)?.payload.readUInt32BE(0)).toBe(1);
    expect(seen.heads).toHaveLength(1);
    expect(seen.released).toEqual([true]);
    await until(() => client.closed);
    expect((await callOnce(port, { body: grpcFrame(BODY) })).headers).toEqual({});
  });

  test('ends in time though a call does not', async () => {
    const never = Promise.withResolvers<never>();
    const { port, server, seen } = await start({ submit: () => never.promise }, { drainMs: 100 });
    startCall(connect(port), { body: grpcFrame(BODY) });
    await until(() => seen.bodies.length === 1);
    await server.drain();
    never.reject(new BackworkError('internal', 'end of the test'));
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });
});

describe('grpc-js as the peer', () => {
  function unary(port: number, options: { gzip?: boolean; body: Buffer; metadata?: Record<string, string> }) {
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.default_compression_algorithm': options.gzip ? 2 : 0,
      'grpc.enable_retries': 0,
    });
    stops.push(() => client.close());
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${TOKEN}`);
    const same = (bytes: Buffer): Buffer => bytes;
    return new Promise<{ error: grpc.ServiceError | null; response: Buffer | undefined }>((resolve) => {
      client.makeUnaryRequest(SIGNAL_PATHS.traces, same, same, options.body, metadata, (error, response) =>
        resolve({ error, response }),
      );
    });
  }

  test.each([false, true])('success, gzip: %s', async (gzip) => {
    const { port, seen } = await start();
    const body = Buffer.alloc(90_000, 'abc');
    const { error, response } = await unary(port, { gzip, body });
    expect(error).toBeNull();
    expect(response).toHaveLength(0);
    expect(seen.bodies[0]?.body.equals(body)).toBe(true);
    if (gzip) expect(seen.reserved[0]).toBeGreaterThan(body.length);
  });

  test('partial success', async () => {
    const { port } = await start({ submit: () => ({ rejected: 2, message: 'two' }) });
    const { response } = await unary(port, { body: BODY });
    expect(response?.equals(encode('ExportResponse', { partialSuccess: { rejected: 2, errorMessage: 'two' } }))).toBe(
      true,
    );
  });

  test('a refusal has its code, its text and its details', async () => {
    const { port } = await start({
      open: () => {
        throw retryLater('overloaded', 'überlastet, 100 %');
      },
    });
    const { error } = await unary(port, { body: Buffer.alloc(2_000_000) });
    expect(error).toMatchObject({ code: 14, details: 'überlastet, 100 %' });
    const [details] = error?.metadata.get('grpc-status-details-bin') ?? [];
    expect(decodeStatus(details as Buffer)).toMatchObject({ code: 14, details: [{ type: 'RetryInfo' }] });
    expect(error?.metadata.get('google.rpc.retryinfo-bin')).toHaveLength(1);
  });
});

test('a port in use is named', async () => {
  const { port } = await start();
  const second = createGrpcServer(watchedPath().deps);
  const listening = second.listen({ host: '127.0.0.1', port, reusePort: false });
  await expect(listening).rejects.toMatchObject({ code: 'port-busy', message: expect.stringContaining(String(port)) });
});

test('two servers share a port with reusePort', async () => {
  const first = createGrpcServer({ ...watchedPath().deps, limits: QUICK });
  const second = createGrpcServer({ ...watchedPath().deps, limits: QUICK });
  stops.push(() => Promise.all([first.drain(), second.drain()]));
  const port = await first.listen({ host: '127.0.0.1', port: 0, reusePort: true });
  expect(await second.listen({ host: '127.0.0.1', port, reusePort: true })).toBe(port);
});
