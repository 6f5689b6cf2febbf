/** The JS exporters of every protocol, coding and signal against the whole service; other clients: test/interop. */
import { credentials, Metadata } from '@grpc/grpc-js';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider, type LogRecordExporter } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader, type PushMetricExporter } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

const ITEMS = 20;
let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '200', BACKWORK_WORKERS: '1' } });
});
afterAll(() => service.stopAndRemove());

interface Exporters {
  readonly logs: LogRecordExporter;
  readonly metrics: PushMetricExporter;
  readonly traces: SpanExporter;
}

type Exporter<T> = new (options: {
  url: string;
  headers: Record<string, string>;
  compression: CompressionAlgorithm;
}) => T;

function overHttp(
  compression: CompressionAlgorithm,
  Logs: Exporter<LogRecordExporter>,
  Metrics: Exporter<PushMetricExporter>,
  Traces: Exporter<SpanExporter>,
): Exporters {
  const base = `http://127.0.0.1:${service.ports.http}/v1`;
  const common = { headers: { authorization: `Bearer ${service.token}` }, compression };
  return {
    logs: new Logs({ url: `${base}/logs`, ...common }),
    metrics: new Metrics({ url: `${base}/metrics`, ...common }),
    traces: new Traces({ url: `${base}/traces`, ...common }),
  };
}

function overGrpc(compression: CompressionAlgorithm): Exporters {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${service.token}`);
  const url = `http://127.0.0.1:${service.ports.grpc}`;
  const options = { url, credentials: credentials.createInsecure(), metadata, compression };
  return { logs: new GrpcLogs(options), metrics: new GrpcMetrics(options), traces: new GrpcTraces(options) };
}

const PROTOCOLS: ReadonlyArray<readonly [string, (compression: CompressionAlgorithm) => Exporters]> = [
  ['grpc', overGrpc],
  ['http/protobuf', (compression) => overHttp(compression, ProtoLogs, ProtoMetrics, ProtoTraces)],
  ['http/json', (compression) => overHttp(compression, JsonLogs, JsonMetrics, JsonTraces)],
];

it.each(
  PROTOCOLS.flatMap(([protocol, make]) => [
    [protocol, CompressionAlgorithm.NONE, make] as const,
    [protocol, CompressionAlgorithm.GZIP, make] as const,
  ]),
)(
  'T1 (tests): %s, compression %s: what the JS SDK exports of each signal stands in the tables',
  async (protocol, compression, make) => {
    const name = `${protocol}-${compression}`;
    await exportAll(make(compression), resourceFromAttributes({ 'service.name': name }));
    const numbers = Array.from({ length: ITEMS }, (_, at) => String(at).padStart(2, '0'));
    const sql = `SELECT 'log' AS kind, Body AS id, LogAttributes['n'] AS n FROM otel_logs WHERE ServiceName = '${name}'
    UNION ALL SELECT 'span', SpanName, SpanAttributes['n'] FROM otel_traces WHERE ServiceName = '${name}'
    UNION ALL SELECT 'point', MetricName, Attributes['n'] || '=' || toString(Value) FROM otel_metrics_sum
      WHERE ServiceName = '${name}'`;
    const rows = await service.queryUntil<{ kind: string; id: string; n: string }>(
      sql,
      (found) => found.length >= 3 * ITEMS,
    );
    const of = (kind: string) =>
      rows
        .filter((row) => row.kind === kind)
        .map(({ id, n }) => `${id} ${n}`)
        .sort();
    expect(of('log')).toEqual(numbers.map((number) => `log-${number} ${Number(number)}`));
    expect(of('span')).toEqual(numbers.map((number) => `span-${number} ${Number(number)}`));
    expect(of('point')).toEqual(numbers.map((number) => `orders ${Number(number)}=${Number(number) + 1}`).sort());
  },
);

/** ITEMS log records, spans, and points of one sum. */
async function exportAll(exporters: Exporters, resource: Resource): Promise<void> {
  const logs = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: exporters.logs })],
  });
  const traces = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporters.traces)] });
  const reader = new PeriodicExportingMetricReader({ exporter: exporters.metrics, exportIntervalMillis: 3_600_000 });
  const metrics = new MeterProvider({ resource, readers: [reader] });
  const counter = metrics.getMeter('conformance').createCounter('orders');
  for (let n = 0; n < ITEMS; n++) {
    const number = String(n).padStart(2, '0');
    logs.getLogger('conformance').emit({ body: `log-${number}`, attributes: { n } });
    traces.getTracer('conformance').startSpan(`span-${number}`, { attributes: { n } }).end();
    counter.add(n + 1, { n });
  }
  // Each exports what it holds; metrics are not flushed before, or they would be exported twice.
  await Promise.all([logs.shutdown(), traces.shutdown(), metrics.shutdown()]);
}
