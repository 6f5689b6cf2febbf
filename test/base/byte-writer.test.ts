import { describe, expect, it } from 'vitest';
import { ByteWriter, freeNow } from '../../src/base/byte-writer.ts';

describe('a byte writer', () => {
  it('writes any number of offsets as 64-bit integers', () => {
    for (const count of [0, 1, 8_191, 8_192, 8_193, 30_000]) {
      const values = Uint32Array.from({ length: count + 5 }, (_, i) => (i * 2_654_435_761) >>> 0);
      const out = new ByteWriter(1);
      out.byte(7);
      out.uint64s(values, count);
      const words = Array.from({ length: count }, (_, i) => out.view().readBigUInt64LE(1 + 8 * i));
      expect(out.length).toBe(1 + 8 * count);
      expect(words).toEqual(Array.from(values.subarray(0, count), BigInt));
    }
  });
});

describe('bytes that are freed now', () => {
  it('have no memory any more when it was theirs alone, and keep it when it is shared', () => {
    const alone = Buffer.allocUnsafeSlow(100_000);
    const slab = Buffer.allocUnsafeSlow(100_000);
    const part = slab.subarray(0, 99_999);
    freeNow(alone);
    freeNow(part);
    expect(alone.length).toBe(0);
    expect(part.length).toBe(99_999);
  });
});
