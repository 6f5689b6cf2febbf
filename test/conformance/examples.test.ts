/**
 * Requests of the shapes that the specification shows as examples (a trace, log records, an event, metrics), with names
 * and values of our own: examples/*.json. Each is sent in every way, and every column of its rows stands here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import { CLEAN, type Row, rowsOf, sendEveryWay } from './otlp-client.ts';

const TRACE = '3c2d9f60a71b4e58aa01d94f77e0b6c2';
const SPAN = 'a14c07d2e9b35f86';
const ORG = expect.stringMatching(/^org_[a-z2-7]{16}$/);
const DAY = expect.stringMatching(/^20\d\d-\d\d-\d\d$/);
const RECEIVED = expect.stringMatching(/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/);
const BATCH = expect.stringMatching(/^\d+$/);

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

/** The request of a file under another service.name. */
function example(file: string): (name: string) => object {
  const text = readFileSync(join(import.meta.dirname, 'examples', file), 'utf8');
  return (name) => JSON.parse(text.replace('"bakery.till"', JSON.stringify(name))) as object;
}

/** What every table has of tenancy, resource and scope. */
function common(name: string): Row {
  return {
    OrgId: ORG,
    Placement: ORG,
    RetentionDays: 30,
    ExpiresOn: DAY,
    ReceivedAt: RECEIVED,
    BatchId: BATCH,
    ServiceName: name,
    ResourceSchemaUrl: '',
    ResourceAttributes: { 'service.name': name },
    ResourceAttributesTypes: 's',
    ResourceDroppedAttributesCount: 0,
    ResourceEntityRefs: '',
    ScopeSchemaUrl: '',
    ScopeName: 'bakery.orders',
    ScopeVersion: '2.3.1',
    ScopeAttributes: { 'orders.region': 'north' },
    ScopeAttributesTypes: 's',
  };
}

describe.concurrent('the examples', () => {
  it('J24, T2 (tests): a server span', async () => {
    for (const { name, answer } of await sendEveryWay(service, 'traces', example('trace.json'))) {
      expect(answer).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_traces', '*', name, 1, 'SpanId')).toEqual([
        {
          ...common(name),
          ...{ Timestamp: '2025-11-23 12:13:20.000000000', EndTimestamp: '2025-11-23 12:13:21.500000000' },
          ...{ TraceId: TRACE, SpanId: SPAN, ParentSpanId: 'a14c07d2e9b35f85', TraceState: '' },
          ...{ SpanName: 'take an order', SpanKind: 'Server', Duration: '1500000000' },
          ...{ SpanAttributes: { 'order.kind': 'bread' }, SpanAttributesTypes: 's', DroppedAttributesCount: 0 },
          ...{ StatusCode: 'Unset', StatusMessage: '', Flags: 0, ScopeDroppedAttributesCount: 0 },
          ...{ 'Events.Timestamp': [], 'Events.Name': [], 'Events.Attributes': [], 'Events.AttributesTypes': [] },
          ...{ 'Events.DroppedAttributesCount': [], DroppedEventsCount: 0 },
          ...{ 'Links.TraceId': [], 'Links.SpanId': [], 'Links.TraceState': [], 'Links.Attributes': [] },
          ...{ 'Links.AttributesTypes': [], 'Links.DroppedAttributesCount': [], 'Links.Flags': [] },
          DroppedLinksCount: 0,
        },
      ]);
    }
    const times = `SELECT DISTINCT toString(Start) AS s, toString(End) AS e FROM otel_traces_trace_id_ts WHERE TraceId = '${TRACE}'`;
    expect(await service.queryUntil(times, (rows) => rows.length > 0)).toEqual([
      { s: '2025-11-23 12:13:20.000000000', e: '2025-11-23 12:13:20.000000000' },
    ]);
  });

  it('J24, T2 (tests): a log record with attributes of every type', async () => {
    for (const { name, answer } of await sendEveryWay(service, 'logs', example('logs.json'))) {
      expect(answer).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_logs', '*', name, 1, 'Timestamp')).toEqual([
        {
          ...common(name),
          ...{ Timestamp: '2025-11-23 12:13:20.250000000', ObservedTimestamp: '2025-11-23 12:13:20.250000001' },
          ...{ TraceId: TRACE, SpanId: SPAN, TraceFlags: 0, Flags: 0 },
          ...{ SeverityText: 'Warning', SeverityNumber: 13, Body: 'the oven is hot', BodyType: 's' },
          LogAttributes: {
            'oven.name': 'left',
            'oven.lit': 'true',
            'oven.loaves': '24',
            'oven.degrees': '231.25',
            'oven.trays': '["upper","lower"]',
            'oven.timer': '{"minutes":"forty"}',
          },
          ...{ LogAttributesTypes: 'sbidam', DroppedAttributesCount: 0, EventName: '', ScopeDroppedAttributesCount: 0 },
        },
      ]);
    }
  });

  it('J24, T2 (tests): an event', async () => {
    for (const { name, answer } of await sendEveryWay(service, 'logs', example('events.json'))) {
      expect(answer).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_logs', '*', name, 1, 'Timestamp')).toEqual([
        {
          ...common(name),
          ...{ Timestamp: '2025-11-23 12:13:20.750000000', ObservedTimestamp: '2025-11-23 12:13:20.750000001' },
          ...{ TraceId: '', SpanId: '', TraceFlags: 0, Flags: 0, SeverityText: 'Info', SeverityNumber: 9 },
          Body: '{"method":0,"page":"https://bakery.example/orders/17","from":"https://bakery.example/","title":"Order 17"}',
          ...{ BodyType: 'm', LogAttributes: { 'till.number': '3' }, LogAttributesTypes: 'i' },
          ...{ DroppedAttributesCount: 0, EventName: 'till.order_paid', ScopeDroppedAttributesCount: 0 },
        },
      ]);
    }
  });
});

