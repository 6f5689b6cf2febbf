/**
 * What rows of the five metric tables a request must become: the plain, slow reading of reference otlp.md 4.3, 4.6, E1,
 * E2, E8 and E9, written without the converter and the oracle of its tests. Rows: see expected-values.ts.
 */
import type { RowOrigin } from '../../src/ingest/messages.ts';
import {
  type ExpectedRequest,
  idText,
  isTooLate,
  KeptAttributes,
  type KeyValue,
  nanosecondText,
  type ResourceEnvelope,
  type Row,
  repeatedColumns,
  type ScopeEnvelope,
  tenancyColumns,
} from './expected-values.ts';

interface NumberValue {
  asDouble?: number;
  asInt?: string;
}
interface Exemplar extends NumberValue {
  timeUnixNano?: string;
  spanId?: Uint8Array;
  traceId?: Uint8Array;
  filteredAttributes?: KeyValue[];
}
interface Buckets {
  offset?: number;
  bucketCounts?: string[];
}
/** Fields of all five kinds of points; a kind has some of them. */
interface Point extends NumberValue {
  startTimeUnixNano?: string;
  timeUnixNano?: string;
  attributes?: KeyValue[];
  flags?: number;
  exemplars?: Exemplar[];
  count?: string;
  sum?: number;
  min?: number;
  max?: number;
  bucketCounts?: string[];
  explicitBounds?: number[];
  scale?: number;
  zeroCount?: string;
  zeroThreshold?: number;
  positive?: Buckets;
  negative?: Buckets;
  quantileValues?: { quantile?: number; value?: number }[];
}
interface Data {
  dataPoints?: Point[];
  aggregationTemporality?: number;
  isMonotonic?: boolean;
}
interface Metric {
  name?: string;
  description?: string;
  unit?: string;
  metadata?: KeyValue[];
  gauge?: Data;
  sum?: Data;
  histogram?: Data;
  exponentialHistogram?: Data;
  summary?: Data;
}
interface MetricsRequest {
  resourceMetrics?: (ResourceEnvelope & { scopeMetrics?: (ScopeEnvelope & { metrics?: Metric[] })[] })[];
}

interface Kind {
  readonly table: string;
  readonly data: (metric: Metric) => Data | undefined;
  readonly isRejected: (point: Point) => boolean;
  readonly columns: (point: Point, data: Data) => Row;
}

const KINDS: readonly Kind[] = [
  {
    table: 'otel_metrics_gauge',
    data: (metric) => metric.gauge,
    isRejected: hasNoNumber,
    columns: (point) => ({ ...numberColumns(point), ...exemplarColumns(point) }),
  },
  {
    table: 'otel_metrics_sum',
    data: (metric) => metric.sum,
    isRejected: hasNoNumber,
    columns: (point, data) => ({
      ...numberColumns(point),
      ...exemplarColumns(point),
      AggregationTemporality: data.aggregationTemporality ?? 0,
      IsMonotonic: data.isMonotonic ?? false,
    }),
  },
  {
    table: 'otel_metrics_histogram',
    data: (metric) => metric.histogram,
    isRejected: hasWrongBuckets,
    columns: (point, data) => ({
      ...distributionColumns(point, data),
      BucketCounts: point.bucketCounts ?? [],
      ExplicitBounds: point.explicitBounds ?? [],
    }),
  },
  {
    table: 'otel_metrics_exponential_histogram',
    data: (metric) => metric.exponentialHistogram,
    isRejected: () => false,
    columns: (point, data) => ({
      ...distributionColumns(point, data),
      Scale: point.scale ?? 0,
      ZeroCount: point.zeroCount ?? '0',
      ZeroThreshold: point.zeroThreshold ?? 0,
      PositiveOffset: point.positive?.offset ?? 0,
      PositiveBucketCounts: point.positive?.bucketCounts ?? [],
      NegativeOffset: point.negative?.offset ?? 0,
      NegativeBucketCounts: point.negative?.bucketCounts ?? [],
    }),
  },
  {
    table: 'otel_metrics_summary',
    data: (metric) => metric.summary,
    isRejected: () => false,
    columns: (point) => ({
      Count: point.count ?? '0',
      Sum: point.sum ?? 0,
      'ValueAtQuantiles.Quantile': (point.quantileValues ?? []).map(({ quantile }) => quantile ?? 0),
      'ValueAtQuantiles.Value': (point.quantileValues ?? []).map(({ value }) => value ?? 0),
    }),
  },
];

/** `request` is decoded, plain data. */
export function expectedMetrics(request: object, origin: RowOrigin): ExpectedRequest {
  const tables = new Map<string, Row[]>(KINDS.map((kind) => [kind.table, []]));
  let rejected = 0;
  for (const resourceMetrics of (request as MetricsRequest).resourceMetrics ?? []) {
    for (const scopeMetrics of resourceMetrics.scopeMetrics ?? []) {
      for (const metric of scopeMetrics.metrics ?? []) {
        const kind = KINDS.find(({ data }) => data(metric) !== undefined);
        if (kind === undefined) continue;
        const above = columnsAbove(resourceMetrics, scopeMetrics, metric);
        const data = kind.data(metric) as Data;
        for (const point of data.dataPoints ?? []) {
          if (above === undefined || hasWrongTime(point) || kind.isRejected(point)) {
            rejected++;
            continue;
          }
          tables.get(kind.table)?.push({
            ...tenancyColumns(origin),
            ...above.columns,
            ...pointColumns(point, above.metadataCapped),
            ...kind.columns(point, data),
          });
        }
      }
    }
  }
  return { tables, rejected };
}

