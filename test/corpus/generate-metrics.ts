/**
 * Seeded OTLP metric requests as plain objects for protobufjs (`type.fromObject`): all five kinds, metrics without data
 * or with two, points that must be rejected, exemplars with and without a value. What they become is in
 * expected-metric-rows.ts.
 */
import {
  type CorpusShape,
  itemAttributes,
  randomEnvelope,
  randomHalfChance,
  randomGoodTime,
  randomId,
  randomScopeEnvelope,
  randomTime,
  SMALL_SHAPE,
  shortAttributes,
  shortText,
  sometimes,
} from './random-envelope.ts';
import { type PlainValue, randomAttributes, randomDouble, randomInt64, randomList } from './random-values.ts';
import type { Random } from './seeded-random.ts';

type Make = (random: Random, shape: CorpusShape) => PlainValue;

const TEMPORALITIES = [0, 1, 2, 3, -1, 2_147_483_647];
const COUNTS = ['0', '1', '4294967296', '9007199254740993', '18446744073709551615'];
const INT32S = [0, 1, -1, 20, 2_147_483_647, -2_147_483_648];

const DATA: Record<string, Make> = {
  gauge: (random, shape) => ({ dataPoints: points(random, shape, randomNumberPoint) }),
  sum: (random, shape) => ({
    dataPoints: points(random, shape, randomNumberPoint),
    ...sometimes(random, 0.8, {
      aggregationTemporality: () => random.pick(TEMPORALITIES),
      isMonotonic: () => random.chance(0.5),
    }),
  }),
  histogram: (random, shape) => distribution(random, points(random, shape, randomHistogramPoint)),
  exponentialHistogram: (random, shape) => distribution(random, points(random, shape, randomExponentialPoint)),
  summary: (random, shape) => ({ dataPoints: points(random, shape, randomSummaryPoint) }),
};

export function generateMetricsRequest(random: Random, shape: CorpusShape = SMALL_SHAPE): PlainValue {
  const resourceMetrics = randomList(random, 4, () => {
    const halfChance = randomHalfChance(random);
    const scopeMetrics = randomList(random, 3, () => {
      const metrics = randomList(random, 4, () => randomMetric(random, shape, halfChance));
      return randomScopeEnvelope(random, halfChance, 'metrics', metrics);
    });
    return randomEnvelope(random, halfChance, 'scopeMetrics', scopeMetrics);
  });
  return { resourceMetrics };
}

function randomMetric(random: Random, shape: CorpusShape, halfChance: number): PlainValue {
  const metric = sometimes(random, 0.8, {
    name: () => shortText(random),
    // Over 64 KiB without any attribute: every point beneath is rejected.
    description: () => (random.chance(0.003) ? 'd'.repeat(70_000) : shortText(random)),
    unit: () => random.pick(['', 'By', 'ms', '{request}']),
    metadata: () => randomMetadata(random, halfChance),
  });
  // None: no items. Two: the later one on the wire counts, and the points of the other are nothing.
  const kinds = random.chance(0.03) ? random.int(0, 1) * 2 : 1;
  for (let i = 0; i < kinds; i++) {
    const kind = random.pick(Object.keys(DATA));
    metric[kind] = DATA[kind]?.(random, shape);
  }
  return metric;
}

function randomMetadata(random: Random, halfChance: number): PlainValue[] {
  const metadata = shortAttributes(random, 3);
  if (random.chance(halfChance)) metadata.push({ key: 'half', value: { stringValue: 'm'.repeat(42_000) } });
  if (random.chance(0.01)) metadata.push({ key: 'K'.repeat(4_097), value: { boolValue: true } });
  return metadata;
}

function points(random: Random, shape: CorpusShape, make: Make): PlainValue[] {
  return randomList(random, shape.itemsMax, () => ({ ...randomPoint(random, shape), ...make(random, shape) }));
}

function distribution(random: Random, dataPoints: PlainValue[]): PlainValue {
  return { dataPoints, ...sometimes(random, 0.8, { aggregationTemporality: () => random.pick(TEMPORALITIES) }) };
}

/** What points of every kind have. */
function randomPoint(random: Random, shape: CorpusShape): PlainValue {
  return {
    ...(random.chance(0.97) ? { timeUnixNano: randomTime(random, 60) } : {}),
    ...sometimes(random, 0.8, {
      startTimeUnixNano: () => randomTime(random, 60),
      attributes: () => itemAttributes(random, shape, 6),
      flags: () => random.pick([0, 0, 1, 2, 3, 4_294_967_295]),
    }),
  };
}

