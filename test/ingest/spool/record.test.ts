import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { RecordHeader } from '../../../src/ingest/messages.ts';
import { storeBody } from '../../../src/ingest/spool/body.ts';
import { RECORD_HEADER_BYTES_MAX, SEGMENT_HEADER_BYTES } from '../../../src/ingest/spool/format.ts';
import { listSealed, readBatch, readFooter, readRecords } from '../../../src/ingest/spool/reader.ts';
import { encodeRecord, readHead } from '../../../src/ingest/spool/record.ts';
import { type ScanStep, scanRecords } from '../../../src/ingest/spool/scan.ts';
import { realSpoolFiles, type SpoolFile } from '../../../src/ingest/spool/spool-files.ts';
import { bodyOf, header } from './fixtures.ts';

const MARK = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const FULL: RecordHeader = {
  orgId: 'org_zürich',
  tokenId: 'tok',
  placement: 'shared-3',
  signal: 'traces',
  receivedAtMs: 2 ** 41 + 5,
  retentionDays: 365,
  expiresOnDay: 21_000,
  itemsAccepted: 4_000_000_000,
  itemsRejected: 3,
  bytesReceived: 2 ** 33 + 1,
  fingerprint: Buffer.from('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'hex'),
  ownBatches: true,
};
/** Written by hand-made code in another language from the drawing in format.ts, as are the files in golden/. */
const GOLDEN_RECORD = `
  000102030405060708090a0b0c0d0e0f7a0000000900000004000000b20ba8db
  040000000002010005000000000200006d0100000852000000286bee03000000
  0100000002000000f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff0b00030008000000
  6f72675f7ac3bc72696368746f6b7368617265642d3309d6f977626f6479
`;

describe('the format', () => {
  test('CRC-32 is the one of IEEE', () => {
    expect(crc32('123456789')).toBe(0xcbf43926);
  });

  test('a record has the bytes that were drawn', () => {
    const body = { codec: 'none', bytes: Buffer.from('body'), crc: crc32('body'), rawBytes: 4 } as const;
    const buffers = encodeRecord(MARK, 9, FULL, { ...body, fingerprint: FULL.fingerprint });
    expect(Buffer.concat(buffers).toString('hex')).toBe(GOLDEN_RECORD.replaceAll(/\s/g, ''));
  });

  test('version 1 files read as they were written', async () => {
    const dir = join(import.meta.dirname, 'golden', 'v1');
    expect(await listSealed(realSpoolFiles, dir)).toEqual([7]);
    const footer = await readFooter(realSpoolFiles, dir, 7);
    const { placement, retentionDays, expiresOnDay, ...request } = FULL;
    expect(footer).toEqual({
      spoolId: '5b'.repeat(16),
      sequence: 7,
      converterVersion: 3,
      requests: [
        { ...request, answerSent: true },
        { ...request, answerSent: false },
      ],
      batches: [
        {
          table: 'otel_traces',
          partition: { placement, retentionDays, expiresOnDay },
          batchId: '6b0473000badcafe',
          firstRequest: 0,
          lastRequest: 1,
          rowFrom: 0,
          rowCount: 12,
          offset: 0,
          length: 16,
          crc: crc32('one native block'),
        },
      ],
    });
    const block = await readBatch(realSpoolFiles, dir, 7, footer.batches[0] as (typeof footer.batches)[0]);
    expect(block?.toString()).toBe('one native block');
    const records = [];
    for await (const { index, record } of readRecords(realSpoolFiles, dir, 7)) records.push([index, record]);
    expect(records).toEqual([
      [0, { header: FULL, body: Buffer.from('first body') }],
      [1, { header: FULL, body: Buffer.alloc(0) }],
    ]);
  });
});

describe('reading a record', () => {
  test.each([
    ['small', 0],
    ['copied behind its header', 3_000],
    ['compressed', 50_000],
    ['large', 300_000],
  ])('gives back every field of the header and the body: %s', async (_, bytes) => {
    for (const id of [2, 3]) {
      const raw = bytes === 0 ? Buffer.alloc(0) : bodyOf(id, bytes);
      const steps = await scanAll(Buffer.concat(encodeRecord(MARK, 65_535, FULL, storeBody(raw))));
      expect(steps).toMatchObject([{ kind: 'record', head: { index: 65_535, header: FULL } }]);
    }
  });

  test('is exact about which bit flip costs what: the one record, never the next', async () => {
    const three = [0, 1, 2].map((at) => Buffer.concat(encodeRecord(MARK, at, header(), storeBody(bodyOf(at, 60)))));
    const start = (three[0] as Buffer).length;
    const length = (three[1] as Buffer).length;
    for (let bit = 0; bit < length * 8; bit++) {
      const bytes = Buffer.concat(three);
      const at = start + (bit >> 3);
      bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
      const steps = await scanAll(bytes);
      expect(
        steps.map(({ kind }) => kind),
        `bit ${bit}`,
      ).toEqual(['record', 'corrupt', 'record']);
      expect(steps[1], `bit ${bit}`).toMatchObject({ offset: start, bytes: length });
    }
  });

  test('calls a flipped bit of the last record corrupt, never torn: it was acknowledged', async () => {
    const two = [0, 1].map((at) => Buffer.concat(encodeRecord(MARK, at, header(), storeBody(bodyOf(at, 60)))));
    const start = (two[0] as Buffer).length;
    for (let bit = 0; bit < (two[1] as Buffer).length * 8; bit++) {
      const bytes = Buffer.concat(two);
      const at = start + (bit >> 3);
      bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
      const kinds = (await scanAll(bytes)).map(({ kind }) => kind);
      expect(kinds, `bit ${bit}`).toEqual(['record', 'corrupt']);
    }
  });

  test('finds the torn record whatever byte the file ends at', async () => {
    const three = [0, 1, 2].map((at) => Buffer.concat(encodeRecord(MARK, at, header(), storeBody(bodyOf(at, 60)))));
    const ends = [0, 1, 2].map((at) => Buffer.concat(three.slice(0, at + 1)).length);
    const whole = Buffer.concat(three);
    for (let length = 1; length < whole.length; length++) {
      const steps = await scanAll(whole.subarray(0, length));
      const good = ends.filter((end) => end <= length).length;
      const expected = ends.includes(length) ? [] : ['torn'];
      expect(
        steps.map(({ kind }) => kind),
        `${length}`,
      ).toEqual([...Array(good).fill('record'), ...expected]);
      if (expected.length > 0) expect(steps.at(-1)).toMatchObject({ offset: ends[good - 1] ?? 0 });
    }
  });

  test('calls zeros behind the last record torn', async () => {
    const one = Buffer.concat(encodeRecord(MARK, 0, header(), storeBody(bodyOf(0, 60))));
    const steps = await scanAll(Buffer.concat([one, Buffer.alloc(2_000_000)]));
    expect(steps.map(({ kind }) => kind)).toEqual(['record', 'torn']);
  });

  test.each([
    ['header length', 16],
    ['body length', 24],
    ['inflated length', 32],
  ])('allocates nothing for a hostile %s, with or without a right CRC', (_, at) => {
    for (const value of [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      const bytes = Buffer.concat(encodeRecord(MARK, 0, header(), storeBody(bodyOf(1, 60))));
      bytes.writeUInt32LE(value, at);
      expect(readHead(bytes, 0, bytes.length, MARK).kind).toBe('corrupt');
      const headBytes = bytes.length - 60;
      bytes.writeUInt32LE(crc32(bytes.subarray(0, headBytes - 4)), headBytes - 4);
      const state = readHead(bytes, 0, bytes.length, MARK);
      expect(state.kind === 'head' ? state.head.bodyBytes : 0).toBe(0);
    }
  });

  test('never takes a well-formed record inside a body for a record, also behind a corrupt one', async () => {
    const foreign = Buffer.from(MARK);
    foreign[15] = 99;
    const inner = Buffer.concat(
      encodeRecord(foreign, 1, header({ orgId: 'org_of_another' }), storeBody(bodyOf(5, 30))),
    );
    const outer = [0, 1, 2].map((at) => Buffer.concat(encodeRecord(MARK, at, header(), storeBody(inner))));
    const bytes = Buffer.concat(outer);
    expect((await scanAll(bytes)).map(({ kind }) => kind)).toEqual(['record', 'record', 'record']);
    const at = (outer[0] as Buffer).length + 20;
    bytes[at] = 77;
    expect((await scanAll(bytes)).map(({ kind }) => kind)).toEqual(['record', 'corrupt', 'record']);
  });

  test('takes no record whose number goes backwards', async () => {
    const stored = storeBody(bodyOf(1, 30));
    const bytes = Buffer.concat([3, 2, 4].flatMap((index) => encodeRecord(MARK, index, header(), stored)));
    expect((await scanAll(bytes)).map(({ kind }) => kind)).toEqual(['record', 'corrupt', 'record']);
  });

  test('finds the next record across the edge of its window, past a megabyte of rubbish', async () => {
    const stored = storeBody(bodyOf(1, 30));
    const [one, two] = [0, 1].map((index) => Buffer.concat(encodeRecord(MARK, index, header(), stored)));
    for (const rubbish of [1_048_576 - 8, 1_048_576, 2_097_159]) {
      const bytes = Buffer.concat([one as Buffer, Buffer.alloc(rubbish, 0xab), two as Buffer]);
      const steps = await scanAll(bytes);
      expect(steps.map(({ kind }) => kind)).toEqual(['record', 'corrupt', 'record']);
      expect(steps[1]).toMatchObject({ bytes: rubbish });
    }
  });

  test('refuses to encode what does not fit', () => {
    const stored = storeBody(bodyOf(1, 30));
    expect(() => encodeRecord(MARK, 0, header({ tokenId: 'x'.repeat(RECORD_HEADER_BYTES_MAX) }), stored)).toThrow(
      RangeError,
    );
    expect(() => encodeRecord(MARK, 65_536, header(), stored)).toThrow(RangeError);
    expect(() => encodeRecord(MARK, 0, header({ receivedAtMs: -1 }), stored)).toThrow(RangeError);
    expect(() => encodeRecord(MARK, 0, header({ itemsAccepted: 2 ** 32 }), stored)).toThrow(RangeError);
    expect(() => encodeRecord(MARK, 0, header({ fingerprint: Buffer.alloc(8) }), stored)).toThrow(RangeError);
  });
});

/** Scans bytes that begin with a record, with a byte of header space in front, as in a file. */
async function scanAll(records: Buffer): Promise<ScanStep[]> {
  const bytes = Buffer.concat([Buffer.alloc(SEGMENT_HEADER_BYTES), records]);
  const file = { read: async (at: number, length: number) => bytes.subarray(at, at + length) } as SpoolFile;
  const steps: ScanStep[] = [];
  const range = { mark: MARK, from: SEGMENT_HEADER_BYTES, size: bytes.length, wanted: () => true };
  for await (const step of scanRecords(file, range))
    steps.push({ ...step, offset: step.offset - SEGMENT_HEADER_BYTES });
  return steps;
}
