/** Scratch of `uint64s`: the upper words stay 0. */
const WORDS_AT_ONCE = 8_192;
const words = new Uint32Array(2 * WORDS_AT_ONCE);
const wordBytes = new Uint8Array(words.buffer);

/**
 * A growable run of bytes. The one buffer type that strings, dictionaries, JSON text and blocks are written into.
 * `bytes` may be replaced by any call that reserves: do not hold it across one.
 */
export class ByteWriter {
  bytes: Buffer;
  length = 0;

  constructor(capacityBytes = 256) {
    this.bytes = Buffer.allocUnsafeSlow(capacityBytes);
  }

  /** Makes room for `count` more bytes; call once for each value, then write by index. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed > this.bytes.length) this.#grow(needed);
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length), 0);
    this.bytes = grown;
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** Unsigned LEB128 of an integer below 2^53. */
  varuint(value: number): void {
    this.reserve(10);
    const bytes = this.bytes;
    let at = this.length;
    let rest = value;
    while (rest >= 0x80) {
      bytes[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    bytes[at++] = rest;
    this.length = at;
  }

  append(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** Length prefix and UTF-8 bytes: ClickHouse's String, for names and other rare texts. */
  text(value: string): void {
    const encoded = Buffer.from(value, 'utf8');
    this.varuint(encoded.length);
    this.append(encoded);
  }

  /** Characters below 128, without a prefix. */
  ascii(value: string): void {
    this.reserve(value.length);
    const bytes = this.bytes;
    let at = this.length;
    for (let i = 0; i < value.length; i++) bytes[at++] = value.charCodeAt(i);
    this.length = at;
  }

  /** Little-endian; `low` and `high` are the two words. */
  uint64(low: number, high: number): void {
    this.reserve(8);
    this.bytes.writeUInt32LE(low >>> 0, this.length);
    this.bytes.writeUInt32LE(high >>> 0, this.length + 4);
    this.length += 8;
  }

  /** The first `count` of these as 64-bit little-endian integers: the offsets of an Array or a Map. */
  uint64s(values: Uint32Array, count: number): void {
    this.reserve(8 * count);
    for (let from = 0; from < count; from += WORDS_AT_ONCE) {
      const to = Math.min(count, from + WORDS_AT_ONCE);
      for (let i = from; i < to; i++) words[2 * (i - from)] = values[i]!;
      this.append(wordBytes.subarray(0, 8 * (to - from)));
    }
  }

  /** `count` bytes of 0. */
  zeros(count: number): void {
    this.reserve(count);
    this.bytes.fill(0, this.length, this.length + count);
    this.length += count;
  }

  /** Everything written so far; shares memory with the writer until it grows or is cleared and written again. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  /** Lets go of memory beyond `capacityBytes`; only when empty. */
  shrink(capacityBytes: number): void {
    if (this.length > 0 || this.bytes.length <= capacityBytes) return;
    freeNow(this.bytes);
    this.bytes = Buffer.allocUnsafeSlow(capacityBytes);
  }
}

/**
 * Gives the memory back at once: what waits for the garbage collector made the process grow by two bodies more (F24, F25).
 * For bytes that have their memory to themselves and that nothing uses afterwards; what shares its memory is left alone.
 */
export function freeNow(bytes: Uint8Array): void {
  if (bytes.length === bytes.buffer.byteLength) (bytes.buffer as ArrayBuffer).transfer(0);
}
