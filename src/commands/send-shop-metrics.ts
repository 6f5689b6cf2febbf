/**
 * The metrics of the sample shop, one of each kind and more, read every INTERVAL_US over the window and computed from
 * the very spans of the sample: a counter counts them, a histogram holds their durations and its exemplars name them.
 */
import {
  type Attributes,
  type DataPoint,
  type Exemplar,
  idBytes,
  keyValues,
  type Metric,
  nanoText,
  TEMPORALITY,
} from './send-otlp.ts';
import type { Order } from './send-shop-order.ts';
import type { Random } from './send-shop-random.ts';
import type { ShopSpan } from './send-shop-recorder.ts';
import { SERVICE_NAMES, type ServiceName } from './send-shop-services.ts';

/** All that happens lies in this span of time before the end. */
export const WINDOW_US = 300_000_000;
/** Between two readings of a metric; the window is a whole number of them. */
const INTERVAL_US = 30_000_000;
const READINGS_US = Array.from(
  { length: WINDOW_US / INTERVAL_US },
  (_, index) => -WINDOW_US + (index + 1) * INTERVAL_US,
);

/** Of semantic conventions' http.server.request.duration, in seconds. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** Buckets of the exponential histogram grow by 2^(2^-3), 9 %. */
const SCALE = 3;
const QUANTILES = [0.5, 0.9, 0.99, 1];

export type ShopMetrics = Readonly<Record<ServiceName, readonly Metric[]>>;

export function shopMetrics(random: Random, orders: readonly Order[], endMs: number): ShopMetrics {
  const clock = new Clock(endMs);
  const spans = orders.flatMap((order) => order.spans);
  const metrics: Record<ServiceName, Metric[]> = { frontend: [], cart: [], checkout: [], payment: [], shipping: [] };
  for (const service of ['frontend', 'cart'] as const) {
    const served = spans.filter((span) => span.service === service && span.kind === 'server');
    metrics[service].push(requestCounter(clock, served), requestDuration(clock, served));
  }
  for (const service of ['checkout', 'payment'] as const) {
    const served = spans.filter((span) => span.service === service && span.kind === 'server');
    metrics[service].push(callDuration(clock, served));
  }
  metrics.checkout.push(revenue(clock, orders));
  const gatewayCalls = spans.filter((span) => span.service === 'payment' && span.kind === 'client');
  metrics.payment.push(gatewayLatency(clock, gatewayCalls));
  metrics.shipping.push(queueDepth(clock, orders));
  for (const service of SERVICE_NAMES) metrics[service].push(cpuUtilization(clock, random));
  return metrics;
}

class Clock {
  readonly #endMs: number;
  constructor(endMs: number) {
    this.#endMs = endMs;
  }

