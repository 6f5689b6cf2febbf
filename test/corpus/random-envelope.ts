/** What stands around and inside items of every signal: resources, scopes, ids, times, counts, attributes at each cap. */
import { nestedValue, type PlainValue, randomAttributes, randomList, randomText } from './random-values.ts';
import type { Random } from './seeded-random.ts';

/** How large requests grow, and how often a list stands at a cap of E11: such lists cost most of the bytes. */
export interface CorpusShape {
  /** Items beneath one scope (points beneath one metric), at most. */
  readonly itemsMax: number;
  /** Of lists: 1,024 entries, keys of 4 KiB, values nested 32 deep. */
  readonly edgeChance: number;
  /** Of lists: values of 1 MiB. */
  readonly hugeChance: number;
}

export const SMALL_SHAPE: CorpusShape = { itemsMax: 6, edgeChance: 0.05, hugeChance: 0.03 };

/**
 * How often resource, scope and metric have an attribute of about 40 KiB: one fits into what may be repeated in each row,
 * two do not, and the larger one goes. Mostly 0, because such attributes are repeated in each row.
 */
export function randomHalfChance(random: Random): number {
  return random.chance(0.02) ? 0.5 : 0;
}

/** Attributes of resource, scope and metric are short, or clearly over 64 KiB together: no case near the bound. */
function randomResource(random: Random, halfChance: number): PlainValue {
  const attributes = shortAttributes(random, 5);
  const resource: PlainValue = { attributes, droppedAttributesCount: randomCount(random) };
  if (random.chance(0.3)) {
    resource['entityRefs'] = randomList(random, 3, () => ({
      schemaUrl: random.pick(['', 'https://entity.example/1']),
      type: random.pick(['', 'service', 'ho"st']),
      idKeys: randomList(random, 2, () => shortText(random)),
      descriptionKeys: randomList(random, 2, () => 'k'),
    }));
  }
  // Alone more than what may be repeated in each row: dropped and counted.
  if (random.chance(0.03)) attributes.push({ key: 'large', value: { stringValue: 'r'.repeat(70_000) } });
  if (random.chance(halfChance)) attributes.push({ key: 'half', value: { stringValue: 'r'.repeat(40_000) } });
  return resource;
}

function randomScope(random: Random, halfChance: number): PlainValue {
  const attributes = shortAttributes(random, 3);
  if (random.chance(halfChance)) attributes.push({ key: 'half', value: { bytesValue: Buffer.alloc(33_750, 1) } });
  // Over the bound without any attribute: every item beneath is rejected.
  const name = random.chance(0.003) ? 'n'.repeat(70_000) : shortText(random);
  return { name, version: random.pick(['', '1.0.0']), attributes, droppedAttributesCount: randomCount(random) };
}

/** Short in all: whatever stands beside them, they do not decide what is over 64 KiB. */
export function shortAttributes(random: Random, countMax: number): PlainValue[] {
  return randomAttributes(random, countMax, 2).filter((attribute) => JSON.stringify(attribute).length < 1_000);
}

export function shortText(random: Random): string {
  return randomText(random).slice(0, 300);
}

/** A list of an item; some stand at a cap of E11, one below it or one above. */
export function itemAttributes(random: Random, shape: CorpusShape, countMax: number): PlainValue[] {
  const attributes = randomAttributes(random, countMax);
  if (random.chance(shape.hugeChance)) {
    const bytes = random.pick([1_048_576, 1_048_577]);
    const value = random.chance(0.5) ? { stringValue: 'v'.repeat(bytes) } : { bytesValue: Buffer.alloc(bytes, 5) };
    attributes.push({ key: 'huge', value });
  }
  if (!random.chance(shape.edgeChance)) return attributes;
  switch (random.int(0, 2)) {
    case 0:
      attributes.push({ key: 'K'.repeat(random.pick([4_096, 4_097])), value: { intValue: '1' } });
      break;
    case 1:
      attributes.push({ key: 'deep', value: nestedValue(random, random.int(31, 35)) });
      break;
    default: {
      const count = random.pick([1_024, 1_025, 1_100]);
      return Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: { intValue: String(index) } }));
    }
  }
  return attributes;
}

/** Dropped by the sender: up to what a UInt32 holds. */
export function randomCount(random: Random): number {
  return random.pick([0, 0, 0, 1, 4_294_967_294, 4_294_967_295]);
}

/** Nanoseconds that DateTime64(9) holds, its edges included. */
export function randomGoodTime(random: Random): string {
  if (random.chance(0.8)) return `17638${random.int(10_000, 99_999)}${random.int(100_000_000, 999_999_999)}`;
  return random.pick(['0', '1', '999999999', '4102444800000000000', '9223372036854775807']);
}

/** Nanoseconds; one in `beyondOneIn` is beyond what DateTime64(9) holds. */
export function randomTime(random: Random, beyondOneIn = 12): string {
  if (random.chance(1 / beyondOneIn)) return random.pick(['9223372036854775808', '18446744073709551615']);
  return randomGoodTime(random);
}

/** Valid, absent, all zero, or of a wrong length. */
export function randomId(random: Random, length: number): Buffer {
  const kind = random.int(0, 9);
  if (kind === 0) return Buffer.alloc(0);
  if (kind === 1) return Buffer.alloc(length);
  return random.bytes(kind === 2 ? random.pick([1, length - 1, length + 1, 2 * length]) : length);
}

/** Sets each named field in `probability` of the messages; absent fields are a case of their own. */
export function sometimes(random: Random, probability: number, fields: Record<string, () => unknown>): PlainValue {
  const message: PlainValue = {};
  for (const [name, make] of Object.entries(fields)) if (random.chance(probability)) message[name] = make();
  return message;
}

/** One envelope of any signal: `scopes` under their field's name, the rest by chance. */
export function randomEnvelope(
  random: Random,
  halfChance: number,
  scopesField: string,
  scopes: PlainValue[],
): PlainValue {
  const envelope: PlainValue = { [scopesField]: scopes };
  if (random.chance(0.8)) envelope['resource'] = randomResource(random, halfChance);
  if (random.chance(0.5)) envelope['schemaUrl'] = 'https://resource.example/1';
  return envelope;
}

export function randomScopeEnvelope(
  random: Random,
  halfChance: number,
  itemsField: string,
  items: PlainValue[],
): PlainValue {
  const envelope: PlainValue = { [itemsField]: items, schemaUrl: random.pick(['', 'https://scope.example/1']) };
  if (random.chance(0.8)) envelope['scope'] = randomScope(random, halfChance);
  return envelope;
}