describe.concurrent('the example of metrics', () => {
  const exemplars = {
    ...{ 'Exemplars.FilteredAttributes': [], 'Exemplars.FilteredAttributesTypes': [], 'Exemplars.TimeUnix': [] },
    ...{ 'Exemplars.Value': [], 'Exemplars.ValueType': [], 'Exemplars.ValueInt': [] },
    ...{ 'Exemplars.SpanId': [], 'Exemplars.TraceId': [] },
  };
  const bread = { Attributes: { 'order.kind': 'bread' }, AttributesTypes: 's' };
  const start = '2025-11-23 12:13:20.000000000';

  /** What every table of metrics has. */
  function point(name: string, metric: string, unit: string, description: string): Row {
    return {
      ...common(name),
      ...{ MetricName: metric, MetricUnit: unit, MetricDescription: description },
      ...{ MetricMetadata: {}, MetricMetadataTypes: '', ScopeDroppedAttrCount: 0, DroppedAttributesCount: 0, Flags: 0 },
      ...{ StartTimeUnix: start, TimeUnix: '2025-11-23 12:14:20.000000000' },
    };
  }

  const TABLES: [table: string, row: (name: string) => Row][] = [
    [
      'sum',
      (name) => ({
        ...point(name, 'orders.taken', '1', 'Orders since the shop opened'),
        ...{ ...bread, ...exemplars, Value: 17, ValueType: 'd', ValueInt: '0' },
        ...{ AggregationTemporality: 1, IsMonotonic: true },
      }),
    ],
    [
      'gauge',
      (name) => ({
        ...point(name, 'oven.temperature', 'Cel', 'How hot it is'),
        ...{
          Attributes: { 'oven.name': 'left' },
          AttributesTypes: 's',
          StartTimeUnix: '1970-01-01 00:00:00.000000000',
        },
        ...{ ...exemplars, Value: 231.25, ValueType: 'd', ValueInt: '0' },
      }),
    ],
    [
      'histogram',
      (name) => ({
        ...point(name, 'order.loaves', '1', 'Loaves in an order'),
        ...{
          ...bread,
          ...exemplars,
          Count: '3',
          Sum: 6,
          Min: 1,
          Max: 4,
          BucketCounts: ['2', '1'],
          ExplicitBounds: [2],
        },
        AggregationTemporality: 1,
      }),
    ],
    [
      'exponential_histogram',
      (name) => ({
        ...point(name, 'order.seconds', 's', 'How long an order takes'),
        ...{
          ...bread,
          ...exemplars,
          Count: '4',
          Sum: 12,
          Min: 0,
          Max: 6,
          Scale: 1,
          ZeroCount: '1',
          ZeroThreshold: 0.5,
        },
        ...{ PositiveOffset: 2, PositiveBucketCounts: ['0', '3'], NegativeOffset: 0, NegativeBucketCounts: [] },
        AggregationTemporality: 1,
      }),
    ],
    [
      'summary',
      (name) => ({
        ...point(name, 'queue.seconds', 's', 'How long a customer waits'),
        ...{ Attributes: {}, AttributesTypes: '', Count: '5', Sum: 61.5 },
        ...{ 'ValueAtQuantiles.Quantile': [0.5, 1], 'ValueAtQuantiles.Value': [11, 25.5] },
      }),
    ],
  ];

  it('J24, T2 (tests): a metric of each of the five kinds', async () => {
    for (const { name, answer } of await sendEveryWay(service, 'metrics', example('metrics.json'))) {
      expect(answer).toEqual(CLEAN);
      for (const [table, row] of TABLES) {
        expect(await rowsOf(service, `otel_metrics_${table}`, '*', name, 1, 'TimeUnix'), table).toEqual([row(name)]);
      }
    }
  });
});
