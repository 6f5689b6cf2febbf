/** Connections of OTLP/HTTP: how long they live, what they wait for, who is told to come back, and what ends them. */
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ACCEPT_LIMITS, type AcceptClock } from '../../src/ingest/accept/accept-server.ts';
import { decode } from '../ingest/accept/google-rpc.ts';
import { httpBytes, httpOnce, type RawHttp, until } from '../ingest/accept/peers.ts';
import {
  CHUNKED,
  chunk,
  connect,
  headersOf,
  JSON_TYPE,
  LAST_CHUNK,
  ownServer,
  PROTOBUF,
  plainHeaders,
  statusOf,
} from './http-peer.ts';

const BODY = Buffer.from('any bytes: the path alone reads them');
const MINUTE_MS = 60_000;

class TestClock implements AcceptClock {
  ms = 1_000_000;
  nowMs(): number {
    return this.ms;
  }
}

/** One request; true when its answer says that the connection ends. */
async function saysClose(client: RawHttp): Promise<boolean> {
  client.write(httpBytes({ body: BODY }));
  const result = await client.response();
  expect(result.status).toBe(200);
  return result.headers['connection'] === 'close';
}

describe('keeping connections', () => {
  it('H28: idle connections are kept for 75 s, and clients are told so', async () => {
    expect(ACCEPT_LIMITS.httpKeepAliveMs).toBe(75_000);
    const { port } = await ownServer();
    expect((await httpOnce(port, { body: BODY })).headers['keep-alive']).toBe('timeout=75');
  });

  it('H28: a connection that is idle for longer than that is closed', async () => {
    const { port } = await ownServer({}, { httpKeepAliveMs: 100 });
    const client = connect(port);
    expect(await saysClose(client)).toBe(false);
    await until(() => client.ended);
    expect(client.received).toHaveLength(0);
  });

  it('T11 (tests), H28: a connection is used again after 4.9 s and after 5.1 s, the usual interval of exports', async () => {
    const { port } = await ownServer();
    const reuse = async (idleMs: number): Promise<void> => {
      const client = connect(port);
      expect(await saysClose(client)).toBe(false);
      await delay(idleMs);
      expect(await saysClose(client)).toBe(false);
    };
    await Promise.all([reuse(4_900), reuse(5_100)]);
  }, 15_000);

  it('H28: the deadline for headers does not cut idle connections', async () => {
    const { port } = await ownServer({}, { headersDeadlineMs: 100 });
    const client = connect(port);
    expect(await saysClose(client)).toBe(false);
    await delay(400);
    expect(await saysClose(client)).toBe(false);
  });

  it('H29: the first answer after 10 min ± 10 % says Connection: close, and not all at the same age', async () => {
    expect(ACCEPT_LIMITS.connectionAgeMs).toBe(10 * MINUTE_MS);
    const clock = new TestClock();
    const { port } = await ownServer({}, {}, { clock });
    const startMs = clock.ms;
    const clients = Array.from({ length: 60 }, () => connect(port));
    for (const client of clients) expect(await saysClose(client)).toBe(false);
    clock.ms = startMs + 9 * MINUTE_MS - 1;
    for (const client of clients) expect(await saysClose(client)).toBe(false);
    clock.ms = startMs + 10 * MINUTE_MS;
    const closed: boolean[] = [];
    for (const client of clients) closed.push(await saysClose(client));
    // Half of them, give or take: that all 60 agree is one case in 2^59.
    expect(new Set(closed).size).toBe(2);
    clock.ms = startMs + 11 * MINUTE_MS;
    for (const [at, client] of clients.entries()) {
      if (closed[at] === false) expect(await saysClose(client)).toBe(true);
    }
    await until(() => clients.every((client) => client.ended));
  });

  it('H29: a refusal and a preflight close an aged connection, too', async () => {
    const clock = new TestClock();
    const { port } = await ownServer({}, {}, { clock, corsOrigins: ['*'] });
    const asked = { origin: 'https://a.example', 'access-control-request-method': 'POST' };
    for (const request of [{ path: '/nowhere' }, { method: 'OPTIONS', headers: asked }, { method: 'OPTIONS' }]) {
      const client = connect(port);
      expect(await saysClose(client)).toBe(false);
      clock.ms += 11 * MINUTE_MS;
      client.write(httpBytes(request));
      expect((await client.response()).headers['connection']).toBe('close');
      await until(() => client.ended);
    }
  });

  it('T11 (tests): 1,000 requests sent at once over one connection are answered in their order', async () => {
    const { port } = await ownServer({ submit: (body) => ({ rejected: Number(body.toString()), message: 'x' }) });
    const client = connect(port);
    client.write(Buffer.concat(Array.from({ length: 1_000 }, (_, at) => httpBytes({ body: String(at + 1) }))));
    for (let rejected = 1; rejected <= 1_000; rejected++) {
      const { body } = await client.response();
      expect(decode('ExportResponse', body)).toEqual({ partialSuccess: { rejected, errorMessage: 'x' } });
    }
  }, 20_000);
});

