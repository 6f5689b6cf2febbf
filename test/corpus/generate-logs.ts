/**
 * Seeded OTLP log requests as plain objects for protobufjs (`type.fromObject`): every kind of value, absent and empty
 * parts, ids and times at their edges, attributes beyond each cap. What they become is in expected-log-rows.ts.
 */
import {
  nestedValue,
  type PlainValue,
  randomAnyValue,
  randomAttributes,
  randomList,
  randomText,
} from './random-values.ts';
import type { Random } from './seeded-random.ts';

export function generateLogsRequest(random: Random): PlainValue {
  return { resourceLogs: randomList(random, 4, () => randomResourceLogs(random)) };
}

function randomResourceLogs(random: Random): PlainValue {
  const scopeLogs = randomList(random, 3, () => {
    const logRecords = randomList(random, 6, () => randomLogRecord(random));
    const scopeLog: PlainValue = { logRecords, schemaUrl: random.pick(['', 'https://scope.example/1']) };
    if (random.chance(0.8)) scopeLog['scope'] = randomScope(random);
    return scopeLog;
  });
  const resourceLog: PlainValue = { scopeLogs };
  if (random.chance(0.8)) resourceLog['resource'] = randomResource(random);
  if (random.chance(0.5)) resourceLog['schemaUrl'] = 'https://resource.example/1';
  return resourceLog;
}

function randomResource(random: Random): PlainValue {
  const resource: PlainValue = {
    attributes: randomAttributes(random, 5, 2),
    droppedAttributesCount: randomCount(random),
  };
  if (random.chance(0.3)) {
    resource['entityRefs'] = randomList(random, 3, () => ({
      schemaUrl: random.pick(['', 'https://entity.example/1']),
      type: random.pick(['', 'service', 'ho"st']),
      idKeys: randomList(random, 2, () => randomText(random)),
      descriptionKeys: randomList(random, 2, () => 'k'),
    }));
  }
  // Alone more than what may be repeated in each row: dropped and counted.
  if (random.chance(0.05))
    (resource['attributes'] as PlainValue[]).push({ key: 'large', value: { stringValue: 'r'.repeat(66_000) } });
  return resource;
}

function randomScope(random: Random): PlainValue {
  return {
    name: randomText(random),
    version: random.pick(['', '1.0.0']),
    attributes: randomAttributes(random, 3, 2),
    droppedAttributesCount: randomCount(random),
  };
}

function randomLogRecord(random: Random): PlainValue {
  const record: PlainValue = {
    severityNumber: random.pick([0, 1, 9, 24, 25, 1000, -1, 2_147_483_647]),
    severityText: random.pick(['', 'INFO', randomText(random)]),
    attributes: recordAttributes(random),
    droppedAttributesCount: randomCount(random),
    flags: random.pick([0, 1, 255, 256, 0x1ff, 4_294_967_295]),
    traceId: randomId(random, 16),
    spanId: randomId(random, 8),
  };
  if (random.chance(0.8)) record['timeUnixNano'] = randomTime(random);
  if (random.chance(0.5)) record['observedTimeUnixNano'] = randomTime(random);
  if (random.chance(0.8))
    record['body'] = random.chance(0.1) ? nestedValue(random, random.int(31, 35)) : randomAnyValue(random);
  if (random.chance(0.3)) record['eventName'] = randomText(random);
  return record;
}

function recordAttributes(random: Random): PlainValue[] {
  const attributes = randomAttributes(random, 8);
  const special = random.int(0, 60);
  if (special === 0) attributes.push({ key: 'K'.repeat(random.pick([4_096, 4_097])), value: { intValue: '1' } });
  if (special === 1)
    attributes.push({ key: 'v', value: { stringValue: 'v'.repeat(random.pick([1_048_576, 1_048_577])) } });
  if (special === 2)
    attributes.push({ key: 'b', value: { bytesValue: Buffer.alloc(random.pick([1_048_576, 1_048_577]), 5) } });
  if (special === 3) attributes.push({ key: 'deep', value: nestedValue(random, random.int(31, 35)) });
  if (special === 4) {
    const count = random.pick([1_024, 1_025, 1_100]);
    return Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: { intValue: String(index) } }));
  }
  return attributes;
}

function randomCount(random: Random): number {
  return random.pick([0, 0, 0, 1, 4_294_967_294, 4_294_967_295]);
}

/** Nanoseconds; the last two are beyond what DateTime64(9) holds. */
function randomTime(random: Random): string {
  const now = `17638${random.int(10_000, 99_999)}${random.int(100_000_000, 999_999_999)}`;
  if (random.chance(0.7)) return now;
  return random.pick([
    '0',
    '1',
    '999999999',
    '4102444800000000000',
    '9223372036854775807',
    '9223372036854775808',
    '18446744073709551615',
  ]);
}

/** Valid, absent, all zero, or of a wrong length. */
function randomId(random: Random, length: number): Buffer {
  const kind = random.int(0, 9);
  if (kind === 0) return Buffer.alloc(0);
  if (kind === 1) return Buffer.alloc(length);
  return random.bytes(kind === 2 ? length - 1 : length);
}