function randomNumberPoint(random: Random, shape: CorpusShape): PlainValue {
  return { ...randomNumber(random), ...sometimes(random, 0.4, { exemplars: () => randomExemplars(random, shape) }) };
}

function randomNumber(random: Random): PlainValue {
  const both = { asDouble: randomDouble(random), asInt: randomInt64(random) };
  switch (random.int(0, 19)) {
    case 0:
      return {};
    case 1:
      return both;
    default:
      return random.chance(0.5) ? { asDouble: both.asDouble } : { asInt: both.asInt };
  }
}

/** One without a value is left out, so its attributes stay below the caps: nothing says whether they would count. */
function randomExemplars(random: Random, shape: CorpusShape): PlainValue[] {
  return randomList(random, 3, () => {
    const number = randomNumber(random);
    const hasValue = Object.keys(number).length > 0;
    return {
      ...number,
      ...sometimes(random, 0.7, {
        timeUnixNano: () => (random.chance(0.95) ? randomGoodTime(random) : randomTime(random)),
        spanId: () => randomId(random, 8),
        traceId: () => randomId(random, 16),
        filteredAttributes: () => (hasValue ? itemAttributes(random, shape, 3) : randomAttributes(random, 3)),
      }),
    };
  });
}

function randomHistogramPoint(random: Random, shape: CorpusShape): PlainValue {
  return { ...randomDistributionPoint(random, shape), ...randomBuckets(random) };
}

function randomBuckets(random: Random): PlainValue {
  const bounds = Array.from({ length: random.int(0, 6) }, (_, i) => i * 2.5 - 5 + random.next());
  if (random.chance(0.1)) bounds.push(Infinity);
  if (random.chance(0.1)) bounds.unshift(-Infinity);
  const counts = Array.from({ length: bounds.length + 1 }, () => random.pick(COUNTS));
  switch (random.int(0, 19)) {
    case 0:
      return {};
    case 1: // No count too few or too many: one bucket without bounds is right, two are not.
      return { bucketCounts: counts };
    case 2:
      return { bucketCounts: counts.slice(1), explicitBounds: bounds };
    case 3:
      return { explicitBounds: bounds };
    case 4:
      return {
        bucketCounts: ['1', '2', '3'],
        explicitBounds: random.pick([
          [1, 1],
          [2, 1],
          [-0, 0],
          [0, -0],
        ]),
      };
    case 5:
      return {
        bucketCounts: ['1', '2', '3'],
        explicitBounds: random.pick([
          [Number.NaN, 1],
          [1, Number.NaN],
        ]),
      };
    case 6:
      return { bucketCounts: ['7'] };
    default:
      return { bucketCounts: counts, explicitBounds: bounds };
  }
}

function randomDistributionPoint(random: Random, shape: CorpusShape): PlainValue {
  return sometimes(random, 0.7, {
    count: () => random.pick(COUNTS),
    sum: () => randomDouble(random),
    min: () => randomDouble(random),
    max: () => randomDouble(random),
    exemplars: () => (random.chance(0.4) ? randomExemplars(random, shape) : []),
  });
}

function randomExponentialPoint(random: Random, shape: CorpusShape): PlainValue {
  return {
    ...randomDistributionPoint(random, shape),
    ...sometimes(random, 0.7, {
      scale: () => random.pick(INT32S),
      zeroCount: () => random.pick(COUNTS),
      zeroThreshold: () => randomDouble(random),
      positive: () => randomExponentialBuckets(random),
      negative: () => randomExponentialBuckets(random),
    }),
  };
}

function randomExponentialBuckets(random: Random): PlainValue {
  return sometimes(random, 0.8, {
    offset: () => random.pick(INT32S),
    bucketCounts: () => randomList(random, 8, () => random.pick(COUNTS)),
  });
}

function randomSummaryPoint(random: Random): PlainValue {
  return sometimes(random, 0.7, {
    count: () => random.pick(COUNTS),
    sum: () => randomDouble(random),
    quantileValues: () =>
      randomList(random, 4, () =>
        sometimes(random, 0.8, { quantile: () => random.pick([0, 0.5, 0.99, 1]), value: () => randomDouble(random) }),
      ),
  });
}
