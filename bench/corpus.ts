/**
 * Seeded OTLP requests for the benches: a small shop behind a Collector. A request holds 4 resources of 2 scopes each, and
 * its items spread evenly over them. A span is about 436 bytes with 10 attributes, as those of the peers' measurements.
 *
 *   request ─► resource (11 attributes, one of them REQUEST_KEY) ─► scope ─► items, each with an attribute ITEM_KEY
 *
 * REQUEST_KEY is a text of fixed width and ITEM_KEY the number of the item in its request, so (request, item) names each
 * item. Trace and span ids begin with ID_MARK. Whoever sends a body more than once writes over both (request-bodies.ts).
 */
import { type Random, seededRandom } from '../test/corpus/seeded-random.ts';
import { loadProto, requestType } from '../test/proto/load-proto.ts';
import type { Signal } from '../src/ingest/messages.ts';
import { logItems } from './corpus-logs.ts';
import { metricItems } from './corpus-metrics.ts';
import { spanItems } from './corpus-spans.ts';
import { nanoseconds, type Plain, REQUEST_KEY, textAttribute } from './corpus-values.ts';

export interface Corpus {
  readonly signal: Signal;
  /** Export…Request bodies, protobuf. */
  readonly bodies: readonly Buffer[];
  readonly itemsPerRequest: number;
  /** Of all bodies. */
  readonly bytes: number;
}

export interface CorpusOptions {
  readonly signal: Signal;
  readonly itemsPerRequest: number;
  readonly requests: number;
  readonly seed: number;
}

/** What a request's id looks like before it is written over: REQUEST_ID_DIGITS characters. */
export const REQUEST_ID_UNSET = '0000000000';
export const REQUEST_ID_DIGITS = REQUEST_ID_UNSET.length;

const RESOURCES_PER_REQUEST = 4;
const SCOPES_PER_RESOURCE = 2;
const SERVICES = [
  'frontend',
  'cart',
  'checkout',
  'payment',
  'shipping',
  'catalogue',
  'currency',
  'email',
  'ads',
  'search',
];
/** Requests are a second apart from here on. */
const FIRST_REQUEST_MS = Date.UTC(2026, 10, 23, 12);

export function makeCorpus(options: CorpusOptions): Corpus {
  const { signal, itemsPerRequest, requests, seed } = options;
  const random = seededRandom(seed);
  const type = requestType(loadProto(), signal);
  const bodies = Array.from({ length: requests }, (_, index) => {
    const plain = plainRequest(signal, itemsPerRequest, random, FIRST_REQUEST_MS + index * 1_000);
    return Buffer.from(type.encode(plain).finish());
  });
  return { signal, bodies, itemsPerRequest, bytes: bodies.reduce((sum, body) => sum + body.length, 0) };
}

/** `resourceSpans`, `scopeSpans`, `spans` and their like: lists of the three levels. */
const FIELDS: Record<Signal, { readonly resources: string; readonly scopes: string; readonly items: string }> = {
  traces: { resources: 'resourceSpans', scopes: 'scopeSpans', items: 'spans' },
  logs: { resources: 'resourceLogs', scopes: 'scopeLogs', items: 'logRecords' },
  metrics: { resources: 'resourceMetrics', scopes: 'scopeMetrics', items: 'metrics' },
};
const ITEMS = { traces: spanItems, logs: logItems, metrics: metricItems };

function plainRequest(signal: Signal, itemCount: number, random: Random, startMs: number): Plain {
  const fields = FIELDS[signal];
  const leaves = RESOURCES_PER_REQUEST * SCOPES_PER_RESOURCE;
  const firstService = random.int(0, SERVICES.length - 1);
  const resources = Array.from({ length: RESOURCES_PER_REQUEST }, (_, r) => ({
    resource: resource(random, SERVICES[(firstService + r) % SERVICES.length] ?? ''),
    [fields.scopes]: Array.from({ length: SCOPES_PER_RESOURCE }, (_, s) => {
      const leaf = r * SCOPES_PER_RESOURCE + s;
      const from = Math.floor((leaf * itemCount) / leaves);
      const to = Math.floor(((leaf + 1) * itemCount) / leaves);
      const start = nanoseconds(startMs, random.int(0, 999_999_999));
      return { scope: scope(signal, s), [fields.items]: ITEMS[signal](random, start, from, to) };
    }),
    schemaUrl: 'https://opentelemetry.io/schemas/1.37.0',
  }));
  return { [fields.resources]: resources };
}

function resource(random: Random, service: string): Plain {
  const pod = `${service}-7d4b9c6f5-${random.int(10_000, 99_999)}`;
  const attributes = [
    textAttribute(REQUEST_KEY, REQUEST_ID_UNSET),
    textAttribute('service.name', service),
    textAttribute('service.version', `2.${random.int(0, 9)}.1`),
    textAttribute('service.namespace', 'shop'),
    textAttribute('deployment.environment.name', 'production'),
    textAttribute('telemetry.sdk.name', 'opentelemetry'),
    textAttribute('telemetry.sdk.language', random.pick(['nodejs', 'java', 'go', 'python'])),
    textAttribute('telemetry.sdk.version', '2.12.1'),
    textAttribute('host.name', `ip-10-0-${random.int(0, 7)}-${random.int(2, 250)}.eu-west-1.compute.internal`),
    textAttribute('k8s.namespace.name', 'shop'),
    textAttribute('k8s.pod.name', pod),
  ];
  return { attributes };
}

function scope(signal: Signal, index: number): Plain {
  const names = { traces: ['http', 'pg'], logs: ['app', 'audit'], metrics: ['http', 'runtime'] }[signal];
  return { name: `@opentelemetry/instrumentation-${names[index % 2]}`, version: '0.223.1' };
}
