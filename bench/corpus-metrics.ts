/**
 * Metrics of the benches' corpus: runs of eight data points a metric, of all five kinds in the shares that METRICS has.
 * A data point has six attributes; the items of this signal are data points.
 */
import type { Random } from '../test/corpus/seeded-random.ts';
import { fixed64, ITEM_KEY, intAttribute, markedId, type Plain, textAttribute } from './corpus-values.ts';

const POINTS_PER_METRIC = 8;
const INTERVAL_NS = 10_000_000_000n;
const CUMULATIVE = 2;
const DELTA = 1;

type Points = readonly Plain[];
type PointMaker = (random: Random) => Plain;
interface MetricMaker {
  readonly name: string;
  readonly unit: string;
  readonly point: PointMaker;
  readonly data: (dataPoints: Points) => Plain;
}

const METRICS: readonly MetricMaker[] = [
  {
    name: 'http.server.request.duration',
    unit: 's',
    point: histogramPoint,
    data: (dataPoints) => ({ histogram: { dataPoints, aggregationTemporality: CUMULATIVE } }),
  },
  {
    name: 'http.server.requests',
    unit: '{request}',
    point: (random) => ({ asInt: random.int(0, 1_000_000) }),
    data: (dataPoints) => ({ sum: { dataPoints, aggregationTemporality: CUMULATIVE, isMonotonic: true } }),
  },
  {
    name: 'process.runtime.memory',
    unit: 'By',
    point: (random) => ({ asInt: random.int(1_000_000, 900_000_000) }),
    data: (dataPoints) => ({ gauge: { dataPoints } }),
  },
  {
    name: 'db.client.operation.duration',
    unit: 's',
    point: exponentialPoint,
    data: (dataPoints) => ({ exponentialHistogram: { dataPoints, aggregationTemporality: DELTA } }),
  },
  {
    name: 'system.cpu.utilization',
    unit: '1',
    point: (random) => ({ asDouble: random.next() }),
    data: (dataPoints) => ({ gauge: { dataPoints } }),
  },
  {
    name: 'db.client.connections.usage',
    unit: '{connection}',
    point: (random) => ({ asInt: random.int(0, 40) }),
    data: (dataPoints) => ({ sum: { dataPoints, aggregationTemporality: CUMULATIVE } }),
  },
  {
    name: 'system.network.io',
    unit: 'By',
    point: (random) => ({ asDouble: random.int(0, 1_000_000_000) / 8 }),
    data: (dataPoints) => ({ sum: { dataPoints, aggregationTemporality: CUMULATIVE, isMonotonic: true } }),
  },
  {
    name: 'rpc.durations',
    unit: 'ms',
    point: summaryPoint,
    data: (dataPoints) => ({ summary: { dataPoints } }),
  },
];

/** Metrics that hold data points `from` … `to` − 1 of a request. */
export function metricItems(random: Random, start: bigint, from: number, to: number): Plain[] {
  const metrics: Plain[] = [];
  for (let first = from; first < to; first += POINTS_PER_METRIC) {
    const maker = METRICS[metrics.length % METRICS.length]!;
    const count = Math.min(POINTS_PER_METRIC, to - first);
    const points = Array.from({ length: count }, (_, index) => ({
      attributes: attributes(random, first + index),
      startTimeUnixNano: fixed64(start - 360n * INTERVAL_NS),
      timeUnixNano: fixed64(start),
      ...maker.point(random),
    }));
    const { name, unit } = maker;
    metrics.push({ name, unit, description: `What ${name} was in the interval.`, ...maker.data(points) });
  }
  return metrics;
}

function attributes(random: Random, index: number): Plain[] {
  return [
    intAttribute(ITEM_KEY, index),
    textAttribute('http.request.method', random.pick(['GET', 'POST', 'PUT'])),
    textAttribute('http.route', random.pick(['/api/cart', '/api/checkout', '/api/products/{id}', '/api/orders/{id}'])),
    intAttribute('http.response.status_code', random.pick([200, 201, 404, 500])),
    textAttribute('server.address', 'shop.example.com'),
    textAttribute('network.protocol.version', random.pick(['1.1', '2'])),
  ];
}

const BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

function histogramPoint(random: Random): Plain {
  const bucketCounts = [...BOUNDS_S, 0].map(() => random.int(0, 500));
  return {
    count: bucketCounts.reduce((sum, count) => sum + count, 0),
    sum: random.next() * 10_000,
    min: 0.001,
    max: 12.5,
    bucketCounts,
    explicitBounds: BOUNDS_S,
    ...(random.chance(0.1) ? { exemplars: [exemplar(random)] } : {}),
  };
}

function exponentialPoint(random: Random): Plain {
  const bucketCounts = Array.from({ length: 40 }, () => random.int(0, 300));
  return {
    count: bucketCounts.reduce((sum, count) => sum + count, 0),
    sum: random.next() * 1_000,
    scale: 3,
    positive: { offset: -20, bucketCounts },
    min: 0.0001,
    max: 3.25,
  };
}

function summaryPoint(random: Random): Plain {
  const quantileValues = [0, 0.5, 0.9, 0.99, 1].map((quantile) => ({ quantile, value: random.next() * 300 }));
  return { count: random.int(1, 5_000), sum: random.next() * 100_000, quantileValues };
}

function exemplar(random: Random): Plain {
  const value = { asDouble: random.next(), spanId: markedId(random, 8), traceId: markedId(random, 16) };
  return { ...value, timeUnixNano: fixed64(1_795_000_000_000_000_000n) };
}
