/** Peers that break the rules of HTTP/2: their own stream or connection ends, and everybody else is served on. */
import net from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AcceptServer } from '../../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../../src/ingest/accept/grpc-server.ts';
import { callOnce, grpcFrame, QUICK, until, watchedPath } from './peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, PREFACE, RawH2 } from './raw-h2.ts';

const { seen, deps } = watchedPath();
const BODY = Buffer.from('any bytes');
let server: AcceptServer;
let port: number;

beforeAll(async () => {
  const limits = { ...QUICK, headersDeadlineMs: 300, bodyDeadlineMs: 500, refusedDrainMs: 200, drainMs: 500 };
  server = createGrpcServer({ ...deps, limits });
  port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
});
afterAll(() => server.drain());

async function expectServed(): Promise<void> {
  expect((await callOnce(port, { body: grpcFrame(BODY) })).trailers['grpc-status']).toBe('0');
}

const HEADERS = headerBlock(CALL_HEADERS);
const SETTINGS = frame(FRAME.SETTINGS, 0, 0);

test.each([
  ['HTTP/1.1', Buffer.from('POST /v1/logs HTTP/1.1\r\nHost: a\r\n\r\n')],
  ['a TLS ClientHello', Buffer.from('16030100c8010000c40303', 'hex')],
  ['noise', Buffer.alloc(300, '\xff\x00\x7f', 'latin1')],
  ['a header block that is no HPACK', [PREFACE, SETTINGS, frame(FRAME.HEADERS, 5, 1, Buffer.alloc(40, 0xff))]],
  ['an even stream number', [PREFACE, SETTINGS, frame(FRAME.HEADERS, 5, 2, HEADERS)]],
  ['DATA on a stream that is not open', [PREFACE, SETTINGS, frame(FRAME.DATA, 1, 7, BODY)]],
  ['a frame longer than allowed', [PREFACE, SETTINGS, frame(FRAME.DATA, 0, 1, Buffer.alloc(20_000))]],
  ['SETTINGS of a wrong length', [PREFACE, frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(5))]],
  ['a window that overflows', [PREFACE, SETTINGS, ...Array(3).fill(frame(8, 0, 0, Buffer.from('7fffffff', 'hex')))]],
])('%s: the connection is closed', async (_, bytes) => {
  const client = new RawH2(port, { quiet: true });
  client.socket.write(Array.isArray(bytes) ? Buffer.concat(bytes) : bytes);
  await until(() => client.closed);
  await expectServed();
});

test('a peer that speaks TLS is in the request log', async () => {
  const ofTls = () => seen.log.filter(({ route }) => route === '(TLS)');
  const before = ofTls().length;
  const client = new RawH2(port, { quiet: true });
  client.socket.write(Buffer.from('16030100c8010000c403034242', 'hex'));
  await until(() => client.closed);
  expect(ofTls().slice(before)).toMatchObject([{ status: 400 }]);
});

test('headers without a path, or without anything, end their stream only', async () => {
  const client = new RawH2(port);
  client.socket.write(frame(FRAME.HEADERS, 5, 1, headerBlock({ ':method': 'POST', ':scheme': 'http' })));
  client.socket.write(frame(FRAME.HEADERS, 5, 3, headerBlock({ ...CALL_HEADERS, ':method': 'CONNECT' })));
  client.call(5, grpcFrame(BODY));
  await until(() => client.answered(5) || client.closed);
  client.close();
  await expectServed();
});

test('silence, and half a preface, are closed at the deadline for headers', async () => {
  const silent = new RawH2(port, { quiet: true });
  const half = new RawH2(port, { quiet: true });
  half.socket.write(PREFACE.subarray(0, 10));
  await until(() => silent.closed && half.closed);
  await expectServed();
});

test('a connection that says SETTINGS and waits is kept', async () => {
  const client = new RawH2(port);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(client.closed).toBe(false);
  client.call(1, grpcFrame(BODY));
  await until(() => client.answered(1));
  client.close();
});

