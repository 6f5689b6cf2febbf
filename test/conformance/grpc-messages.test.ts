/** The one message of a call: its frame, its coding, and the limit of its size, to the byte. */
import { randomBytes } from 'node:crypto';
import type http2 from 'node:http2';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { retryLater } from '../../src/base/errors.ts';
import { callOnce, grpcFrame, resultOf, SIGNAL_PATHS, startCall, until } from '../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock } from '../ingest/accept/raw-h2.ts';
import { answerIn, GrpcRoom, refusalIn } from './grpc-running.ts';

const LIMIT = 100_000;
const BODY = Buffer.from('any bytes: the path alone reads them');
const GZIP = { 'grpc-encoding': 'gzip' };
const room = new GrpcRoom();
afterEach(() => room.stop());

const start = (behaviour = {}) => room.start(behaviour, { bodyBytesMax: LIMIT });

describe('codings', () => {
  it('G4: without a coding, with identity and with gzip the message arrives as it was, for every signal', async () => {
    const { port, seen } = await start();
    const calls: Array<readonly [http2.OutgoingHttpHeaders, Buffer]> = [
      [{}, grpcFrame(BODY)],
      [{ 'grpc-encoding': 'identity' }, grpcFrame(BODY)],
      [GZIP, grpcFrame(gzipSync(BODY), true)],
      [{ 'grpc-encoding': 'GZIP' }, grpcFrame(gzipSync(BODY), true)],
      // A coding allows compression, and the flag says whether this message has it.
      [GZIP, grpcFrame(BODY)],
    ];
    for (const path of Object.values(SIGNAL_PATHS)) {
      for (const [headers, body] of calls)
        expect(answerIn(await callOnce(port, { path, headers, body }))).toBeUndefined();
    }
    expect(seen.bodies).toEqual(Array(15).fill({ body: BODY, encoding: 'protobuf' }));
  });

  it('G4: gzip of several members is one message, and of nothing an empty one', async () => {
    const { port, seen } = await start();
    const members = Buffer.concat([gzipSync(BODY), gzipSync(BODY, { level: 1 })]);
    await callOnce(port, { headers: GZIP, body: grpcFrame(members, true) });
    await callOnce(port, { headers: GZIP, body: grpcFrame(gzipSync(Buffer.alloc(0)), true) });
    expect(seen.bodies.map(({ body }) => body)).toEqual([Buffer.concat([BODY, BODY]), Buffer.alloc(0)]);
  });

  it.each([
    ['zstd', 'zstd', zstdCompressSync(BODY)],
    ['snappy', 'snappy', BODY],
    ['deflate', 'deflate', deflateSync(BODY)],
    ['br', 'br', BODY],
    ['gzip, gzip', 'given', gzipSync(gzipSync(BODY))],
    ['identity,gzip', 'given', gzipSync(BODY)],
    ['x-of-the-client', 'given', BODY],
  ])(
    'G5, G6, T3 (tests): %s is UNIMPLEMENTED, says what is served, and is never decoded',
    async (coding, named, wire) => {
      const { port, seen } = await start();
      for (const flagged of [true, false]) {
        const result = await callOnce(port, { headers: { 'grpc-encoding': coding }, body: grpcFrame(wire, flagged) });
        expect(refusalIn(result)).toEqual({
          status: 12,
          message: `the grpc-encoding ${named} is not supported; identity and gzip are`,
          details: undefined,
          retryDelay: undefined,
        });
        expect(result.headers['grpc-accept-encoding']).toBe('identity,gzip');
      }
      expect(seen.bodies).toEqual([]);
    },
  );

  it('G6: an answer is never compressed, whatever the client accepts', async () => {
    const message = 'x'.repeat(1_000);
    const { port } = await start({ submit: () => ({ rejected: 1, message }) });
    const headers = { 'grpc-accept-encoding': 'gzip, zstd', 'accept-encoding': 'gzip' };
    const result = await callOnce(port, { headers, body: grpcFrame(BODY) });
    expect(result.headers['grpc-encoding']).toBeUndefined();
    expect(result.headers['content-encoding']).toBeUndefined();
    expect(result.data[0]).toBe(0);
    expect(answerIn(result)).toEqual({ rejected: 1, message });
  });
});

