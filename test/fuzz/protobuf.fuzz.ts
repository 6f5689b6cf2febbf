/** The converter of one signal: raw bytes, and valid requests injured with and without knowledge of their structure. */
import type { Signal } from '../../src/ingest/messages.ts';
import { scrambleProtobuf } from '../corpus/scramble-protobuf.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer } from './fuzzer.ts';
import { RowJudge } from './judge-rows.ts';
import { mutate } from './mutate-bytes.ts';
import { mutateMessage, readMessage } from './mutate-protobuf.ts';
import { pickRequest, type ValidRequests, validRequests } from './valid-requests.ts';

/** The oracle costs ten times what converting does. */
const COMPARED_SHARE = 0.3;

export function protobufFuzzer(signal: Signal): Fuzzer {
  const makeBody = protobufBodies(signal);
  const judge = new RowJudge(signal);
  return fuzzer(`protobuf-${signal}`, (one) => {
    const body = makeBody(one.random);
    return judge.judge(body, one, one.random.chance(COMPARED_SHARE)) !== undefined;
  });
}

/** Bodies of the signal as no client should send them, a tenth of them valid. */
export function protobufBodies(signal: Signal): (random: Random) => Buffer {
  const requests: ValidRequests = validRequests(signal);
  const read = (bodies: readonly Buffer[]) => bodies.map((body) => readMessage(requests.type, body));
  const messages = { small: read(requests.small), large: read(requests.large) };
  return (random) => {
    const kind = random.next();
    if (kind < 0.05) return random.bytes(random.int(0, 200));
    if (kind < 0.1) return pickRequest(random, requests);
    if (kind < 0.15) return scrambleProtobuf(requests.type, random.pick(requests.small), random);
    if (kind < 0.35) return mutate(pickRequest(random, requests), random);
    const body = mutateMessage(pickRequest(random, messages), random);
    return random.chance(0.1) ? mutate(body, random) : body;
  };
}
