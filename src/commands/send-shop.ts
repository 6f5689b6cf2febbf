/**
 * The shop of `send`: what its services did in the last five minutes, as OTLP requests of all three signals.
 *
 *   frontend ─► cart ─► (redis)
 *            └► checkout ─► payment ─► (card gateway)
 *                        ├► (postgresql)
 *                        └► queue "orders" ··link··► shipping ─► (postgresql)
 *
 * A pure function of (orders, seed, clock). Ids, durations and outcomes depend on the seed alone and every time is the
 * clock plus what the seed gave, so a test knows each row. Of 7 orders the fourth is declined by the gateway, and the
 * sixth times out there once and is tried again.
 */
import {
  anyValue,
  HAS_IS_REMOTE_FLAG,
  idBytes,
  IS_REMOTE_FLAG,
  keyValues,
  type Metric,
  nanoText,
  SAMPLED_FLAG,
  SEVERITY,
  SPAN_KIND,
  STATUS,
} from './send-otlp.ts';
import { shopMetrics, type ShopMetrics, WINDOW_US } from './send-shop-metrics.ts';
import { type Order, placeOrder } from './send-shop-order.ts';
import { seededRandom } from './send-shop-random.ts';
import type { ShopLog, ShopSpan } from './send-shop-recorder.ts';
import {
  makeServices,
  SCOPE_VERSION,
  SERVICE_NAMES,
  type Service,
  type ServiceName,
  type Services,
} from './send-shop-services.ts';

export interface Shop {
  readonly endMs: number;
  readonly services: Services;
  readonly orders: readonly Order[];
  readonly metrics: ShopMetrics;
}

export interface ShopOptions {
  /** At least 1. */
  readonly orderCount: number;
  /** An integer from 0 to 2^32 − 1. */
  readonly seed: number;
  /** The moment at which the last metrics are read; no time is later. */
  readonly endMs: number;
}

/** An export request and how many items (spans, log records, data points) it holds. */
export interface ShopRequest {
  readonly message: object;
  readonly itemCount: number;
}

/** The last order is placed so long before the end that its parcel is booked before it. */
const TAIL_US = 25_000_000;
const ORDERS_PER_REQUEST = 100;
const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.37.0';

export function makeShop({ orderCount, seed, endMs }: ShopOptions): Shop {
  const random = seededRandom(seed);
  const services = makeServices(random);
  const spacingUs = (WINDOW_US - TAIL_US) / orderCount;
  const orders = Array.from({ length: orderCount }, (_, index) => {
    const startUs = -WINDOW_US + Math.floor((index + random.next()) * spacingUs);
    return placeOrder(random, index, startUs);
  });
  return { endMs, services, orders, metrics: shopMetrics(random, orders, endMs) };
}

/** ExportTraceServiceRequests, at most ORDERS_PER_REQUEST orders each. */
export function* traceRequests(shop: Shop): Generator<ShopRequest> {
  for (const orders of chunks(shop.orders)) {
    const spans = orders.flatMap((order) => order.spans);
    const resourceSpans = byService(spans).map(({ service, items }) => ({
      ...resourceOf(shop.services[service]),
      scopeSpans: [{ scope: scopeOf(service), spans: items.map((span) => spanMessage(span, shop.endMs)) }],
    }));
    yield { message: { resourceSpans }, itemCount: spans.length };
  }
}

/** ExportLogsServiceRequests; the first holds what the services said when they started, too. */
export function* logRequests(shop: Shop): Generator<ShopRequest> {
  let first: ShopLog[] = SERVICE_NAMES.map((service) => startLog(service));
  for (const orders of chunks(shop.orders)) {
    const logs = [...first, ...orders.flatMap((order) => order.logs)];
    const resourceLogs = byService(logs).map(({ service, items }) => ({
      ...resourceOf(shop.services[service]),
      scopeLogs: [{ scope: scopeOf(service), logRecords: items.map((log) => logMessage(log, shop.endMs)) }],
    }));
    yield { message: { resourceLogs }, itemCount: logs.length };
    first = [];
  }
}