test.each([
  ['PING', () => frame(FRAME.PING, 0, 0, Buffer.alloc(8))],
  ['SETTINGS', () => SETTINGS],
])('a flood of %s closes the connection', async (_, make) => {
  const client = new RawH2(port);
  // Fewer at a time than what nghttp2 closes a connection for by itself.
  const flood = Buffer.concat(Array.from({ length: 50 }, make));
  for (let i = 0; i < 300 && !client.closed; i++) {
    client.socket.write(flood);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(client.closed).toBe(true);
  await expectServed();
});

test('pings at a sane rate are answered', async () => {
  const client = new RawH2(port);
  for (let i = 0; i < 5; i++) client.socket.write(frame(FRAME.PING, 0, 0, Buffer.alloc(8, i)));
  await until(() => client.frames.filter(({ type }) => type === FRAME.PING).length === 5);
  client.close();
});

test('streams opened and reset by the thousand close the connection', async () => {
  const client = new RawH2(port);
  const cancel = Buffer.from([0, 0, 0, 8]);
  let streamId = 1;
  for (let round = 0; round < 100 && !client.closed; round++) {
    const frames: Buffer[] = [];
    for (let i = 0; i < 200; i++, streamId += 2) {
      frames.push(frame(FRAME.HEADERS, 4, streamId, HEADERS), frame(FRAME.RST_STREAM, 0, streamId, cancel));
    }
    client.socket.write(Buffer.concat(frames));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await until(() => client.closed);
  await expectServed();
  await until(() => seen.released.length === seen.heads.length);
});

test('more streams than allowed are refused one by one', async () => {
  const client = new RawH2(port);
  for (let i = 0; i < 1_010; i++) client.socket.write(frame(FRAME.HEADERS, 4, i * 2 + 1, HEADERS));
  await until(() => client.closed || client.frames.filter(({ type }) => type === FRAME.RST_STREAM).length >= 10);
  client.close();
  await expectServed();
  await until(() => seen.released.length === seen.heads.length);
});

test('a body of one byte at a time, and no more, is refused at its deadline', async () => {
  const client = new RawH2(port);
  client.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, HEADERS));
  for (const byte of grpcFrame(BODY).subarray(0, 8)) {
    client.socket.write(frame(FRAME.DATA, 0, 1, Buffer.from([byte])));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until(() => client.answered(1));
  expect(seen.log.at(-1)?.status).toBe('UNAVAILABLE');
  client.close();
});

test('10,000 mutated conversations do not end the process, and all that was opened is released', async () => {
  const good = Buffer.concat([
    PREFACE,
    SETTINGS,
    frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, HEADERS),
    frame(FRAME.DATA, FLAG.END_STREAM, 1, grpcFrame(BODY)),
    frame(FRAME.HEADERS, FLAG.END_HEADERS, 3, HEADERS),
    frame(FRAME.DATA, 0, 3, grpcFrame(BODY)),
  ]);
  let state = Number(process.env['SEED'] ?? 20_261_123);
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const converse = (): Promise<void> => {
    const bytes = Buffer.from(good);
    // Most mutations behind the preface: one inside it is a connection refused and no more.
    for (let i = random(6) + 1; i > 0; i--)
      bytes[random(20) === 0 ? random(24) : 24 + random(bytes.length - 24)] = random(256);
    const cut = random(4) === 0 ? random(bytes.length) : bytes.length;
    return new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => socket.end(bytes.subarray(0, cut)));
      socket.on('error', () => {});
      socket.on('data', () => socket.destroy());
      socket.on('close', () => resolve());
      socket.setTimeout(1_000, () => socket.destroy());
    });
  };
  for (let round = 0; round < 100; round++) await Promise.all(Array.from({ length: 100 }, converse));
  await expectServed();
  await until(() => seen.released.length === seen.heads.length);
  expect(seen.faults).toEqual([]);
});
