/** Every outcome of section 1.3 as a gRPC client sees it: what stands on the wire, and what the exporters read of it. */
import grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { BackworkError, type ErrorCode, retryLater } from '../../src/base/errors.ts';
import { ERROR_MESSAGE_BYTES_MAX } from '../../src/base/limits.ts';
import type { ExportAnswer } from '../../src/ingest/messages.ts';
import { ERROR_ROWS } from '../ingest/accept/error-rows.ts';
import { decode, decodeStatus } from '../ingest/accept/google-rpc.ts';
import { callOnce, grpcFrame, resultOf, SIGNAL_PATHS, startCall, TOKEN, until } from '../ingest/accept/peers.ts';
import { FLAG, FRAME, frame, headerBlock } from '../ingest/accept/raw-h2.ts';
import { answerIn, GrpcRoom, plain, refusalIn } from './grpc-running.ts';

const BODY = Buffer.from('any bytes: the path alone reads them');
const room = new GrpcRoom();
afterEach(() => room.stop());

function throwing(error: unknown): () => never {
  return () => {
    throw error;
  };
}

describe('positive answers', () => {
  const answers: Array<readonly [ids: string, what: string, answer: ExportAnswer, read: ReturnType<typeof answerIn>]> =
    [
      ['T5 (tests), G11', 'durable or empty', { rejected: 0, message: '' }, undefined],
      ['T5 (tests), G13', 'warned', { rejected: 0, message: 'w' }, { rejected: 0, message: 'w' }],
      ['T5 (tests), G12', 'some rejected', { rejected: 2, message: 'r' }, { rejected: 2, message: 'r' }],
      [
        'T5 (tests), G12',
        'over 2^31 rejected',
        { rejected: 2 ** 40, message: 'r' },
        { rejected: 2 ** 40, message: 'r' },
      ],
    ];

  it.each(answers)('%s: %s is OK, with exactly these headers, this message and these trailers', async (...row) => {
    const [, , answer, read] = row;
    const { port, seen } = await room.start({ submit: () => answer });
    for (const path of Object.values(SIGNAL_PATHS)) {
      const result = await callOnce(port, { path, body: grpcFrame(BODY) });
      expect(plain(result.headers)).toEqual({
        ':status': 200,
        'content-type': 'application/grpc',
        date: expect.any(String),
      });
      expect(plain(result.trailers)).toEqual({ 'grpc-status': '0' });
      expect(answerIn(result)).toEqual(read);
      if (read === undefined) expect(result.data).toEqual(Buffer.alloc(5));
      expect(result.rstCode).toBe(0);
    }
    await until(() => seen.log.length === 3);
    expect(seen.released).toEqual([true, true, true]);
  });

  it('G10: error_message has at most 1,024 bytes, cut between characters, so an answer never nears 4 MiB', async () => {
    for (const text of ['é'.repeat(5_000), 'x'.repeat(1_025)]) {
      const { port } = await room.start({ submit: () => ({ rejected: 1, message: text }) });
      const result = await callOnce(port, { body: grpcFrame(BODY) });
      const message = answerIn(result)?.message ?? '';
      expect(Buffer.byteLength(message)).toBe(ERROR_MESSAGE_BYTES_MAX);
      expect(text.startsWith(message)).toBe(true);
      expect(result.data.length).toBeLessThan(1_100);
    }
    const whole = 'x'.repeat(ERROR_MESSAGE_BYTES_MAX);
    const { port } = await room.start({ submit: () => ({ rejected: 1, message: whole }) });
    expect(answerIn(await callOnce(port, { body: grpcFrame(BODY) }))?.message).toBe(whole);
  });
});

const RETRYABLE: readonly ErrorCode[] = ERROR_ROWS.filter(({ retry }) => retry).map(({ code }) => code);

