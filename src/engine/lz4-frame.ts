/**
 * LZ4 frames, decoded: clickhouse-connect compresses its INSERTs so by default, and Node has no LZ4.
 *
 *   frame   magic 4 | FLG 1 | BD 1 | [content size 8] | [dictionary id 4] | header checksum 1 | block… | 0 (4 bytes) | [content checksum 4]
 *   block   size 4 (top bit: stored as it is) | data | [block checksum 4]
 *   data    (token | [literal length…] | literals | offset 2 | [match length…])…, the last sequence without a match
 *
 * All numbers little-endian. Frames may follow each other; skippable frames are skipped. Checksums are not verified:
 * the body came over loopback, and what it holds is checked by its format. Source: the LZ4 frame and block format
 * descriptions, version 1.6.
 */
import { KIB } from '../base/limits.ts';

const MAGIC = 0x184d2204;
const SKIPPABLE_MAGIC = 0x184d2a50;
/** How far back a match may reach, into the block before too when blocks are linked. */
const WINDOW_BYTES = 64 * KIB;
const MATCH_BYTES_MIN = 4;

/** Inflated blocks of at most 4 MiB each. Throws Error on anything that is not a whole LZ4 stream. */
export async function* lz4Blocks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  const input = new Input(source);
  for (;;) {
    const magic = await input.readMagic();
    if (magic === undefined) return;
    if ((magic & ~0xf) >>> 0 === SKIPPABLE_MAGIC) await input.read((await input.read(4)).readUInt32LE());
    else if (magic === MAGIC) yield* frameBlocks(input);
    else throw new Error('not an LZ4 frame');
  }
}

async function* frameBlocks(input: Input): AsyncGenerator<Buffer, void, void> {
  const [flags = 0, descriptor = 0] = await input.read(2);
  if (flags >> 6 !== 1) throw new Error(`LZ4 frame version ${flags >> 6}, known is 1`);
  if ((flags & 1) !== 0) throw new Error('LZ4 frame with a dictionary');
  const sizeCode = (descriptor >> 4) & 7;
  if (sizeCode < 4) throw new Error(`LZ4 block size code ${sizeCode}`);
  const blockBytesMax = 1 << (8 + 2 * sizeCode);
  const independent = (flags & 0x20) !== 0;
  const blockChecksum = (flags & 0x10) !== 0;
  await input.read(((flags & 8) !== 0 ? 8 : 0) + 1);
  let window: Buffer = Buffer.alloc(0);
  for (;;) {
    const size = (await input.read(4)).readUInt32LE();
    if (size === 0) break;
    const bytes = size & 0x7fffffff;
    if (bytes > blockBytesMax) throw new Error(`LZ4 block of ${bytes} bytes, at most ${blockBytesMax}`);
    const data = await input.read(bytes);
    if (blockChecksum) await input.read(4);
    const block = size >>> 31 === 1 ? data : decodeBlock(data, window, blockBytesMax);
    if (!independent)
      window = Buffer.concat([window, block].map((part) => part.subarray(-WINDOW_BYTES))).subarray(-WINDOW_BYTES);
    yield block;
  }
  if ((flags & 4) !== 0) await input.read(4);
}

/** One compressed block; matches may reach into `window`, what was decoded just before. */
function decodeBlock(data: Buffer, window: Buffer, bytesMax: number): Buffer {
  const start = window.length;
  const out = Buffer.allocUnsafe(start + bytesMax);
  window.copy(out);
  let to = start;
  let at = 0;
  const length = (first: number): number => {
    let total = first;
    if (first !== 15) return total;
    for (let more = 255; more === 255; total += more) {
      if (at >= data.length) throw new Error('LZ4 block cut short');
      more = data.readUInt8(at++);
    }
    return total;
  };
  while (at < data.length) {
    const token = data.readUInt8(at++);
    const literals = length(token >> 4);
    if (at + literals > data.length || to + literals > out.length) throw new Error('LZ4 literals out of bounds');
    data.copy(out, to, at, at + literals);
    at += literals;
    to += literals;
    if (at === data.length) return out.subarray(start, to);
    if (at + 2 > data.length) throw new Error('LZ4 block cut short');
    const offset = data.readUInt16LE(at);
    at += 2;
    const match = length(token & 15) + MATCH_BYTES_MIN;
    if (offset === 0 || offset > to || to + match > out.length) throw new Error('LZ4 match out of bounds');
    copyMatch(out, to, offset, match);
    to += match;
  }
  throw new Error('LZ4 block cut short');
}

/** A match may overlap what it makes: `offset` bytes are then repeated. */
function copyMatch(out: Buffer, to: number, offset: number, length: number): void {
  if (offset >= length) {
    out.copyWithin(to, to - offset, to - offset + length);
    return;
  }
  for (let i = 0; i < length; i++) out[to + i] = out[to + i - offset] ?? 0;
}

/** Exact numbers of bytes from a stream of chunks. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** undefined at the end of the stream. */
  async readMagic(): Promise<number | undefined> {
    if (this.#rest.length === 0 && !(await this.#more())) return undefined;
    return (await this.read(4)).readUInt32LE();
  }

  async read(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = bytes;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw new Error('LZ4 stream cut short');
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#rest = next.value;
      if (this.#rest.length > 0) return true;
    }
  }
}
