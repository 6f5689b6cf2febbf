/**
 * The only decompression of the process. Output is counted while it is made and stopped at the limit: streams of
 * node:zlib ignore `maxOutputLength` (reliability-security.md M17). Brotli is never decoded (M18).
 *
 * Fast path: a small body that inflates to little is done at once on the event loop, which then costs less than handing
 * it to the thread pool and back. Slow path: everything else goes through the pool, a few at once, so that `fdatasync`
 * finds a thread.
 */
import zlib from 'node:zlib';
import { freeNow } from '../../base/byte-writer.ts';
import { BackworkError } from '../../base/errors.ts';
import { BODY_BYTES_UNKNOWN, INFLATE_NOW_BYTES_MAX, INFLATE_NOW_WIRE_BYTES_MAX, KIB } from '../../base/limits.ts';
import { BodyBuffer, tooLarge } from './request-body.ts';
import { isWholeZstd } from './zstd-frames.ts';

export type Coding = 'identity' | 'gzip' | 'deflate' | 'zstd';
export type Compressed = Exclude<Coding, 'identity'>;

/** No body within the size limit needs a window above 64 MiB; a frame that asks for more is refused, not allocated. */
const ZSTD_OPTIONS = { params: { [zlib.constants.ZSTD_d_windowLogMax]: 26 } };
const CHUNK_BYTES_MIN = 64 * KIB;
/** Node reads sockets by this much. */
const READ_BYTES_MAX = 64 * KIB;

export class Inflater {
  readonly #bytesMax: number;
  readonly #atOnceMax: number;
  readonly #waiting: Array<() => void> = [];
  #running = 0;

  constructor(options: { bytesMax: number; atOnceMax: number }) {
    this.#bytesMax = options.bytesMax;
    this.#atOnceMax = options.atOnceMax;
  }

  /** What `wire` says that it will be, as far as it says so. */
  expectedBytes(wire: Buffer, coding: Compressed): number {
    return Math.min(this.#bytesMax, gzipSize(wire, coding) ?? 0);
  }

  /** As `inflate`; `wire` is given away, and its memory with it. */
  async replace(wire: Buffer, coding: Compressed, grew: (inflatedBytes: number) => void): Promise<Buffer> {
    const body = await this.inflate(wire, coding, grew);
    // What is larger than any read from a socket was put together, on memory of its own.
    if (wire.length > READ_BYTES_MAX && wire.byteOffset === 0) (wire.buffer as ArrayBuffer).transfer(0);
    return body;
  }

  /**
   * The inflated body: all members or frames of it, nothing after them. `wire` must not change meanwhile.
   * `grew` is told the inflated bytes before they are kept, and whatever it throws ends the work and is thrown.
   * Throws `malformed` (broken, cut off, or followed by other bytes) and `too-large`.
   */
  async inflate(wire: Buffer, coding: Compressed, grew: (inflatedBytes: number) => void): Promise<Buffer> {
    if (coding === 'zstd' && !isWholeZstd(wire)) throw broken(coding);
    if (wire.length <= INFLATE_NOW_WIRE_BYTES_MAX) {
      const body = inflateNow(wire, coding, Math.min(INFLATE_NOW_BYTES_MAX, this.#bytesMax));
      if (body !== undefined) {
        grew(body.length);
        return body;
      }
    }
    if (this.#running >= this.#atOnceMax) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      grew(0);
      return await inflateOnPool(wire, coding, this.#bytesMax, grew);
    } finally {
      const next = this.#waiting.shift();
      // The place goes to the next one as it is; only when nobody waits does it become free.
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/** undefined when the result is over `bytesMax`: the pool does it then, from the start. */
function inflateNow(wire: Buffer, coding: Compressed, bytesMax: number): Buffer | undefined {
  const options = { info: true, maxOutputLength: bytesMax, chunkSize: CHUNK_BYTES_MIN } as const;
  try {
    // With `info` these give the engine beside the buffer; the type declarations know only the buffer.
    const result = decodeNow(wire, coding, options) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    if (result.engine.bytesWritten !== wire.length) throw broken(coding);
    return result.buffer;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw broken(coding);
  }
}

function decodeNow(wire: Buffer, coding: Compressed, options: zlib.ZlibOptions): Buffer {
  if (coding === 'gzip') return zlib.gunzipSync(wire, options);
  if (coding === 'zstd') return zlib.zstdDecompressSync(wire, { ...(options as zlib.ZstdOptions), ...ZSTD_OPTIONS });
  return hasZlibHeader(wire) ? zlib.inflateSync(wire, options) : zlib.inflateRawSync(wire, options);
}

function inflateOnPool(
  wire: Buffer,
  coding: Compressed,
  bytesMax: number,
  grew: (inflatedBytes: number) => void,
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const engine = createEngine(wire, coding);
  // Grows as it is filled: to join chunks of 64 MiB at the end takes them twice, and holds the event loop for 60 ms.
  const body = new BodyBuffer(bytesMax);
  const stop = (error: unknown): void => {
    reject(error);
    engine.destroy();
    body.discard();
  };
  engine.on('data', (chunk: Buffer) => {
    const bytes = body.bytes + chunk.length;
    if (bytes > bytesMax) return stop(tooLarge('inflated body', undefined, bytesMax));
    try {
      grew(bytes);
    } catch (error) {
      return stop(error);
    }
    // The engine is done with buffers that are full; the last one, which it may still write to, is not.
    if (body.append(chunk)) freeNow(chunk);
  });
  engine.on('error', () => stop(broken(coding)));
  engine.on('end', () => {
    // zlib ignores what follows the end of deflate and zstd, and zeros after gzip.
    if (engine.bytesWritten !== wire.length) return stop(broken(coding));
    resolve(body.take());
    engine.destroy();
  });
  engine.end(wire);
  return promise;
}

function createEngine(wire: Buffer, coding: Compressed): zlib.Gunzip | zlib.ZstdDecompress {
  const chunkSize = outputBytes(wire, coding);
  if (coding === 'gzip') return zlib.createGunzip({ chunkSize });
  if (coding === 'zstd') return zlib.createZstdDecompress({ chunkSize, ...ZSTD_OPTIONS });
  return hasZlibHeader(wire) ? zlib.createInflate({ chunkSize }) : zlib.createInflateRaw({ chunkSize });
}

/**
 * Size of an output buffer: one that holds the whole body saves turns of the pool and a copy. A gzip body ends with its
 * size; that is a hint and believed only up to what is reserved for every request.
 */
function outputBytes(wire: Buffer, coding: Compressed): number {
  const hint = (gzipSize(wire, coding) ?? wire.length * 8) + 64;
  return Math.min(BODY_BYTES_UNKNOWN, Math.max(CHUNK_BYTES_MIN, hint));
}

/** The last member's size, which is that of most bodies. */
function gzipSize(wire: Buffer, coding: Compressed): number | undefined {
  return coding === 'gzip' && wire.length >= 18 ? wire.readUInt32LE(wire.length - 4) : undefined;
}

/** RFC 1950: method 8, and a multiple of 31. No encoder's raw deflate begins so (a stored block with its padding set). */
function hasZlibHeader(wire: Buffer): boolean {
  return wire.length >= 2 && (wire.readUInt8(0) & 0x0f) === 8 && wire.readUInt16BE(0) % 31 === 0;
}

function broken(coding: Compressed): BackworkError {
  return new BackworkError('malformed', `the ${coding} body is broken, cut off, or followed by other bytes`);
}
