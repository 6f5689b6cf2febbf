import { describe, expect, test } from 'vitest';
import type { BackworkError } from '../../../src/base/errors.ts';
import type { FooterBatch } from '../../../src/ingest/messages.ts';
import { decodeFooter, encodeFooter, FooterRequests } from '../../../src/ingest/spool/footer.ts';
import { header } from './fixtures.ts';

const BATCH: FooterBatch = {
  table: 'otel_logs',
  partition: { placement: 'org_x', retentionDays: 730, expiresOnDay: 21_500 },
  batchId: 'ffffffff00000001',
  firstRequest: 0,
  lastRequest: 2,
  rowFrom: 5,
  rowCount: 250_000,
  offset: 2 ** 33,
  length: 33_554_432,
  crc: 0xffffffff,
};

describe('a footer', () => {
  test('gives back every field of its requests and batches', () => {
    const requests = new FooterRequests();
    const some = [
      header(),
      header({ orgId: 'org_x', signal: 'metrics', itemsRejected: 7 }),
      header({ ownBatches: true }),
    ];
    for (const one of some) requests.add(one);
    requests.addCorrupt();
    requests.answered(1);
    requests.add(header({ bytesReceived: 2 ** 40 }));
    const footer = decodeFooter(encode(requests, 4, [BATCH, { ...BATCH, batchId: '0000000000000000', length: 0 }]));
    expect(footer).toMatchObject({ spoolId: 'ab'.repeat(16), sequence: 2 ** 40, converterVersion: 9 });
    const expected = some.map(({ placement: _, retentionDays: __, expiresOnDay: ___, ...kept }, at) => ({
      ...kept,
      answerSent: at === 1,
    }));
    expect(footer.requests.slice(0, 3)).toEqual(expected);
    expect(footer.requests.slice(3)).toMatchObject([{ orgId: '', tokenId: '', itemsAccepted: 0, answerSent: false }]);
    expect(footer.batches).toEqual([BATCH, { ...BATCH, batchId: '0000000000000000', length: 0 }]);
  });

  test('serves from the other copy whatever bit of one copy is flipped', () => {
    const requests = new FooterRequests();
    requests.add(header());
    const file = encode(requests, 1, [BATCH]);
    const wanted = decodeFooter(file);
    const used = 20 + file.readUInt32LE(12);
    for (const copy of [0, file.length / 2]) {
      for (let bit = 0; bit < used * 8; bit++) {
        const at = copy + (bit >> 3);
        const damaged = Buffer.from(file);
        damaged[at] = (damaged[at] as number) ^ (1 << (bit & 7));
        expect(decodeFooter(damaged), `bit ${bit}`).toEqual(wanted);
      }
    }
  });

  test('with both copies damaged is corrupt, of whatever length it is left', () => {
    const requests = new FooterRequests();
    requests.add(header());
    const file = encode(requests, 1, [BATCH]);
    for (const [a, b] of [
      [12, 12],
      [16, 30],
      [0, 8],
      [60, 61],
    ] as const) {
      const damaged = Buffer.from(file);
      damaged[a] = (damaged[a] as number) ^ 0x80;
      damaged[b + file.length / 2] = (damaged[b + file.length / 2] as number) ^ 0x80;
      expect(codeOf(damaged)).toBe('corrupt');
    }
    const used = 20 + file.readUInt32LE(12);
    for (let length = 0; length < file.length; length++) {
      expect(codeOf(file.subarray(0, length)), `${length} bytes`).toBe(length < used ? 'corrupt' : undefined);
    }
    for (const length of [0, 2 ** 31, 2 ** 32 - 1]) {
      const damaged = Buffer.from(file);
      damaged.writeUInt32LE(length, 12);
      damaged.writeUInt32LE(length, 12 + file.length / 2);
      expect(codeOf(damaged)).toBe('corrupt');
    }
  });

  test('of a newer version says so', () => {
    const parts = { spoolId: 'ab'.repeat(16), sequence: 1, converterVersion: 9, batches: [] };
    expect(codeOf(encodeFooter({ ...parts, requests: new FooterRequests(), requestCount: 0 }, 2))).toBe('newer-format');
  });
});

function encode(requests: FooterRequests, requestCount: number, batches: FooterBatch[]): Buffer {
  const parts = { spoolId: 'ab'.repeat(16), sequence: 2 ** 40, converterVersion: 9 };
  return encodeFooter({ ...parts, requests, requestCount, batches });
}

function codeOf(file: Buffer): string | undefined {
  try {
    decodeFooter(file);
    return undefined;
  } catch (error) {
    return (error as BackworkError).code;
  }
}