describe('frames', () => {
  const gzip = gzipSync(BODY);
  const wrong: Array<readonly [ids: string, what: string, body: Buffer, headers: http2.OutgoingHttpHeaders, RegExp]> = [
    ['G22', 'no message', Buffer.alloc(0), {}, /^no message$/],
    ['G22', 'a cut-off prefix', Buffer.alloc(4), {}, /cut off/],
    ['G22', 'a cut-off message', grpcFrame(BODY).subarray(0, -1), {}, /35 of 36 bytes came/],
    ['G22', 'two messages', Buffer.concat([grpcFrame(BODY), grpcFrame(BODY)]), {}, /more than one message/],
    ['G22', 'two empty messages', Buffer.alloc(10), {}, /more than one message/],
    ['G22', 'one byte behind the message', Buffer.concat([grpcFrame(BODY), Buffer.alloc(1)]), {}, /more than one/],
    ['G22', 'compressed flag 2', Buffer.concat([Buffer.of(2), grpcFrame(BODY).subarray(1)]), {}, /flag is 2/],
    ['G22', 'compressed flag 255', Buffer.of(255, 0, 0, 0, 0), GZIP, /flag is 255/],
    ['G22', 'flag 1 without a coding', grpcFrame(gzip, true), {}, /no grpc-encoding/],
    ['G22', 'flag 1 with identity', grpcFrame(gzip, true), { 'grpc-encoding': 'identity' }, /no grpc-encoding/],
    ['G22, G23, T3 (tests)', 'no gzip at all', grpcFrame(BODY, true), GZIP, /broken/],
    ['G22, G23, T3 (tests)', 'cut-off gzip', grpcFrame(gzip.subarray(0, -1), true), GZIP, /cut off/],
    ['G22, G23, T3 (tests)', 'gzip of a wrong check sum', grpcFrame(flipped(gzip, -6), true), GZIP, /broken/],
    ['G22, G23, T3 (tests)', 'gzip broken inside', grpcFrame(flipped(gzip, 12), true), GZIP, /broken/],
    ['G22, G23, T3 (tests)', 'gzip and other bytes', grpcFrame(Buffer.concat([gzip, BODY]), true), GZIP, /followed/],
    [
      'G22, G23, T3 (tests)',
      'gzip and a zero',
      grpcFrame(Buffer.concat([gzip, Buffer.alloc(1)]), true),
      GZIP,
      /followed/,
    ],
    ['G24', 'compressed with a length of 0', grpcFrame(Buffer.alloc(0), true), GZIP, /cut off/],
  ];

  it.each(wrong)('%s: %s is INVALID_ARGUMENT, submits nothing, and the connection serves on', async (...row) => {
    const [, , body, headers, message] = row;
    const { port, seen } = await start();
    const session = room.connect(port);
    const refusal = refusalIn(await resultOf(startCall(session, { headers, body })));
    expect(refusal).toMatchObject({ status: 3, message: expect.stringMatching(message), retryDelay: undefined });
    expect(refusal.details).toEqual({
      code: 3,
      message: refusal.message,
      details: [{ type: 'BadRequest', fieldViolations: [{ field: '', description: refusal.message }] }],
    });
    expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
    expect(seen.bodies).toHaveLength(1);
    expect(seen.faults).toEqual([]);
  });

  it('G22: no message is refused too when the token was judged only after the end of the call', async () => {
    const judged = Promise.withResolvers<void>();
    const { port } = await start({ open: () => judged.promise });
    const stream = startCall(room.connect(port), { body: Buffer.alloc(0) });
    const result = resultOf(stream);
    await new Promise((resolve) => setTimeout(resolve, 30));
    judged.resolve();
    expect(refusalIn(await result)).toMatchObject({ status: 3, message: 'no message' });
  });

  it('G22: a message is the same however DATA frames cut it, padding and empty frames included', async () => {
    const { port, seen } = await start();
    const wire = grpcFrame(BODY);
    const peer = room.raw(port);
    let streamId = 1;
    for (let cut = 0; cut <= wire.length; cut += 3, streamId += 2) {
      const padding = 7;
      const padded = Buffer.concat([Buffer.of(padding), wire.subarray(0, cut), Buffer.alloc(padding)]);
      peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, streamId, headerBlock(CALL_HEADERS)));
      peer.socket.write(frame(FRAME.DATA, 8, streamId, padded));
      peer.socket.write(frame(FRAME.DATA, 0, streamId));
      peer.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, streamId, wire.subarray(cut)));
    }
    await until(() => peer.answered(streamId - 2));
    expect(seen.bodies.map(({ body }) => body)).toEqual(Array(14).fill(BODY));
  });

  it('G23, T3 (tests): 300 malformed gzip messages at once end 300 calls and nothing else', async () => {
    const { port, seen } = await start();
    const session = room.connect(port);
    // Over 8 KiB, so that the thread pool inflates them, whose streams would throw without a listener.
    const big = gzipSync(randomBytes(20_000));
    const results = Array.from({ length: 300 }, (_, i) => {
      const wire = i % 2 === 0 ? flipped(big, 5_000 + i) : big.subarray(0, 12_000 + i);
      return resultOf(startCall(session, { headers: GZIP, body: grpcFrame(wire, true) }));
    });
    expect((await Promise.all(results)).map((result) => refusalIn(result).status)).toEqual(Array(300).fill(3));
    expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
    expect(seen.faults).toEqual([]);
    await until(() => seen.released.length === 301);
  });
});

