/**
 * Seeded OTLP log requests as plain objects for protobufjs (`type.fromObject`): every kind of value, absent and empty
 * parts, ids and times at their edges, attributes beyond each cap. What they become is in expected-log-rows.ts.
 */
import {
  type CorpusShape,
  itemAttributes,
  randomCount,
  randomEnvelope,
  randomHalfChance,
  randomId,
  randomScopeEnvelope,
  randomTime,
  SMALL_SHAPE,
} from './random-envelope.ts';
import { nestedValue, type PlainValue, randomAnyValue, randomList, randomText } from './random-values.ts';
import type { Random } from './seeded-random.ts';

export function generateLogsRequest(random: Random, shape: CorpusShape = SMALL_SHAPE): PlainValue {
  const resourceLogs = randomList(random, 4, () => {
    const halfChance = randomHalfChance(random);
    const scopeLogs = randomList(random, 3, () => {
      const records = randomList(random, shape.itemsMax, () => randomLogRecord(random, shape));
      return randomScopeEnvelope(random, halfChance, 'logRecords', records);
    });
    return randomEnvelope(random, halfChance, 'scopeLogs', scopeLogs);
  });
  return { resourceLogs };
}

function randomLogRecord(random: Random, shape: CorpusShape): PlainValue {
  const record: PlainValue = {
    severityNumber: random.pick([0, 1, 9, 24, 25, 1000, -1, 2_147_483_647]),
    severityText: random.pick(['', 'INFO', randomText(random)]),
    attributes: itemAttributes(random, shape, 8),
    droppedAttributesCount: randomCount(random),
    flags: random.pick([0, 1, 255, 256, 0x1ff, 4_294_967_295]),
    traceId: randomId(random, 16),
    spanId: randomId(random, 8),
  };
  if (random.chance(0.8)) record['timeUnixNano'] = randomTime(random);
  if (random.chance(0.5)) record['observedTimeUnixNano'] = randomTime(random);
  if (random.chance(0.8)) record['body'] = randomBody(random, shape);
  if (random.chance(0.3)) record['eventName'] = randomText(random);
  return record;
}

function randomBody(random: Random, shape: CorpusShape): PlainValue {
  return random.chance(shape.edgeChance) ? nestedValue(random, random.int(31, 35)) : randomAnyValue(random);
}
