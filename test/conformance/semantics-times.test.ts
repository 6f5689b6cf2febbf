/** Times of items: which one a record has, which are too late, which are warned of (reference otlp.md 1.5, E7 and E9). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import { CLEAN, logsOf, metricsOf, rejected, rowsOf, sendEveryWay, spansOf, warned } from './otlp-client.ts';

const IDS = { traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174' };
const T = '1700000000000000001';
const T_TEXT = '2023-11-14 22:13:20.000000001';
/** The last nanosecond that DateTime64(9) holds, and the next. */
const LAST = '9223372036854775807';
const LAST_TEXT = '2262-04-11 23:47:16.854775807';
const BEYOND = '9223372036854775808';
const EPOCH_TEXT = '1970-01-01 00:00:00.000000000';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

describe.concurrent('times', () => {
  it('E7: a log record has its own time, else the time it was observed, else the time of receipt', async () => {
    const records = [
      { body: { stringValue: 'a' }, timeUnixNano: T, observedTimeUnixNano: '5' },
      { body: { stringValue: 'b' }, observedTimeUnixNano: T },
      { body: { stringValue: 'c' } },
    ];
    const columns =
      'Body, toString(Timestamp) AS t, toString(ObservedTimestamp) AS o, Timestamp = ReceivedAt AS received';
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf(...records))) {
      expect(answer).toEqual(CLEAN);
      const rows = await rowsOf(service, 'otel_logs', columns, name, 3, 'Body');
      expect(rows).toEqual([
        { Body: 'a', t: T_TEXT, o: '1970-01-01 00:00:00.000000005', received: 0 },
        { Body: 'b', t: T_TEXT, o: T_TEXT, received: 0 },
        { Body: 'c', t: expect.stringMatching(/^20\d\d-.*\.\d{3}000000$/), o: EPOCH_TEXT, received: 1 },
      ]);
    }
  });

  const beyond = (path: string) => `a time is above 2^63-1 ns (first: ${path})`;

  it.each([
    ['timeUnixNano', (time: string) => ({ timeUnixNano: time })],
    ['observedTimeUnixNano', (time: string) => ({ observedTimeUnixNano: time })],
  ])('E9, T9 (tests): a log record is kept up to 2^63-1 ns and rejected beyond: %s', async (field, record) => {
    const request = logsOf(record(LAST), record(BEYOND), record('18446744073709551615'));
    for (const { name, answer } of await sendEveryWay(service, 'logs', request)) {
      const path = `resourceLogs[0].scopeLogs[0].logRecords[1].${field}`;
      expect(answer).toEqual(rejected(2, `2 log records rejected: ${beyond(path)}`));
      expect(await rowsOf(service, 'otel_logs', 'Timestamp', name, 1)).toEqual([{ Timestamp: LAST_TEXT }]);
    }
  });

  it.each([
    ['startTimeUnixNano', 'Timestamp', (time: string) => ({ startTimeUnixNano: time, endTimeUnixNano: LAST })],
    ['endTimeUnixNano', 'EndTimestamp', (time: string) => ({ endTimeUnixNano: time })],
    ['events[1].timeUnixNano', '`Events.Timestamp`[2]', (time: string) => ({ events: [{}, { timeUnixNano: time }] })],
  ])('E9: a span is kept up to 2^63-1 ns and rejected beyond: %s', async (field, column, times) => {
    const request = spansOf({ ...IDS, ...times(BEYOND) }, { ...IDS, ...times(LAST) });
    for (const { name, answer } of await sendEveryWay(service, 'traces', request)) {
      const path = `resourceSpans[0].scopeSpans[0].spans[0].${field}`;
      expect(answer).toEqual(rejected(1, `1 span rejected: ${beyond(path)}`));
      expect(await rowsOf(service, 'otel_traces', `${column} AS t`, name, 1, 't')).toEqual([{ t: LAST_TEXT }]);
    }
  });

  it.each([
    ['gauge', 'timeUnixNano', 'TimeUnix', (time: string) => ({ timeUnixNano: time, asInt: '1' })],
    [
      'sum',
      'startTimeUnixNano',
      'StartTimeUnix',
      (time: string) => ({ timeUnixNano: T, startTimeUnixNano: time, asInt: '1' }),
    ],
    [
      'histogram',
      'exemplars[0].timeUnixNano',
      '`Exemplars.TimeUnix`[1]',
      (time: string) => ({ timeUnixNano: T, exemplars: [{ timeUnixNano: time, asInt: '1' }] }),
    ],
    [
      'exponentialHistogram',
      'startTimeUnixNano',
      'StartTimeUnix',
      (time: string) => ({ timeUnixNano: T, startTimeUnixNano: time }),
    ],
    ['summary', 'timeUnixNano', 'TimeUnix', (time: string) => ({ timeUnixNano: time })],
  ])('E9: a data point is kept up to 2^63-1 ns and rejected beyond: %s %s', async (kind, field, column, point) => {
    const metric = { name: 'm', [kind]: { dataPoints: [point(LAST), point(BEYOND)] } };
    const table = `otel_metrics_${kind.replace('lH', 'l_h')}`;
    for (const { name, answer } of await sendEveryWay(service, 'metrics', metricsOf(metric))) {
      const path = `resourceMetrics[0].scopeMetrics[0].metrics[0].${kind}.dataPoints[1].${field}`;
      expect(answer).toEqual(rejected(1, `1 data point rejected: ${beyond(path)}`));
      expect(await rowsOf(service, table, `${column} AS t`, name, 1, 't')).toEqual([{ t: LAST_TEXT }]);
    }
  });

  it('E9, T9 (tests): keeps any other age, and the end of a span that ends before it starts', async () => {
    const spans = [
      { ...IDS, name: 'old', startTimeUnixNano: '0', endTimeUnixNano: '1' },
      { ...IDS, name: 'reversed', startTimeUnixNano: T, endTimeUnixNano: '1' },
      { ...IDS, name: 'same', startTimeUnixNano: T, endTimeUnixNano: T },
      { ...IDS, name: 'unfinished', startTimeUnixNano: T },
    ];
    for (const { name, answer } of await sendEveryWay(service, 'traces', spansOf(...spans))) {
      const rule = 'spans ended before they started: their Duration is 0, their EndTimestamp as sent';
      const path = 'resourceSpans[0].scopeSpans[0].spans[1].endTimeUnixNano';
      expect(answer).toEqual(warned(`warning, 2 times: ${rule} (first: ${path})`));
      const first = '1970-01-01 00:00:00.000000001';
      expect(await rowsOf(service, 'otel_traces', 'SpanName, Timestamp, EndTimestamp, Duration', name, 4)).toEqual([
        { SpanName: 'old', Timestamp: EPOCH_TEXT, EndTimestamp: first, Duration: '1' },
        { SpanName: 'reversed', Timestamp: T_TEXT, EndTimestamp: first, Duration: '0' },
        { SpanName: 'same', Timestamp: T_TEXT, EndTimestamp: T_TEXT, Duration: '0' },
        { SpanName: 'unfinished', Timestamp: T_TEXT, EndTimestamp: EPOCH_TEXT, Duration: '0' },
      ]);
    }
  });
});