/** One ExportMetricsServiceRequest: how many points there are does not grow with the orders. */
export function* metricRequests(shop: Shop): Generator<ShopRequest> {
  const resourceMetrics = SERVICE_NAMES.map((service) => ({
    ...resourceOf(shop.services[service]),
    scopeMetrics: [{ scope: scopeOf(service), metrics: shop.metrics[service] }],
  }));
  const itemCount = SERVICE_NAMES.flatMap((service) => shop.metrics[service])
    .map((metric) => pointsOf(metric).length)
    .reduce((sum, count) => sum + count, 0);
  yield { message: { resourceMetrics }, itemCount };
}

export function pointsOf(metric: Metric) {
  const data = metric.gauge ?? metric.sum ?? metric.histogram ?? metric.exponentialHistogram ?? metric.summary;
  return data?.dataPoints ?? [];
}

function* chunks(orders: readonly Order[]): Generator<readonly Order[]> {
  for (let at = 0; at < orders.length; at += ORDERS_PER_REQUEST) yield orders.slice(at, at + ORDERS_PER_REQUEST);
}

function byService<Item extends { readonly service: ServiceName }>(items: readonly Item[]) {
  return SERVICE_NAMES.map((service) => ({ service, items: items.filter((item) => item.service === service) })).filter(
    (group) => group.items.length > 0,
  );
}

function resourceOf(service: Service) {
  return { resource: { attributes: keyValues(service.attributes) }, schemaUrl: SCHEMA_URL };
}

function scopeOf(service: ServiceName) {
  return { name: `shop/${service}`, version: SCOPE_VERSION, attributes: keyValues({ 'shop.sample': true }) };
}

function startLog(service: ServiceName): ShopLog {
  return {
    service,
    atUs: -WINDOW_US,
    severity: 'INFO',
    body: `${service} is listening on port 8080`,
    attributes: { 'server.port': 8_080 },
    eventName: 'service.started',
    traceId: '',
    spanId: '',
  };
}

function spanMessage(span: ShopSpan, endMs: number) {
  return {
    traceId: idBytes(span.traceId),
    spanId: idBytes(span.spanId),
    parentSpanId: idBytes(span.parentSpanId),
    flags: SAMPLED_FLAG | HAS_IS_REMOTE_FLAG | (span.remoteParent ? IS_REMOTE_FLAG : 0),
    name: span.name,
    kind: SPAN_KIND[span.kind],
    startTimeUnixNano: nanoText(endMs, span.startUs),
    endTimeUnixNano: nanoText(endMs, span.endUs),
    attributes: keyValues(span.attributes),
    events: span.events.map((event) => ({
      timeUnixNano: nanoText(endMs, event.atUs),
      name: event.name,
      attributes: keyValues(event.attributes),
    })),
    links: span.links.map((link) => ({
      traceId: idBytes(link.traceId),
      spanId: idBytes(link.spanId),
      attributes: keyValues(link.attributes),
      flags: SAMPLED_FLAG | HAS_IS_REMOTE_FLAG | IS_REMOTE_FLAG,
    })),
    status: { code: STATUS[span.status], message: span.statusMessage },
  };
}

function logMessage(log: ShopLog, endMs: number) {
  const at = nanoText(endMs, log.atUs);
  return {
    timeUnixNano: at,
    observedTimeUnixNano: at,
    severityNumber: SEVERITY[log.severity],
    severityText: log.severity,
    body: anyValue(log.body),
    attributes: keyValues(log.attributes),
    traceId: idBytes(log.traceId),
    spanId: idBytes(log.spanId),
    flags: log.traceId === '' ? 0 : SAMPLED_FLAG,
    eventName: log.eventName,
  };
}
