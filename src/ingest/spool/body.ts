/**
 * What is done to a body before its record, and undone when it is read: fingerprint over the protobuf bytes, zstd
 * level 1 from COMPRESS_BODY_BYTES_MIN up where it saves space, CRC-32 over the bytes as stored (reference R2).
 * Bodies over SLICED_BODY_BYTES take the functions that never hold the event loop: hash and CRC in slices, zstd on the
 * thread pool.
 */
import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { constants, crc32, createZstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { freeNow } from '../../base/byte-writer.ts';
import { BackworkError } from '../../base/errors.ts';
import { COMPRESS_BODY_BYTES_MIN, KIB, SLICE_BLOCK_BYTES, SLICE_BYTES, SLICED_BODY_BYTES } from '../../base/limits.ts';
import { RECORD_BODY_BYTES_MAX } from './format.ts';
import type { RecordHead } from './record.ts';

export interface StoredBody {
  readonly codec: 'none' | 'zstd';
  /** As it goes to disk. With codec 'none' this is the caller's own buffer, which must not change until it is durable. */
  readonly bytes: Buffer;
  /** CRC-32 of `bytes`. */
  readonly crc: number;
  /** Bytes of the protobuf body. */
  readonly rawBytes: number;
  /** First 16 bytes of SHA-256 over the protobuf body. */
  readonly fingerprint: Uint8Array;
}

/** 4 MiB that are copied hold the loop 2 ms. */
const COMPRESS_CHUNK_BYTES_MAX = 4_096 * KIB;
const FINGERPRINT_BYTES = 16;
const LEVEL_1 = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const inflateOffLoop = promisify(zstdDecompress);

/** For bodies up to SLICED_BODY_BYTES. Throws 'too-large' above RECORD_BODY_BYTES_MAX. */
export function storeBody(body: Buffer): StoredBody {
  checkBody(body);
  const fingerprint = hash('sha256', body, 'buffer').subarray(0, FINGERPRINT_BYTES);
  const compressed = body.length < COMPRESS_BODY_BYTES_MIN ? undefined : zstdCompressSync(body, LEVEL_1);
  const { codec, bytes } = smaller(body, compressed);
  return { codec, bytes, crc: crc32(bytes), rawBytes: body.length, fingerprint };
}

/** The same for a body of any size; the event loop turns meanwhile. Rejects with 'too-large'. */
export async function storeLargeBody(body: Buffer): Promise<StoredBody> {
  checkBody(body);
  const sha = createHash('sha256');
  for (let at = 0; at < body.length; at += SLICE_BYTES) {
    sha.update(body.subarray(at, at + SLICE_BYTES));
    await turn();
  }
  const fingerprint = sha.digest().subarray(0, FINGERPRINT_BYTES);
  const compressed = body.length < COMPRESS_BODY_BYTES_MIN ? undefined : await compressOffLoop(body);
  const { codec, bytes } = smaller(body, compressed);
  return { codec, bytes, crc: await crc32InSlices(bytes), rawBytes: body.length, fingerprint };
}

/**
 * Back to protobuf. The stored bytes' CRC has been checked; undefined when they do not inflate to what the header says,
 * which no more than `rawBytes` of memory is spent to find out.
 */
export async function inflateBody(head: RecordHead, stored: Buffer): Promise<Buffer | undefined> {
  if (head.codec === 'none') return stored;
  // By default each 16 KiB is a trip through the thread pool: three times the CPU for a body of 64 MiB.
  const chunkSize = Math.min(COMPRESS_CHUNK_BYTES_MAX, head.rawBytes + 64);
  const options = { maxOutputLength: Math.max(1, head.rawBytes), chunkSize };
  try {
    const body =
      head.rawBytes <= SLICED_BODY_BYTES ? zstdDecompressSync(stored, options) : await inflateOffLoop(stored, options);
    return body.length === head.rawBytes ? body : undefined;
  } catch {
    return undefined;
  }
}

/** CRC-32 of any number of bytes, without holding the event loop. */
export async function crc32InSlices(bytes: Uint8Array): Promise<number> {
  let crc = 0;
  for (let at = 0; at < bytes.length; at += SLICE_BLOCK_BYTES) {
    if (at > 0) await turn();
    crc = crc32(bytes.subarray(at, at + SLICE_BLOCK_BYTES), crc);
  }
  return crc;
}

function checkBody(body: Buffer): void {
  if (body.length <= RECORD_BODY_BYTES_MAX) return;
  throw new BackworkError('too-large', `request of ${body.length} bytes as protobuf, at most ${RECORD_BODY_BYTES_MAX}`);
}

function smaller(body: Buffer, compressed: Buffer | undefined): { codec: 'none' | 'zstd'; bytes: Buffer } {
  return compressed !== undefined && compressed.length < body.length
    ? { codec: 'zstd', bytes: compressed }
    : { codec: 'none', bytes: body };
}

/**
 * undefined: it would not be smaller. Written into one buffer as it comes: to join the chunks at the end would take their
 * memory twice and hold the event loop for all of it.
 */
function compressOffLoop(body: Buffer): Promise<Buffer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
  // A few large chunks instead of many of 64 KiB: each is one trip through the thread pool.
  const chunkSize = Math.min(COMPRESS_CHUNK_BYTES_MAX, Math.max(64 * KIB, body.length));
  const engine = createZstdCompress({ ...LEVEL_1, chunkSize });
  // The system gives memory to what is written only.
  const out = Buffer.allocUnsafeSlow(body.length);
  let bytes = 0;
  engine.on('data', (chunk: Buffer) => {
    if (bytes + chunk.length >= body.length) {
      engine.destroy();
      freeNow(out);
      resolve(undefined);
      return;
    }
    out.set(chunk, bytes);
    bytes += chunk.length;
    freeNow(chunk);
  });
  engine.on('end', () => resolve(out.subarray(0, bytes)));
  engine.on('error', reject);
  engine.end(body);
  return promise;
}
