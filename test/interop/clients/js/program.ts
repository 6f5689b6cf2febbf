/** The JS client's program: the contract of test/interop/README.md with the OpenTelemetry SDK of JavaScript. */
import { setTimeout as delay } from 'node:timers/promises';
import {
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
  ValueType,
} from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { createExporters } from './exporters.ts';

const T = 1_767_225_600;
const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.30.0';
const ITEM_EVERY_MS = 20;
const BATCH_EVERY_MS = 300;
const ONE_HOUR_MS = 3_600_000;

diag.setLogger({ ...console, verbose: () => {} }, DiagLogLevel.WARN);

const steady = process.env['INTEROP_MODE'] === 'steady';
const exporters = createExporters();
const resource = resourceFromAttributes({
  'service.name': 'interop',
  'interop.run': process.env['INTEROP_RUN'] ?? '',
  'interop.number': 7,
});
const delays = steady ? { scheduledDelayMillis: BATCH_EVERY_MS } : {};
const tracers = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(exporters.traces, delays)],
});
const loggers = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: exporters.logs, ...delays })],
});
const exportIntervalMillis = steady ? BATCH_EVERY_MS : ONE_HOUR_MS;
// The reader takes no timeout above its interval. It only tells when the reader complains: the exporter goes on by itself.
const timeout = steady ? { exportTimeoutMillis: BATCH_EVERY_MS } : {};
const meters = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: exporters.metrics, exportIntervalMillis, ...timeout })],
  views: [{ instrumentName: 'interop.payload', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const tracer = tracers.getTracer('interop.scope', '1.2.3', { schemaUrl: SCHEMA_URL });
const logger = loggers.getLogger('interop.scope', '1.2.3', { schemaUrl: SCHEMA_URL });
const meter = meters.getMeter('interop.scope', '1.2.3', { schemaUrl: SCHEMA_URL });

const report = steady ? await createItems(Number(process.env['INTEROP_SECONDS']) * 1_000) : sendKnownSet();
await Promise.all([tracers.shutdown(), loggers.shutdown(), meters.shutdown()]);
console.log(JSON.stringify(typeof report === 'function' ? report() : report));

function sendKnownSet() {
  const root = tracer.startSpan('POST /orders', {
    kind: SpanKind.SERVER,
    startTime: [T, 1],
    attributes: {
      'interop.string': 'größe "1"',
      'interop.int': Number.MAX_SAFE_INTEGER,
      'interop.double': 1.5,
      'interop.bool': true,
      'interop.strings': ['a', 'b'],
      'interop.ints': [1, 2, 3],
    },
  });
  root.addEvent('cache.miss', { key: 'order-7' }, [T, 500_000_000]);
  const linked = {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    traceFlags: TraceFlags.SAMPLED,
  };
  const child = tracer.startSpan(
    'SELECT orders',
    {
      kind: SpanKind.CLIENT,
      startTime: [T, 100_000_000],
      attributes: { 'db.rows': 3 },
      links: [{ context: linked, attributes: { why: 'retry' } }],
    },
    trace.setSpan(ROOT_CONTEXT, root),
  );
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'timed out' });
  child.end([T, 900_000_000]);
  root.end([T + 1, 2]);

  logger.emit({
    timestamp: [T + 1, 3],
    severityNumber: 9,
    severityText: 'INFO',
    body: 'order placed',
    attributes: { 'order.id': 'o-7', 'order.items': 3, 'order.total': 12.5, 'order.paid': true },
    context: ROOT_CONTEXT,
  });
  logger.emit({
    timestamp: [T, 800_000_000],
    severityNumber: 17,
    severityText: 'ERROR',
    body: 'payment failed',
    attributes: { 'exception.type': 'Timeout' },
    context: trace.setSpan(ROOT_CONTEXT, child),
  });
  recordMetrics();
  const { traceId, spanId } = root.spanContext();
  return { traceId, rootSpanId: spanId, childSpanId: child.spanContext().spanId };
}

function recordMetrics(): void {
  const int = { valueType: ValueType.INT };
  const orders = meter.createCounter('interop.orders', { unit: '{order}', description: 'Orders placed', ...int });
  for (const count of [3, 4]) orders.add(count, { kind: 'web', region: 'eu' });
  const queue = meter.createUpDownCounter('interop.queue', {
    unit: '{order}',
    description: 'Orders waiting',
    ...int,
  });
  for (const count of [5, -2]) queue.add(count);
  meter.createGauge('interop.load', { unit: '1', description: 'Load of the shop' }).record(0.25);
  const latency = meter.createHistogram('interop.latency', {
    unit: 'ms',
    description: 'Latency of orders',
    advice: { explicitBucketBoundaries: [10, 100] },
  });
  for (const value of [5, 50, 500]) latency.record(value);
  const payload = meter.createHistogram('interop.payload', { unit: 'By', description: 'Size of orders' });
  for (const value of [1, 2, 4]) payload.record(value);
}

/** Creates items for that long; what it gives tells the counts, the last collection of the shutdown included. */
async function createItems(forMs: number) {
  let items = 0;
  let points = 0;
  meter
    .createObservableGauge('interop.tick', { valueType: ValueType.INT })
    .addCallback((result) => result.observe(points++));
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    tracer.startSpan('interop.item', { attributes: { 'interop.seq': items } }).end();
    logger.emit({ body: 'interop.item', attributes: { 'interop.seq': items } });
    items++;
    await delay(ITEM_EVERY_MS);
  }
  return () => ({ spans: items, logs: items, points });
}