/** What every point of a metric repeats; undefined when its strings alone are over 64 KiB (E11). */
function columnsAbove(resource: ResourceEnvelope, scope: ScopeEnvelope, metric: Metric) {
  const metadata = new KeptAttributes(metric.metadata);
  const texts = [metric.name ?? '', metric.description ?? '', metric.unit ?? ''];
  const repeated = repeatedColumns(resource, scope, { scopeDropped: 'ScopeDroppedAttrCount' }, { metadata, texts });
  if (repeated === undefined) return undefined;
  const columns: Row = {
    ...repeated,
    MetricName: texts[0],
    MetricDescription: texts[1],
    MetricUnit: texts[2],
    MetricMetadata: metadata.map,
    MetricMetadataTypes: metadata.letters,
  };
  return { columns, metadataCapped: metadata.capped };
}

/** E2 and E9. */
function hasWrongTime(point: Point): boolean {
  const times = [point.startTimeUnixNano, point.timeUnixNano, ...(point.exemplars ?? []).map((e) => e.timeUnixNano)];
  return BigInt(point.timeUnixNano ?? '0') === 0n || times.some(isTooLate);
}

function hasNoNumber(point: Point): boolean {
  return point.asDouble === undefined && point.asInt === undefined && (point.flags ?? 0) % 2 === 0;
}

function hasWrongBuckets({ bucketCounts = [], explicitBounds = [] }: Point): boolean {
  const lengthsFit =
    bucketCounts.length === explicitBounds.length + 1 || (bucketCounts.length === 0 && explicitBounds.length === 0);
  return (
    !lengthsFit ||
    explicitBounds.some((bound, i) => Number.isNaN(bound) || bound <= (explicitBounds[i - 1] ?? Number.NaN))
  );
}

function pointColumns(point: Point, metadataCapped: number): Row {
  const attributes = new KeptAttributes(point.attributes).sortByKey();
  const ofExemplars = storedExemplars(point).map((exemplar) => new KeptAttributes(exemplar.filteredAttributes).capped);
  return {
    Attributes: attributes.map,
    AttributesTypes: attributes.letters,
    DroppedAttributesCount: ofExemplars.reduce((sum, capped) => sum + capped, attributes.capped + metadataCapped),
    StartTimeUnix: nanosecondText(BigInt(point.startTimeUnixNano ?? '0')),
    TimeUnix: nanosecondText(BigInt(point.timeUnixNano ?? '0')),
    Flags: point.flags ?? 0,
  };
}

/** Columns that histograms of both kinds have. */
function distributionColumns(point: Point, data: Data): Row {
  return {
    Count: point.count ?? '0',
    Sum: point.sum ?? null,
    Min: point.min ?? null,
    Max: point.max ?? null,
    ...exemplarColumns(point),
    AggregationTemporality: data.aggregationTemporality ?? 0,
  };
}

function numberColumns(point: NumberValue): Row {
  return { Value: numberOf(point), ValueType: numberLetter(point), ValueInt: point.asInt ?? '0' };
}

function numberOf({ asInt, asDouble }: NumberValue): number {
  return asInt === undefined ? (asDouble ?? 0) : Number(BigInt(asInt));
}

function numberLetter({ asInt, asDouble }: NumberValue): string {
  if (asInt !== undefined) return 'i';
  return asDouble === undefined ? 'n' : 'd';
}

/** E2: an exemplar without a value is left out. */
function storedExemplars(point: Point): Exemplar[] {
  return (point.exemplars ?? []).filter((exemplar) => numberLetter(exemplar) !== 'n');
}

function exemplarColumns(point: Point): Row {
  const exemplars = storedExemplars(point);
  const kept = exemplars.map((exemplar) => new KeptAttributes(exemplar.filteredAttributes));
  return {
    'Exemplars.FilteredAttributes': kept.map((attributes) => attributes.map),
    'Exemplars.FilteredAttributesTypes': kept.map((attributes) => attributes.letters),
    'Exemplars.TimeUnix': exemplars.map((exemplar) => nanosecondText(BigInt(exemplar.timeUnixNano ?? '0'))),
    'Exemplars.Value': exemplars.map(numberOf),
    'Exemplars.ValueType': exemplars.map(numberLetter),
    'Exemplars.ValueInt': exemplars.map((exemplar) => exemplar.asInt ?? '0'),
    'Exemplars.SpanId': exemplars.map((exemplar) => idText(exemplar.spanId, 8)),
    'Exemplars.TraceId': exemplars.map((exemplar) => idText(exemplar.traceId, 16)),
  };
}
