import { describe, expect, test } from 'vitest';
import { BackworkError } from '../../../src/base/errors.ts';
import { ERROR_MESSAGE_BYTES_MAX } from '../../../src/base/limits.ts';
import { clampMessage, grpcStatusHeaders, refusalOf, statusBody } from '../../../src/ingest/accept/otlp-status.ts';
import { ERROR_ROWS } from './error-rows.ts';
import { decode, decodeStatus } from './google-rpc.ts';

describe('the outcome map', () => {
  test.each(ERROR_ROWS)('$code is gRPC $grpc and HTTP $http', ({ code, grpc, http, retry, close }) => {
    const refusal = refusalOf(new BackworkError(code, 'a sentence', { retryAfterMs: 1_200, retryable: true }));
    const status = decodeStatus(statusBody(refusal, 'protobuf'));

    expect(grpcStatusHeaders(refusal)['grpc-status']).toBe(String(grpc));
    expect(refusal.httpStatus).toBe(http);
    expect(status.code).toBe(grpc);
    expect(status.message).toBe(grpc === 13 ? 'internal error; the request was not accepted' : 'a sentence');
    expect(refusal.httpHeaders['Retry-After']).toBe(retry ? '2' : undefined);
    expect(refusal.httpClose).toBe(close === true);
    // Neither of Retry-After and RetryInfo ever stands without the other.
    expect(status.details.some(({ type }) => type === 'RetryInfo')).toBe(retry === true);
  });

  test('401 names the scheme and 405 the methods', () => {
    expect(refusalOf(new BackworkError('unauthenticated', 'x')).httpHeaders).toEqual({ 'WWW-Authenticate': 'Bearer' });
    expect(refusalOf(new BackworkError('method-not-allowed', 'x')).httpHeaders).toEqual({ Allow: 'POST, OPTIONS' });
  });

  test('a foreign error says nothing of itself', () => {
    const refusal = refusalOf(new Error('secret path /etc/x'));
    expect(refusal).toMatchObject({ grpcStatus: 'INTERNAL', httpStatus: 500 });
    expect(refusal.message).not.toContain('secret');
  });
});

describe('the retry delay', () => {
  // Sub-second delays round up, since 0 makes clients retry without a pause; more than 5 s makes them give up.
  test.each([
    [undefined, 1],
    [0, 1],
    [1, 1],
    [1_000, 1],
    [1_001, 2],
    [4_999, 5],
    [60_000, 5],
  ])('%s ms becomes %s s', (retryAfterMs, seconds) => {
    const details = retryAfterMs === undefined ? {} : { retryAfterMs };
    const refusal = refusalOf(new BackworkError('overloaded', 'x', details));
    const headers = grpcStatusHeaders(refusal);
    const inStatus = decodeStatus(Buffer.from(headers['grpc-status-details-bin'] ?? '', 'base64'));

    expect(refusal.httpHeaders['Retry-After']).toBe(String(seconds));
    expect(inStatus.details).toEqual([{ type: 'RetryInfo', retryDelay: { seconds, nanos: 0 } }]);
    expect(decode('RetryInfo', Buffer.from(headers['google.rpc.retryinfo-bin'] ?? '', 'base64'))).toEqual({
      retryDelay: { seconds, nanos: 0 },
    });
    expect(JSON.parse(statusBody(refusal, 'json').toString())).toEqual({
      code: 14,
      message: 'x',
      details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${seconds}s` }],
    });
  });

  test('too-large never carries one', () => {
    const refusal = refusalOf(new BackworkError('too-large', 'x', { retryable: true, retryAfterMs: 1_000 }));
    const headers = grpcStatusHeaders(refusal);
    expect(Object.keys(headers)).toEqual(['grpc-status', 'grpc-message']);
  });
});

describe('BadRequest', () => {
  const refusal = refusalOf(new BackworkError('malformed', 'no digits', { field: 'resourceLogs[0].x' }));

  test('names the field in protobuf', () => {
    expect(decodeStatus(statusBody(refusal, 'protobuf')).details).toEqual([
      { type: 'BadRequest', fieldViolations: [{ field: 'resourceLogs[0].x', description: 'no digits' }] },
    ]);
  });

  test('names the field in JSON', () => {
    expect(JSON.parse(statusBody(refusal, 'json').toString()).details).toEqual([
      {
        '@type': 'type.googleapis.com/google.rpc.BadRequest',
        fieldViolations: [{ field: 'resourceLogs[0].x', description: 'no digits' }],
      },
    ]);
  });
});

describe('messages', () => {
  test('grpc-message is percent-encoded UTF-8, also of a lone surrogate', () => {
    const refusal = refusalOf(new BackworkError('forbidden', 'ä 100% \n \ud800'));
    expect(grpcStatusHeaders(refusal)['grpc-message']).toBe('%C3%A4 100%25 %0A %EF%BF%BD');
    expect(statusBody(refusal, 'json').toString()).toContain('ä 100% \\n \ufffd');
  });

  test('are cut at a character, not inside one', () => {
    for (const text of ['ä'.repeat(1_000), `x${'ä'.repeat(1_000)}`, '😀'.repeat(999), `abc${'😀'.repeat(999)}`]) {
      const clamped = clampMessage(text);
      expect(Buffer.byteLength(clamped)).toBeLessThanOrEqual(ERROR_MESSAGE_BYTES_MAX);
      expect(Buffer.byteLength(clamped)).toBeGreaterThan(ERROR_MESSAGE_BYTES_MAX - 4);
      expect(text.startsWith(clamped)).toBe(true);
    }
  });

  test('of exactly the limit stay whole', () => {
    expect(clampMessage('x'.repeat(ERROR_MESSAGE_BYTES_MAX))).toHaveLength(ERROR_MESSAGE_BYTES_MAX);
  });
});
