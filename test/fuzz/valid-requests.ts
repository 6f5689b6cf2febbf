/**
 * The valid requests that fuzzers injure: made once, of a seed that never changes, so that a case's own seed repeats it.
 * Making one for each case would cost ten times as much as decoding it.
 */
import type protobuf from 'protobufjs';
import type { Signal } from '../../src/ingest/messages.ts';
import { generateLogsRequest } from '../corpus/generate-logs.ts';
import { generateMetricsRequest } from '../corpus/generate-metrics.ts';
import { generateTracesRequest } from '../corpus/generate-traces.ts';
import type { CorpusShape } from '../corpus/random-envelope.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { loadProto, requestType } from '../proto/load-proto.ts';

const GENERATE: Record<Signal, (random: Random, shape: CorpusShape) => object> = {
  logs: generateLogsRequest,
  metrics: generateMetricsRequest,
  traces: generateTracesRequest,
};
const CORPUS_SEED = 5;
const SMALL = { count: 400, bytesMin: 30, bytesMax: 3_000, shape: { itemsMax: 2, edgeChance: 0, hugeChance: 0 } };
/** Lists at the caps, large resources: a few, because each costs as much as a hundred small ones. */
const LARGE = { count: 6, bytesMin: 3_000, bytesMax: 60_000, shape: { itemsMax: 3, edgeChance: 0.2, hugeChance: 0 } };
/** One case in this many begins with a large one. */
const LARGE_ONE_IN = 200;

export interface ValidRequests {
  readonly signal: Signal;
  readonly type: protobuf.Type;
  readonly small: readonly Buffer[];
  readonly large: readonly Buffer[];
}

let root: protobuf.Root | undefined;

const made = new Map<Signal, ValidRequests>();

export function validRequests(signal: Signal): ValidRequests {
  const known = made.get(signal) ?? makeRequests(signal);
  made.set(signal, known);
  return known;
}

function makeRequests(signal: Signal): ValidRequests {
  root ??= loadProto();
  const type = requestType(root, signal);
  const random = seededRandom(CORPUS_SEED);
  const make = ({ count, bytesMin, bytesMax, shape }: typeof SMALL): Buffer[] => {
    const bodies: Buffer[] = [];
    while (bodies.length < count) {
      const body = Buffer.from(type.encode(type.fromObject(GENERATE[signal](random, shape))).finish());
      if (body.length >= bytesMin && body.length <= bytesMax) bodies.push(body);
    }
    return bodies;
  };
  return { signal, type, small: make(SMALL), large: make(LARGE) };
}

export function pickRequest<T>(
  random: Random,
  requests: { readonly small: readonly T[]; readonly large: readonly T[] },
): T {
  return random.pick(random.chance(1 / LARGE_ONE_IN) ? requests.large : requests.small);
}
