import { credentials, Metadata } from '@grpc/grpc-js';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OTLPMetricExporter as GrpcMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stopAndRemove());

function grpcOptions() {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${service.token}`);
  return { url: `http://127.0.0.1:${service.ports.grpc}`, credentials: credentials.createInsecure(), metadata };
}

function httpOptions(signal: string) {
  const headers = { authorization: `Bearer ${service.token}` };
  return { url: `http://127.0.0.1:${service.ports.http}/v1/${signal}`, headers };
}

const TRACE_EXPORTERS: [string, () => SpanExporter][] = [
  ['grpc', () => new GrpcTraceExporter(grpcOptions())],
  ['proto', () => new ProtoTraceExporter(httpOptions('traces'))],
  ['http', () => new JsonTraceExporter(httpOptions('traces'))],
];

describe.each(TRACE_EXPORTERS)('the official %s trace exporter', (protocol, make) => {
  it('exports spans, events and links that stand in the table value by value', async () => {
    const name = `shop-${protocol}`;
    const provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': name }),
      spanProcessors: [new BatchSpanProcessor(make())],
    });
    const tracer = provider.getTracer('checkout', '2.0.0', { schemaUrl: 'https://opentelemetry.io/schemas/1.30.0' });
    const linked = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: TraceFlags.SAMPLED,
    };
    const parent = tracer.startSpan('POST /orders', {
      kind: SpanKind.SERVER,
      startTime: [1_763_900_000, 1],
      attributes: { 'http.route': '/orders', items: 3, ratio: 0.5, paid: true, tags: ['a', 'b'] },
      links: [{ context: linked, attributes: { why: 'retry' } }],
    });
    const child = tracer.startSpan(
      'SELECT orders',
      { kind: SpanKind.CLIENT, startTime: [1_763_900_000, 5_000] },
      trace.setSpan(ROOT_CONTEXT, parent),
    );
    child.addEvent('exception', { 'exception.type': 'Timeout' }, [1_763_900_000, 6_000]);
    child.setStatus({ code: SpanStatusCode.ERROR, message: 'timed out' });
    child.end([1_763_900_000, 7_000]);
    parent.setStatus({ code: SpanStatusCode.OK });
    parent.end([1_763_900_001, 2]);
    await provider.forceFlush();
    await provider.shutdown();

    const sql = `SELECT * FROM otel_traces WHERE ServiceName = '${name}' ORDER BY Timestamp`;
    const [order, select] = await service.queryUntil<Record<string, unknown>>(sql, (rows) => rows.length === 2);
    const { traceId, spanId } = parent.spanContext();
    const common = {
      TraceId: traceId,
      ScopeName: 'checkout',
      ScopeVersion: '2.0.0',
      ResourceAttributes: { 'service.name': name },
    };
    expect(order).toMatchObject({
      ...common,
      SpanId: spanId,
      ParentSpanId: '',
      SpanName: 'POST /orders',
      SpanKind: 'Server',
      Timestamp: '2025-11-23 12:13:20.000000001',
      EndTimestamp: '2025-11-23 12:13:21.000000002',
      StatusCode: 'Ok',
      SpanAttributes: { 'http.route': '/orders', items: '3', ratio: '0.5', paid: 'true', tags: '["a","b"]' },
      SpanAttributesTypes: 'sidba',
      'Links.TraceId': [linked.traceId],
      'Links.SpanId': [linked.spanId],
      'Links.Attributes': [{ why: 'retry' }],
      'Events.Name': [],
    });
    expect(select).toMatchObject({
      ...common,
      SpanId: child.spanContext().spanId,
      ParentSpanId: spanId,
      SpanKind: 'Client',
      StatusCode: 'Error',
      StatusMessage: 'timed out',
      'Events.Name': ['exception'],
      'Events.Timestamp': ['2025-11-23 12:13:20.000006000'],
      'Events.Attributes': [{ 'exception.type': 'Timeout' }],
    });
    const durations = await service.query(
      `SELECT toString(Duration) AS ns FROM otel_traces WHERE ServiceName = '${name}' ORDER BY Timestamp`,
    );
    expect(durations).toEqual([{ ns: '1000000001' }, { ns: '2000' }]);
    const lookup = await service.query(`SELECT Start, End FROM otel_traces_trace_id_ts WHERE TraceId = '${traceId}'`);
    expect(lookup).toEqual([{ Start: '2025-11-23 12:13:20.000000001', End: '2025-11-23 12:13:20.000005000' }]);
  });
});

