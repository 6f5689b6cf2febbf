/**
 * Seeded OTLP trace requests as plain objects for protobufjs (`type.fromObject`): spans of few traces, events, links,
 * ids and times at their edges, ends before starts, unknown kinds and codes. What they become is in expected-trace-rows.ts.
 */
import {
  type CorpusShape,
  itemAttributes,
  randomCount,
  randomEnvelope,
  randomHalfChance,
  randomGoodTime,
  randomId,
  randomScopeEnvelope,
  randomTime,
  SMALL_SHAPE,
  sometimes,
} from './random-envelope.ts';
import { type PlainValue, randomList, randomText } from './random-values.ts';
import type { Random } from './seeded-random.ts';

const FLAGS = [0, 1, 255, 256, 0x301, 4_294_967_295];

export function generateTracesRequest(random: Random, shape: CorpusShape = SMALL_SHAPE): PlainValue {
  // Few traces a request, so that the lookup has ranges and not only points.
  const traceIds = [random.bytes(16), random.bytes(16), random.bytes(16)];
  const resourceSpans = randomList(random, 4, () => {
    const halfChance = randomHalfChance(random);
    const scopeSpans = randomList(random, 3, () => {
      const spans = randomList(random, shape.itemsMax, () => randomSpan(random, shape, traceIds));
      return randomScopeEnvelope(random, halfChance, 'spans', spans);
    });
    return randomEnvelope(random, halfChance, 'scopeSpans', scopeSpans);
  });
  return { resourceSpans };
}

function randomSpan(random: Random, shape: CorpusShape, traceIds: readonly Buffer[]): PlainValue {
  const start = randomTime(random, 60);
  return {
    traceId: random.chance(0.9) ? random.pick(traceIds) : randomId(random, 16),
    spanId: random.chance(0.9) ? random.bytes(8) : randomId(random, 8),
    ...(random.chance(0.9) ? { startTimeUnixNano: start } : {}),
    ...(random.chance(0.9) ? { endTimeUnixNano: randomEnd(random, start) } : {}),
    ...sometimes(random, 0.6, {
      traceState: () => random.pick(['', 'a=1,b=2', randomText(random)]),
      parentSpanId: () => (random.chance(0.8) ? random.bytes(8) : randomId(random, 8)),
      name: () => randomText(random),
      kind: () => random.pick([0, 1, 2, 3, 4, 5, 6, 7, -1, 2_147_483_647, -2_147_483_648]),
      attributes: () => itemAttributes(random, shape, 8),
      droppedAttributesCount: () => randomCount(random),
      events: () => randomList(random, 3, () => randomEvent(random, shape)),
      droppedEventsCount: () => randomCount(random),
      links: () => randomList(random, 3, () => randomLink(random, shape)),
      droppedLinksCount: () => randomCount(random),
      status: () => randomStatus(random),
      flags: () => random.pick(FLAGS),
    }),
  };
}

/** After the start, at it, before it, or anywhere. */
function randomEnd(random: Random, start: string): string {
  switch (random.int(0, 9)) {
    case 0:
      return start;
    case 1:
      return String(BigInt(start) > 0n ? BigInt(start) - 1n : 0n);
    case 2:
      return randomTime(random);
    default: {
      const end = BigInt(start) + BigInt(random.int(1, 4_000_000_000));
      return String(end < 2n ** 63n ? end : 2n ** 63n - 1n);
    }
  }
}

function randomEvent(random: Random, shape: CorpusShape): PlainValue {
  return sometimes(random, 0.8, {
    timeUnixNano: () => (random.chance(0.9) ? randomGoodTime(random) : randomTime(random)),
    name: () => randomText(random),
    attributes: () => itemAttributes(random, shape, 3),
    droppedAttributesCount: () => randomCount(random),
  });
}

function randomLink(random: Random, shape: CorpusShape): PlainValue {
  return sometimes(random, 0.8, {
    traceId: () => randomId(random, 16),
    spanId: () => randomId(random, 8),
    traceState: () => random.pick(['', 'a=1']),
    attributes: () => itemAttributes(random, shape, 3),
    droppedAttributesCount: () => randomCount(random),
    flags: () => random.pick(FLAGS),
  });
}

function randomStatus(random: Random): PlainValue {
  return sometimes(random, 0.7, {
    message: () => randomText(random),
    code: () => random.pick([0, 1, 2, 3, -1, 2_147_483_647]),
  });
}
