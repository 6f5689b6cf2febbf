/** Records of the spool: what was written is read back; a head that was injured is never taken for another one. */
import { isDeepStrictEqual } from 'node:util';
import { SIGNALS, type RecordHeader } from '../../src/ingest/messages.ts';
import { storeBody } from '../../src/ingest/spool/body.ts';
import { MARK_BYTES } from '../../src/ingest/spool/format.ts';
import { encodeRecord, readHead } from '../../src/ingest/spool/record.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

export function spoolRecordFuzzer(): Fuzzer {
  return fuzzer('spool-record', ({ random, time }) => {
    const mark = random.bytes(MARK_BYTES);
    if (random.chance(0.1)) {
      const noise = Buffer.concat([random.chance(0.5) ? mark : Buffer.alloc(0), random.bytes(random.int(0, 300))]);
      promise(readHead(noise, 0, noise.length, mark).kind !== 'head', 'took noise for a record');
      return false;
    }
    const header = randomHeader(random);
    const index = random.int(0, 100);
    const record = Buffer.concat(
      encodeRecord(mark, index, header, storeBody(random.bytes(random.pick([0, 1, 300, 5_000])))),
    );
    const state = readHead(record, 0, record.length, mark);
    promise(
      state.kind === 'head' && state.head.index === index && isDeepStrictEqual({ ...state.head.header }, header),
      'read another header',
    );
    const headBytes = state.kind === 'head' ? state.head.headBytes : 0;

    const cut = random.int(0, record.length - 1);
    const torn = readHead(record, 0, cut, mark);
    promise(torn.kind === 'torn', `a record cut at ${cut} of ${record.length} bytes is ${torn.kind}`);

    const injured = mutate(record, random);
    const judged = time(() => readHead(injured, 0, injured.length, mark));
    const sameHead = injured.subarray(0, headBytes).equals(record.subarray(0, headBytes));
    promise(judged.kind !== 'head' || sameHead, 'took an injured head');
    return judged.kind === 'head';
  });
}

function randomHeader(random: Random): RecordHeader {
  return {
    orgId: `org_${'a'.repeat(random.int(0, 16))}`,
    tokenId: 'tökén'.slice(0, random.int(0, 5)),
    placement: random.pick(['shared-0', 'org_abcdefghijklmnop', '']),
    signal: random.pick(SIGNALS),
    receivedAtMs: random.int(0, 2 ** 45),
    retentionDays: random.pick([1, 30, 730]),
    expiresOnDay: random.int(0, 65_535),
    itemsAccepted: random.int(0, 2 ** 32 - 1),
    itemsRejected: random.int(0, 2 ** 32 - 1),
    bytesReceived: random.int(0, 2 ** 40),
    fingerprint: random.bytes(16),
    ownBatches: random.chance(0.5),
  };
}
