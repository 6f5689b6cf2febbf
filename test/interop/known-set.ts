/**
 * The known set as rows: what every column of every row must hold when a client sent what README.md says. A column is a
 * literal (compared with what JSONEachRow prints, 64-bit integers as text) or a check with a sentence of its own.
 */
import type { KnownRow } from './client.ts';

/** What the checks know about the run. */
export interface RunFacts {
  readonly run: string;
  readonly orgId: string;
  /** Around the whole run, milliseconds since 1970. */
  readonly startedMs: number;
  readonly endedMs: number;
  /** As the program printed them. */
  readonly traceId: string;
  readonly rootSpanId: string;
  readonly childSpanId: string;
}

export class Check {
  readonly says: string;
  readonly holds: (value: unknown, facts: RunFacts) => boolean;

  constructor(says: string, holds: (value: unknown, facts: RunFacts) => boolean) {
    this.says = says;
    this.holds = holds;
  }
}

export interface ExpectedRow {
  readonly name: KnownRow;
  /** Without `otel_`. */
  readonly table: string;
  readonly identify: { readonly column: string; readonly value: string };
  readonly columns: Readonly<Record<string, unknown>>;
  /** More than one is fine: a reader may export the same point again. */
  readonly repeats: boolean;
}

/** What an organization of a new service has. */
const RETENTION_DAYS = 30;
const DAY_MS = 86_400_000;
const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.30.0';
/** What libraries put on every resource by themselves. */
const LIBRARY_ATTRIBUTES = /^(telemetry\.sdk\..*|service\.instance\.id)$/;
const FREE = new Check('anything', () => true);
/** Of the W3C's 8 flags, sampled must be set; the second says that the trace id is random, which not all libraries tell. */
const isSampled = (flags: unknown) => (Number(flags) & 0b1111_1101) === 1;
/** Bits above the lowest 8 tell whether the parent was remote; libraries differ in sending them. */
const SAMPLED = new Check('sampled in its lowest 8 bits', isSampled);

const is = (name: string, of: (facts: RunFacts) => string) =>
  new Check(name, (value, facts) => of(facts) !== '' && value === of(facts));
const duringRun = new Check('a time within the run', (value, facts) => {
  const ms = timeMs(value);
  return ms >= facts.startedMs - 1 && ms <= facts.endedMs + 1;
});
const duringRunOrUnset = new Check(
  'a time within the run, or none',
  (value, facts) => timeMs(value) === 0 || duringRun.holds(value, facts),
);

/** Milliseconds since 1970 of a DateTime64 as ClickHouse prints it in UTC. */
export function timeMs(value: unknown): number {
  return Date.parse(`${String(value).replace(' ', 'T').slice(0, 23)}Z`);
}

const resourceAttributes = new Check(
  "service.name, interop.run, interop.number and the library's own",
  (value, facts) => {
    const { 'service.name': name, 'interop.run': run, 'interop.number': number, ...rest } = value as Strings;
    const own = Object.keys(rest).every((key) => LIBRARY_ATTRIBUTES.test(key));
    return own && name === 'interop' && run === facts.run && number === '7';
  },
);
/** Libraries order a resource as they like; the letters of its values are checked with the Map's order at hand. */
const resourceTypes = new Check('one i, the rest s', (value) => /^s*is*$/.test(String(value)));

type Strings = Readonly<Record<string, string>>;

/** What each row of each signal starts with; `ScopeDropped…` has its own name in the metric tables. */
const TENANCY_AND_RESOURCE = {
  OrgId: is("the token's organization", (facts) => facts.orgId),
  Placement: is("the token's organization", (facts) => facts.orgId),
  RetentionDays: RETENTION_DAYS,
  ExpiresOn: new Check('30 days after the run, at most 2 more', (value, facts) => {
    const days = (Date.parse(`${String(value)}T00:00:00Z`) - facts.startedMs) / DAY_MS;
    return days > RETENTION_DAYS && days <= RETENTION_DAYS + 2;
  }),
  ReceivedAt: duringRun,
  BatchId: new Check('a number above 0', (value) => /^[1-9]\d*$/.test(String(value))),
  ServiceName: 'interop',
  ResourceSchemaUrl: '',
  ResourceAttributes: resourceAttributes,
  ResourceAttributesTypes: resourceTypes,
  ResourceDroppedAttributesCount: 0,
  ResourceEntityRefs: '',
  ScopeName: 'interop.scope',
  ScopeVersion: '1.2.3',
  ScopeSchemaUrl: SCHEMA_URL,
  ScopeAttributes: {},
  ScopeAttributesTypes: '',
};

