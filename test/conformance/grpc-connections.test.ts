/** Connections of the gRPC port: how many calls they carry, how they live and end. Time passes when a test says so. */
import { afterEach, describe, expect, it } from 'vitest';
import { BackworkError } from '../../src/base/errors.ts';
import type { ExportAnswer } from '../../src/ingest/messages.ts';
import { grpcFrame, resultOf, startCall, until } from '../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, type RawH2 } from '../ingest/accept/raw-h2.ts';
import { answerIn, GrpcRoom, ManualClock, refusalIn } from './grpc-running.ts';

const BODY = Buffer.from('any bytes: the path alone reads them');
const OK: ExportAnswer = { rejected: 0, message: '' };
const MINUTE_MS = 60_000;
const room = new GrpcRoom();
afterEach(() => room.stop());

/** A path whose answers wait until the test lets them go. */
function held() {
  const waiting: Array<() => void> = [];
  const submit = async (): Promise<ExportAnswer> => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return OK;
  };
  return { waiting, submit };
}

/** The last stream that a GOAWAY with NO_ERROR says is served; undefined: there was none. */
function goawayLastStream(peer: RawH2): number | undefined {
  const goaway = peer.frames.find(({ type }) => type === FRAME.GOAWAY);
  if (goaway === undefined) return undefined;
  expect(goaway.payload.readUInt32BE(4)).toBe(0);
  return goaway.payload.readUInt32BE(0);
}

/** Whether the peer is served: a call over it is answered. */
async function expectServed(peer: RawH2, streamId: number): Promise<void> {
  peer.call(streamId, grpcFrame(BODY));
  await until(() => peer.answered(streamId) || peer.closed);
  expect(peer.answered(streamId)).toBe(true);
}

describe('calls at once', () => {
  it('G26, T11 (tests): 1,000 calls run at once on one connection, and the next one is refused untouched', async () => {
    const { waiting, submit } = held();
    const { port, seen } = await room.start({ submit });
    const peer = room.raw(port);
    const ids = Array.from({ length: 1_000 }, (_, i) => 2 * i + 1);
    for (const id of ids) peer.call(id, grpcFrame(Buffer.from(`body ${id}`)));
    await until(() => waiting.length === 1_000);

    peer.call(2_001, grpcFrame(BODY));
    await until(() => peer.frames.some(({ type }) => type === FRAME.RST_STREAM));
    const refused = peer.frames.filter(({ type }) => type === FRAME.RST_STREAM);
    // REFUSED_STREAM: the client may send the same call again at once.
    expect(refused.map(({ streamId, payload }) => [streamId, payload.readUInt32BE()])).toEqual([[2_001, 7]]);

    for (const resume of waiting.splice(0)) resume();
    await until(() => ids.every((id) => peer.answered(id)));
    peer.call(2_003, grpcFrame(BODY));
    await until(() => waiting.length === 1);
    waiting[0]?.();
    await until(() => peer.answered(2_003));
    await until(() => seen.released.length === 1_001);
    expect(seen.released).toEqual(Array(1_001).fill(true));
    expect(new Set(seen.bodies.map(({ body }) => body.toString())).size).toBe(1_001);
  });

  it('G26: the SETTINGS say how many calls a connection may have', async () => {
    const { port } = await room.start();
    const peer = room.raw(port);
    await until(() => peer.frames.some(({ type }) => type === FRAME.SETTINGS));
    expect(settingsOf(peer)).toMatchObject({ 3: 1_000 });
  });

  it('G28: a client may send 1 MiB a call and 8 MiB a connection before anything is read', async () => {
    const { port } = await room.start();
    const peer = room.raw(port);
    await until(() => peer.frames.some(({ type }) => type === FRAME.WINDOW_UPDATE));
    expect(settingsOf(peer)).toMatchObject({ 4: 2 ** 20 });
    const grown = peer.frames.find(({ type, streamId }) => type === FRAME.WINDOW_UPDATE && streamId === 0);
    expect(65_535 + (grown?.payload.readUInt32BE() ?? 0)).toBe(8 * 2 ** 20);
  });
});

