/**
 * The HTTP side of the outcome map, row by row: status, every header, the Status in both encodings. Rows that a service
 * cannot be brought into by its clients come from a path that refuses so; the rest of the server is the real one.
 */
import { describe, expect, it } from 'vitest';
import { BackworkError, type ErrorCode, retryLater } from '../../src/base/errors.ts';
import { decode } from '../ingest/accept/google-rpc.ts';
import { type Behaviour, httpBytes, httpOnce, until } from '../ingest/accept/peers.ts';
import { connect, headersOf, JSON_TYPE, ownServer, PROTOBUF, plainHeaders, statusOf } from './http-peer.ts';

interface Row {
  readonly outcome: string;
  readonly code: ErrorCode;
  readonly status: number;
  readonly grpc: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly details?: 'RetryInfo' | 'BadRequest';
  readonly close?: true;
}

const RETRY = { headers: { 'retry-after': '3' }, details: 'RetryInfo' } as const;

const ROWS: readonly Row[] = [
  { outcome: 'cannot be parsed', code: 'malformed', status: 400, grpc: 3, details: 'BadRequest' },
  { outcome: 'too large', code: 'too-large', status: 413, grpc: 8 },
  { outcome: 'unknown path', code: 'unknown-path', status: 404, grpc: 12 },
  {
    outcome: 'other method',
    code: 'method-not-allowed',
    status: 405,
    grpc: 12,
    headers: { allow: 'POST, OPTIONS' },
  },
  { outcome: 'other content type', code: 'unsupported-content-type', status: 415, grpc: 12 },
  { outcome: 'coding not served', code: 'unsupported-coding', status: 415, grpc: 12 },
  {
    outcome: 'no good token',
    code: 'unauthenticated',
    status: 401,
    grpc: 16,
    headers: { 'www-authenticate': 'Bearer' },
  },
  { outcome: 'wrong scope, source or organization', code: 'forbidden', status: 403, grpc: 7 },
  { outcome: "the plan's volume is used up", code: 'volume-used-up', status: 403, grpc: 7 },
  { outcome: 'over the rate', code: 'rate-limited', status: 429, grpc: 14, ...RETRY },
  { outcome: 'no room in memory', code: 'overloaded', status: 503, grpc: 14, ...RETRY },
  { outcome: 'no room in the spool', code: 'spool-full', status: 503, grpc: 14, ...RETRY },
  { outcome: 'the spool has failed', code: 'spool-failed', status: 503, grpc: 14, ...RETRY },
  { outcome: 'accounts are away', code: 'accounts-unavailable', status: 503, grpc: 14, ...RETRY },
  { outcome: 'the body is late', code: 'body-deadline', status: 503, grpc: 14, ...RETRY, close: true },
  { outcome: 'shutting down', code: 'shutting-down', status: 503, grpc: 14, ...RETRY, close: true },
];

function refusing(error: unknown, where: 'open' | 'submit'): Behaviour {
  return {
    [where]: () => {
      throw error;
    },
  };
}

function detailsOf({ details }: Row, type: string, message: string): object[] {
  if (details === 'BadRequest') {
    return [{ type: 'BadRequest', fieldViolations: [{ field: 'resourceLogs[0]', description: message }] }];
  }
  if (details === undefined) return [];
  return [{ type: 'RetryInfo', retryDelay: type === JSON_TYPE ? '3s' : { seconds: 3, nanos: 0 } }];
}

