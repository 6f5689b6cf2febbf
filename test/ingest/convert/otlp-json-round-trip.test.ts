/** Random messages of all signals: protobufjs → OTLP/JSON → jsonToProtobuf → protobufjs gives the same message. */
import { describe, expect, it } from 'vitest';
import { jsonToProtobuf } from '../../../src/ingest/convert/otlp-json.ts';
import { SIGNALS } from '../../../src/ingest/messages.ts';
import { randomMessage } from '../../corpus/random-message.ts';
import { seededRandom } from '../../corpus/seeded-random.ts';
import { toOtlpJson } from '../../corpus/to-otlp-json.ts';
import { decodePlain, loadProto, requestType } from '../../proto/load-proto.ts';

const root = loadProto();
const SEEDS = Number(process.env['JSON_ROUND_TRIPS'] ?? 300);

describe('OTLP/JSON round trips', () => {
  it.each(SIGNALS)('gives back %s of any content and spelling', (signal) => {
    const type = requestType(root, signal);
    let bytesTotal = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const random = seededRandom(seed);
      const bytes = type.encode(type.fromObject(randomMessage(type, random))).finish();
      const message = decodePlain(type, bytes);
      const json = toOtlpJson(type, message, random);
      const { protobuf, rejected } = jsonToProtobuf(signal, Buffer.from(json));
      expect(rejected).toBe(0);
      expect(decodePlain(type, protobuf), `seed ${seed}`).toEqual(message);
      bytesTotal += bytes.length;
    }
    expect(bytesTotal).toBeGreaterThan(SEEDS * 100);
  });
});
