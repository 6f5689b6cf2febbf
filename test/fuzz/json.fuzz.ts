/**
 * The JSON reader of one signal: whatever comes in, it gives protobuf that decodes and converts, or throws 'malformed'; it
 * agrees with JSON.parse on what is JSON; and a valid text says what it was made from.
 */
import { isDeepStrictEqual } from 'node:util';
import type protobuf from 'protobufjs';
import { BackworkError } from '../../src/base/errors.ts';
import { type JsonConverted, jsonToProtobuf } from '../../src/ingest/convert/otlp-json.ts';
import type { Signal } from '../../src/ingest/messages.ts';
import { randomMessage } from '../corpus/random-message.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { toOtlpJson } from '../corpus/to-otlp-json.ts';
import { decodePlain } from '../proto/load-proto.ts';
import { type Case, type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { RowJudge } from './judge-rows.ts';
import { mutate } from './mutate-bytes.ts';
import { type JsonTree, mutateJson, readJson } from './mutate-json.ts';
import { pickRequest, validRequests } from './valid-requests.ts';

const JSON_BYTES = Buffer.from('{}[]",:\\u0d8-+.eE123nulltruefalse \n\x00\x80\xc3\xff', 'latin1');
const PIECES = [
  ...[
    '{"resourceLogs":[',
    '{"scopeLogs":[',
    '{"logRecords":[',
    '{"body":',
    '{"arrayValue":{"values":[',
    '{"intValue":',
  ],
  ...[
    '1e+21',
    '"NaN"',
    'null',
    ']',
    '}',
    ',',
    '"a\\ud800"',
    '"timeUnixNano":',
    '-1',
    '{',
    '"x":',
    '[',
    'true',
    '1.50e1',
  ],
];
const COMPARED_SHARE = 0.1;
const CORPUS_SEED = 6;

interface Text {
  readonly bytes: Buffer;
  readonly tree: JsonTree;
  /** What the text says; undefined where values may be nested deeper than the reader goes. */
  readonly message: Record<string, unknown> | undefined;
}

interface Body {
  readonly bytes: Buffer;
  readonly says: Record<string, unknown> | undefined;
}

export function jsonFuzzer(signal: Signal): Fuzzer {
  const { type, makeBody } = makerOf(signal);
  const judge = new RowJudge(signal);
  return fuzzer(`json-${signal}`, (one) => {
    const { random } = one;
    const body = makeBody(random);
    const read = readWhole(signal, body.bytes, one);
    if (read instanceof BackworkError) {
      promise(body.says === undefined, `a valid text was refused: ${read.message}`);
    } else {
      promise(read.rejected >= 0, 'rejected is no count');
      const decoded = body.says === undefined ? undefined : decodePlain(type, read.protobuf);
      promise(isDeepStrictEqual(decoded, body.says), `read something else: ${firstDifference(decoded, body.says)}`);
      const result = judge.judge(read.protobuf, one, random.chance(COMPARED_SHARE));
      promise(result !== undefined, 'the converter refused what the reader made');
    }
    const isJson = isJsonText(body.bytes);
    const refused = read instanceof BackworkError;
    promise(refused || isJson, 'took what is no JSON');
    promise(!refused || !isJson || !read.message.includes('not JSON'), 'calls JSON what is none');
    return !refused;
  });
}

/** Bodies of the signal, as the HTTP handler gets them. */
export function jsonBodies(signal: Signal): (random: Random) => Buffer {
  const { makeBody } = makerOf(signal);
  return (random) => makeBody(random).bytes;
}

function makerOf(signal: Signal): { type: protobuf.Type; makeBody: (random: Random) => Body } {
  const requests = validRequests(signal);
  const { type } = requests;
  const random = seededRandom(CORPUS_SEED);
  const textOf = (message: Record<string, unknown>): Text => {
    const text = toOtlpJson(type, message, random);
    return { bytes: Buffer.from(text), tree: readJson(text), message };
  };
  const fromBodies = (bodies: readonly Buffer[]) => bodies.map((body) => textOf(decodePlain(type, body)));
  const large = fromBodies(requests.large).map((text) => ({ ...text, message: undefined }));
  // Of every field of every message, beside those that make sense.
  const senseless = Array.from({ length: 100 }, () => {
    return textOf(decodePlain(type, type.encode(type.fromObject(randomMessage(type, random))).finish()));
  });
  const texts = { small: [...fromBodies(requests.small), ...senseless], large };
  return { type, makeBody: (ofCase) => drawBody(texts, ofCase) };
}

function drawBody(texts: { small: readonly Text[]; large: readonly Text[] }, random: Random): Body {
  const kind = random.next();
  if (kind < 0.05) return { bytes: random.bytes(random.int(0, 100)), says: undefined };
  if (kind < 0.1) {
    const pieces = Array.from({ length: random.int(1, 40) }, () => random.pick(PIECES));
    return { bytes: Buffer.from(pieces.join('')), says: undefined };
  }
  const text = pickRequest(random, texts);
  if (kind < 0.15) return { bytes: text.bytes, says: text.message };
  if (kind < 0.45) {
    const bytes = mutate(text.bytes, random, random.chance(0.8) ? JSON_BYTES : undefined);
    return { bytes, says: undefined };
  }
  return { bytes: Buffer.from(mutateJson(text.tree, random)), says: undefined };
}

function readWhole(signal: Signal, bytes: Buffer, { time }: Case): JsonConverted | BackworkError {
  try {
    return time(() => jsonToProtobuf(signal, bytes));
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'malformed') return error;
    throw error;
  }
}

/** Both texts from a little before the first character that differs. */
function firstDifference(...values: readonly unknown[]): string {
  const [is = '', other = ''] = values.map((value) => JSON.stringify(value));
  let at = 0;
  while (at < is.length && is[at] === other[at]) at++;
  return [is, other].map((text) => text.slice(Math.max(0, at - 80), at + 120)).join(' and not ');
}

function isJsonText(bytes: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}
