import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createBatchIds } from '../../../src/ingest/spool/batch-id.ts';
import { crc32InSlices, inflateBody, storeBody, storeLargeBody } from '../../../src/ingest/spool/body.ts';
import { RECORD_BODY_BYTES_MAX } from '../../../src/ingest/spool/format.ts';
import type { RecordHead } from '../../../src/ingest/spool/record.ts';
import { bodyOf } from './fixtures.ts';

describe('a stored body', () => {
  test('below 4 KiB stays as it is, above it is zstd where that is smaller', () => {
    const text = (bytes: number): Buffer => Buffer.alloc(bytes, 'opentelemetry ');
    expect(storeBody(text(4_095))).toMatchObject({ codec: 'none', rawBytes: 4_095 });
    const stored = storeBody(text(4_096));
    expect(stored).toMatchObject({ codec: 'zstd', rawBytes: 4_096, crc: crc32(stored.bytes) });
    expect(zstdDecompressSync(stored.bytes)).toEqual(text(4_096));
    const noise = bodyOf(2, 8_000);
    expect(storeBody(noise)).toMatchObject({ codec: 'none', bytes: noise, crc: crc32(noise) });
  });

  test('has the first 16 bytes of SHA-256 over the protobuf bytes as its fingerprint', async () => {
    const body = bodyOf(3, 3_000_001);
    const expected = createHash('sha256').update(body).digest().subarray(0, 16);
    expect(Buffer.from(storeBody(body).fingerprint)).toEqual(expected);
    expect(Buffer.from((await storeLargeBody(body)).fingerprint)).toEqual(expected);
  });

  test('comes back the same from both ways of storing it, and the loop turns while a large one is stored', async () => {
    const body = bodyOf(3, 5_000_000);
    let turns = 0;
    let done = false;
    const counting = (async () => {
      while (!done) {
        await turn();
        turns++;
      }
    })();
    const large = await storeLargeBody(body);
    done = true;
    await counting;
    expect(turns).toBeGreaterThan(5);
    for (const stored of [large, storeBody(body)]) {
      expect(stored.crc).toBe(crc32(stored.bytes));
      expect(stored.codec).toBe('zstd');
      expect((await inflateBody(headOf(stored.rawBytes), stored.bytes))?.equals(body)).toBe(true);
    }
  });

  test('that inflates to more or less than its header says is not given out', async () => {
    const bomb = zstdCompressSync(Buffer.alloc(10_000_000));
    expect(await inflateBody(headOf(1_000), bomb)).toBeUndefined();
    expect(await inflateBody(headOf(10_000_001), bomb)).toBeUndefined();
    expect(await inflateBody(headOf(0), bomb)).toBeUndefined();
    expect(await inflateBody(headOf(4), Buffer.from('nope'))).toBeUndefined();
  });

  test('over the limit is refused', async () => {
    const huge = { length: RECORD_BODY_BYTES_MAX + 1 } as Buffer;
    expect(() => storeBody(huge)).toThrow(/at most/);
    await expect(storeLargeBody(huge)).rejects.toMatchObject({ code: 'too-large' });
  });

  test('has the same CRC in slices', async () => {
    const bytes = bodyOf(2, 9_000_001);
    expect(await crc32InSlices(bytes)).toBe(crc32(bytes));
    expect(await crc32InSlices(Buffer.alloc(0))).toBe(0);
  });
});

describe('BatchIds', () => {
  test('are the second and 32 random bits, and none comes twice', () => {
    const randoms = [7, 7, 7, 8, 7];
    let nowMs = 1_795_456_000_999;
    const newBatchId = createBatchIds(
      () => nowMs,
      () => randoms.shift() as number,
    );
    expect(newBatchId()).toBe('6b047c0000000007');
    expect(newBatchId()).toBe('6b047c0000000008');
    nowMs += 1;
    expect(newBatchId()).toBe('6b047c0100000007');
  });
});

function headOf(rawBytes: number): RecordHead {
  return { codec: 'zstd', rawBytes } as RecordHead;
}