describe('deadlines', () => {
  it('H28: headers that are not whole by their deadline: closed without an answer, never 408', async () => {
    expect(ACCEPT_LIMITS.headersDeadlineMs).toBe(10_000);
    const { port } = await ownServer({}, { headersDeadlineMs: 150 });
    const [silent, half, dripping] = [connect(port), connect(port), connect(port)] as const;
    half.write('POST /v1/logs HTTP/1.1\r\nHost: a\r\n');
    dripping.write('POST /v1/logs HTTP/1.1\r\nx: ');
    // Each byte is progress, but the deadline is of the whole head.
    const drip = setInterval(() => dripping.write('a'), 20);
    await until(() => silent.ended && half.ended && dripping.ended);
    clearInterval(drip);
    for (const client of [silent, half, dripping]) expect(client.received).toHaveLength(0);
  });

  it('H28, T5 (tests), T11 (tests): a body not whole after 60 s is 503 with Retry-After, and closed', async () => {
    expect(ACCEPT_LIMITS.bodyDeadlineMs).toBe(MINUTE_MS);
    for (const type of [PROTOBUF, JSON_TYPE]) {
      const clock = new TestClock();
      const { port, seen } = await ownServer({}, { refusedDrainMs: 1_000 }, { clock });
      const client = connect(port);
      client.write(httpBytes({ headers: { 'content-length': '100', 'content-type': type } }), BODY);
      await until(() => seen.reserved[0] === BODY.length);
      clock.ms += MINUTE_MS - 1;
      await delay(100);
      expect(client.received).toHaveLength(0);
      clock.ms += 1;
      const result = await client.response();
      expect(result.status).toBe(503);
      expect(headersOf(result)).toEqual({
        ...plainHeaders(type, result.body.length, 'closed'),
        'retry-after': '1',
      });
      expect(statusOf(result)).toMatchObject({ code: 14, message: 'the body was not whole within 60000 ms' });
      expect(seen.released).toEqual([false]);
      clock.ms += 1_000;
      await until(() => client.ended);
    }
  });

  it('T11 (tests): a body that comes slowly, a byte at a time, is taken when it is whole in time', async () => {
    const { port, seen } = await ownServer();
    for (const chunked of [false, true]) {
      const client = connect(port);
      client.socket.setNoDelay(true);
      client.write(httpBytes({ headers: chunked ? CHUNKED : { 'content-length': String(BODY.length) } }));
      for (const byte of BODY) {
        client.write(chunked ? chunk(Buffer.from([byte])) : Buffer.from([byte]));
        await delay(5);
      }
      if (chunked) client.write(LAST_CHUNK);
      expect((await client.response()).status).toBe(200);
    }
    expect(seen.bodies.map(({ body }) => body)).toEqual([BODY, BODY]);
  });
});

describe('half-closed sockets', () => {
  it('T11 (tests): a client that ends its side after the request gets its answer', async () => {
    for (const request of [
      httpBytes({ body: BODY }),
      Buffer.concat([httpBytes({ headers: CHUNKED }), chunk(BODY), Buffer.from(LAST_CHUNK)]),
    ]) {
      const { port, seen } = await ownServer({ submit: () => delay(50).then(() => ({ rejected: 0, message: '' })) });
      const client = connect(port);
      client.socket.end(request);
      expect((await client.response()).status).toBe(200);
      await until(() => seen.released.length === 1);
      expect(seen.released).toEqual([true]);
      await until(() => client.ended);
    }
  });

  it('T11 (tests), H20: one that ends its side within the body is 400, and nothing of it is kept', async () => {
    for (const request of [
      Buffer.concat([httpBytes({ headers: { 'content-length': '100' } }), BODY]),
      Buffer.concat([httpBytes({ headers: CHUNKED }), chunk(BODY)]),
    ]) {
      const { port, seen } = await ownServer();
      const client = connect(port);
      client.socket.end(request);
      expect(await client.response()).toMatchObject({ status: 400, headers: { connection: 'close' } });
      await until(() => client.ended);
      expect(seen.bodies).toEqual([]);
      expect(seen.released).toEqual([false]);
    }
  });
});

