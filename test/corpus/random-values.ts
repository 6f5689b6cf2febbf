/** Random strings, values and attributes as plain objects for protobufjs: every kind of AnyValue, edges included. */
import type { Random } from './seeded-random.ts';

export type PlainValue = Record<string, unknown>;

const CHARACTERS = [
  'a',
  'Z',
  '0',
  ' ',
  '"',
  '\\',
  '\n',
  '\u0000',
  '\u001f',
  '\u007f',
  'é',
  '€',
  '😀',
  '\ufffd',
  '\ufeff',
  '\u2028',
];

export function randomText(random: Random): string {
  const kind = random.int(0, 9);
  if (kind === 0) return '';
  if (kind < 6) return random.pick(['GET /', 'service', 'http.method', 'a', 'INFO', 'x'.repeat(random.int(1, 60))]);
  // Lengths around the edges of varints and of copies in blocks.
  if (kind === 6) {
    const lengths = random.chance(0.05) ? [16_383, 16_384] : [63, 64, 65, 127, 128, 129];
    return 'y'.repeat(random.pick(lengths));
  }
  return Array.from({ length: random.int(1, 40) }, () => random.pick(CHARACTERS)).join('');
}

export function randomInt64(random: Random): string {
  return random.pick([
    '0',
    '1',
    '-1',
    '9007199254740993',
    '-9007199254740993',
    '9223372036854775807',
    '-9223372036854775808',
    String(random.int(-1e9, 1e9)),
  ]);
}

export function randomDouble(random: Random): number {
  const edges = [
    0,
    -0,
    1.5,
    -1,
    1e21,
    1e-7,
    5e-324,
    1.7976931348623157e308,
    2 ** 53 + 2,
    Number.NaN,
    Infinity,
    -Infinity,
  ];
  return random.chance(0.5) ? random.pick(edges) : (random.next() - 0.5) * 10 ** random.int(-20, 20);
}

/**
 * A value of any kind, `{}` (empty) and a profile's string index included; nests `depthMax` deep at most. One in fifty
 * has two members of the oneof: the later one on the wire is the value.
 */
export function randomAnyValue(random: Random, depthMax = 4): PlainValue {
  if (random.chance(0.02)) return { ...oneValue(random, depthMax), ...oneValue(random, depthMax) };
  return oneValue(random, depthMax);
}

function oneValue(random: Random, depthMax: number): PlainValue {
  switch (random.int(0, depthMax > 0 ? 9 : 6)) {
    case 0:
      return {};
    case 1:
      return { boolValue: random.chance(0.5) };
    case 2:
      return { intValue: randomInt64(random) };
    case 3:
      return { doubleValue: randomDouble(random) };
    case 4:
      return { bytesValue: random.bytes(random.int(0, 5)) };
    case 5:
      return random.chance(0.1) ? { stringValueStrindex: random.int(0, 9) } : { stringValue: '' };
    case 7:
      return { arrayValue: { values: randomList(random, 4, () => randomAnyValue(random, depthMax - 1)) } };
    case 8:
      return { kvlistValue: { values: randomAttributes(random, 4, depthMax - 1) } };
    default:
      return { stringValue: randomText(random) };
  }
}

/** protobufjs stops at 100 messages inside each other; a kvlist is 3 of them, an array 2. */
const NESTED_KVLISTS_MAX = 15;

/** `levels` containers inside each other (35 at most), arrays and kvlists mixed, each with a value beside the next one. */
export function nestedValue(random: Random, levels: number): PlainValue {
  let value: PlainValue = { intValue: '7' };
  let kvlists = 0;
  for (let level = 0; level < levels; level++) {
    const beside = { stringValue: `beside ${level}` };
    const isArray = random.chance(0.5) || kvlists++ >= NESTED_KVLISTS_MAX;
    value = isArray
      ? { arrayValue: { values: [beside, value] } }
      : {
          kvlistValue: {
            values: [
              { key: 'beside', value: beside },
              { key: 'in', value },
            ],
          },
        };
  }
  return value;
}

/** Keys repeat on purpose; a value may be missing, and an index may stand for a key. */
export function randomAttributes(random: Random, countMax: number, depthMax = 4): PlainValue[] {
  return randomList(random, countMax, () => {
    if (random.chance(0.02)) return { keyStrindex: random.int(1, 9), value: { boolValue: true } };
    const key = random.chance(0.7)
      ? random.pick(['k', 'service.name', 'http.status_code', 'k8s.pod.name'])
      : randomText(random);
    return random.chance(0.05) ? { key } : { key, value: randomAnyValue(random, depthMax) };
  });
}

export function randomList<T>(random: Random, countMax: number, make: () => T): T[] {
  return Array.from({ length: random.int(0, countMax) }, make);
}
