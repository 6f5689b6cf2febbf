import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { rejectedText } from '../../../src/ingest/convert/notes.ts';
import { rejectedReason } from '../../../src/ingest/convert/rejected-reason.ts';

const CONVERT = join(import.meta.dirname, '../../../src/ingest/convert');

it.each([
  ['a time is above 2^63-1 ns', 'time'],
  ['a data point has no time', 'time'],
  ['a trace_id is not 16 bytes, or all zero', 'id'],
  ['a span_id is not 8 bytes, or all zero', 'id'],
  ['a parent_span_id is neither empty nor 8 bytes', 'id'],
  ['names and schema URLs that repeat in each row are over 65,536 bytes together', 'size'],
  ['the rows of one request are over 268435456 bytes', 'size'],
  ['expected an object', 'value'],
  ['not hex digits; ids are hex in OTLP/JSON, not base64', 'value'],
])('counts "%s" as %s', (rule, reason) => {
  expect(rejectedReason(rejectedText(3, 'span', `${rule} (first: resourceSpans[0].traceId)`))).toBe(reason);
  // A warning may follow, or come from the JSON reader before.
  expect(rejectedReason(`warning, 1 time: x; ${rejectedText(1, 'log record', rule)}; warning, 2 times: y`)).toBe(
    reason,
  );
});

it('knows every rule that the converters reject by', () => {
  const texts = globSync('*.ts', { cwd: CONVERT }).map((name) => readFileSync(join(CONVERT, name), 'utf8'));
  const rules = texts.flatMap((text) =>
    [...text.matchAll(/notes\.reject\(\s*['`]([^'`]+)['`]/g)].map(([, rule]) => rule),
  );
  expect(rules.length).toBeGreaterThan(6);
  for (const rule of rules) {
    const said = (rule ?? '').replace(/\$\{.*?\}/g, '268435456');
    expect(rejectedReason(rejectedText(1, 'span', said)), said).not.toBe('value');
  }
});
