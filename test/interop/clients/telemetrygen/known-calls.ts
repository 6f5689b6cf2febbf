/** What telemetrygen is called with, and the rows that this makes: its flags are the known set here. */
import { timeMs } from '../../known-set.ts';
import type { StoredRows } from '../../client.ts';

const TRACES = 20;
const CHILD_SPANS = 2;
const ITEMS = 20;
const SPAN_DURATION_NS = 123_000;
const NUMBER = 7;
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN_ID = 'b7ad6b7169203331';

/** Rate 0 is as fast as it can; the default is one item a second. */
const ALL = ['--rate', '0', '--service', 'interop', '--telemetry-attributes', `interop.number=${NUMBER}`];
const METRIC = [
  'metrics',
  '--metrics',
  String(ITEMS),
  ...ALL,
  '--otlp-metric-name',
  'interop.generated',
  '--metric-type',
];

/** The arguments of each call, but for where to send and the run. */
export const CALLS: readonly (readonly string[])[] = [
  ['traces', '--traces', String(TRACES), '--child-spans', String(CHILD_SPANS), '--status-code', 'Error', ...ALL],
  [
    ...[
      'logs',
      '--logs',
      String(ITEMS),
      '--body',
      'order placed',
      '--severity-text',
      'Warn',
      '--severity-number',
      '13',
    ],
    ...['--trace-id', TRACE_ID, '--span-id', SPAN_ID, ...ALL],
  ],
  [...METRIC, 'Gauge'],
  [...METRIC, 'Sum', '--aggregation-temporality', 'delta'],
  [...METRIC, 'Histogram', '--trace-id', TRACE_ID, '--span-id', SPAN_ID],
  [...METRIC, 'ExponentialHistogram'],
];

/** Rows by table without `otel_`. */
export const ROWS: Readonly<Record<string, number>> = {
  traces: TRACES * (1 + CHILD_SPANS),
  logs: ITEMS,
  metrics_gauge: ITEMS,
  metrics_sum: ITEMS,
  metrics_histogram: ITEMS,
  metrics_exponential_histogram: ITEMS,
};

/** The sums of the ten histograms that telemetrygen makes in turn. */
const HISTOGRAM_SUMS = [3940, 4455, 5337, 4477, 4670, 5670, 5091, 3420, 5917, 3988];
const HISTOGRAM_BOUNDS = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000];

type Row = Readonly<Record<string, unknown>>;
type Columns = Readonly<Record<string, unknown>>;

const ATTRIBUTES = { 'interop.number': String(NUMBER) };
const CHILD_COLUMNS = {
  SpanKind: 'Server',
  Duration: String(SPAN_DURATION_NS),
  SpanAttributes: { 'network.peer.address': '1.2.3.4', 'service.peer.name': 'telemetrygen-client', ...ATTRIBUTES },
};
const SPAN_COLUMNS: Readonly<Record<string, Columns>> = {
  'lets-go': {
    SpanKind: 'Client',
    ParentSpanId: '',
    // It ends with its last child, and the children follow each other.
    Duration: String(SPAN_DURATION_NS * CHILD_SPANS),
    SpanAttributes: { 'network.peer.address': '1.2.3.4', 'service.peer.name': 'telemetrygen-server', ...ATTRIBUTES },
  },
  'okey-dokey-0': CHILD_COLUMNS,
  'okey-dokey-1': CHILD_COLUMNS,
};
const ALL_SPANS = { StatusCode: 'Error', StatusMessage: '', SpanAttributesTypes: 'ssi', ScopeName: 'telemetrygen' };
const LOG_COLUMNS = {
  Body: 'order placed',
  BodyType: 's',
  SeverityText: 'Warn',
  SeverityNumber: 13,
  TraceId: TRACE_ID,
  SpanId: SPAN_ID,
  LogAttributes: { app: 'server', ...ATTRIBUTES },
  LogAttributesTypes: 'si',
  // It says so of each record, whatever was sent.
  DroppedAttributesCount: 1,
};
const POINT_COLUMNS = { MetricName: 'interop.generated', Attributes: ATTRIBUTES, AttributesTypes: 'i' };
const DELTA = 1;
const CUMULATIVE = 2;

