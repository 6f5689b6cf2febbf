/** The obvious way (plain-rows.ts) for metrics: a row a data point, a text for each of the five tables. */
import type { RowOrigin } from '../src/ingest/messages.ts';
import {
  attributeColumns,
  type Decoded,
  hexText,
  type Row,
  resourceColumns,
  scopeColumns,
  tenancyColumns,
  timeText,
} from './plain-values.ts';

const KINDS = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'] as const;
type Kind = (typeof KINDS)[number];

const POINT_COLUMNS: Record<Kind, (point: Decoded) => Row> = {
  gauge: numberColumns,
  sum: numberColumns,
  histogram: histogramColumns,
  exponentialHistogram: exponentialColumns,
  summary: summaryColumns,
};

export function plainMetricRows(request: Decoded, origin: RowOrigin): string[] {
  const tenancy = tenancyColumns(origin);
  const texts: Record<Kind, string> = { gauge: '', sum: '', histogram: '', exponentialHistogram: '', summary: '' };
  for (const resourceMetrics of request['resourceMetrics']) {
    const resource = { ...tenancy, ...resourceColumns(resourceMetrics) };
    for (const scopeMetrics of resourceMetrics.scopeMetrics) {
      const scope = { ...resource, ...scopeColumns(scopeMetrics, 'ScopeDroppedAttrCount') };
      for (const metric of scopeMetrics.metrics) {
        const kind: Kind | undefined = metric.data;
        if (kind === undefined) continue;
        const repeated = { ...scope, ...metricColumns(metric, metric[kind]) };
        for (const point of metric[kind].dataPoints) {
          const row = { ...repeated, ...pointColumns(point), ...POINT_COLUMNS[kind](point) };
          texts[kind] += `${JSON.stringify(row)}\n`;
        }
      }
    }
  }
  return KINDS.map((kind) => texts[kind]);
}

function metricColumns(metric: Decoded, data: Decoded): Row {
  const metadata = attributeColumns(metric['metadata']);
  return {
    MetricName: metric['name'],
    MetricDescription: metric['description'],
    MetricUnit: metric['unit'],
    MetricMetadata: metadata.map,
    MetricMetadataTypes: metadata.letters,
    AggregationTemporality: data['aggregationTemporality'],
    IsMonotonic: data['isMonotonic'],
  };
}

function pointColumns(point: Decoded): Row {
  // A series is found by its attributes, so their order must not matter.
  const sorted = [...point['attributes']].sort((a: Decoded, b: Decoded) => (a['key'] < b['key'] ? -1 : 1));
  const attributes = attributeColumns(sorted);
  return {
    Attributes: attributes.map,
    AttributesTypes: attributes.letters,
    DroppedAttributesCount: 0,
    StartTimeUnix: timeText(point['startTimeUnixNano']),
    TimeUnix: timeText(point['timeUnixNano']),
    Flags: point['flags'],
  };
}

function numberColumns(point: Decoded): Row {
  return { ...valueColumns(point), ...exemplarColumns(point['exemplars']) };
}

function valueColumns(of: Decoded): { Value: number; ValueType: string; ValueInt: string } {
  const isInt = of['value'] === 'asInt';
  const none = of['value'] === undefined;
  return {
    Value: isInt ? Number(of['asInt']) : (of['asDouble'] ?? 0),
    ValueType: none ? '' : isInt ? 'i' : 'd',
    ValueInt: isInt ? of['asInt'].toString() : '0',
  };
}

function exemplarColumns(exemplars: Decoded[]): Row {
  const attributes = exemplars.map((one) => attributeColumns(one['filteredAttributes']));
  const values = exemplars.map(valueColumns);
  return {
    'Exemplars.FilteredAttributes': attributes.map((one) => one.map),
    'Exemplars.FilteredAttributesTypes': attributes.map((one) => one.letters),
    'Exemplars.TimeUnix': exemplars.map((one) => timeText(one['timeUnixNano'])),
    'Exemplars.Value': values.map((one) => one.Value),
    'Exemplars.ValueType': values.map((one) => one.ValueType),
    'Exemplars.ValueInt': values.map((one) => one.ValueInt),
    'Exemplars.SpanId': exemplars.map((one) => hexText(one['spanId'])),
    'Exemplars.TraceId': exemplars.map((one) => hexText(one['traceId'])),
  };
}

function histogramColumns(point: Decoded): Row {
  return {
    Count: point['count'].toString(),
    Sum: point['sum'],
    BucketCounts: point['bucketCounts'].map(String),
    ExplicitBounds: point['explicitBounds'],
    ...exemplarColumns(point['exemplars']),
    Min: point['min'],
    Max: point['max'],
  };
}

function exponentialColumns(point: Decoded): Row {
  return {
    Count: point['count'].toString(),
    Sum: point['sum'],
    Scale: point['scale'],
    ZeroCount: point['zeroCount'].toString(),
    ZeroThreshold: point['zeroThreshold'],
    PositiveOffset: point['positive']?.offset ?? 0,
    PositiveBucketCounts: point['positive']?.bucketCounts.map(String) ?? [],
    NegativeOffset: point['negative']?.offset ?? 0,
    NegativeBucketCounts: point['negative']?.bucketCounts.map(String) ?? [],
    ...exemplarColumns(point['exemplars']),
    Min: point['min'],
    Max: point['max'],
  };
}

function summaryColumns(point: Decoded): Row {
  return {
    Count: point['count'].toString(),
    Sum: point['sum'],
    'ValueAtQuantiles.Quantile': point['quantileValues'].map((one: Decoded) => one['quantile']),
    'ValueAtQuantiles.Value': point['quantileValues'].map((one: Decoded) => one['value']),
  };
}
