/** What an item means: ids, data points, values, flags and enums, and which items are rejected alone (reference otlp.md 1.5, E1–E8). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import {
  CLEAN,
  gaugeOf,
  logsOf,
  metricsOf,
  noRowsOf,
  rejected,
  rowsOf,
  sendEveryWay,
  spansOf,
  strings,
  warned,
} from './otlp-client.ts';

const TRACE = '5b8efff798038103d269b633813fc60c';
const SPAN = 'eee19b7ec3c1b174';
const IDS = { traceId: TRACE, spanId: SPAN };
const T = '1700000000000000001';
const T_TEXT = '2023-11-14 22:13:20.000000001';
const EPOCH_TEXT = '1970-01-01 00:00:00.000000000';
const WRONG_LENGTH = 'ids had a wrong length (trace_id has 16 bytes, span_id 8) and were left empty';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

describe.concurrent('ids', () => {
  it('E1, T9 (tests): rejects a span without valid ids alone, counts it, and names the first', async () => {
    const bad = [
      { spanId: SPAN },
      { ...IDS, traceId: '0'.repeat(32) },
      { ...IDS, traceId: 'ab'.repeat(15) },
      { ...IDS, traceId: 'ab'.repeat(17) },
      { traceId: TRACE },
      { ...IDS, spanId: '0'.repeat(16) },
      { ...IDS, spanId: 'ab'.repeat(7) },
      { ...IDS, parentSpanId: 'ab'.repeat(7) },
      { ...IDS, parentSpanId: '0'.repeat(14) },
    ];
    const good = { ...IDS, name: 'kept', parentSpanId: 'A1'.repeat(8) };
    for (const { name, answer } of await sendEveryWay(
      service,
      'traces',
      spansOf(good, ...bad, { ...IDS, name: 'root', parentSpanId: '00'.repeat(8) }),
    )) {
      const rule = 'a trace_id is not 16 bytes, or all zero';
      expect(answer).toEqual(
        rejected(9, `9 spans rejected: ${rule} (first: resourceSpans[0].scopeSpans[0].spans[1].traceId)`),
      );
      expect(await rowsOf(service, 'otel_traces', 'SpanName, TraceId, SpanId, ParentSpanId', name, 2)).toEqual([
        { SpanName: 'kept', TraceId: TRACE, SpanId: SPAN, ParentSpanId: 'a1'.repeat(8) },
        { SpanName: 'root', TraceId: TRACE, SpanId: SPAN, ParentSpanId: '' },
      ]);
    }
  });

  it.each([
    ['spanId', { traceId: TRACE }, 'a span_id is not 8 bytes, or all zero'],
    ['parentSpanId', { ...IDS, parentSpanId: 'ab' }, 'a parent_span_id is neither empty nor 8 bytes'],
  ])(
    'E1, T9 (tests): says so of the %s; all items invalid is a success with their count, and no row',
    async (field, span, rule) => {
      for (const { name, answer } of await sendEveryWay(service, 'traces', spansOf(span, span))) {
        const path = `resourceSpans[0].scopeSpans[0].spans[0].${field}`;
        expect(answer).toEqual(rejected(2, `2 spans rejected: ${rule} (first: ${path})`));
        expect(await noRowsOf(service, 'otel_traces', name)).toEqual([]);
      }
    },
  );

  it('E1: leaves an invalid id of a link, a log record or an exemplar empty; a wrong length is warned of', async () => {
    const zero = { traceId: '0'.repeat(32), spanId: '0'.repeat(16) };
    const wrong = { traceId: 'ab', spanId: 'cd'.repeat(9) };
    const columns = '`Links.TraceId`, `Links.SpanId`';
    const span = { ...IDS, links: [zero, IDS, wrong] };
    for (const { name, answer } of await sendEveryWay(service, 'traces', spansOf(span))) {
      const path = 'resourceSpans[0].scopeSpans[0].spans[0].links[2].traceId';
      expect(answer).toEqual(warned(`warning, 2 times: ${WRONG_LENGTH} (first: ${path})`));
      expect(await rowsOf(service, 'otel_traces', columns, name, 1)).toEqual([
        { 'Links.TraceId': ['', TRACE, ''], 'Links.SpanId': ['', SPAN, ''] },
      ]);
    }
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf(zero, IDS, wrong))) {
      const path = 'resourceLogs[0].scopeLogs[0].logRecords[2].traceId';
      expect(answer).toEqual(warned(`warning, 2 times: ${WRONG_LENGTH} (first: ${path})`));
      const rows = await rowsOf(service, 'otel_logs', 'TraceId, SpanId', name, 3);
      expect(rows.map((row) => Object.values(row))).toEqual([
        ['', ''],
        ['', ''],
        [TRACE, SPAN],
      ]);
    }
    const exemplars = [zero, IDS, wrong].map((ids) => ({ ...ids, asInt: '1' }));
    const point = { asInt: '1', timeUnixNano: T, exemplars };
    for (const { name, answer } of await sendEveryWay(service, 'metrics', gaugeOf(point))) {
      const path = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].exemplars[2].spanId';
      expect(answer).toEqual(warned(`warning, 2 times: ${WRONG_LENGTH} (first: ${path})`));
      const ids = '`Exemplars.TraceId`, `Exemplars.SpanId`';
      expect(await rowsOf(service, 'otel_metrics_gauge', ids, name, 1)).toEqual([
        { 'Exemplars.TraceId': ['', TRACE, ''], 'Exemplars.SpanId': ['', SPAN, ''] },
      ]);
    }
  });
});

describe.concurrent('data points', () => {
  const DATA = 'resourceMetrics[0].scopeMetrics[0].metrics[0]';
  const at = { timeUnixNano: T };

  it.each([
    ['gauge', { asInt: '1' }],
    ['sum', { asInt: '1' }],
    ['histogram', {}],
    ['exponentialHistogram', {}],
    ['summary', {}],
  ])('E2, T9 (tests): a point without a time is rejected alone: %s', async (kind, value) => {
    const metric = { name: 'm', [kind]: { dataPoints: [{ ...value, ...at }, value, { ...value, timeUnixNano: '0' }] } };
    const table = `otel_metrics_${kind.replace('lH', 'l_h')}`;
    for (const { name, answer } of await sendEveryWay(service, 'metrics', metricsOf(metric))) {
      const path = `${DATA}.${kind}.dataPoints[1].timeUnixNano`;
      expect(answer).toEqual(rejected(2, `2 data points rejected: a data point has no time (first: ${path})`));
      expect(await rowsOf(service, table, 'TimeUnix', name, 1)).toEqual([{ TimeUnix: T_TEXT }]);
    }
  });

  it('E2, T9 (tests): a number point without a value is rejected, unless its flags say that none was recorded', async () => {
    const points = [{ ...at, flags: 1 }, { ...at, flags: 2 }, at, { ...at, flags: 3, asDouble: 0 }];
    for (const { name, answer } of await sendEveryWay(service, 'metrics', gaugeOf(...points))) {
      const rule = 'a number point has no value, and its flags do not say so';
      const path = `${DATA}.gauge.dataPoints[1].value`;
      expect(answer).toEqual(rejected(2, `2 data points rejected: ${rule} (first: ${path})`));
      expect(await rowsOf(service, 'otel_metrics_gauge', 'Flags, ValueType, Value, ValueInt', name, 2)).toEqual([
        { Flags: 1, ValueType: 'n', Value: 0, ValueInt: '0' },
        { Flags: 3, ValueType: 'd', Value: 0, ValueInt: '0' },
      ]);
    }
  });

  it('E2: an exemplar without a value is left out, its point kept', async () => {
    const point = { ...at, asInt: '7', exemplars: [{ asInt: '-1', ...at }, at, { asDouble: 0.5 }] };
    const columns = '`Exemplars.ValueType`, `Exemplars.Value`, `Exemplars.ValueInt`, `Exemplars.TimeUnix`';
    for (const { name, answer } of await sendEveryWay(service, 'metrics', gaugeOf(point))) {
      const path = `${DATA}.gauge.dataPoints[0].exemplars[1]`;
      expect(answer).toEqual(warned(`warning, 1 time: exemplars had no value and were left out (first: ${path})`));
      expect(await rowsOf(service, 'otel_metrics_gauge', columns, name, 1)).toEqual([
        {
          'Exemplars.ValueType': ['i', 'd'],
          'Exemplars.Value': [-1, 0.5],
          'Exemplars.ValueInt': ['-1', '0'],
          'Exemplars.TimeUnix': [T_TEXT, EPOCH_TEXT],
        },
      ]);
    }
  });

  it('E2, T9 (tests): holds the buckets of a histogram against its bounds', async () => {
    const bad = [
      { bucketCounts: ['1', '1'], explicitBounds: [] },
      { bucketCounts: ['1', '1'], explicitBounds: [1, 2] },
      { bucketCounts: [], explicitBounds: [1] },
    ];
    const unordered = [['NaN'], [1, 1], [2, 1], ['NaN', 1], [1, 'NaN']];
    const good = [
      { bucketCounts: [], explicitBounds: [] },
      { bucketCounts: ['1'], explicitBounds: [] },
      { bucketCounts: ['1', '18446744073709551615'], explicitBounds: [-0.5] },
      { bucketCounts: ['1', '2', '3'], explicitBounds: ['-Infinity', 'Infinity'] },
    ];
    const histogramOf = (points: readonly object[]) =>
      metricsOf({ name: 'h', histogram: { dataPoints: points.map((point) => ({ ...at, ...point })) } });
    const lengths = 'a histogram has 2 bucket counts and 0 bounds (counts must be bounds + 1, or both 0)';
    for (const { name, answer } of await sendEveryWay(service, 'metrics', histogramOf([...good, ...bad]))) {
      const path = `${DATA}.histogram.dataPoints[4].bucketCounts`;
      expect(answer).toEqual(rejected(3, `3 data points rejected: ${lengths} (first: ${path})`));
      expect(await rowsOf(service, 'otel_metrics_histogram', 'BucketCounts, ExplicitBounds', name, 4)).toEqual([
        { BucketCounts: [], ExplicitBounds: [] },
        { BucketCounts: ['1'], ExplicitBounds: [] },
        { BucketCounts: ['1', '2', '3'], ExplicitBounds: ['-inf', 'inf'] },
        { BucketCounts: ['1', '18446744073709551615'], ExplicitBounds: [-0.5] },
      ]);
    }
    const points = unordered.map((bounds) => ({
      bucketCounts: ['1', ...bounds.map(() => '1')],
      explicitBounds: bounds,
    }));
    for (const { name, answer } of await sendEveryWay(service, 'metrics', histogramOf(points))) {
      const rule = 'the bounds of a histogram are not strictly increasing';
      const path = `${DATA}.histogram.dataPoints[0].explicitBounds`;
      expect(answer).toEqual(rejected(5, `5 data points rejected: ${rule} (first: ${path})`));
      expect(await noRowsOf(service, 'otel_metrics_histogram', name)).toEqual([]);
    }
  });

  it('E2: a metric without a known kind of data holds no items', async () => {
    for (const { answer } of await sendEveryWay(service, 'metrics', metricsOf({ name: 'm', unit: 's' }))) {
      expect(answer).toEqual(warned('warning: the body is not empty, but no data point was found in it'));
    }
  });
});

describe.concurrent('values, flags and enums', () => {
  it('E4: a string index means nothing outside of profiles: the value is empty, the key is empty', async () => {
    const attributes = [
      { key: 'a', value: { stringValueStrindex: 3 } },
      { keyStrindex: 7, value: { stringValue: 'v' } },
      { key: 'm', value: { kvlistValue: { values: [{ keyStrindex: 1, value: { stringValueStrindex: 0 } }] } } },
    ];
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf({ attributes }))) {
      const rule = 'string indexes have a meaning in profiles only: they were read as empty';
      const path = 'resourceLogs[0].scopeLogs[0].logRecords[0].attributes';
      expect(answer).toEqual(warned(`warning, 4 times: ${rule} (first: ${path})`));
      expect(await rowsOf(service, 'otel_logs', 'LogAttributes, LogAttributesTypes', name, 1)).toEqual([
        { LogAttributes: { a: '', '': 'v', m: '{"":null}' }, LogAttributesTypes: 'nsm' },
      ]);
    }
  });

  it('E5: takes any value, keeps its type as a letter, and equal keys as they were sent', async () => {
    const kvlistValue = { values: [...strings({ k: 'a' }), { key: 'k', value: { doubleValue: 0.5 } }, { key: 'k' }] };
    const mixed = { values: [{ intValue: '-1' }, { arrayValue: {} }, {}, { boolValue: true }, { kvlistValue }] };
    const attributes = [
      { key: 's', value: { stringValue: '' } },
      { key: 'i', value: { intValue: '-9223372036854775808' } },
      { key: 'd', value: { doubleValue: '-Infinity' } },
      { key: 'b', value: { boolValue: false } },
      { key: 'a', value: { arrayValue: mixed } },
      { key: 'm', value: { kvlistValue } },
      { key: 'x', value: { bytesValue: '/+8=' } },
      { key: 'n' },
      { key: 's', value: { intValue: '1' } },
    ];
    const columns = 'mapKeys(LogAttributes) AS k, mapValues(LogAttributes) AS v, LogAttributesTypes AS t';
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf({ attributes }))) {
      expect(answer).toEqual(CLEAN);
      const list = '{"k":"a","k":0.5,"k":null}';
      expect(await rowsOf(service, 'otel_logs', columns, name, 1, 't')).toEqual([
        {
          k: ['s', 'i', 'd', 'b', 'a', 'm', 'x', 'n', 's'],
          v: ['', '-9223372036854775808', '-Infinity', 'false', `[-1,[],null,true,${list}]`, list, '/+8=', '', '1'],
          t: 'sidbamxni',
        },
      ]);
    }
  });

  it('E6: flags are stored whole, reserved bits too', async () => {
    const flags = 0xffff_ff81;
    for (const { name, answer } of await sendEveryWay(
      service,
      'traces',
      spansOf({ ...IDS, flags, links: [{ ...IDS, flags }] }),
    )) {
      expect(answer).toEqual(CLEAN);
      const rows = await rowsOf(service, 'otel_traces', 'Flags, `Links.Flags`', name, 1);
      expect(rows).toEqual([{ Flags: flags, 'Links.Flags': [flags] }]);
    }
    for (const { name } of await sendEveryWay(service, 'logs', logsOf({ flags }))) {
      expect(await rowsOf(service, 'otel_logs', 'Flags, TraceFlags', name, 1)).toEqual([
        { Flags: flags, TraceFlags: 0x81 },
      ]);
    }
    for (const { name } of await sendEveryWay(service, 'metrics', gaugeOf({ asInt: '1', timeUnixNano: T, flags }))) {
      expect(await rowsOf(service, 'otel_metrics_gauge', 'Flags', name, 1)).toEqual([{ Flags: flags }]);
    }
  });

  it('E8: keeps numbers of enums that it does not know', async () => {
    const spans = [
      { ...IDS, kind: 7, status: { code: -1 } },
      { ...IDS, kind: -2147483648, status: { code: 2147483647 } },
      { ...IDS, kind: 5, status: { code: 2 } },
      IDS,
    ];
    for (const { name, answer } of await sendEveryWay(service, 'traces', spansOf(...spans))) {
      expect(answer).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_traces', 'SpanKind, StatusCode', name, 4)).toEqual([
        { SpanKind: '-2147483648', StatusCode: '2147483647' },
        { SpanKind: '7', StatusCode: '-1' },
        { SpanKind: 'Consumer', StatusCode: 'Error' },
        { SpanKind: 'Unspecified', StatusCode: 'Unset' },
      ]);
    }
    for (const { name } of await sendEveryWay(
      service,
      'logs',
      logsOf({ severityNumber: -3 }, { severityNumber: 2147483647 }),
    )) {
      const rows = await rowsOf(service, 'otel_logs', 'SeverityNumber', name, 2);
      expect(rows).toEqual([{ SeverityNumber: -3 }, { SeverityNumber: 2147483647 }]);
    }
    const sum = { aggregationTemporality: 9, dataPoints: [{ asInt: '1', timeUnixNano: T }] };
    for (const { name } of await sendEveryWay(service, 'metrics', metricsOf({ name: 's', sum }))) {
      expect(await rowsOf(service, 'otel_metrics_sum', 'AggregationTemporality', name, 1)).toEqual([
        { AggregationTemporality: 9 },
      ]);
    }
  });
});
