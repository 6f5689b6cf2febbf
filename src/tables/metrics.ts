/** The five metric tables (reference otlp.md 4.3, 4.6). */
import {
  arrayOfFloat64,
  arrayOfUint64,
  attributes,
  bloomMap,
  bool,
  type Column,
  float64,
  int32,
  int64,
  lowCardinality,
  minmax,
  nested,
  nullableFloat64,
  string,
  TENANCY,
  TENANCY_INDEXES,
  type Table,
  time9,
  uint32,
  uint64,
} from './column.ts';

const COMMON: readonly Column[] = [
  ...TENANCY,
  attributes('ResourceAttributes', 'resource'),
  lowCardinality('ResourceAttributesTypes', 'resource'),
  uint32('ResourceDroppedAttributesCount', 'resource'),
  string('ResourceEntityRefs', 'resource'),
  string('ResourceSchemaUrl', 'resource'),
  string('ScopeName', 'scope'),
  string('ScopeVersion', 'scope'),
  attributes('ScopeAttributes', 'scope'),
  lowCardinality('ScopeAttributesTypes', 'scope'),
  uint32('ScopeDroppedAttrCount', 'scope'),
  string('ScopeSchemaUrl', 'scope'),
  lowCardinality('ServiceName', 'resource'),
  lowCardinality('MetricName', 'metric'),
  string('MetricDescription', 'metric'),
  string('MetricUnit', 'metric'),
  attributes('MetricMetadata', 'metric'),
  lowCardinality('MetricMetadataTypes', 'metric'),
  attributes('Attributes'),
  lowCardinality('AttributesTypes'),
  uint32('DroppedAttributesCount'),
  time9('StartTimeUnix'),
  time9('TimeUnix'),
  uint32('Flags'),
];

const EXEMPLARS: readonly Column[] = nested('Exemplars', [
  attributes('FilteredAttributes'),
  lowCardinality('FilteredAttributesTypes'),
  time9('TimeUnix'),
  float64('Value'),
  lowCardinality('ValueType'),
  int64('ValueInt'),
  string('SpanId'),
  string('TraceId'),
]);

const NUMBER: readonly Column[] = [float64('Value'), lowCardinality('ValueType'), int64('ValueInt'), ...EXEMPLARS];

function metricTable(kind: string, columns: readonly Column[]): Table {
  return {
    name: `otel_metrics_${kind}`,
    columns: [...COMMON, ...columns],
    derived: [],
    indexes: [
      ...TENANCY_INDEXES,
      minmax('TimeUnix'),
      ...bloomMap('ResourceAttributes'),
      ...bloomMap('ScopeAttributes'),
      ...bloomMap('Attributes'),
    ],
    orderBy: '(OrgId, ServiceName, MetricName, toStartOfHour(TimeUnix), cityHash64(Attributes), TimeUnix)',
  };
}

export const METRICS_GAUGE: Table = metricTable('gauge', NUMBER);

export const METRICS_SUM: Table = metricTable('sum', [
  ...NUMBER,
  int32('AggregationTemporality', 'metric'),
  bool('IsMonotonic', 'metric'),
]);

export const METRICS_HISTOGRAM: Table = metricTable('histogram', [
  uint64('Count'),
  nullableFloat64('Sum'),
  arrayOfUint64('BucketCounts'),
  arrayOfFloat64('ExplicitBounds'),
  ...EXEMPLARS,
  nullableFloat64('Min'),
  nullableFloat64('Max'),
  int32('AggregationTemporality', 'metric'),
]);

export const METRICS_EXPONENTIAL_HISTOGRAM: Table = metricTable('exponential_histogram', [
  uint64('Count'),
  nullableFloat64('Sum'),
  int32('Scale'),
  uint64('ZeroCount'),
  float64('ZeroThreshold'),
  int32('PositiveOffset'),
  arrayOfUint64('PositiveBucketCounts'),
  int32('NegativeOffset'),
  arrayOfUint64('NegativeBucketCounts'),
  ...EXEMPLARS,
  nullableFloat64('Min'),
  nullableFloat64('Max'),
  int32('AggregationTemporality', 'metric'),
]);

export const METRICS_SUMMARY: Table = metricTable('summary', [
  uint64('Count'),
  float64('Sum'),
  ...nested('ValueAtQuantiles', [float64('Quantile'), float64('Value')]),
]);