const NO_EVENTS = {
  'Events.Timestamp': [],
  'Events.Name': [],
  'Events.Attributes': [],
  'Events.AttributesTypes': [],
  'Events.DroppedAttributesCount': [],
};
const NO_LINKS = {
  'Links.TraceId': [],
  'Links.SpanId': [],
  'Links.TraceState': [],
  'Links.Attributes': [],
  'Links.AttributesTypes': [],
  'Links.DroppedAttributesCount': [],
  'Links.Flags': [],
};

const SPAN = {
  ...TENANCY_AND_RESOURCE,
  ScopeDroppedAttributesCount: 0,
  TraceId: is('the printed traceId', (facts) => facts.traceId),
  TraceState: '',
  Flags: SAMPLED,
  DroppedAttributesCount: 0,
  DroppedEventsCount: 0,
  DroppedLinksCount: 0,
};

const SPANS: readonly ExpectedRow[] = [
  {
    name: 'span.root',
    table: 'traces',
    identify: { column: 'SpanName', value: 'POST /orders' },
    repeats: false,
    columns: {
      ...SPAN,
      SpanId: is('the printed rootSpanId', (facts) => facts.rootSpanId),
      ParentSpanId: '',
      SpanName: 'POST /orders',
      SpanKind: 'Server',
      Timestamp: '2026-01-01 00:00:00.000000001',
      EndTimestamp: '2026-01-01 00:00:01.000000002',
      Duration: '1000000001',
      SpanAttributes: {
        'interop.string': 'größe "1"',
        'interop.int': '9007199254740991',
        'interop.double': '1.5',
        'interop.bool': 'true',
        'interop.strings': '["a","b"]',
        'interop.ints': '[1,2,3]',
      },
      SpanAttributesTypes: 'sidbaa',
      StatusCode: 'Unset',
      StatusMessage: '',
      'Events.Timestamp': ['2026-01-01 00:00:00.500000000'],
      'Events.Name': ['cache.miss'],
      'Events.Attributes': [{ key: 'order-7' }],
      'Events.AttributesTypes': ['s'],
      'Events.DroppedAttributesCount': [0],
      ...NO_LINKS,
    },
  },
  {
    name: 'span.child',
    table: 'traces',
    identify: { column: 'SpanName', value: 'SELECT orders' },
    repeats: false,
    columns: {
      ...SPAN,
      SpanId: is('the printed childSpanId', (facts) => facts.childSpanId),
      ParentSpanId: is('the printed rootSpanId', (facts) => facts.rootSpanId),
      SpanName: 'SELECT orders',
      SpanKind: 'Client',
      Timestamp: '2026-01-01 00:00:00.100000000',
      EndTimestamp: '2026-01-01 00:00:00.900000000',
      Duration: '800000000',
      SpanAttributes: { 'db.rows': '3' },
      SpanAttributesTypes: 'i',
      StatusCode: 'Error',
      StatusMessage: 'timed out',
      ...NO_EVENTS,
      'Links.TraceId': ['0af7651916cd43dd8448eb211c80319c'],
      'Links.SpanId': ['b7ad6b7169203331'],
      'Links.TraceState': [''],
      'Links.Attributes': [{ why: 'retry' }],
      'Links.AttributesTypes': ['s'],
      'Links.DroppedAttributesCount': [0],
      'Links.Flags': new Check('[sampled in its lowest 8 bits]', (value) => isSampled((value as number[])[0])),
    },
  },
];

const LOG = {
  ...TENANCY_AND_RESOURCE,
  ScopeDroppedAttributesCount: 0,
  ObservedTimestamp: duringRunOrUnset,
  BodyType: 's',
  DroppedAttributesCount: 0,
  EventName: '',
};

