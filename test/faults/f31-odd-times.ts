/**
 * F31: times of every age and size, as protobuf and as JSON numbers and strings. Any age is kept; what DateTime64(9) cannot
 * hold, and a point without a time, is rejected alone; the items beside it are stored. The request never fails.
 */
import type { Signal } from '../../src/ingest/messages.ts';
import { encodeRequest } from '../support/log-request.ts';
import type { Fault } from './fault.ts';
import { type ContentCase, checkContent } from './support/rows-check.ts';

const LAST = 2n ** 63n - 1n;
const GOOD = 1_700_000_000_000_000_001n;
/** Nanoseconds since 1970, and whether DateTime64(9) can hold them. 0 has its own rules. */
const TIMES: readonly (readonly [name: string, ns: bigint, held: boolean])[] = [
  ['1 ns', 1n, true],
  ['the year 1971', 31_536_000_000_000_000n, true],
  ['above 2^53', 9_007_199_254_740_993n, true],
  ['the year 2200', 7_258_118_400_000_000_001n, true],
  ['the last one', LAST, true],
  ['2^63', LAST + 1n, false],
  ['2^64 - 1', 2n ** 64n - 1n, false],
];
const BEYOND = /2\^63-1/;

export const f31: Fault = {
  id: 'F31',
  title: 'times of any age, beyond DateTime64, missing, and in the wrong order',
  run: () => checkContent([...TIMES.flatMap(timeCases), ...zeroTimes(), endBeforeStart()]),
};

type Item = Record<string, unknown>;

/** Each time in a log record, a span's start, and a point, beside a good item, in both encodings. */
function timeCases([name, ns, held]: (typeof TIMES)[number]): ContentCase[] {
  const rows = held ? [String(ns), String(GOOD)].sort() : [String(GOOD)];
  const judged = { rejected: held ? 0 : 1, message: held ? ('' as const) : BEYOND, rows };
  const v = (column: string, table: string) =>
    `SELECT toString(toUnixTimestamp64Nano(${column})) AS v FROM ${table} WHERE ServiceName = {name} ORDER BY v`;
  const both = (signal: Signal, sql: string, item: (time: bigint) => Item): ContentCase[] => {
    const plain = (label: string) => request(signal, `${name}, ${label}`, [item(ns), item(GOOD)]);
    const of = (label: string) => ({ name: `${name}, ${label}`, signal, sql, ...judged });
    const asText = JSON.stringify(plain(`${signal}, JSON strings`));
    // The quotation marks go from every integer of more than 8 digits, which only times have; `1` stays a string.
    const asNumbers = JSON.stringify(plain(`${signal}, JSON numbers`)).replace(/"(\d{9,})"/g, '$1');
    return [
      { ...of(`${signal}, protobuf`), body: encoded(signal, plain(`${signal}, protobuf`)) },
      { ...of(`${signal}, JSON strings`), body: asText },
      { ...of(`${signal}, JSON numbers`), body: asNumbers },
    ];
  };
  return [
    ...both('logs', v('Timestamp', 'otel_logs'), (time) => ({ timeUnixNano: String(time) })),
    ...both('traces', v('Timestamp', 'otel_traces'), (time) => span(time, LAST)),
    ...both('metrics', v('TimeUnix', 'otel_metrics_gauge'), (time) => ({ timeUnixNano: String(time), asInt: '1' })),
  ];
}

/** A log takes its observed time, else the time of receipt; a point without a time is rejected. */
function zeroTimes(): ContentCase[] {
  const logs = request('logs', 'log without a time', [{ observedTimeUnixNano: String(GOOD) }, {}]);
  const points = request('metrics', 'point without a time', [
    { asInt: '1' },
    { timeUnixNano: String(GOOD), asInt: '2' },
  ]);
  return [
    {
      name: 'log without a time',
      signal: 'logs',
      body: encoded('logs', logs),
      rejected: 0,
      message: '',
      sql: `SELECT if(abs(toUnixTimestamp(now()) - toUnixTimestamp(Timestamp)) < 3600, 'receipt',
            toString(toUnixTimestamp64Nano(Timestamp))) AS v FROM otel_logs WHERE ServiceName = {name} ORDER BY v`,
      rows: [String(GOOD), 'receipt'],
    },
    {
      name: 'point without a time',
      signal: 'metrics',
      body: encoded('metrics', points),
      rejected: 1,
      message: /time/,
      sql: `SELECT toString(ValueInt) AS v FROM otel_metrics_gauge WHERE ServiceName = {name}`,
      rows: ['2'],
    },
  ];
}

function endBeforeStart(): ContentCase {
  const name = 'end before start';
  return {
    name,
    signal: 'traces',
    body: encoded('traces', request('traces', name, [span(GOOD, GOOD - 5n), span(GOOD, GOOD + 7n)])),
    rejected: 0,
    message: /end/,
    sql: `SELECT concat(toString(Duration), ' ', toString(toUnixTimestamp64Nano(EndTimestamp))) AS v
          FROM otel_traces WHERE ServiceName = {name} ORDER BY v`,
    rows: [`0 ${GOOD - 5n}`, `7 ${GOOD + 7n}`],
  };
}

function span(start: bigint, end: bigint): Item {
  const ids = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8) };
  return { ...ids, startTimeUnixNano: String(start), endTimeUnixNano: String(end) };
}

/** As protobuf; protobufjs wants ids as bytes. */
function encoded(signal: Signal, plain: object): Buffer {
  const withBytes = (key: string, value: unknown) => (/^(trace|span)Id$/.test(key) ? idBytes(value) : value);
  return encodeRequest(signal, JSON.parse(JSON.stringify(plain), withBytes) as object);
}

function idBytes(hex: unknown): Buffer {
  return Buffer.from(String(hex), 'hex');
}

function request(signal: Signal, name: string, items: readonly Item[]): object {
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: name } }] };
  switch (signal) {
    case 'logs':
      return { resourceLogs: [{ resource, scopeLogs: [{ logRecords: items }] }] };
    case 'traces':
      return { resourceSpans: [{ resource, scopeSpans: [{ spans: items }] }] };
    case 'metrics':
      return {
        resourceMetrics: [{ resource, scopeMetrics: [{ metrics: [{ name: 'm', gauge: { dataPoints: items } }] }] }],
      };
  }
}
