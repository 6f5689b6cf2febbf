/** What is no gRPC on the gRPC port: users mix up the two ports, and plain text and TLS, and must be told. */
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { decodeStatus } from '../ingest/accept/google-rpc.ts';
import { callOnce, grpcFrame, httpBytes, RawHttp, SIGNAL_PATHS, until } from '../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, PREFACE } from '../ingest/accept/raw-h2.ts';
import { answerIn, GrpcRoom, plain } from './grpc-running.ts';

const BODY = Buffer.from('any bytes: the path alone reads them');
const TOLD =
  'this port serves OTLP/gRPC, which needs HTTP/2; OTLP/HTTP is received on a port of its own, 4318 by default';
const room = new GrpcRoom();
afterEach(() => room.stop());

function rawHttp(port: number): RawHttp {
  const client = new RawHttp(port);
  room.onStop(() => client.close());
  return client;
}

describe('HTTP/1.x on the gRPC port', () => {
  it.each([
    ['POST in protobuf', 'application/x-protobuf', httpBytes({ path: '/v1/traces', body: BODY })],
    ['POST in JSON', 'application/json', httpBytes({ headers: { 'content-type': 'application/json' }, body: '{}' })],
    ['GET', 'application/json', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    [
      'an upgrade to h2c',
      'application/json',
      Buffer.from(
        'GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
      ),
    ],
    ['HTTP/1.0', 'application/json', Buffer.from('POST /v1/logs HTTP/1.0\r\n\r\n')],
  ])('G30: %s is 400 in its own words, with a hint for the operator', async (_, type, request) => {
    const { port, seen, hints } = await room.start();
    const client = rawHttp(port);
    // In two pieces: nothing is answered before the head is whole.
    client.write(request.subarray(0, 3));
    await new Promise((resolve) => setTimeout(resolve, 10));
    client.write(request.subarray(3));
    const { status, headers, body } = await client.response();
    expect(status).toBe(400);
    expect(headers).toEqual({ 'content-type': type, 'content-length': String(body.length), connection: 'close' });
    const answer = type === 'application/json' ? JSON.parse(body.toString()) : decodeStatus(body);
    expect(answer).toMatchObject({ code: 3, message: TOLD });
    await until(() => client.ended);
    expect(hints).toEqual([{ kind: 'http-on-grpc-port', message: expect.stringContaining('4318') }]);
    expect(seen.heads).toEqual([]);
    expect(seen.log).toEqual([{ route: '(HTTP/1.x)', status: 400, bytes: 0, ms: 0, orgId: undefined }]);
  });

  it('G30: a client that writes its whole body before it reads sees the answer and no reset', async () => {
    const { port } = await room.start();
    const client = rawHttp(port);
    let failure: Error | undefined;
    client.socket.on('error', (error) => {
      failure = error;
    });
    client.write(httpBytes({ body: Buffer.alloc(8_000_000) }));
    expect((await client.response()).status).toBe(400);
    await until(() => client.ended && client.socket.bytesWritten > 8_000_000);
    expect(failure).toBeUndefined();
  });

  it('G30: beyond the bound of a refused body the connection is closed', async () => {
    const { port } = await room.start({}, { refusedDrainBytesMax: 100_000, refusedDrainMs: 60_000 });
    const client = rawHttp(port);
    client.write(httpBytes({ headers: { 'content-length': '99999999' } }));
    expect((await client.response()).status).toBe(400);
    let closed = false;
    client.socket.on('close', () => {
      closed = true;
    });
    while (!closed) {
      client.write(Buffer.alloc(10_000));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  });

  it('G30: one that goes silent after its answer is closed', async () => {
    const { port } = await room.start({}, { refusedDrainMs: 40 });
    const client = rawHttp(port);
    client.write('GET / HTTP/1.1\r\n\r\n');
    await client.response();
    client.socket.on('error', () => {});
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Its side was not closed by itself: writing to a closed connection tells.
    for (let i = 0; i < 3; i++) client.write('x');
    await closed;
  });
});

describe('TLS on the plain gRPC port', () => {
  it('G30: is told in plain text, so that TLS clients say what is wrong, with a hint for the operator', async () => {
    const { port, seen, hints } = await room.start();
    const client = tls.connect({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false });
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => client.once('error', resolve));
    // What OpenSSL says when plain text comes back: the words that users search for.
    expect(error.code).toMatch(/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/);
    expect(hints).toEqual([{ kind: 'tls-on-plain-port', message: expect.stringContaining('insecure') }]);
    expect(seen.log).toMatchObject([{ route: '(TLS)', status: 400 }]);
  });
});

describe('other first bytes', () => {
  it('G30: noise is closed without a word', async () => {
    const { port, hints } = await room.start();
    for (const noise of [
      Buffer.alloc(50, 0xff),
      Buffer.from('SSH-2.0-x\r\n'),
      Buffer.from('PRX * HTTP'),
      Buffer.of(0),
    ]) {
      const client = rawHttp(port);
      client.write(noise);
      await until(() => client.ended);
      expect(client.received).toEqual(Buffer.alloc(0));
    }
    expect(hints).toEqual([]);
  });

  it('G30: nothing, half a preface and half a head are closed at the deadline for headers', async () => {
    const { port } = await room.start({}, { headersDeadlineMs: 60 });
    for (const start of ['', 'PR', 'PRI * HTTP/2.0\r\n', 'POST /v1/logs HTTP/1.1\r\nHost:']) {
      const client = rawHttp(port);
      client.write(start);
      await until(() => client.ended);
      expect(client.received.toString('latin1')).not.toContain('HTTP/1.1');
    }
  });

  it('G30: a preface in single bytes, or in one piece with a whole call, is served', async () => {
    const { port, seen } = await room.start({}, { bodyBytesMax: 300_000 });
    const large = Buffer.alloc(200_000, 'ab');
    const data: Buffer[] = [];
    for (let at = 0; at < large.length + 5; at += 16_000) {
      data.push(frame(FRAME.DATA, 0, 1, grpcFrame(large).subarray(at, at + 16_000)));
    }
    const whole = Buffer.concat([
      PREFACE,
      frame(FRAME.SETTINGS, 0, 0),
      frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock(CALL_HEADERS)),
      // Up to the 64 KiB that a client may send before it has seen our SETTINGS.
      ...data.slice(0, 4),
    ]);
    const client = rawHttp(port);
    client.write(whole);
    await until(() => client.received.length > 0);
    client.write(...data.slice(4), frame(FRAME.DATA, FLAG.END_STREAM, 1));
    await until(() => seen.bodies.length === 1);
    expect(seen.bodies[0]?.body.equals(large)).toBe(true);

    const slow = net.connect(port, '127.0.0.1');
    room.onStop(() => slow.destroy());
    slow.on('error', () => {});
    const call = Buffer.concat([
      PREFACE,
      frame(FRAME.SETTINGS, 0, 0),
      frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock(CALL_HEADERS)),
      frame(FRAME.DATA, FLAG.END_STREAM, 1, grpcFrame(BODY)),
    ]);
    for (const byte of call) {
      slow.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => seen.bodies.length === 2);
    expect(seen.bodies[1]?.body).toEqual(BODY);
  });
});