const LOGS: readonly ExpectedRow[] = [
  {
    name: 'log.info',
    table: 'logs',
    identify: { column: 'Body', value: 'order placed' },
    repeats: false,
    columns: {
      ...LOG,
      Timestamp: '2026-01-01 00:00:01.000000003',
      TraceId: '',
      SpanId: '',
      TraceFlags: 0,
      Flags: 0,
      SeverityText: 'INFO',
      SeverityNumber: 9,
      Body: 'order placed',
      LogAttributes: { 'order.id': 'o-7', 'order.items': '3', 'order.total': '12.5', 'order.paid': 'true' },
      LogAttributesTypes: 'sidb',
    },
  },
  {
    name: 'log.error',
    table: 'logs',
    identify: { column: 'Body', value: 'payment failed' },
    repeats: false,
    columns: {
      ...LOG,
      Timestamp: '2026-01-01 00:00:00.800000000',
      TraceId: is('the printed traceId', (facts) => facts.traceId),
      SpanId: is('the printed childSpanId', (facts) => facts.childSpanId),
      TraceFlags: new Check('sampled', isSampled),
      Flags: SAMPLED,
      SeverityText: 'ERROR',
      SeverityNumber: 17,
      Body: 'payment failed',
      LogAttributes: { 'exception.type': 'Timeout' },
      LogAttributesTypes: 's',
    },
  },
];

const NO_EXEMPLARS = {
  'Exemplars.FilteredAttributes': [],
  'Exemplars.FilteredAttributesTypes': [],
  'Exemplars.TimeUnix': [],
  'Exemplars.Value': [],
  'Exemplars.ValueType': [],
  'Exemplars.ValueInt': [],
  'Exemplars.SpanId': [],
  'Exemplars.TraceId': [],
};

/** A point's common columns; a gauge has no start that means something. */
function point(name: string, unit: string, description: string, start = duringRun) {
  return {
    ...TENANCY_AND_RESOURCE,
    ScopeDroppedAttrCount: 0,
    MetricName: name,
    MetricUnit: unit,
    MetricDescription: description,
    MetricMetadata: {},
    MetricMetadataTypes: '',
    Attributes: {},
    AttributesTypes: '',
    DroppedAttributesCount: 0,
    StartTimeUnix: start,
    TimeUnix: duringRun,
    Flags: 0,
    ...NO_EXEMPLARS,
  };
}

function metric(name: KnownRow, table: string, columns: Readonly<Record<string, unknown>>): ExpectedRow {
  const value = String(columns['MetricName']);
  return { name, table: `metrics_${table}`, identify: { column: 'MetricName', value }, repeats: true, columns };
}

const CUMULATIVE = { AggregationTemporality: 2 };

const METRICS: readonly ExpectedRow[] = [
  metric('metric.orders', 'sum', {
    ...point('interop.orders', '{order}', 'Orders placed'),
    ...CUMULATIVE,
    Attributes: { kind: 'web', region: 'eu' },
    AttributesTypes: 'ss',
    Value: 7,
    ValueType: 'i',
    ValueInt: '7',
    IsMonotonic: true,
  }),
  metric('metric.queue', 'sum', {
    ...point('interop.queue', '{order}', 'Orders waiting'),
    ...CUMULATIVE,
    Value: 3,
    ValueType: 'i',
    ValueInt: '3',
    IsMonotonic: false,
  }),
  metric('metric.load', 'gauge', {
    ...point('interop.load', '1', 'Load of the shop', duringRunOrUnset),
    Value: 0.25,
    ValueType: 'd',
    ValueInt: '0',
  }),
  metric('metric.latency', 'histogram', {
    ...point('interop.latency', 'ms', 'Latency of orders'),
    ...CUMULATIVE,
    Count: '3',
    Sum: 555,
    Min: 5,
    Max: 500,
    BucketCounts: ['1', '1', '1'],
    ExplicitBounds: [10, 100],
  }),
  metric('metric.payload', 'exponential_histogram', {
    ...point('interop.payload', 'By', 'Size of orders'),
    ...CUMULATIVE,
    Count: '3',
    Sum: 7,
    Min: 1,
    Max: 4,
    Scale: FREE,
    ZeroCount: '0',
    ZeroThreshold: 0,
    PositiveOffset: FREE,
    PositiveBucketCounts: new Check('three values in its buckets', (value) => total(value) === 3),
    NegativeOffset: FREE,
    NegativeBucketCounts: new Check('nothing in its buckets', (value) => total(value) === 0),
  }),
];

function total(counts: unknown): number {
  return (counts as string[]).reduce((sum, count) => sum + Number(count), 0);
}

export const KNOWN_SET: readonly ExpectedRow[] = [...SPANS, ...LOGS, ...METRICS];

/** Without `otel_`; every table in which a run of the known set, or a client with a judgement of its own, may leave rows. */
export const TABLES = [
  'traces',
  'logs',
  'metrics_sum',
  'metrics_gauge',
  'metrics_histogram',
  'metrics_exponential_histogram',
  'metrics_summary',
] as const;