const METRIC_EXPORTERS: [string, () => PushMetricExporter][] = [
  ['grpc', () => new GrpcMetricExporter(grpcOptions())],
  ['proto', () => new ProtoMetricExporter(httpOptions('metrics'))],
  ['http', () => new JsonMetricExporter(httpOptions('metrics'))],
];

describe.each(METRIC_EXPORTERS)('the official %s metric exporter', (protocol, make) => {
  it('exports points that stand in their tables value by value', async () => {
    const name = `meters-${protocol}`;
    const provider = new MeterProvider({
      resource: resourceFromAttributes({ 'service.name': name }),
      readers: [new PeriodicExportingMetricReader({ exporter: make(), exportIntervalMillis: 3_600_000 })],
      views: [{ instrumentName: 'payload', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
    });
    const meter = provider.getMeter('shop', '1.0.0');
    meter
      .createCounter('orders', { description: 'Orders placed', unit: '{order}' })
      .add(7, { region: 'eu', kind: 'web' });
    meter.createObservableGauge('load').addCallback((result) => result.observe(0.25));
    const latency = meter.createHistogram('latency', { unit: 'ms', advice: { explicitBucketBoundaries: [10, 100] } });
    for (const value of [5, 50, 500]) latency.record(value);
    const payload = meter.createHistogram('payload');
    for (const value of [1, 2, 4]) payload.record(value);
    await provider.shutdown();

    const where = `WHERE ServiceName = '${name}'`;
    const point = async (table: string) => {
      const rows = await service.queryUntil<Record<string, unknown>>(
        `SELECT * FROM otel_metrics_${table} ${where}`,
        (found) => found.length > 0,
      );
      return rows[0];
    };
    const common = { ScopeName: 'shop', ScopeVersion: '1.0.0', ResourceAttributes: { 'service.name': name } };
    expect(await point('sum')).toMatchObject({
      ...common,
      MetricName: 'orders',
      MetricDescription: 'Orders placed',
      MetricUnit: '{order}',
      Attributes: { kind: 'web', region: 'eu' },
      Value: 7,
      AggregationTemporality: 2,
      IsMonotonic: true,
    });
    expect(await point('gauge')).toMatchObject({ ...common, MetricName: 'load', Value: 0.25, ValueType: 'd' });
    expect(await point('histogram')).toMatchObject({
      ...common,
      MetricName: 'latency',
      Sum: 555,
      Min: 5,
      Max: 500,
      ExplicitBounds: [10, 100],
    });
    const buckets = await service.query(
      `SELECT arrayMap(n -> toString(n), BucketCounts) AS counts, toString(Count) AS n FROM otel_metrics_histogram ${where}`,
    );
    expect(buckets).toEqual([{ counts: ['1', '1', '1'], n: '3' }]);
    expect(await point('exponential_histogram')).toMatchObject({
      ...common,
      MetricName: 'payload',
      Sum: 7,
      Min: 1,
      Max: 4,
    });
    const exponential = await service.query(
      `SELECT toString(Count) AS n, toString(arraySum(PositiveBucketCounts)) AS positive, Scale > 0 AS fine FROM otel_metrics_exponential_histogram ${where}`,
    );
    expect(exponential).toEqual([{ n: '3', positive: '3', fine: 1 }]);
  });
});
