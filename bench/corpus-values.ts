/** Pieces of the benches' requests, as plain data that protobufjs encodes. */
import type { Random } from '../test/corpus/seeded-random.ts';

export type Plain = Record<string, unknown>;

/** Resource attribute that tells requests apart, and attribute that tells the items of a request apart. */
export const REQUEST_KEY = 'bench.request';
export const ITEM_KEY = 'bench.item';
/** First bytes of each trace and span id: no text holds them, so ids are found in an encoded body. */
export const ID_MARK = Buffer.from([0xb5, 0xc3, 0x9d, 0xe1]);

export function textAttribute(key: string, text: string): Plain {
  return { key, value: { stringValue: text } };
}

export function intAttribute(key: string, value: number): Plain {
  return { key, value: { intValue: value } };
}

export function doubleAttribute(key: string, value: number): Plain {
  return { key, value: { doubleValue: value } };
}

export function boolAttribute(key: string, value: boolean): Plain {
  return { key, value: { boolValue: value } };
}

/** A trace or span id. */
export function markedId(random: Random, bytes: 8 | 16): Buffer {
  return Buffer.concat([ID_MARK, random.bytes(bytes - ID_MARK.length)]);
}

/** Nanoseconds since 1970. */
export function nanoseconds(ms: number, plus: number): bigint {
  return BigInt(ms) * 1_000_000n + BigInt(plus);
}

/** A 64-bit field in the form that protobufjs takes without loss. */
export function fixed64(value: bigint): { low: number; high: number; unsigned: boolean } {
  return { low: Number(BigInt.asIntN(32, value)), high: Number(BigInt.asIntN(32, value >> 32n)), unsigned: true };
}

const WORDS =
  'order cart item user session payment retry queue cache index price stock total region batch worker upstream timeout limit token'.split(
    ' ',
  );

/** Words of about `bytes` bytes together. */
export function words(random: Random, bytes: number): string {
  let text = random.pick(WORDS);
  while (text.length < bytes) text += ` ${random.pick(WORDS)}`;
  return text;
}