describe('other protocols', () => {
  it('H27: HTTP/2 on this port is answered in HTTP/1.1, and the operator is told where gRPC is received', async () => {
    const hints: string[] = [];
    const { port, seen } = await ownServer({}, {}, { hint: (kind, message) => void hints.push(`${kind}: ${message}`) });
    const client = connect(port);
    client.write('PRI * HTTP/2.0\r\n\r\n');
    await delay(20);
    client.write('SM\r\n\r\n', Buffer.from('000000040000000000', 'hex'));
    const result = await client.response();
    expect(result.status).toBe(400);
    expect(headersOf(result)).toEqual({
      'content-type': JSON_TYPE,
      'content-length': String(result.body.length),
      connection: 'close',
    });
    const message = 'this port receives OTLP/HTTP by HTTP/1.1; OTLP/gRPC is received on a port of its own';
    expect(statusOf(result)).toMatchObject({ code: 3, message });
    await until(() => client.ended);
    expect(hints).toEqual([
      'grpc-on-http-port: a gRPC client (or another that speaks HTTP/2 without TLS) connected to the OTLP/HTTP port: ' +
        'OTLP/gRPC is received on a port of its own, BACKWORK_OTLP_GRPC_PORT, 4317 unless it is set',
    ]);
    expect(seen.log).toMatchObject([{ route: '(HTTP/2)', status: 400 }]);
    expect(await saysClose(connect(port))).toBe(false);
  });

  it('H27: what is merely broken gives no hint', async () => {
    const hints: string[] = [];
    const { port } = await ownServer({}, {}, { hint: (kind) => void hints.push(kind) });
    for (const bytes of ['PRI\r\n\r\n', 'hello\r\n\r\n']) {
      const client = connect(port);
      client.write(bytes);
      expect((await client.response()).status).toBe(400);
    }
    expect(hints).toEqual([]);
  });
});

describe('draining', () => {
  it('T12 (tests), T5 (tests): what runs is answered, what is new is 503 and told to come back, the port is closed', async () => {
    const durable = Promise.withResolvers<void>();
    const { port, server, seen } = await ownServer(
      { submit: () => durable.promise.then(() => ({ rejected: 0, message: '' })) },
      { drainMs: 5_000 },
    );
    const [running, sending, late, idle] = [connect(port), connect(port), connect(port), connect(port)] as const;
    running.write(httpBytes({ body: BODY }));
    sending.write(httpBytes({ headers: { 'content-length': String(BODY.length) } }));
    late.write(httpBytes({ headers: { 'content-type': JSON_TYPE }, body: BODY }).subarray(0, 40));
    await until(() => seen.bodies.length === 1 && seen.heads.length === 2);
    // That part of a head has come shows nowhere; without it the connection is idle, and closed.
    await delay(200);
    const drained = server.drain();
    late.write(httpBytes({ headers: { 'content-type': JSON_TYPE }, body: BODY }).subarray(40));
    const refused = await late.response();
    expect(refused.status).toBe(503);
    expect(headersOf(refused)).toEqual({
      ...plainHeaders(JSON_TYPE, refused.body.length, 'closed'),
      'retry-after': '1',
    });
    expect(statusOf(refused)).toEqual({
      code: 14,
      message: 'this process is shutting down',
      details: [{ type: 'RetryInfo', retryDelay: '1s' }],
    });
    const fresh = net.connect(port, '127.0.0.1');
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => fresh.on('error', resolve));
    expect(error.code).toBe('ECONNREFUSED');
    // Its body comes whole only now: what was begun is finished.
    sending.write(BODY);
    await until(() => seen.bodies.length === 2);
    durable.resolve();
    for (const client of [running, sending]) {
      expect(await client.response()).toMatchObject({ status: 200, headers: { connection: 'close' } });
    }
    await drained;
    await until(() => [running, sending, late, idle].every((client) => client.ended));
    expect(seen.released).toEqual([true, true]);
  });
});