describe('refusals', () => {
  it.each(ERROR_ROWS)(
    'T5 (tests), G17, G18, G19, G20, G21: $code is status $grpc, all of it in the one HEADERS frame',
    async (row) => {
      const { code, grpc: status, retry } = row;
      const error = new BackworkError(code, `refused: ${code}`, { retryAfterMs: 2_500, field: 'resourceLogs[0].x' });
      const message = status === 13 ? 'internal error; the request was not accepted' : `refused: ${code}`;
      for (const where of ['open', 'submit'] as const) {
        const { port, seen } = await room.start({ [where]: throwing(error) });
        const result = await callOnce(port, { body: grpcFrame(BODY) });
        const refusal = refusalIn(result);

        const retryDelay = { seconds: 3, nanos: 0 };
        const badRequest = {
          type: 'BadRequest',
          fieldViolations: [{ field: 'resourceLogs[0].x', description: message }],
        };
        const details = retry ? [{ type: 'RetryInfo', retryDelay }] : code === 'malformed' ? [badRequest] : undefined;
        expect(refusal).toEqual({
          status,
          message,
          details: details === undefined ? undefined : { code: status, message, details },
          retryDelay: retry ? retryDelay : undefined,
        });
        const detailHeaders = details === undefined ? [] : ['grpc-status-details-bin'];
        const expected = [':status', 'content-type', 'date', 'grpc-accept-encoding', 'grpc-message', 'grpc-status'];
        const retryHeaders = retry ? ['google.rpc.retryinfo-bin'] : [];
        expect(Object.keys(result.headers).sort()).toEqual([...expected, ...detailHeaders, ...retryHeaders].sort());
        expect(result.headers).toMatchObject({
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-accept-encoding': 'identity,gzip',
        });
        await until(() => seen.log.length === 1);
        expect(seen.released).toEqual(where === 'open' ? [] : [false]);
      }
    },
  );

  it.each(ERROR_ROWS)('G21: $code is one HEADERS frame with END_STREAM, as it stands on the wire', async ({ code }) => {
    for (const where of ['open', 'submit'] as const) {
      const { port } = await room.start({ [where]: throwing(new BackworkError(code, 'x'.repeat(1_024))) });
      const peer = room.raw(port);
      peer.call(1, grpcFrame(BODY));
      await until(() => peer.answered(1));
      // A second call, so that all the peer has to say about the first one is here.
      peer.call(3, grpcFrame(BODY));
      await until(() => peer.answered(3));
      const ofFirst = peer.frames.filter(({ streamId, type }) => streamId === 1 && type !== FRAME.WINDOW_UPDATE);
      expect(ofFirst.map(({ type, flags }) => ({ type, flags }))).toEqual([
        { type: FRAME.HEADERS, flags: FLAG.END_STREAM | FLAG.END_HEADERS },
      ]);
    }
  });

  it('T5 (tests): what no table knows is INTERNAL, says nothing of itself, and is told to us', async () => {
    const { port, seen } = await room.start({ submit: throwing(new Error('secret path /etc/x')) });
    const refusal = refusalIn(await callOnce(port, { body: grpcFrame(BODY) }));
    expect(refusal).toEqual({
      status: 13,
      message: 'internal error; the request was not accepted',
      details: undefined,
      retryDelay: undefined,
    });
    expect(seen.faults).toHaveLength(1);
  });

  it.each([
    [undefined, 1],
    [1, 1],
    [1_000, 1],
    [1_001, 2],
    [5_000, 5],
    [60_000, 5],
  ])('G20: a delay of %s ms is %s s in both trailers', async (retryAfterMs, seconds) => {
    const details = retryAfterMs === undefined ? {} : { retryAfterMs };
    const { port } = await room.start({ open: throwing(new BackworkError('overloaded', 'x', details)) });
    const refusal = refusalIn(await callOnce(port, { body: grpcFrame(BODY) }));
    expect(refusal.retryDelay).toEqual({ seconds, nanos: 0 });
    expect(refusal.details?.details).toEqual([{ type: 'RetryInfo', retryDelay: { seconds, nanos: 0 } }]);
  });

  it.each(RETRYABLE)('G20: %s, read from the trailers as Go and Python read it', async (code) => {
    const { port } = await room.start({ submit: throwing(new BackworkError(code, 'überlastet, 100 %')) });
    const error = await unaryError(port);
    expect(error).toMatchObject({ code: grpc.status.UNAVAILABLE, details: 'überlastet, 100 %' });
    // Go, .NET, Rust and the Collector: the details of google.rpc.Status.
    const [status] = error.metadata.get('grpc-status-details-bin') as Buffer[];
    expect(decodeStatus(status as Buffer)).toEqual({
      code: 14,
      message: 'überlastet, 100 %',
      details: [{ type: 'RetryInfo', retryDelay: { seconds: 1, nanos: 0 } }],
    });
    // Python: a RetryInfo by itself.
    const [retry] = error.metadata.get('google.rpc.retryinfo-bin') as Buffer[];
    expect(decode('RetryInfo', retry as Buffer)).toEqual({ retryDelay: { seconds: 1, nanos: 0 } });
  });

  function unaryError(port: number): Promise<grpc.ServiceError> {
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.enable_retries': 0,
    });
    room.onStop(() => client.close());
    const same = (bytes: Buffer): Buffer => bytes;
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(SIGNAL_PATHS.logs, same, same, BODY, (error) => {
        if (error === null) reject(new Error('it was accepted'));
        else resolve(error);
      });
    });
  }
});

