/**
 * F29: values nested far deeper than any program nests them, as protobuf and as JSON. 32 levels are kept, the 33rd becomes
 * a marker; the record's other attributes and the records beside it stay as they are, and no stack overflows.
 */
import { field, keyValue, nestedArrays } from '../corpus/hand-made-protobuf.ts';
import type { Fault } from './fault.ts';
import { type ContentCase, checkContent } from './support/rows-check.ts';

const DEPTHS = [10, 32, 33, 49, 100, 100_000];
const KEPT = 32;
const MARKER = '"<nested deeper than 32>"';

export const f29: Fault = {
  id: 'F29',
  title: 'values nested up to 100,000 deep, in protobuf and JSON',
  run: () => checkContent(DEPTHS.flatMap((depth) => [protobufCase(depth), jsonCase(depth)])),
};

function protobufCase(depth: number): ContentCase {
  const text = (value: string) => field(1, Buffer.from(value));
  const attribute = (key: string, value: Buffer) => field(6, keyValue(Buffer.from(key), value));
  const record = (body: string, ...attributes: Buffer[]) => field(2, field(5, text(body)), ...attributes);
  const deep = record('deep', attribute('before', text('1')), attribute('deep', nestedArrays(depth)));
  const records = [record('first'), deep, record('last', attribute('after', text('2')))];
  const resource = field(1, field(1, keyValue(Buffer.from('service.name'), text(`protobuf ${depth}`))));
  return { ...expected(`protobuf ${depth}`, depth), body: field(1, resource, field(2, ...records)) };
}

function jsonCase(depth: number): ContentCase {
  const name = `json ${depth}`;
  const deep = `${'{"arrayValue":{"values":['.repeat(depth)}{}${']}}'.repeat(depth)}`;
  const record = (body: string, attributes: string) =>
    `{"body":{"stringValue":"${body}"},"attributes":[${attributes}]}`;
  const attribute = (key: string, value: string) => `{"key":"${key}","value":${value}}`;
  const resource = `{"attributes":[${attribute('service.name', `{"stringValue":"${name}"}`)}]}`;
  const records = [
    record('first', ''),
    record('deep', `${attribute('before', '{"stringValue":"1"}')},${attribute('deep', deep)}`),
    record('last', attribute('after', '{"stringValue":"2"}')),
  ];
  const body = `{"resourceLogs":[{"resource":${resource},"scopeLogs":[{"logRecords":[${records.join(',')}]}]}]}`;
  return { ...expected(name, depth), body };
}

function expected(name: string, depth: number): Omit<ContentCase, 'body'> {
  const value =
    depth <= KEPT ? `${'['.repeat(depth)}null${']'.repeat(depth)}` : `${'['.repeat(KEPT)}${MARKER}${']'.repeat(KEPT)}`;
  return {
    name,
    signal: 'logs',
    rejected: 0,
    message: depth <= KEPT ? '' : /nested deeper than 32/,
    sql: `SELECT concat(Body, ' ', LogAttributes['before'], LogAttributes['deep'], LogAttributes['after']) AS v
          FROM otel_logs WHERE ServiceName = {name} ORDER BY indexOf(['first', 'deep', 'last'], Body)`,
    rows: ['first ', `deep 1${value}`, 'last 2'],
  };
}