describe('the size limit', () => {
  const inflating = (bytes: number) => grpcFrame(gzipSync(Buffer.alloc(bytes)), true);

  it('G7, G9, T4 (tests): a message of the limit passes, on the wire and inflated', async () => {
    const { port, seen } = await start();
    expect(answerIn(await callOnce(port, { body: grpcFrame(Buffer.alloc(LIMIT)) }))).toBeUndefined();
    expect(answerIn(await callOnce(port, { headers: GZIP, body: inflating(LIMIT) }))).toBeUndefined();
    expect(answerIn(await callOnce(port, { headers: GZIP, body: grpcFrame(Buffer.alloc(LIMIT)) }))).toBeUndefined();
    expect(seen.bodies.map(({ body }) => body.length)).toEqual([LIMIT, LIMIT, LIMIT]);
  });

  it.each([
    ['on the wire', {}, () => grpcFrame(Buffer.alloc(LIMIT + 1)), `message of ${LIMIT + 1} bytes`],
    ['compressed on the wire', GZIP, () => grpcFrame(Buffer.alloc(LIMIT + 1), true), `message of ${LIMIT + 1} bytes`],
    ['inflated', GZIP, () => inflating(LIMIT + 1), 'inflated body'],
    ['a bomb of 1:1000', GZIP, () => inflating(50_000_000), 'inflated body'],
  ])(
    'G7, G8, G9, T4 (tests): over the limit %s is RESOURCE_EXHAUSTED, without RetryInfo',
    async (_, headers, body, what) => {
      const { port, seen } = await start();
      const session = room.connect(port);
      expect(refusalIn(await resultOf(startCall(session, { headers, body: body() })))).toEqual({
        status: 8,
        message: `the ${what} is over the limit of ${LIMIT} bytes`,
        details: undefined,
        retryDelay: undefined,
      });
      expect(seen.bodies).toEqual([]);
      expect(Math.max(0, ...seen.reserved)).toBeLessThanOrEqual(LIMIT + 60_000);
      expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
    },
  );

  it('G8, G9: the length prefix alone is enough for the refusal, and nothing was reserved', async () => {
    const { port, seen } = await start();
    for (const length of [LIMIT + 1, 0xffff_ffff]) {
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(length, 1);
      const stream = startCall(room.connect(port), { end: false, body: prefix });
      const result = resultOf(stream);
      await new Promise((resolve) => stream.once('response', resolve));
      stream.end();
      expect(refusalIn(await result)).toMatchObject({
        status: 8,
        message: `the message of ${length} bytes is over the limit of ${LIMIT} bytes`,
      });
    }
    expect(seen.reserved).toEqual([]);
  });

  it('G8: a declared length over the limit and its prefix is refused before the body, the limit itself is not', async () => {
    const { port, seen } = await start();
    const over = startCall(room.connect(port), { end: false, headers: { 'content-length': LIMIT + 6 } });
    const result = resultOf(over);
    await new Promise((resolve) => over.once('response', resolve));
    over.close();
    expect((await result).headers['grpc-status']).toBe('8');
    const body = grpcFrame(Buffer.alloc(LIMIT));
    const headers = { 'content-length': body.length };
    expect(answerIn(await callOnce(port, { headers, body }))).toBeUndefined();
    expect(seen.heads.map(({ bodyBytesDeclared }) => bodyBytesDeclared)).toEqual([undefined, LIMIT + 5]);
  });

  it('G8, G26: code 8 is for size only: a body that outgrows the budget while it is read or inflated is UNAVAILABLE', async () => {
    const reserve = (bytes: number) => {
      if (bytes > LIMIT / 2) throw retryLater('overloaded', 'no room');
    };
    const { port, seen } = await start({ reserve });
    for (const [headers, body] of [
      [{}, grpcFrame(Buffer.alloc(LIMIT))],
      [GZIP, inflating(LIMIT)],
    ] as const) {
      expect(refusalIn(await callOnce(port, { headers, body }))).toMatchObject({
        status: 14,
        retryDelay: { seconds: 1, nanos: 0 },
      });
    }
    expect(seen.bodies).toEqual([]);
    expect(seen.released).toEqual([false, false]);
  });
});

/** The same with one bit turned in the byte at `at`, counted from the end when negative. */
function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  copy.writeUInt8(copy.readUInt8(index) ^ 0x40, index);
  return copy;
}
