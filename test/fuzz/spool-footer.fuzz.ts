/** Footers with injuries: either copy is read whole, or the file is refused as corrupt; nothing else comes out. */
import { isDeepStrictEqual } from 'node:util';
import { BackworkError } from '../../src/base/errors.ts';
import { type FooterBatch, SIGNALS } from '../../src/ingest/messages.ts';
import { decodeFooter, encodeFooter, FooterRequests } from '../../src/ingest/spool/footer.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

export function spoolFooterFuzzer(): Fuzzer {
  return fuzzer('spool-footer', ({ random, time }) => {
    if (random.chance(0.05)) {
      promise(isRefused(random.bytes(random.int(0, 300)), time), 'took noise for a footer');
      return false;
    }
    const file = writeFooter(random);
    const whole = decodeFooter(file);
    const injured = injure(file, random);
    const half = file.length / 2;
    const hasCopy = injured.subarray(0, half).equals(file.subarray(0, half));
    try {
      const read = time(() => decodeFooter(injured));
      promise(isDeepStrictEqual(read, whole), 'read another footer');
      return true;
    } catch (error) {
      if (!(error instanceof BackworkError) || error.code !== 'corrupt') throw error;
      promise(!hasCopy, 'refused a footer whose first copy is whole');
      return false;
    }
  });
}

function isRefused(bytes: Buffer, time: <T>(work: () => T) => T): boolean {
  try {
    time(() => decodeFooter(bytes));
    return false;
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'corrupt') return true;
    throw error;
  }
}

function writeFooter(random: Random): Buffer {
  const requests = new FooterRequests();
  const count = random.int(0, 5);
  for (let index = 0; index < count; index++) {
    requests.add({
      orgId: `org_${random.int(0, 3)}`,
      tokenId: 'tok123456789',
      placement: 'shared-0',
      signal: random.pick(SIGNALS),
      receivedAtMs: random.int(0, 2 ** 45),
      retentionDays: 30,
      expiresOnDay: 20_800,
      itemsAccepted: random.int(0, 2 ** 32 - 1),
      itemsRejected: 0,
      bytesReceived: random.int(0, 2 ** 40),
      fingerprint: random.bytes(16),
      ownBatches: random.chance(0.5),
    });
  }
  const batches: FooterBatch[] = Array.from({ length: random.int(0, 3) }, () => ({
    table: random.pick(['otel_logs', 'otel_traces']),
    partition: { placement: 'shared-0', retentionDays: 30, expiresOnDay: 20_800 },
    batchId: random.bytes(8).toString('hex'),
    firstRequest: 0,
    lastRequest: count,
    rowFrom: 0,
    rowCount: random.int(1, 1e6),
    offset: random.int(0, 2 ** 40),
    length: random.int(0, 2 ** 25),
    crc: random.int(0, 2 ** 32 - 1),
  }));
  const parts = { spoolId: random.bytes(16).toString('hex'), sequence: random.int(0, 1e9), converterVersion: 1 };
  return encodeFooter({ ...parts, requests, requestCount: count, batches });
}

function injure(file: Buffer, random: Random): Buffer {
  const kind = random.next();
  if (kind < 0.1) return file.subarray(0, random.int(0, file.length - 1));
  if (kind < 0.5) return mutate(file, random);
  // Where the fields are, in one copy or in both.
  const injured = Buffer.from(file);
  for (const base of random.pick([[0], [file.length / 2], [0, file.length / 2]])) {
    injured[base + random.int(0, 250)] = random.int(0, 255);
  }
  return injured;
}