describe('HTTP/2 that is no gRPC', () => {
  it.each([
    ['OTLP/HTTP over HTTP/2', { ':path': '/v1/traces', 'content-type': 'application/x-protobuf' }, 415],
    ['JSON', { 'content-type': 'application/json' }, 415],
    ['gRPC-Web', { 'content-type': 'application/grpc-web+proto' }, 415],
    ['a type that begins like gRPC', { 'content-type': 'application/grpcx' }, 415],
  ])('G31: %s is answered by an HTTP status and nothing else', async (_, headers, status) => {
    const { port, seen } = await room.start();
    const result = await callOnce(port, { headers, body: BODY });
    expect(plain(result.headers)).toEqual({ ':status': status, date: expect.any(String) });
    expect(result.trailersOnly).toBe(true);
    expect(seen.heads).toEqual([]);
  });

  it('G31: a method other than POST is 405 with Allow', async () => {
    const { port } = await room.start();
    const result = await callOnce(port, { headers: { ':method': 'PUT' }, body: BODY });
    expect(plain(result.headers)).toEqual({ ':status': 405, allow: 'POST', date: expect.any(String) });
  });

  it.each(['application/grpc', 'application/grpc+proto', 'application/grpc;x=y', 'Application/GRPC'])(
    'G31: %s is gRPC',
    async (type) => {
      const { port } = await room.start();
      const result = await callOnce(port, { headers: { 'content-type': type }, body: grpcFrame(BODY) });
      expect(answerIn(result)).toBeUndefined();
    },
  );

  it.each([
    ['/some.Service/Method'],
    [SIGNAL_PATHS.logs.replace('/Export', '/Import')],
    [`${SIGNAL_PATHS.logs}/`],
    [SIGNAL_PATHS.logs.toLowerCase()],
    ['/v1/logs'],
  ])('G1, G31: %s is UNIMPLEMENTED and names the methods that are served', async (path) => {
    const { port } = await room.start();
    const { headers } = await callOnce(port, { path, body: grpcFrame(BODY) });
    expect(headers['grpc-status']).toBe('12');
    for (const served of Object.values(SIGNAL_PATHS)) expect(headers['grpc-message']).toContain(served);
  });
});