  nano(atUs: number): string {
    return nanoText(this.#endMs, atUs);
  }

  /** Of a point that tells what happened between two moments. */
  times(fromUs: number, toUs: number) {
    return { startTimeUnixNano: this.nano(fromUs), timeUnixNano: this.nano(toUs) };
  }
}

/** Cumulative: each reading counts from the window's start. */
function requestCounter(clock: Clock, served: readonly ShopSpan[]): Metric {
  const dataPoints = series(served).flatMap(({ attributes, spans }) =>
    READINGS_US.map((readUs) => ({
      attributes: keyValues(attributes),
      ...clock.times(-WINDOW_US, readUs),
      asInt: endedBetween(spans, -WINDOW_US, readUs).length,
    })),
  );
  return {
    name: 'http.server.requests',
    description: 'Requests answered',
    unit: '{request}',
    metadata: keyValues({ 'prometheus.type': 'counter' }),
    sum: { dataPoints, aggregationTemporality: TEMPORALITY.cumulative, isMonotonic: true },
  };
}

function requestDuration(clock: Clock, served: readonly ShopSpan[]): Metric {
  const dataPoints = series(served).flatMap(({ attributes, spans }) =>
    READINGS_US.map((readUs): DataPoint => {
      const seconds = endedBetween(spans, -WINDOW_US, readUs).map(secondsOf);
      return {
        attributes: keyValues(attributes),
        ...clock.times(-WINDOW_US, readUs),
        count: seconds.length,
        ...totals(seconds),
        explicitBounds: BOUNDS,
        bucketCounts: explicitBuckets(seconds),
        exemplars: slowest(clock, endedBetween(spans, readUs - INTERVAL_US, readUs), secondsOf),
      };
    }),
  );
  return {
    name: 'http.server.request.duration',
    description: 'Duration of requests answered',
    unit: 's',
    histogram: { dataPoints, aggregationTemporality: TEMPORALITY.cumulative },
  };
}

/** Delta: each reading tells of its own interval, and there is none where nothing happened. */
function callDuration(clock: Clock, served: readonly ShopSpan[]): Metric {
  const dataPoints = READINGS_US.flatMap((readUs): DataPoint[] => {
    const spans = endedBetween(served, readUs - INTERVAL_US, readUs);
    const milliseconds = spans.map(millisecondsOf);
    if (spans.length === 0) return [];
    const method = spans[0]?.attributes['rpc.method'] ?? '';
    return [
      {
        attributes: keyValues({ 'rpc.system': 'grpc', 'rpc.method': method }),
        ...clock.times(readUs - INTERVAL_US, readUs),
        count: milliseconds.length,
        ...totals(milliseconds),
        scale: SCALE,
        zeroCount: 0,
        zeroThreshold: 0.001,
        positive: exponentialBuckets(milliseconds),
        exemplars: slowest(clock, spans, millisecondsOf),
      },
    ];
  });
  return {
    name: 'rpc.server.duration',
    description: 'Duration of calls answered',
    unit: 'ms',
    exponentialHistogram: { dataPoints, aggregationTemporality: TEMPORALITY.delta },
  };
}

function revenue(clock: Clock, orders: readonly Order[]): Metric {
  const dataPoints = READINGS_US.map((readUs) => {
    const paid = orders.filter(
      ({ queued }) => queued !== undefined && isBetween(queued.fromUs, readUs - INTERVAL_US, readUs),
    );
    return {
      attributes: keyValues({ currency: 'EUR' }),
      ...clock.times(readUs - INTERVAL_US, readUs),
      // Summed as cents, so that no rounding depends on the order.
      asDouble: paid.reduce((cents, order) => cents + Math.round(order.revenue * 100), 0) / 100,
    };
  });
  return {
    name: 'shop.revenue',
    description: 'What was paid for orders',
    unit: 'EUR',
    sum: { dataPoints, aggregationTemporality: TEMPORALITY.delta, isMonotonic: true },
  };
}

function gatewayLatency(clock: Clock, calls: readonly ShopSpan[]): Metric {
  const dataPoints = READINGS_US.map((readUs): DataPoint => {
    const seconds = endedBetween(calls, -WINDOW_US, readUs)
      .map(secondsOf)
      .sort((a, b) => a - b);
    return {
      attributes: keyValues({ 'server.address': 'gateway.example.com' }),
      ...clock.times(-WINDOW_US, readUs),
      count: seconds.length,
      sum: sumOf(seconds),
      quantileValues:
        seconds.length === 0 ? [] : QUANTILES.map((quantile) => ({ quantile, value: nearest(seconds, quantile) })),
    };
  });
  return {
    name: 'payment.gateway.duration',
    description: 'Duration of calls to the card gateway',
    unit: 's',
    summary: { dataPoints },
  };
}

function queueDepth(clock: Clock, orders: readonly Order[]): Metric {
  const dataPoints = READINGS_US.map((readUs) => ({
    attributes: keyValues({ 'messaging.destination.name': 'orders' }),
    ...clock.times(-WINDOW_US, readUs),
    asInt: orders.filter(({ queued }) => queued !== undefined && queued.fromUs <= readUs && queued.toUs > readUs)
      .length,
  }));
  return { name: 'shop.queue.depth', description: 'Orders waiting', unit: '{message}', gauge: { dataPoints } };
}

function cpuUtilization(clock: Clock, random: Random): Metric {
  const dataPoints = READINGS_US.map((readUs) => ({
    attributes: keyValues({ 'cpu.mode': 'user' }),
    ...clock.times(-WINDOW_US, readUs),
    asDouble: (1 + random.int(20, 600)) / 1_000 + 0.0001,
  }));
  return { name: 'process.cpu.utilization', description: 'Share of a core in use', unit: '1', gauge: { dataPoints } };
}

/** Spans by route and status code, as a counter tells them apart. */
function series(served: readonly ShopSpan[]): { attributes: Attributes; spans: readonly ShopSpan[] }[] {
  const found = new Map<string, { attributes: Attributes; spans: ShopSpan[] }>();
  for (const span of served) {
    const attributes: Record<string, string | number> = {};
    for (const key of ['http.request.method', 'http.response.status_code', 'http.route']) {
      const value = span.attributes[key];
      if (typeof value === 'string' || typeof value === 'number') attributes[key] = value;
    }
    const key = JSON.stringify(attributes);
    const one = found.get(key) ?? { attributes, spans: [] };
    one.spans.push(span);
    found.set(key, one);
  }
  return [...found.values()];
}

/** After `fromUs`, until `toUs`. */
function endedBetween(spans: readonly ShopSpan[], fromUs: number, toUs: number): ShopSpan[] {
  return spans.filter((span) => isBetween(span.endUs, fromUs, toUs));
}

function isBetween(atUs: number, fromUs: number, toUs: number): boolean {
  return atUs > fromUs && atUs <= toUs;
}

function secondsOf(span: ShopSpan): number {
  return (span.endUs - span.startUs) / 1_000_000;
}

function millisecondsOf(span: ShopSpan): number {
  return (span.endUs - span.startUs) / 1_000;
}

/** Of nothing there is no smallest and no largest value. */
function totals(values: readonly number[]) {
  if (values.length === 0) return { sum: 0 };
  return { sum: sumOf(values), min: Math.min(...values), max: Math.max(...values) };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** A bucket holds what is above the bound before it and up to its own. */
function explicitBuckets(values: readonly number[]): number[] {
  const counts = Array.from({ length: BOUNDS.length + 1 }, () => 0);
  for (const value of values) {
    const bucket = BOUNDS.findIndex((bound) => value <= bound);
    const index = bucket < 0 ? BOUNDS.length : bucket;
    counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts;
}

/** Bucket i holds what is above base^i and up to base^(i + 1), base being 2^(2^-SCALE). */
function exponentialBuckets(values: readonly number[]): { offset: number; bucketCounts: number[] } {
  const indexes = values.map((value) => Math.ceil(Math.log2(value) * 2 ** SCALE) - 1);
  const offset = Math.min(...indexes);
  const counts = Array.from({ length: Math.max(...indexes) - offset + 1 }, () => 0);
  for (const index of indexes) counts[index - offset] = (counts[index - offset] ?? 0) + 1;
  return { offset, bucketCounts: counts };
}

/** The nearest-rank quantile of values in order. */
function nearest(sorted: readonly number[], quantile: number): number {
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? 0;
}

/** The exemplar of an interval is its slowest span. */
function slowest(clock: Clock, spans: readonly ShopSpan[], measure: (span: ShopSpan) => number): Exemplar[] {
  const [first, ...others] = spans;
  if (first === undefined) return [];
  const span = others.reduce((slow, one) => (measure(one) > measure(slow) ? one : slow), first);
  const filtered: Attributes =
    span.attributes['shop.order.id'] === undefined ? {} : { 'shop.order.id': span.attributes['shop.order.id'] };
  return [
    {
      timeUnixNano: clock.nano(span.endUs),
      asDouble: measure(span),
      traceId: idBytes(span.traceId),
      spanId: idBytes(span.spanId),
      filteredAttributes: keyValues(filtered),
    },
  ];
}
