/**
 * The distinct strings of a LowCardinality column in one block: bytes in, index out. Open addressing over a hash of the
 * bytes; nothing becomes a JavaScript string. Entries are always valid UTF-8, so bytes that equal an entry need no check.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { appendString, repairUtf8 } from './text.ts';

const SLOTS_MIN = 64;
/** Start, length, hash; two slots, half of which are empty on average. */
const BESIDE_ENTRY_BYTES = 24;

export class Dictionary {
  /** Entries as ClickHouse Strings (length prefix and bytes), in the order of their indexes: the form of the block. */
  readonly keys = new ByteWriter(1024);
  count = 0;
  /** Set when a lookup had to replace invalid UTF-8; the caller clears it. */
  repaired = false;
  /** Start and length of each entry's text in `keys`. */
  #starts = new Uint32Array(SLOTS_MIN / 2);
  #lengths = new Uint32Array(SLOTS_MIN / 2);
  #hashes = new Int32Array(SLOTS_MIN / 2);
  /** Index + 1 of the entry, 0 for none; a power of two long, at most half full. */
  #slots = new Int32Array(SLOTS_MIN);

  /** Its entries, and about 24 bytes beside each. */
  get memoryBytes(): number {
    return this.keys.length + BESIDE_ENTRY_BYTES * this.count;
  }

  get capacityBytes(): number {
    return this.keys.bytes.length + 12 * this.#starts.length + 4 * this.#slots.length;
  }

  /** True when entry `index` is exactly these bytes: a guess that costs less than a lookup when it is right. */
  matches(index: number, source: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    if (this.#lengths[index] !== length) return false;
    const keys = this.keys.bytes;
    const at = this.#starts[index]!;
    for (let i = length - 1; i >= 0; i--) if (keys[at + i] !== source[start + i]) return false;
    return true;
  }

  /** Index of these bytes, which become an entry when they are not one yet. Invalid UTF-8 is replaced (`repaired`). */
  lookup(source: Uint8Array, start: number, end: number): number {
    const hash = hashOf(source, start, end);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (let entry = slots[slot]!; entry !== 0; entry = slots[slot]!) {
      if (this.#hashes[entry - 1] === hash && this.matches(entry - 1, source, start, end)) return entry - 1;
      slot = (slot + 1) & mask;
    }
    return this.#add(source, start, end, hash, slot);
  }

  lookupText(text: string): number {
    const encoded = Buffer.from(text, 'utf8');
    return this.lookup(encoded, 0, encoded.length);
  }

  #add(source: Uint8Array, start: number, end: number, hash: number, slot: number): number {
    const before = this.keys.length;
    if (!appendString(this.keys, source, start, end)) {
      this.keys.length = before;
      this.repaired = true;
      const repaired = repairUtf8(source, start, end);
      return this.lookup(repaired, 0, repaired.length);
    }
    const index = this.count++;
    if (index === this.#starts.length) this.#growEntries();
    this.#starts[index] = this.keys.length - (end - start);
    this.#lengths[index] = end - start;
    this.#hashes[index] = hash;
    this.#slots[slot] = index + 1;
    if (2 * this.count > this.#slots.length) this.#rehash(this.#slots.length * 2);
    return index;
  }

  #growEntries(): void {
    this.#starts = grown(this.#starts, new Uint32Array(2 * this.count));
    this.#lengths = grown(this.#lengths, new Uint32Array(2 * this.count));
    this.#hashes = grown(this.#hashes, new Int32Array(2 * this.count));
  }

  #rehash(slotCount: number): void {
    const slots = new Int32Array(slotCount);
    const mask = slotCount - 1;
    for (let index = 0; index < this.count; index++) {
      let slot = this.#hashes[index]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = index + 1;
    }
    this.#slots = slots;
  }

  /** Forgets every entry from `count` on; indexes below keep their meaning. */
  truncate(count: number): void {
    if (count === this.count) return;
    this.keys.length = count === 0 ? 0 : this.#starts[count - 1]! + this.#lengths[count - 1]!;
    this.count = count;
    this.repaired = false;
    this.#rehash(this.#slots.length);
  }

  /** Empties it for the next block and lets go of large memory. */
  clear(): void {
    this.repaired = false;
    if (this.count === 0) return;
    this.count = 0;
    this.keys.clear();
    if (this.#slots.length > 16_384) this.#slots = new Int32Array(SLOTS_MIN);
    else this.#slots.fill(0);
    this.keys.shrink(64 * 1024);
  }
}

function grown<A extends Uint32Array | Int32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

/** FNV-1a over the bytes; long strings by their length, first 64 and last 64 bytes: equality is checked anyway. */
function hashOf(source: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 ^ (end - start);
  const headEnd = Math.min(end, start + 64);
  for (let i = start; i < headEnd; i++) hash = Math.imul(hash ^ source[i]!, 0x01000193);
  for (let i = Math.max(headEnd, end - 64); i < end; i++) hash = Math.imul(hash ^ source[i]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
