/**
 * A request's body, decompressed as it is read (gzip, deflate, zstd, lz4; never brotli), taken in parts: a head to look at,
 * then the rest. INSERTs are held whole before they start as far as memory allows, so that a slow or broken sender
 * neither holds a slot nor leaves half its data behind; a larger body is streamed.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream';
import { createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { messageOf } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import { exception } from './exception.ts';
import { lz4Blocks } from './lz4-frame.ts';

/** One body is held up to here, and all together up to HELD_BYTES_TOTAL_MAX; beyond, the sender sets the pace. */
const HELD_BYTES_MAX = 64 * MIB;
const HELD_BYTES_TOTAL_MAX = 256 * MIB;

/** Bytes of bodies that all requests of one door hold. */
export interface HeldBytes {
  total: number;
}

export class RequestBody {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #held: HeldBytes;
  /** Read and not yet asked for. */
  #front: Buffer[];
  #ended = false;
  #heldBytes = 0;

  constructor(chunks: AsyncIterator<Buffer>, held: HeldBytes, front: Buffer[] = []) {
    this.#chunks = chunks;
    this.#held = held;
    this.#front = front;
  }

  /** Up to `bytesMax` from the front; less only at the end. */
  async take(bytesMax: number): Promise<Buffer> {
    const taken: Buffer[] = [];
    let bytes = 0;
    while (bytes < bytesMax) {
      const chunk = await this.#next();
      if (chunk === undefined) break;
      taken.push(chunk);
      bytes += chunk.length;
    }
    const all = Buffer.concat(taken);
    if (bytes > bytesMax) this.#front.unshift(all.subarray(bytesMax));
    return all.subarray(0, bytesMax);
  }

  /** All that is left. Throws 229 when that is more than `bytesMax`. */
  async collect(bytesMax: number): Promise<Buffer> {
    const bytes = await this.take(bytesMax + 1);
    if (bytes.length <= bytesMax) return bytes;
    throw exception('QUERY_IS_TOO_LARGE', `Query is too large: more than ${bytesMax} bytes`);
  }

  /** The same body with `head` in front of what is left. */
  rest(head: Buffer): RequestBody {
    const front = head.length === 0 ? this.#front : [head, ...this.#front];
    const body = new RequestBody(this.#chunks, this.#held, front);
    body.#ended = this.#ended;
    return body;
  }

  /** Reads as much as may be held. What cannot be decompressed, or breaks off, throws here and never begins. */
  async hold(): Promise<void> {
    for (const chunk of this.#front) this.#count(chunk.length);
    while (!this.#ended && this.#heldBytes < HELD_BYTES_MAX && this.#held.total < HELD_BYTES_TOTAL_MAX) {
      const chunk = await this.#read();
      if (chunk === undefined) return;
      this.#front.push(chunk);
      this.#count(chunk.length);
    }
  }

  /** Everything, held or still to come. Memory is given back by `release` only. */
  async *data(): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      const chunk = await this.#next();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  release(): void {
    this.#held.total -= this.#heldBytes;
    this.#heldBytes = 0;
    this.#front = [];
  }

  #count(bytes: number): void {
    this.#heldBytes += bytes;
    this.#held.total += bytes;
  }

  async #next(): Promise<Buffer | undefined> {
    return this.#front.shift() ?? (await this.#read());
  }

  async #read(): Promise<Buffer | undefined> {
    if (this.#ended) return undefined;
    const next = await this.#chunks.next();
    if (next.done !== true) return next.value;
    this.#ended = true;
    return undefined;
  }
}

/** The request's body, decompressed by its Content-Encoding. Throws 89 (HTTP 415) for one that is not known. */
export function requestBody(request: IncomingMessage, held: HeldBytes): RequestBody {
  const encoding = request.headers['content-encoding']?.trim().toLowerCase() || 'identity';
  if (encoding === 'identity') return new RequestBody(request[Symbol.asyncIterator](), held);
  const decompress = DECOMPRESS[encoding];
  if (decompress === undefined) {
    const message = 'Unknown Content-Encoding: the embedded engine takes gzip, deflate, zstd, lz4 and identity';
    throw exception('UNKNOWN_COMPRESSION_METHOD', message);
  }
  return new RequestBody(decompressed(decompress(request)), held);
}

/** No brotli, in or out: the version that Node 26.10 bundles is known to be unsafe (M18). */
const DECOMPRESS: Readonly<Record<string, (source: Readable) => AsyncIterable<Buffer>>> = {
  gzip: (source) => through(source, createGunzip()),
  'x-gzip': (source) => through(source, createGunzip()),
  deflate: (source) => through(source, createInflate()),
  zstd: (source) => through(source, createZstdDecompress()),
  lz4: (source) => lz4Blocks(source),
};

function through(source: Readable, transform: Transform): AsyncIterable<Buffer> {
  // The callback is for the pipeline's own sake: errors come out of the transform.
  return pipeline(source, transform, () => undefined);
}

async function* decompressed(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  try {
    yield* chunks;
  } catch (error) {
    throw exception('CANNOT_DECOMPRESS', `The body cannot be decompressed: ${messageOf(error)}`);
  }
}
