/** The generators and the oracle of the converter's tests, held against values written by hand. */
import { describe, expect, it } from 'vitest';
import { decodePlain, loadProto, requestType } from '../proto/load-proto.ts';
import { expectedLogRows, expectedRejectedLogs } from './expected-log-rows.ts';
import { expectedMetrics } from './expected-metric-rows.ts';
import { expectedTraces } from './expected-trace-rows.ts';
import { parsedRow } from './expected-values.ts';
import { generateLogsRequest } from './generate-logs.ts';
import { generateMetricsRequest } from './generate-metrics.ts';
import { generateTracesRequest } from './generate-traces.ts';
import { nestedValue } from './random-values.ts';
import { scrambleProtobuf } from './scramble-protobuf.ts';
import { seededRandom } from './seeded-random.ts';

const type = requestType(loadProto(), 'logs');
const origin = {
  orgId: 'org_a',
  receivedAtMs: 1_763_856_000_123,
  placement: 'shared-0',
  retentionDays: 30,
  expiresOnDay: 20_446,
};
const rowsOf = (request: object) =>
  expectedLogRows(decodePlain(type, type.encode(type.fromObject(request)).finish()), origin);

describe('the corpus', () => {
  it('makes the same request from the same seed, and another from another', () => {
    expect(generateLogsRequest(seededRandom(1))).toEqual(generateLogsRequest(seededRandom(1)));
    expect(generateLogsRequest(seededRandom(2))).not.toEqual(generateLogsRequest(seededRandom(1)));
  });

  it('meets every kind of value, rejected records, caps and missing parts within 200 seeds', () => {
    const letters = new Set<string>();
    const seen = { rejected: 0, dropped: 0, marker: 0, noResource: 0, rows: 0 };
    for (let seed = 0; seed < 200; seed++) {
      const request = decodePlain(type, type.encode(type.fromObject(generateLogsRequest(seededRandom(seed)))).finish());
      seen.rejected += expectedRejectedLogs(request);
      for (const row of expectedLogRows(request, origin)) {
        seen.rows++;
        for (const letter of `${row['LogAttributesTypes']}${row['BodyType']}`) letters.add(letter);
        if (String(row['Body']).includes('<nested deeper than 32>')) seen.marker++;
        if (Number(row['DroppedAttributesCount']) > 0) seen.dropped++;
        if (row['ResourceAttributesTypes'] === '') seen.noResource++;
      }
    }
    expect([...letters].sort().join('')).toBe('abdimnsx');
    for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(0);
  });

  it.each([
    { signal: 'logs', generate: generateLogsRequest },
    { signal: 'traces', generate: generateTracesRequest },
    { signal: 'metrics', generate: generateMetricsRequest },
  ] as const)('scrambles bytes of $signal without changing what they say', ({ signal, generate }) => {
    const scrambledType = requestType(loadProto(), signal);
    const random = seededRandom(3);
    let changed = 0;
    for (let round = 0; round < 20; round++) {
      const bytes = scrambledType.encode(scrambledType.fromObject(generate(random))).finish();
      const scrambled = scrambleProtobuf(scrambledType, bytes, random);
      if (!scrambled.equals(bytes)) changed++;
      expect(decodePlain(scrambledType, scrambled)).toEqual(decodePlain(scrambledType, bytes));
    }
    // The others are requests without items.
    expect(changed).toBeGreaterThan(5);
  });

  it('writes packed numbers unpacked and in pieces', () => {
    const point = loadProto().lookupType('opentelemetry.proto.metrics.v1.HistogramDataPoint');
    const bytes = point.encode(point.fromObject({ bucketCounts: ['1', '2', '3'], explicitBounds: [1, 2] })).finish();
    const lengths = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
      const scrambled = scrambleProtobuf(point, bytes, seededRandom(seed));
      expect(decodePlain(point, scrambled)).toEqual(decodePlain(point, bytes));
      // One tag before each number, and no length: 5 × 9 bytes.
      lengths.add(scrambled.length);
    }
    expect([...lengths]).toContain(45);
  });

  it('expects the row that the table is defined to hold', () => {
    const attributes = [
      { key: 'a', value: { stringValue: '1' } },
      { key: 'b', value: { intValue: '1' } },
      { key: 'c', value: { doubleValue: 1.5 } },
      { key: 'd', value: { boolValue: true } },
      { key: 'e', value: { arrayValue: { values: [{ intValue: '1' }, { stringValue: 'x' }] } } },
      { key: 'f', value: { kvlistValue: { values: [{ key: 'k', value: { intValue: '1' } }] } } },
      { key: 'g', value: { bytesValue: Buffer.from([1, 2]) } },
      { key: 'h', value: {} },
    ];
    const record = {
      timeUnixNano: '1700000000000000001',
      severityNumber: 9,
      flags: 0x1ff,
      attributes,
      body: { doubleValue: -0 },
      traceId: Buffer.alloc(16, 0xab),
      spanId: Buffer.alloc(7, 1),
      eventName: 'e',
    };
    const resource = {
      attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }],
      entityRefs: [{ type: 'service', idKeys: ['service.name'] }],
    };
    expect(rowsOf({ resourceLogs: [{ resource, scopeLogs: [{ logRecords: [record] }] }] })).toEqual([
      {
        OrgId: 'org_a',
        Placement: 'shared-0',
        RetentionDays: 30,
        ExpiresOn: '2025-12-24',
        ReceivedAt: '2025-11-23 00:00:00.123',
        Timestamp: '2023-11-14 22:13:20.000000001',
        ObservedTimestamp: '1970-01-01 00:00:00.000000000',
        TraceId: 'ab'.repeat(16),
        SpanId: '',
        TraceFlags: 255,
        Flags: 511,
        SeverityText: '',
        SeverityNumber: 9,
        ServiceName: 'shop',
        Body: '-0',
        BodyType: 'd',
        ResourceSchemaUrl: '',
        ResourceAttributes: { 'service.name': 'shop' },
        ResourceAttributesTypes: 's',
        ResourceDroppedAttributesCount: 0,
        ResourceEntityRefs: '[{"type":"service","idKeys":["service.name"]}]',
        ScopeSchemaUrl: '',
        ScopeName: '',
        ScopeVersion: '',
        ScopeAttributes: {},
        ScopeAttributesTypes: '',
        ScopeDroppedAttributesCount: 0,
        LogAttributes: { a: '1', b: '1', c: '1.5', d: 'true', e: '[1,"x"]', f: '{"k":1}', g: 'AQI=', h: '' },
        LogAttributesTypes: 'sidbamxn',
        DroppedAttributesCount: 0,
        EventName: 'e',
      },
    ]);
  });

  it('expects caps, markers and times as the rules say', () => {
    const body = (value: object) => rowsOf({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: value }] }] }] })[0];
    expect(body(nestedValue(seededRandom(1), 32))?.['Body']).not.toContain('deeper');
    expect(body(nestedValue(seededRandom(1), 33))?.['Body']).toContain('"<nested deeper than 32>"');
    const received = body({})?.['Timestamp'];
    expect(received).toBe('2025-11-23 00:00:00.123000000');
    const many = Array.from({ length: 1_026 }, () => ({ key: 'k', value: { boolValue: false } }));
    const records = [
      { attributes: many, droppedAttributesCount: 5 },
      { attributes: [{ key: 'k'.repeat(4_097) }], droppedAttributesCount: 4_294_967_295 },
      { observedTimeUnixNano: '9223372036854775807' },
      { timeUnixNano: '9223372036854775808' },
    ];
    const rows = rowsOf({ resourceLogs: [{ scopeLogs: [{ logRecords: records }] }] });
    expect(rows.map((row) => row['DroppedAttributesCount'])).toEqual([7, 4_294_967_295, 0]);
    expect(rows[2]?.['Timestamp']).toBe('2262-04-11 23:47:16.854775807');
  });

  it('expects spans and the times of their traces as the tables are defined to hold them', () => {
    const traceType = requestType(loadProto(), 'traces');
    const ids = { traceId: Buffer.alloc(16, 0xab), spanId: Buffer.alloc(8, 0xcd) };
    const spans = [
      {
        ...ids,
        startTimeUnixNano: '9',
        endTimeUnixNano: '7',
        parentSpanId: Buffer.alloc(8),
        kind: 2,
        status: { code: 2 },
      },
      { ...ids, startTimeUnixNano: '5', endTimeUnixNano: '9', kind: 6, status: { code: -1 }, links: [ids, {}] },
      { ...ids, traceId: Buffer.alloc(16) },
      { ...ids, spanId: Buffer.alloc(9, 1) },
      { ...ids, parentSpanId: Buffer.alloc(16) },
      { ...ids, events: [{ timeUnixNano: '9223372036854775808' }] },
    ];
    const message = traceType.fromObject({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
    const expected = expectedTraces(decodePlain(traceType, traceType.encode(message).finish()), origin);
    expect(expected.rejected).toBe(4);
    expect(expected.tables.get('otel_traces')).toMatchObject([
      { SpanKind: 'Server', StatusCode: 'Error', Duration: '0', ParentSpanId: '', 'Links.TraceId': [] },
      { SpanKind: '6', StatusCode: '-1', Duration: '4', 'Links.TraceId': ['ab'.repeat(16), ''] },
    ]);
    expect(expected.tables.get('otel_traces_trace_id_ts')).toMatchObject([
      { TraceId: 'ab'.repeat(16), Start: '1970-01-01 00:00:00.000000005', End: '1970-01-01 00:00:00.000000009' },
    ]);
  });

  it('expects data points of every kind as the tables are defined to hold them', () => {
    const metricType = requestType(loadProto(), 'metrics');
    const at = (point: object) => ({ timeUnixNano: '1', ...point });
    const attributes = ['b', '\u{1f600}', '\uffff', 'b'].map((key, i) => ({ key, value: { intValue: String(i) } }));
    const gauge = [
      at({ asInt: '9007199254740993', attributes, exemplars: [{ asDouble: 1.5, spanId: Buffer.alloc(8) }, {}] }),
      at({ flags: 1 }),
      at({}),
      { asInt: '1' },
    ];
    const histogram = [
      at({ sum: 0 }),
      at({ bucketCounts: ['1', '2'], explicitBounds: [0] }),
      at({ bucketCounts: ['1'] }),
      at({ bucketCounts: ['1', '2'] }),
      at({ bucketCounts: ['1', '2', '3'], explicitBounds: [1, 1] }),
      at({ bucketCounts: ['1', '2'], explicitBounds: [Number.NaN] }),
    ];
    const metadata = [{ key: 'k'.repeat(4_097) }];
    const metrics = [
      { name: 'g', gauge: { dataPoints: gauge }, metadata },
      { histogram: { dataPoints: histogram, aggregationTemporality: 9 } },
      { summary: { dataPoints: [at({ quantileValues: [{ value: 2 }] })] } },
      { name: 'holds nothing' },
    ];
    const message = metricType.fromObject({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });
    const expected = expectedMetrics(decodePlain(metricType, metricType.encode(message).finish()), origin);
    expect(expected.rejected).toBe(5);
    const rowsOfTable = (name: string) => (expected.tables.get(name) ?? []).map(parsedRow);
    const number = { MetricName: 'g', DroppedAttributesCount: 1 };
    expect(rowsOfTable('otel_metrics_gauge')).toMatchObject([
      {
        ...number,
        ...{ Value: 9007199254740992, ValueType: 'i', ValueInt: '9007199254740993' },
        // Sorted by UTF-8, in which U+FFFF comes before U+1F600; equal keys as sent.
        ...{ Attributes: { b: '3', '\uffff': '2', '\u{1f600}': '1' }, AttributesTypes: 'iiii' },
        ...{ 'Exemplars.Value': [1.5], 'Exemplars.ValueType': ['d'], 'Exemplars.SpanId': [''] },
      },
      { ...number, Value: 0, ValueType: 'n', ValueInt: '0', Flags: 1 },
    ]);
    expect(Object.keys(rowsOfTable('otel_metrics_gauge')[0]?.['Attributes'] ?? {})).toEqual([
      'b',
      '\uffff',
      '\u{1f600}',
    ]);
    const distribution = { Min: null, Max: null, AggregationTemporality: 9 };
    expect(rowsOfTable('otel_metrics_histogram')).toMatchObject([
      { ...distribution, Sum: 0, BucketCounts: [], ExplicitBounds: [] },
      { ...distribution, Sum: null, BucketCounts: ['1', '2'], ExplicitBounds: [0] },
      { ...distribution, Sum: null, BucketCounts: ['1'], ExplicitBounds: [] },
    ]);
    expect(rowsOfTable('otel_metrics_summary')).toMatchObject([
      { Sum: 0, 'ValueAtQuantiles.Quantile': [0], 'ValueAtQuantiles.Value': [2] },
    ]);
  });
});
