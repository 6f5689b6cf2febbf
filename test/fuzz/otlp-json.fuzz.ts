/**
 * The JSON reader: whatever comes in, it gives protobuf that decodes or throws 'malformed', and agrees with JSON.parse on
 * what is JSON.
 */
import { BackworkError } from '../../src/base/errors.ts';
import { jsonToProtobuf, jsonToProtobufInSlices } from '../../src/ingest/convert/otlp-json.ts';
import { SIGNALS, type Signal } from '../../src/ingest/messages.ts';
import { randomMessage } from '../corpus/random-message.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { toOtlpJson } from '../corpus/to-otlp-json.ts';
import { decodePlain, loadProto, requestType } from '../proto/load-proto.ts';
import { type Fuzzer, fuzzer, mutate, promise } from './fuzzer.ts';

const JSON_BYTES = Buffer.from('{}[]",:\\u0d8-+.eE123nulltruefalse \n\x00\x80\xc3\xff', 'latin1');
const PIECES = [
  '{"resourceLogs":[',
  '{"scopeLogs":[',
  '{"logRecords":[',
  '{"body":',
  '{"arrayValue":{"values":[',
  '{"intValue":',
].concat([
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
]);

export function otlpJsonFuzzer(): Fuzzer {
  const root = loadProto();
  const types = {
    logs: requestType(root, 'logs'),
    metrics: requestType(root, 'metrics'),
    traces: requestType(root, 'traces'),
  };
  const makeBody = (signal: Signal, random: Random): Buffer => {
    if (random.chance(0.1)) return random.bytes(random.int(0, 100));
    if (random.chance(0.2))
      return Buffer.from(Array.from({ length: random.int(1, 40) }, () => random.pick(PIECES)).join(''));
    const type = types[signal];
    const message = decodePlain(type, type.encode(type.fromObject(randomMessage(type, random))).finish());
    const json = Buffer.from(toOtlpJson(type, message, random));
    return random.chance(0.1) ? json : mutate(json, random, random.chance(0.8) ? JSON_BYTES : undefined);
  };
  return fuzzer('otlp-json', (random) => {
    const signal = random.pick(SIGNALS);
    const body = makeBody(signal, random);
    const error = errorOf(() => {
      const { protobuf, rejected } = jsonToProtobuf(signal, body);
      decodePlain(types[signal], protobuf);
      promise(rejected >= 0, 'rejected is no count');
      const slices = jsonToProtobufInSlices(signal, body, random.int(1, 200));
      let step = slices.next();
      while (!step.done) step = slices.next();
      promise(step.value.protobuf.equals(protobuf) && step.value.rejected === rejected, 'slices give other bytes');
    });
    if (error !== undefined && !(error instanceof BackworkError && error.code === 'malformed')) throw error;
    const isJson = errorOf(() => JSON.parse(new TextDecoder('utf-8', { ignoreBOM: true }).decode(body))) === undefined;
    promise(error !== undefined || isJson, 'took what is no JSON');
    promise(!isJson || !(error as BackworkError | undefined)?.message.includes('not JSON'), 'calls JSON what is none');
    return error === undefined;
  });
}

function errorOf(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}
