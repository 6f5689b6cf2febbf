/**
 * F30: text that is no UTF-8. Each ill-formed part becomes U+FFFD as the WHATWG decoder puts it, NUL is a character like any
 * other, the item is kept and warned of, and what was stored reads back as it was written.
 */
import { field, keyValue } from '../corpus/hand-made-protobuf.ts';
import type { Fault } from './fault.ts';
import { type ContentCase, checkContent } from './support/rows-check.ts';

const WARNED = /UTF-8|surrogate/;

/** Bytes of a string, and what must be stored; `WARNED` when anything was replaced. */
const TEXTS: readonly (readonly [name: string, bytes: readonly number[], stored: string])[] = [
  ['a stray continuation byte', [0x61, 0x80, 0x62], 'a\ufffdb'],
  ['a cut-off sequence', [0x61, 0xe2, 0x82], 'a\ufffd'],
  ['an overlong slash', [0xc0, 0xaf], '\ufffd\ufffd'],
  ['an overlong NUL of three bytes', [0xe0, 0x80, 0x80], '\ufffd\ufffd\ufffd'],
  ['a surrogate half', [0xed, 0xa0, 0x80], '\ufffd\ufffd\ufffd'],
  ['beyond the last code point', [0xf4, 0x90, 0x80, 0x80], '\ufffd\ufffd\ufffd\ufffd'],
  ['NUL', [0x61, 0x00, 0x62], 'a\u0000b'],
  ['well-formed, of 1 to 4 bytes', [...Buffer.from('aé€😀')], 'aé€😀'],
];

export const f30: Fault = {
  id: 'F30',
  title: 'invalid and overlong UTF-8, NUL, lone surrogates',
  run: () => checkContent([...TEXTS.map(protobufCase), ...SURROGATES.map(jsonCase)]),
};

function protobufCase([name, bytes, stored]: (typeof TEXTS)[number]): ContentCase {
  const value = field(1, Buffer.from(bytes));
  const record = field(2, field(5, value), field(6, keyValue(Buffer.from('key'), value)));
  const good = field(2, field(5, field(1, Buffer.from('good'))));
  const resource = field(1, field(1, keyValue(Buffer.from('service.name'), field(1, Buffer.from(name)))));
  const warned = stored.includes('\ufffd');
  return {
    name,
    signal: 'logs',
    body: field(1, resource, field(2, record, good)),
    rejected: 0,
    message: warned ? WARNED : '',
    ...rowsOf(stored),
  };
}

/** What stands between the quotation marks of a JSON string, and what must be stored. */
const SURROGATES: readonly (readonly [name: string, json: string, stored: string])[] = [
  ['a lone high surrogate', String.raw`a\ud800b`, 'a\ufffdb'],
  ['a lone low surrogate', String.raw`\udc00`, '\ufffd'],
  ['two high surrogates', String.raw`\ud800\ud800`, '\ufffd\ufffd'],
  ['a pair', String.raw`\ud83d\ude00`, '😀'],
  ['NUL in JSON', String.raw`a\u0000b`, 'a\u0000b'],
];

function jsonCase([name, json, stored]: (typeof SURROGATES)[number]): ContentCase {
  const value = `{"stringValue":"${json}"}`;
  const resource = `{"attributes":[{"key":"service.name","value":{"stringValue":"${name}"}}]}`;
  const records = `{"body":${value},"attributes":[{"key":"key","value":${value}}]},{"body":{"stringValue":"good"}}`;
  return {
    name,
    signal: 'logs',
    body: `{"resourceLogs":[{"resource":${resource},"scopeLogs":[{"logRecords":[${records}]}]}]}`,
    rejected: 0,
    message: stored.includes('\ufffd') ? WARNED : '',
    ...rowsOf(stored),
  };
}

/** The row of the odd text, as bytes in hexadecimal, and the good one beside it. */
function rowsOf(stored: string): Pick<ContentCase, 'sql' | 'rows'> {
  const hex = Buffer.from(stored).toString('hex').toUpperCase();
  return {
    sql: `SELECT concat(hex(Body), ' ', hex(LogAttributes['key'])) AS v
          FROM otel_logs WHERE ServiceName = {name} ORDER BY Body = 'good'`,
    rows: [`${hex} ${hex}`, `${Buffer.from('good').toString('hex').toUpperCase()} `],
  };
}