/** Values by their numbers in RFC 9113 section 6.5.2. */
function settingsOf(peer: RawH2): Record<number, number> {
  const { payload } = peer.frames.find(({ type, flags }) => type === FRAME.SETTINGS && flags === 0) ?? {
    payload: Buffer.alloc(0),
  };
  const settings: Record<number, number> = {};
  for (let at = 0; at < payload.length; at += 6) settings[payload.readUInt16BE(at)] = payload.readUInt32BE(at + 2);
  return settings;
}

describe('age', () => {
  it('G28: at 10 min ± 10 % connections say GOAWAY, not all at the same time, and what runs has 30 s', async () => {
    const clock = new ManualClock();
    const { waiting, submit } = held();
    const { port } = await room.start({ submit }, {}, clock);
    const peers = Array.from({ length: 20 }, () => room.raw(port));
    for (const peer of peers) peer.call(1, grpcFrame(BODY));
    await until(() => waiting.length === 20);

    await clock.advance(9 * MINUTE_MS - 1);
    await pause();
    expect(peers.filter((peer) => goawayLastStream(peer) !== undefined)).toEqual([]);
    const retiredAt: number[] = [];
    for (let step = 0; step <= 12; step++) {
      await clock.advance(10_000);
      await pause();
      retiredAt.push(peers.filter((peer) => goawayLastStream(peer) === 1).length);
    }
    expect(retiredAt.at(-1)).toBe(20);
    expect(new Set(retiredAt).size).toBeGreaterThan(2);
  });

  it('G28: within the grace of 30 s a call is answered and its connection closed; after it everything is', async () => {
    const clock = new ManualClock();
    const { waiting, submit } = held();
    const { port, seen } = await room.start({ submit }, {}, clock);
    const [early, late] = [room.raw(port), room.raw(port)];
    for (const peer of [early, late]) {
      peer.call(1, grpcFrame(BODY));
      await until(() => seen.bodies.length === (peer === early ? 1 : 2));
    }
    await clock.advance(11 * MINUTE_MS);
    await until(() => goawayLastStream(early) === 1 && goawayLastStream(late) === 1);
    // A call after GOAWAY is above the last stream named: untouched, and the client knows it.
    early.call(3, grpcFrame(BODY));
    await clock.advance(29_999);
    await pause();
    expect([early.closed, late.closed]).toEqual([false, false]);
    waiting[0]?.();
    await until(() => early.answered(1) && early.closed);
    expect(late.closed).toBe(false);
    await clock.advance(1);
    await until(() => late.closed);
    expect(late.answered(1)).toBe(false);
    expect(seen.heads).toHaveLength(2);
    waiting[1]?.();
    await until(() => seen.released.length === 2);
    expect(seen.released).toEqual([true, false]);
  });

  it('G28, T11 (tests): a connection is used again after 4.9 s, 5.1 s and 299 s idle, and closed after 300 s', async () => {
    const clock = new ManualClock();
    const { port } = await room.start({}, { connectionAgeMs: 60 * MINUTE_MS }, clock);
    const peer = room.raw(port);
    const unused = room.raw(port);
    await until(() => unused.frames.length > 0);
    await expectServed(peer, 1);
    for (const [i, idleMs] of [4_900, 5_100, 289_999].entries()) {
      await clock.advance(idleMs);
      await expectServed(peer, 3 + 2 * i);
    }
    // 300 s since it was made, without a call.
    await clock.advance(1);
    await until(() => unused.closed);
    expect(goawayLastStream(unused)).toBe(0);
    await clock.advance(299_998);
    await pause();
    expect(peer.closed).toBe(false);
    await clock.advance(1);
    await until(() => peer.closed);
    expect(goawayLastStream(peer)).toBe(7);
  });

  it('G28: a connection with a call that runs is not idle', async () => {
    const clock = new ManualClock();
    const { waiting, submit } = held();
    const { port } = await room.start({ submit }, {}, clock);
    const peer = room.raw(port);
    peer.call(1, grpcFrame(BODY));
    await until(() => waiting.length === 1);
    await clock.advance(301_000);
    await pause();
    expect(goawayLastStream(peer)).toBeUndefined();
    waiting[0]?.();
    await until(() => peer.answered(1));
  });
});

