import { expect, test } from 'vitest';
import { exportResponse } from '../../../src/ingest/accept/export-response.ts';
import { decode } from './google-rpc.ts';

test('full success is zero bytes, or {}', () => {
  expect(exportResponse('logs', { rejected: 0, message: '' }, 'protobuf')).toHaveLength(0);
  expect(exportResponse('logs', { rejected: 0, message: '' }, 'json').toString()).toBe('{}');
});

test.each([0, 1, 127, 128, 300, 2 ** 31, 2 ** 40 + 1])('%s rejected are read back from protobuf', (rejected) => {
  const bytes = exportResponse('metrics', { rejected, message: 'time is 0' }, 'protobuf');
  expect(decode('ExportResponse', bytes)).toEqual({ partialSuccess: { rejected, errorMessage: 'time is 0' } });
});

test.each([
  ['logs', 'rejectedLogRecords'],
  ['metrics', 'rejectedDataPoints'],
  ['traces', 'rejectedSpans'],
] as const)('JSON of %s has %s as a string', (signal, name) => {
  const body = exportResponse(signal, { rejected: 12, message: 'why' }, 'json').toString();
  expect(JSON.parse(body)).toEqual({ partialSuccess: { [name]: '12', errorMessage: 'why' } });
});

test('a warning has a message and nothing rejected', () => {
  const warning = { rejected: 0, message: 'U+FFFD put in' };
  expect(decode('ExportResponse', exportResponse('traces', warning, 'protobuf'))).toEqual({
    partialSuccess: { rejected: 0, errorMessage: 'U+FFFD put in' },
  });
});