describe('refusals', () => {
  it.each(ROWS)('T5 (tests), H17, H21: $outcome is $status', async (row) => {
    const message = `refused because: ${row.outcome}`;
    const error = new BackworkError(row.code, message, { retryAfterMs: 2_001, field: 'resourceLogs[0]' });
    for (const where of ['open', 'submit'] as const) {
      for (const type of [PROTOBUF, JSON_TYPE, 'application/json; charset=utf-8']) {
        const { port } = await ownServer(refusing(error, where));
        const client = connect(port);
        client.write(httpBytes({ headers: { 'content-type': type }, body: '{}' }));
        const result = await client.response();
        const bare = type === PROTOBUF ? PROTOBUF : JSON_TYPE;
        expect(result.status).toBe(row.status);
        expect(headersOf(result)).toEqual({
          ...plainHeaders(bare, result.body.length, row.close ? 'closed' : 'kept'),
          ...row.headers,
        });
        expect(statusOf(result)).toEqual({ code: row.grpc, message, details: detailsOf(row, bare, message) });
        if (row.close) await until(() => client.ended);
      }
    }
  });

  it.each([
    ['an error that is none of ours', new TypeError('secret text of a bug')],
    ['a code that is no answer', new BackworkError('store-permanent', 'secret text of a bug')],
    ['what is no error', 'secret text of a bug'],
  ])('T5 (tests), H17: %s is our bug: 500, without its text, and the operator is told', async (_, thrown) => {
    for (const where of ['open', 'submit'] as const) {
      for (const type of [PROTOBUF, JSON_TYPE]) {
        const { port, seen } = await ownServer(refusing(thrown, where));
        const result = await httpOnce(port, { headers: { 'content-type': type }, body: '{}' });
        expect(result.status).toBe(500);
        expect(headersOf(result)).toEqual(plainHeaders(type, result.body.length));
        const message = 'internal error; the request was not accepted';
        expect(statusOf(result)).toEqual({ code: 13, message, details: [] });
        expect(seen.faults).toEqual([thrown]);
      }
    }
  });

  it('H17: what is no HTTP at all gets a JSON Status, too', async () => {
    const { port } = await ownServer();
    const client = connect(port);
    client.write('hello, is this OTLP?\r\n\r\n');
    const result = await client.response();
    expect(result.status).toBe(400);
    expect(headersOf(result)).toEqual({
      'content-type': JSON_TYPE,
      'content-length': String(result.body.length),
      connection: 'close',
    });
    expect(statusOf(result)).toMatchObject({ code: 3, message: 'this is no HTTP/1.1 request' });
    await until(() => client.ended);
  });

  it('H19: an error text is cut at 1,024 bytes, between characters', async () => {
    for (const type of [PROTOBUF, JSON_TYPE]) {
      const { port } = await ownServer(refusing(new BackworkError('malformed', 'é'.repeat(5_000)), 'open'));
      const result = await httpOnce(port, { headers: { 'content-type': type } });
      expect(statusOf(result).message).toBe('é'.repeat(512));
    }
  });

  it.each([
    [0, '1'],
    [1, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [4_000, '4'],
    [4_001, '5'],
    [5_000, '5'],
    [60_000, '5'],
    [-5, '1'],
    [0.5, '1'],
  ])('H21, H22, H23: a delay of %d ms is Retry-After %s, rounded up, 1 to 5', async (delayMs, seconds) => {
    const { port } = await ownServer(refusing(retryLater('spool-full', 'full', delayMs), 'open'));
    const protobuf = await httpOnce(port, {});
    expect(protobuf.headers['retry-after']).toBe(seconds);
    expect(statusOf(protobuf).details).toEqual([
      { type: 'RetryInfo', retryDelay: { seconds: Number(seconds), nanos: 0 } },
    ]);
    const json = await httpOnce(port, { headers: { 'content-type': JSON_TYPE } });
    expect(json.headers['retry-after']).toBe(seconds);
    expect(statusOf(json).details).toEqual([{ type: 'RetryInfo', retryDelay: `${seconds}s` }]);
  });

  it('H22: what clears without saying when gets a delay, too', async () => {
    const { port } = await ownServer(refusing(new BackworkError('overloaded', 'full'), 'open'));
    expect((await httpOnce(port, {})).headers['retry-after']).toBe('1');
  });
});

describe('positive answers', () => {
  it.each([
    ['some rejected', { rejected: 3, message: 'why' }, { rejectedLogRecords: '3', errorMessage: 'why' }],
    ['all warned, none rejected', { rejected: 0, message: 'mind' }, { rejectedLogRecords: '0', errorMessage: 'mind' }],
  ])('T5 (tests), H15: %s is 200 with partial_success', async (_, answer, json) => {
    const { port } = await ownServer({ submit: () => answer });
    const protobuf = await httpOnce(port, {});
    expect(protobuf.status).toBe(200);
    expect(headersOf(protobuf)).toEqual(plainHeaders(PROTOBUF, protobuf.body.length));
    expect(decode('ExportResponse', protobuf.body)).toEqual({
      partialSuccess: { rejected: answer.rejected, errorMessage: answer.message },
    });
    const text = await httpOnce(port, { headers: { 'content-type': JSON_TYPE } });
    expect(headersOf(text)).toEqual(plainHeaders(JSON_TYPE, text.body.length));
    expect(JSON.parse(text.body.toString())).toEqual({ partialSuccess: json });
  });

  it('T5 (tests): each signal names what it rejected in JSON', async () => {
    const { port } = await ownServer({ submit: () => ({ rejected: 9_007_199_254_740_991, message: 'm' }) });
    for (const [signal, name] of [
      ['logs', 'rejectedLogRecords'],
      ['metrics', 'rejectedDataPoints'],
      ['traces', 'rejectedSpans'],
    ] as const) {
      const result = await httpOnce(port, { path: `/v1/${signal}`, headers: { 'content-type': JSON_TYPE } });
      const partialSuccess = { [name]: '9007199254740991', errorMessage: 'm' };
      expect(JSON.parse(result.body.toString())).toEqual({ partialSuccess });
    }
  });

  it('H26: however much there is to say, an answer stays below 4 MiB by far', async () => {
    const { port } = await ownServer({ submit: () => ({ rejected: 1, message: 'x'.repeat(5_000_000) }) });
    const result = await httpOnce(port, {});
    expect(decode('ExportResponse', result.body)).toEqual({
      partialSuccess: { rejected: 1, errorMessage: 'x'.repeat(1_024) },
    });
    const json = await httpOnce(port, { headers: { 'content-type': JSON_TYPE } });
    expect(json.body.length).toBeLessThan(1_200);
  });

  it('H30: not a byte of a positive answer leaves before the data is durable', async () => {
    const durable = Promise.withResolvers<void>();
    const { port, seen } = await ownServer({
      submit: () => durable.promise.then(() => ({ rejected: 0, message: '' })),
    });
    const client = connect(port);
    client.write(httpBytes({ body: 'telemetry' }));
    await until(() => seen.bodies.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.received).toHaveLength(0);
    durable.resolve();
    expect((await client.response()).status).toBe(200);
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([true]);
  });

  it('H30: a client that has gone counts as one that was not answered, so that its repeated request is recognised', async () => {
    const durable = Promise.withResolvers<void>();
    const { port, seen } = await ownServer({
      submit: () => durable.promise.then(() => ({ rejected: 0, message: '' })),
    });
    const client = connect(port);
    client.write(httpBytes({ body: 'telemetry' }));
    await until(() => seen.bodies.length === 1);
    client.socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    durable.resolve();
    await until(() => seen.released.length === 1);
    expect(seen.released).toEqual([false]);
  });
});