describe('pings and floods', () => {
  const PING_ACK = 1;

  it('G27: every ping is answered with its own bytes, with and without a call that runs', async () => {
    const { waiting, submit } = held();
    const { port } = await room.start({ submit }, { sweepMs: 1_000 });
    const peer = room.raw(port);
    const pings = (from: number) => {
      for (let i = from; i < from + 20; i++) peer.socket.write(frame(FRAME.PING, 0, 0, Buffer.alloc(8, i)));
    };
    const answers = () => peer.frames.filter(({ type, flags }) => type === FRAME.PING && flags === PING_ACK);
    pings(0);
    await until(() => answers().length === 20);
    peer.call(1, grpcFrame(BODY));
    await until(() => waiting.length === 1);
    pings(20);
    await until(() => answers().length === 40);
    expect(answers().map(({ payload }) => payload)).toEqual(Array.from({ length: 40 }, (_, i) => Buffer.alloc(8, i)));
    waiting[0]?.();
    await until(() => peer.answered(1));
  });

  it.each([
    ['PING', frame(FRAME.PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', frame(FRAME.SETTINGS, 0, 0)],
  ])('G27: a flood of %s closes its connection and no other', async (_, one) => {
    const { port } = await room.start({}, { sweepMs: 1_000 });
    const [flooding, other] = [room.raw(port), room.raw(port)];
    await expectServed(other, 1);
    // Fewer at a time than what nghttp2 closes a connection for by itself.
    for (let i = 0; i < 200 && !flooding.closed; i++) {
      flooding.socket.write(Buffer.concat(Array(50).fill(one)));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(flooding.closed).toBe(true);
    await expectServed(other, 3);
  });

  it('G27: 500 control frames at once pass, 501 close the connection', async () => {
    // SETTINGS of the beginning are the first.
    for (const [pings, closed] of [
      [499, false],
      [500, true],
    ] as const) {
      const { port } = await room.start({}, { sweepMs: 1_000_000, grpcControlFramesPerSecondMax: 500 });
      const peer = room.raw(port);
      await until(() => peer.frames.some(({ type }) => type === FRAME.SETTINGS));
      for (let i = 0; i < pings; i += 50) {
        const count = Math.min(50, pings - i);
        peer.socket.write(Buffer.concat(Array(count).fill(frame(FRAME.PING, 0, 0, Buffer.alloc(8)))));
        await until(() => peer.closed || peer.frames.filter(({ type }) => type === FRAME.PING).length >= i + count);
      }
      if (closed) {
        await until(() => peer.closed);
        const goaway = peer.frames.find(({ type }) => type === FRAME.GOAWAY);
        // ENHANCE_YOUR_CALM
        expect(goaway?.payload.readUInt32BE(4)).toBe(11);
      } else {
        await expectServed(peer, 1);
      }
    }
  });
});

describe('clients that are slow or go away', () => {
  it('T11 (tests): a body of one byte a frame is served', async () => {
    const { port, seen } = await room.start();
    const peer = room.raw(port);
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock(CALL_HEADERS)));
    for (const byte of grpcFrame(BODY)) {
      peer.socket.write(frame(FRAME.DATA, 0, 1, Buffer.of(byte)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    peer.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, 1));
    await until(() => peer.answered(1));
    expect(seen.bodies).toEqual([{ body: BODY, encoding: 'protobuf' }]);
  });

  it('T11 (tests): a client that has closed its half of the socket ends its connection; what it had sent is released once', async () => {
    const { waiting, submit } = held();
    const { port, seen } = await room.start({ submit });
    const peer = room.raw(port);
    peer.call(1, grpcFrame(BODY));
    await until(() => waiting.length === 1);
    peer.socket.end();
    await pause();
    waiting[0]?.();
    await until(() => seen.released.length === 1);
    await until(() => peer.closed);
    expect(seen.released).toEqual([false]);
    expect(seen.log.map(({ status }) => status)).toEqual(['client gone']);
  });
});

describe('draining', () => {
  it('T12 (tests): what runs is answered, GOAWAY names it as the last, a later call is untouched, the port is closed', async () => {
    const { waiting, submit } = held();
    const { port, server, seen } = await room.start({ submit });
    const peer = room.raw(port);
    const idle = room.raw(port);
    await until(() => idle.frames.length > 1);
    peer.call(1, grpcFrame(BODY));
    // A second one has sent half its body.
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 3, headerBlock(CALL_HEADERS)));
    peer.socket.write(frame(FRAME.DATA, 0, 3, grpcFrame(BODY).subarray(0, 20)));
    await until(() => waiting.length === 1 && seen.reserved.length === 2);
    const drained = server.drain();
    await until(() => goawayLastStream(peer) === 3 && goawayLastStream(idle) === 0);
    await until(() => idle.closed);
    peer.call(5, grpcFrame(BODY));
    peer.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, 3, grpcFrame(BODY).subarray(20)));
    await until(() => waiting.length === 2);
    for (const resume of waiting) resume();
    await drained;

    await until(() => peer.closed);
    expect([1, 3, 5].map((id) => peer.answered(id))).toEqual([true, true, false]);
    expect(seen.heads).toHaveLength(2);
    expect(seen.released).toEqual([true, true]);
    const refused = room.raw(port);
    await until(() => refused.closed);
    expect(refused.frames).toEqual([]);
  });

  it('T12 (tests): who still sends when draining must end is UNAVAILABLE with RetryInfo', async () => {
    const { port, server, seen } = await room.start({}, { drainMs: 50 });
    const stream = startCall(room.connect(port), { end: false, body: grpcFrame(BODY).subarray(0, 20) });
    const result = resultOf(stream);
    await until(() => seen.reserved.length === 1);
    await server.drain();
    expect(refusalIn(await result)).toEqual({
      status: 14,
      message: 'this process is shutting down',
      details: expect.objectContaining({ details: [{ type: 'RetryInfo', retryDelay: { seconds: 1, nanos: 0 } }] }),
      retryDelay: { seconds: 1, nanos: 0 },
    });
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });

  it('T12 (tests): draining ends in time though a call never does', async () => {
    const never = Promise.withResolvers<never>();
    const { port, server, seen } = await room.start({ submit: () => never.promise }, { drainMs: 50 });
    const result = resultOf(startCall(room.connect(port), { body: grpcFrame(BODY) }));
    await until(() => seen.bodies.length === 1);
    await server.drain();
    expect((await result).trailers['grpc-status']).toBeUndefined();
    never.reject(new BackworkError('internal', 'end of the test'));
    await until(() => seen.released.length === 1);
  });

  it('T12 (tests): connections that have not said what they speak do not hold it up', async () => {
    const { server, port } = await room.start({}, { drainMs: 60_000 });
    const silent = room.raw(port, { quiet: true });
    await new Promise((resolve) => silent.socket.once('connect', resolve));
    await pause();
    await server.drain();
    await until(() => silent.closed);
  });
});

it('G31: after a refusal of any kind the same connection serves on', async () => {
  const { port } = await room.start();
  const session = room.connect(port);
  await resultOf(startCall(session, { headers: { 'content-type': 'text/plain' }, body: BODY }));
  await resultOf(startCall(session, { path: '/x/y', body: BODY }));
  expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
});

/** Long enough for frames to cross the loopback: for what must not come. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 30));
}