describe('texts', () => {
  it.each([
    ['100 % of ä', '100 %25 of %C3%A4'],
    ['a\r\nb\tc\u0000\u007f', 'a%0D%0Ab%09c%00%7F'],
    ['lone \ud800, \udc00x', 'lone %EF%BF%BD, %EF%BF%BDx'],
    ['😀~ !', '%F0%9F%98%80~ !'],
    ['', ''],
  ])('G25: %j is %j in grpc-message', async (text, encoded) => {
    const { port } = await room.start({ open: throwing(new BackworkError('spool-full', text)) });
    const result = await callOnce(port, { body: grpcFrame(BODY) });
    expect(result.headers['grpc-message']).toBe(encoded);
    expect(refusalIn(result).details?.message).toBe(text.toWellFormed());
  });

  it('G25: no text of the client stands in an answer or in the log', async () => {
    const { port, seen } = await room.start({
      open: (head) => {
        if (head.authorization?.includes('unknown')) throw new BackworkError('unauthenticated', 'the token is unknown');
      },
    });
    const canary = 'canary-7f3a';
    const calls = [
      { path: `/${canary}.Service/Export` },
      { path: `/opentelemetry.proto.collector.profiles.${canary}/Export` },
      { headers: { 'grpc-encoding': canary } },
      { headers: { 'content-type': `application/grpc+${canary}` } },
      { headers: { 'content-type': canary } },
      { headers: { authorization: `Bearer unknown-${canary}` } },
      { body: Buffer.from(canary) },
      { body: grpcFrame(Buffer.from(canary), true), headers: { 'grpc-encoding': 'gzip' } },
    ];
    for (const call of calls) {
      const { headers } = await callOnce(port, { body: grpcFrame(Buffer.from(canary)), ...call });
      expect(headers[':status'] === 415 || headers['grpc-status'] !== undefined).toBe(true);
      const details = Buffer.from(String(headers['grpc-status-details-bin'] ?? ''), 'base64').toString('latin1');
      expect(JSON.stringify([headers, details])).not.toContain(canary);
    }
    await until(() => seen.log.length === calls.length);
    expect(JSON.stringify(seen.log)).not.toContain(canary);
    expect(JSON.stringify(seen.log)).not.toContain(TOKEN);
  });
});

describe('the order of answers', () => {
  it('G29: token, then the rest of the head, then admission, and nothing of the body before', async () => {
    const wrongHead = { 'grpc-encoding': 'zstd' };
    const cases: Array<readonly [ErrorCode, status: number]> = [
      ['unauthenticated', 16],
      ['forbidden', 7],
      ['volume-used-up', 7],
      ['accounts-unavailable', 14],
      ['rate-limited', 12],
      ['overloaded', 12],
      ['spool-full', 12],
    ];
    for (const [code, status] of cases) {
      const { port, seen } = await room.start({ open: throwing(new BackworkError(code, code)) });
      const stream = startCall(room.connect(port), { headers: wrongHead, end: false });
      const result = resultOf(stream);
      // The answer is here while the client has sent nothing but its headers.
      await new Promise((resolve) => stream.once('response', resolve));
      stream.end();
      expect(refusalIn(await result).status).toBe(status);
      expect(seen.bodies).toEqual([]);
      expect(seen.reserved).toEqual([]);
    }
  });
});

