import zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { MIB } from '../../../src/base/limits.ts';
import { Inflater } from '../../../src/ingest/accept/inflate.ts';

const LIMIT = 4 * MIB;
const inflater = new Inflater({ bytesMax: LIMIT, atOnceMax: 2 });
const ignore = (): void => {};

/** Small bodies take the fast path, large ones the thread pool; both must agree. */
const SMALL = Buffer.from('the quick brown fox '.repeat(50));
const LARGE = noise(MIB + 12_345);

const ENCODERS = [
  { name: 'gzip', coding: 'gzip', encode: (body: Buffer) => zlib.gzipSync(body) },
  { name: 'zlib-wrapped deflate', coding: 'deflate', encode: (body: Buffer) => zlib.deflateSync(body) },
  { name: 'raw deflate', coding: 'deflate', encode: (body: Buffer) => zlib.deflateRawSync(body) },
  { name: 'zstd', coding: 'zstd', encode: (body: Buffer) => zlib.zstdCompressSync(body) },
] as const;

/** Bytes that do not compress away, the same in every run. */
function noise(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  let state = 12_345;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    buffer[i] = (state >>> 16) & 0x3f;
  }
  return buffer;
}

describe.each(ENCODERS)('$name', ({ coding, encode }) => {
  test.each([
    ['small', SMALL],
    ['large', LARGE],
    ['empty', Buffer.alloc(0)],
  ])('a %s body comes back', async (_, body) => {
    const inflated = await inflater.inflate(encode(body), coding, ignore);
    expect(inflated.equals(body)).toBe(true);
  });

  test.each([
    ['small', SMALL],
    ['large', LARGE],
  ])('a %s body cut off anywhere near its end is malformed', async (_, body) => {
    const wire = encode(body);
    for (const missing of [1, 2, 3, 4, 5, 8, 9, wire.length - 3, wire.length]) {
      const cut = wire.subarray(0, Math.max(0, wire.length - missing));
      await expect(inflater.inflate(cut, coding, ignore)).rejects.toMatchObject({ code: 'malformed' });
    }
  });

  test.each([
    ['small', SMALL],
    ['large', LARGE],
  ])('a %s body followed by other bytes is malformed', async (_, body) => {
    for (const junk of ['junk', '\0\0\0\0', '\0', '\x1f', '\x1f\x8b', '\x28\xb5\x2f']) {
      const wire = Buffer.concat([encode(body), Buffer.from(junk, 'latin1')]);
      await expect(inflater.inflate(wire, coding, ignore)).rejects.toMatchObject({ code: 'malformed' });
    }
  });

  test('exactly the limit passes, one byte more does not', async () => {
    const inflated = await inflater.inflate(encode(Buffer.alloc(LIMIT)), coding, ignore);
    expect(inflated).toHaveLength(LIMIT);
    const bomb = inflater.inflate(encode(Buffer.alloc(LIMIT + 1)), coding, ignore);
    await expect(bomb).rejects.toMatchObject({ code: 'too-large' });
  });

  test('what grows is told before it is kept, and a refusal there ends the work', async () => {
    const told: number[] = [];
    await inflater.inflate(encode(LARGE), coding, (bytes) => void told.push(bytes));
    expect(told.at(-1)).toBe(LARGE.length);
    const refused = inflater.inflate(encode(LARGE), coding, (bytes) => {
      if (bytes > 0) throw new Error(`no room for ${bytes}`);
    });
    await expect(refused).rejects.toThrow(/no room for/);
  });

  test('garbage is malformed', async () => {
    for (const wire of [Buffer.from('this is not compressed at all'), noise(20_000)]) {
      await expect(inflater.inflate(wire, coding, ignore)).rejects.toMatchObject({ code: 'malformed' });
    }
  });
});

test.each([
  ['gzip', zlib.gzipSync],
  ['zstd', zlib.zstdCompressSync],
] as const)('several %s members are one body', async (coding, encode) => {
  for (const [first, second] of [
    [SMALL, SMALL],
    [LARGE, LARGE],
    [SMALL, LARGE],
  ] as const) {
    const wire = Buffer.concat([encode(first), encode(second)]);
    const inflated = await inflater.inflate(wire, coding, ignore);
    expect(inflated.equals(Buffer.concat([first, second]))).toBe(true);
    const cut = inflater.inflate(wire.subarray(0, -2), coding, ignore);
    await expect(cut).rejects.toMatchObject({ code: 'malformed' });
  }
});

test('zstd frames with checksums, without a content size, and skippable ones are read', async () => {
  const checksummed = zlib.zstdCompressSync(LARGE, { params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 } });
  const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const streamed = await new Promise<Buffer>((resolve) => {
    const engine = zlib.createZstdCompress();
    const chunks: Buffer[] = [];
    engine.on('data', (chunk) => void chunks.push(chunk));
    engine.on('end', () => resolve(Buffer.concat(chunks)));
    engine.write(SMALL);
    engine.flush(() => engine.end(LARGE));
  });
  const wire = Buffer.concat([checksummed, skippable, streamed]);
  const inflated = await inflater.inflate(wire, 'zstd', ignore);
  expect(inflated.equals(Buffer.concat([LARGE, SMALL, LARGE]))).toBe(true);
});

test('a zstd frame that asks for a window of 128 MiB is refused', async () => {
  const frame = Buffer.from(zlib.zstdCompressSync(SMALL, { params: { [zlib.constants.ZSTD_c_contentSizeFlag]: 0 } }));
  expect((frame[4] ?? 0) & 0x20).toBe(0);
  frame[5] = (27 - 10) << 3;
  await expect(inflater.inflate(frame, 'zstd', ignore)).rejects.toMatchObject({ code: 'malformed' });
});

test('more bodies than may be inflated at once wait for their turn and all come back', async () => {
  const wire = zlib.gzipSync(LARGE);
  let running = 0;
  const started: number[] = [];
  const one = async (index: number): Promise<Buffer> => {
    let counted = false;
    try {
      return await inflater.inflate(wire, 'gzip', () => {
        if (!counted) running++;
        counted = true;
        started[index] = Math.max(started[index] ?? 0, running);
      });
    } finally {
      running--;
    }
  };
  const bodies = await Promise.all(Array.from({ length: 9 }, (_, index) => one(index)));
  expect(bodies.every((body) => body.equals(LARGE))).toBe(true);
  // A place is handed on before the one who had it can tell us here, hence one more than two.
  expect(Math.max(...started)).toBeLessThanOrEqual(3);
});

test('places are given back after failures', async () => {
  const broken = Buffer.concat([zlib.gzipSync(LARGE), Buffer.from('x')]);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => inflater.inflate(broken, 'gzip', ignore)));
  expect(results.every(({ status }) => status === 'rejected')).toBe(true);
  expect(await inflater.inflate(zlib.gzipSync(LARGE), 'gzip', ignore)).toHaveLength(LARGE.length);
});
