/**
 * Segment files with injuries: the scan ends, its steps cover the file, and each record that it gives is one that was
 * written, with its own body, in order. Of records that no injury touched, those before the first injury are all there.
 */
import { SIGNALS } from '../../src/ingest/messages.ts';
import { inflateBody, storeBody } from '../../src/ingest/spool/body.ts';
import {
  encodeSegmentHeader,
  MARK_BYTES,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
} from '../../src/ingest/spool/format.ts';
import { encodeRecord } from '../../src/ingest/spool/record.ts';
import { type ScanStep, scanRecords } from '../../src/ingest/spool/scan.ts';
import type { SpoolFile } from '../../src/ingest/spool/spool-files.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

interface Written {
  readonly bytes: Buffer;
  readonly mark: Buffer;
  readonly bodies: readonly Buffer[];
  /** Where each record ends. */
  readonly ends: readonly number[];
}

export function spoolSegmentFuzzer(): Fuzzer {
  return fuzzer('spool-segment', async ({ random, time }) => {
    const { bytes, mark, bodies, ends } = writeSegment(random);
    const injured = injure(bytes, random);
    const sound = firstDifference(bytes, injured);
    const header = time(() => readSegmentHeader(injured.subarray(0, SEGMENT_HEADER_BYTES)));
    promise(header.kind !== 'valid' || header.header.mark.equals(mark), 'took another header');
    promise(header.kind === 'valid' || sound < SEGMENT_HEADER_BYTES, 'did not take the header');

    const steps: ScanStep[] = [];
    const range = { mark, from: SEGMENT_HEADER_BYTES, size: injured.length, wanted: () => true };
    for await (const step of scanRecords(fileOf(injured), range)) steps.push(step);
    let lastIndex = -1;
    let at = SEGMENT_HEADER_BYTES;
    for (const step of steps) {
      promise(step.offset === at, `a step at ${step.offset}, not ${at}`);
      if (step.kind !== 'record') {
        at += step.bytes;
        continue;
      }
      at += step.head.headBytes + step.head.bodyBytes;
      promise(step.head.index > lastIndex, 'indexes go backwards');
      lastIndex = step.head.index;
      const body = step.stored === undefined ? undefined : await inflateBody(step.head, step.stored);
      promise(body?.equals(bodies[lastIndex] as Buffer) === true, `request ${lastIndex} has another body`);
    }
    promise(at === Math.max(injured.length, SEGMENT_HEADER_BYTES), `the steps end at ${at} of ${injured.length}`);
    const intact = ends.filter((end) => end <= sound).length;
    const found = steps.slice(0, intact).filter((step) => step.kind === 'record').length;
    promise(found === intact, `${found} of the ${intact} records before the first injury`);
    return steps.every((step) => step.kind === 'record');
  });
}

function writeSegment(random: Random): Written {
  const mark = random.bytes(MARK_BYTES);
  const parts = [
    encodeSegmentHeader({ spoolId: random.bytes(16).toString('hex'), sequence: random.int(0, 1e9), mark }),
  ];
  const bodies: Buffer[] = [];
  const ends: number[] = [];
  let bytes = SEGMENT_HEADER_BYTES;
  for (let index = random.int(0, 6) - 1; index >= 0; index--) {
    // The mark of the segment may stand inside a body; what is taken for a record there must not be.
    const noise = Buffer.concat([random.chance(0.1) ? mark : Buffer.alloc(0), random.bytes(random.int(0, 300))]);
    const body = random.chance(0.1) ? Buffer.concat(Array<Buffer>(30).fill(noise)) : noise;
    const header = {
      orgId: 'org_aaaabbbbccccdddd',
      tokenId: 'tok123456789',
      placement: 'shared-0',
      signal: random.pick(SIGNALS),
      receivedAtMs: random.int(0, 2 ** 45),
      retentionDays: 30,
      expiresOnDay: 20_800,
      itemsAccepted: 1,
      itemsRejected: 0,
      bytesReceived: body.length,
      fingerprint: storeBody(body).fingerprint,
      ownBatches: false,
    };
    const record = Buffer.concat(encodeRecord(mark, bodies.length, header, storeBody(body)));
    bodies.push(body);
    parts.push(record);
    bytes += record.length;
    ends.push(bytes);
  }
  return { bytes: Buffer.concat(parts), mark, bodies, ends };
}

function injure(bytes: Buffer, random: Random): Buffer {
  const kind = random.next();
  if (kind < 0.1) return bytes;
  if (kind < 0.3) return bytes.subarray(0, random.int(0, bytes.length));
  if (kind < 0.4) return Buffer.concat([bytes, Buffer.alloc(random.int(1, 5_000))]);
  if (kind < 0.6) {
    const zeroed = Buffer.from(bytes);
    const at = random.int(0, bytes.length);
    return zeroed.fill(0, at, Math.min(bytes.length, at + random.int(1, 4_096)));
  }
  return mutate(bytes, random);
}

function firstDifference(a: Buffer, b: Buffer): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}

/** A file that is read from memory; nothing else is asked of it. */
function fileOf(bytes: Buffer): SpoolFile {
  const none = () => Promise.reject(new Error('only read'));
  return {
    read: async (position, length) => Buffer.from(bytes.subarray(position, position + length)),
    size: async () => bytes.length,
    write: none,
    truncate: none,
    datasync: none,
    close: async () => {},
  };
}