describe('refusing early', () => {
  const full = { open: throwing(retryLater('spool-full', 'full')) };

  it('T5 (tests), G29: a client that writes everything before it reads sees the refusal, and its connection serves on', async () => {
    const { port, seen } = await room.start(full);
    const session = room.connect(port);
    for (let i = 0; i < 2; i++) {
      const result = await resultOf(startCall(session, { body: grpcFrame(Buffer.alloc(12_000_000)) }));
      expect(refusalIn(result)).toMatchObject({ status: 14, message: 'full' });
      expect(result.rstCode).toBe(0);
    }
    expect(session.destroyed).toBe(false);
    expect(seen.reserved).toEqual([]);
  });

  it('T5 (tests): the refusal goes out before the rest of the body, which is not counted as in flight', async () => {
    const { port, seen } = await room.start({
      reserve: (bytes) => {
        if (bytes > 50_000) throw retryLater('overloaded', 'no room');
      },
    });
    const session = room.connect(port);
    const stream = startCall(session, { end: false, body: grpcFrame(Buffer.alloc(1_000_000)).subarray(0, 100_000) });
    const result = resultOf(stream);
    await new Promise((resolve) => stream.once('response', resolve));
    // Released, though the body has not ended.
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
    stream.end(Buffer.alloc(900_005));
    expect(refusalIn(await result).status).toBe(14);
    expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
  });

  it.each([
    ['bytes', { refusedDrainBytesMax: 20_000 }],
    ['time', { refusedDrainMs: 50 }],
  ])('T5 (tests): beyond its bound of %s the stream alone is reset, with NO_ERROR', async (_, limits) => {
    const { port } = await room.start(full, limits);
    const peer = room.raw(port);
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock({ ...PATH_HEADERS })));
    for (let i = 0; i < 3; i++) peer.socket.write(frame(FRAME.DATA, 0, 1, Buffer.alloc(10_000)));
    await until(() => peer.frames.some(({ type }) => type === FRAME.RST_STREAM));
    const ofStream = peer.frames.filter(({ streamId, type }) => streamId === 1 && type !== FRAME.WINDOW_UPDATE);
    expect(
      ofStream.map(({ type, payload }) => (type === FRAME.RST_STREAM ? payload.readUInt32BE() : 'answer')),
    ).toEqual(['answer', 0]);
    peer.call(3, grpcFrame(BODY));
    await until(() => peer.answered(3));
    expect(peer.closed).toBe(false);
  });

  it('T5 (tests): up to its bound of bytes the body is taken and nothing is reset', async () => {
    const { port } = await room.start(full, { refusedDrainBytesMax: 30_000 });
    const peer = room.raw(port);
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headerBlock({ ...PATH_HEADERS })));
    for (const end of [0, 0, FLAG.END_STREAM]) peer.socket.write(frame(FRAME.DATA, end, 1, Buffer.alloc(10_000)));
    peer.call(3, grpcFrame(BODY));
    await until(() => peer.answered(3));
    expect(peer.answered(1)).toBe(true);
    expect(peer.frames.filter(({ type }) => type === FRAME.RST_STREAM)).toEqual([]);
  });

  const PATH_HEADERS = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': SIGNAL_PATHS.logs,
    ':authority': 'localhost',
    'content-type': 'application/grpc',
  };

  it('T5 (tests): a body that is not whole by its deadline is UNAVAILABLE with RetryInfo, and the connection serves on', async () => {
    const { port, seen } = await room.start({}, { bodyDeadlineMs: 50, refusedDrainMs: 50 });
    const session = room.connect(port);
    const slow = await resultOf(startCall(session, { end: false, body: grpcFrame(BODY).subarray(0, 9) }));
    expect(refusalIn(slow)).toMatchObject({
      status: 14,
      message: 'the message was not whole within 50 ms',
      retryDelay: { seconds: 1, nanos: 0 },
    });
    expect(answerIn(await resultOf(startCall(session, { body: grpcFrame(BODY) })))).toBeUndefined();
    await until(() => seen.released.length === 2);
    expect(seen.released).toEqual([false, true]);
  });
});