/** What is wrong with the rows of one run, one sentence each. */
export function compareCalls(rows: StoredRows): string[] {
  const of = (table: string): readonly Row[] => rows[table] ?? [];
  const findings = [
    ...counts(rows),
    ...Object.values(rows)
      .flat()
      .flatMap((row) => differs(row, 'a row', { ServiceName: 'interop' })),
  ];
  findings.push(...spans(of('traces')));
  for (const row of of('logs')) findings.push(...differs(row, 'a log record', LOG_COLUMNS));
  for (const table of Object.keys(ROWS).filter((name) => name.startsWith('metrics_')))
    for (const row of of(table)) findings.push(...differs(row, `a point of ${table}`, POINT_COLUMNS));
  findings.push(...numbers(of('metrics_gauge'), 'the gauge'), ...numbers(of('metrics_sum'), 'the sum'));
  const sum = { AggregationTemporality: DELTA, IsMonotonic: true, ValueType: 'i' };
  for (const row of of('metrics_sum')) findings.push(...differs(row, 'a point of the sum', sum), ...oneSecond(row));
  findings.push(...histograms(of('metrics_histogram')));
  findings.push(...of('metrics_exponential_histogram').flatMap(exponentialHistogram));
  // One difference is often one of each row.
  return [...new Set(findings)];
}

function counts(rows: StoredRows): string[] {
  return Object.keys(rows)
    .filter((table) => rows[table]?.length !== (ROWS[table] ?? 0))
    .map((table) => `${rows[table]?.length} rows in otel_${table}, not ${ROWS[table] ?? 0}`);
}

function spans(rows: readonly Row[]): string[] {
  const findings: string[] = [];
  const parents = new Map(
    rows.filter((row) => row['ParentSpanId'] === '').map((row) => [row['TraceId'], row['SpanId']]),
  );
  if (parents.size !== TRACES) findings.push(`${parents.size} traces, not ${TRACES}`);
  for (const row of rows) {
    const name = String(row['SpanName']);
    findings.push(...differs(row, name, { ...ALL_SPANS, ...(SPAN_COLUMNS[name] ?? { SpanName: 'one of the known' }) }));
    if (name !== 'lets-go' && parents.get(row['TraceId']) !== row['ParentSpanId'])
      findings.push(`${name} has not the trace's first span as its parent`);
  }
  return findings;
}

/** Points hold 0, 1, 2, … */
function numbers(rows: readonly Row[], what: string): string[] {
  const values = rows.map((row) => Number(row['ValueInt'])).sort((a, b) => a - b);
  return values.every((value, i) => value === i) ? [] : [`the points of ${what} are ${values.join(', ')}`];
}

/** A delta point spans the second before it. */
function oneSecond(row: Row): string[] {
  const ms = timeMs(row['TimeUnix']) - timeMs(row['StartTimeUnix']);
  return ms === 1_000 ? [] : [`a delta point spans ${ms} ms, not 1000`];
}

function histograms(rows: readonly Row[]): string[] {
  const columns = {
    AggregationTemporality: CUMULATIVE,
    Count: '10',
    ExplicitBounds: HISTOGRAM_BOUNDS,
    'Exemplars.TraceId': [TRACE_ID],
    'Exemplars.SpanId': [SPAN_ID],
    'Exemplars.ValueInt': ['1'],
  };
  const findings = rows.flatMap((row) => differs(row, 'a point of the histogram', columns));
  const sums = rows.map((row) => Number(row['Sum'])).sort();
  const wanted = Array.from({ length: ITEMS }, (_, i) => HISTOGRAM_SUMS[i % HISTOGRAM_SUMS.length]).sort();
  if (sums.join() !== wanted.join())
    findings.push(`the sums of the histogram are ${sums.join()}, not ${wanted.join()}`);
  for (const row of rows)
    if (total(row['BucketCounts']) !== 10) findings.push(`buckets ${row['BucketCounts']} do not hold 10 values`);
  return findings;
}

/** Its values are random, so it is only held against itself. */
function exponentialHistogram(row: Row): string[] {
  const held = total(row['PositiveBucketCounts']) + total(row['NegativeBucketCounts']) + Number(row['ZeroCount']);
  return held === Number(row['Count']) && held > 0
    ? []
    : [`an exponential histogram of ${row['Count']} values holds ${held}`];
}

function total(counts: unknown): number {
  return (counts as string[]).reduce((sum, count) => sum + Number(count), 0);
}

function differs(row: Row, what: string, columns: Columns): string[] {
  return Object.entries(columns)
    .filter(([name, value]) => JSON.stringify(row[name]) !== JSON.stringify(value))
    .map(([name, value]) => `${name} of ${what} is ${JSON.stringify(row[name])}, not ${JSON.stringify(value)}`);
}
