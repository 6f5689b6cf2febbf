import { expect, test } from 'vitest';
import { errorResponse } from '../../src/api/error-response.ts';
import { BackworkError, type ErrorCode, retryLater } from '../../src/base/errors.ts';

test.each<[ErrorCode, number]>([
  ['invalid-input', 400],
  ['unauthenticated', 401],
  ['forbidden', 403],
  ['not-found', 404],
  ['conflict', 409],
  ['store-unreachable', 503],
  ['corrupt', 500],
])('%s is %i', async (code, status) => {
  const answer = errorResponse(new BackworkError(code, 'what, limit, value'), 'r-1');
  expect(answer.status).toBe(status);
  expect(await answer.json()).toMatchObject({ status, code: status === 500 ? 'internal' : code });
});

test('the field that is to blame is named', async () => {
  const answer = errorResponse(new BackworkError('invalid-input', 'too long', { field: 'name' }), 'r-1');
  expect(await answer.json()).toMatchObject({ field: 'name', detail: 'too long' });
});

test('what clears by itself says when to come back, in whole seconds', () => {
  expect(errorResponse(retryLater('overloaded', 'full', 1_200), 'r-1').headers.get('retry-after')).toBe('2');
});
