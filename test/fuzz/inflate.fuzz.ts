/**
 * Inflating: an intact body comes out as it was; of an injured one, what comes out is what zlib makes of the same bytes,
 * or it is refused; never more than the limit, and never more than was announced first.
 */
import zlib from 'node:zlib';
import { BackworkError } from '../../src/base/errors.ts';
import { type Coding, Inflater } from '../../src/ingest/accept/inflate.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';
import { validRequests } from './valid-requests.ts';

type Compressed = Exclude<Coding, 'identity'>;
const BYTES_MAX = 300_000;

interface Wire {
  readonly bytes: Buffer;
  /** What it inflates to; 'refused' when it must not; undefined when it was injured and may still be whole. */
  readonly body: Buffer | 'refused' | undefined;
}

export function inflateFuzzer(coding: Compressed): Fuzzer {
  const inflater = new Inflater({ bytesMax: BYTES_MAX, atOnceMax: 4 });
  const requests = validRequests('logs');
  const bodies = [...requests.small, ...requests.large.filter((body) => body.length < 20_000), Buffer.alloc(0)];
  return fuzzer(`inflate-${coding}`, async ({ random, time }) => {
    const { bytes, body } = makeWire(coding, random, bodies);
    let announcedBytes = 0;
    const grew = (count: number) => {
      announcedBytes = Math.max(announcedBytes, count);
    };
    // What is done before the first await holds the event loop; the rest is the thread pool's.
    const inflating = time(() => inflater.inflate(bytes, coding, grew));
    try {
      const inflated = await inflating;
      promise(body !== 'refused', 'took what is cut off, or followed by other bytes');
      promise(inflated.length <= BYTES_MAX, `${inflated.length} bytes, over the limit`);
      promise(announcedBytes === inflated.length, `${announcedBytes} bytes announced, ${inflated.length} came`);
      promise(inflated.equals(body instanceof Buffer ? body : plainInflate(bytes, coding)), 'other bytes');
      return true;
    } catch (error) {
      const code = error instanceof BackworkError ? error.code : undefined;
      if (code !== 'malformed' && code !== 'too-large') throw error;
      promise(announcedBytes <= BYTES_MAX, `${announcedBytes} bytes were kept`);
      if (body instanceof Buffer) {
        promise(body.length > BYTES_MAX, `an intact body of ${body.length} bytes was refused: ${code}`);
        promise(code === 'too-large', 'a large body is called malformed');
      }
      return false;
    }
  });
}

function makeWire(coding: Compressed, random: Random, bodies: readonly Buffer[]): Wire {
  const kind = random.next();
  if (kind < 0.05) return { bytes: random.bytes(random.int(0, 200)), body: undefined };
  // A bomb, or what would be one at twice the size.
  if (kind < 0.06) {
    const body = Buffer.alloc(random.pick([BYTES_MAX - 1, BYTES_MAX, BYTES_MAX + 1, 2_000_000]));
    return { bytes: compress(coding, body, random), body };
  }
  const body = random.pick(bodies);
  const whole = compress(coding, body, random);
  if (kind < 0.2) return { bytes: whole, body };
  // Members of gzip and frames of zstd follow each other; deflate has one stream.
  if (kind < 0.3 && coding !== 'deflate') {
    return { bytes: Buffer.concat([whole, compress(coding, body, random)]), body: Buffer.concat([body, body]) };
  }
  const part = whole.subarray(0, random.int(0, whole.length - 1));
  if (kind < 0.33) return { bytes: Buffer.concat([whole, random.bytes(random.int(1, 10))]), body: 'refused' };
  if (kind < 0.36 && part.length > 0) return { bytes: Buffer.concat([whole, part]), body: 'refused' };
  if (kind < 0.45) return { bytes: part, body: 'refused' };
  if (kind < 0.6) return { bytes: injureHead(whole, random), body: undefined };
  return { bytes: mutate(whole, random), body: undefined };
}

function compress(coding: Compressed, body: Buffer, random: Random): Buffer {
  const level = random.pick([1, 6]);
  if (coding === 'gzip') return zlib.gzipSync(body, { level });
  if (coding === 'deflate') {
    return random.chance(0.5) ? zlib.deflateSync(body, { level }) : zlib.deflateRawSync(body, { level });
  }
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag } = zlib.constants;
  const flags = { [ZSTD_c_checksumFlag]: random.int(0, 1), [ZSTD_c_contentSizeFlag]: random.int(0, 1) };
  return zlib.zstdCompressSync(body, { params: { [ZSTD_c_compressionLevel]: level, ...flags } });
}

/** Flags, window sizes and lengths stand in the first bytes of all three formats. */
function injureHead(whole: Buffer, random: Random): Buffer {
  const injured = Buffer.from(whole);
  injured[random.int(0, Math.min(17, injured.length - 1))] = random.int(0, 255);
  return injured;
}

function plainInflate(bytes: Buffer, coding: Compressed): Buffer {
  if (coding === 'gzip') return zlib.gunzipSync(bytes);
  if (coding === 'zstd') return zlib.zstdDecompressSync(bytes);
  try {
    return zlib.inflateSync(bytes);
  } catch {
    return zlib.inflateRawSync(bytes);
  }
}
