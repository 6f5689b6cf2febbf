/**
 * Growable columns, one class a kind of value, each able to write itself as the data part of a ClickHouse Native column
 * (architecture section 4 has the layouts).
 *
 * A column of level `row` holds a value a row. A column of a repeated level (request, resource, scope, metric) holds a value
 * a run of rows; `runs` says how many rows each run has, and the repetition happens when the block is written.
 *
 * `save` and `restore` are the mark and the roll-back of a refused request: a few numbers, pushed and read in the same order.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { Dictionary } from './dictionary.ts';

/** Rows of each run, for repeated columns; null for a value a row. */
export type Runs = Uint32Array | null;

export interface ColumnBuffer {
  /** Values held. */
  readonly count: number;
  /** Memory that is allocated, filled or not. */
  readonly capacityBytes: number;
  /** Those it writes to; none where it has none. */
  readonly dictionaries?: readonly Dictionary[];
  /** What stands once before the data, and before an Array's offsets: versions of serialization. */
  writePrefix(out: ByteWriter): void;
  /** All values; `rowCount` is how many the block has, with `runs` their sum. */
  writeData(out: ByteWriter, rowCount: number, runs: Runs): void;
  save(marks: number[]): void;
  /** Reads its marks at `at` and returns where the next column's are. */
  restore(marks: readonly number[], at: number): number;
  /** Memory beyond `keptBytesMax` is given back. */
  clear(keptBytesMax: number): void;
}

const ROWS_INITIAL = 64;

/** 1-, 4- and 8-byte values. 8-byte values are two 32-bit words: no bigint is made. */
export class FixedColumn implements ColumnBuffer {
  count = 0;
  readonly #width: 1 | 4 | 8;
  #bytes: Uint8Array;
  #words: Uint32Array;

  constructor(width: 1 | 4 | 8) {
    this.#width = width;
    this.#bytes = new Uint8Array(ROWS_INITIAL * width);
    this.#words = wordsOf(this.#bytes);
  }

  get capacityBytes(): number {
    return this.#bytes.length;
  }

  push1(value: number): void {
    if (this.count === this.#bytes.length) this.#grow();
    this.#bytes[this.count++] = value;
  }

  push4(value: number): void {
    if (this.count === this.#words.length) this.#grow();
    this.#words[this.count++] = value;
  }

  push8(low: number, high: number): void {
    const at = 2 * this.count;
    if (at === this.#words.length) this.#grow();
    this.#words[at] = low;
    this.#words[at + 1] = high;
    this.count++;
  }

  #grow(): void {
    const grown = new Uint8Array(2 * this.#bytes.length);
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#words = wordsOf(grown);
  }

  writePrefix(): void {}

  writeData(out: ByteWriter, rowCount: number, runs: Runs): void {
    const width = this.#width;
    if (runs === null) return out.append(this.#bytes.subarray(0, rowCount * width));
    out.reserve(rowCount * width);
    for (let i = 0; i < runs.length; i++) {
      const value = this.#bytes.subarray(i * width, (i + 1) * width);
      writeRepeated(out, value, runs[i]!);
    }
  }

  save(marks: number[]): void {
    marks.push(this.count);
  }

  restore(marks: readonly number[], at: number): number {
    this.count = marks[at]!;
    return at + 1;
  }

  clear(keptBytesMax: number): void {
    this.count = 0;
    if (this.#bytes.length > keptBytesMax) {
      this.#bytes = new Uint8Array(ROWS_INITIAL * this.#width);
      this.#words = wordsOf(this.#bytes);
    }
  }
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
}

/** The same bytes `times` times over: written once, then doubled. */
function writeRepeated(out: ByteWriter, value: Uint8Array, times: number): void {
  const total = value.length * times;
  if (total === 0) return;
  out.reserve(total);
  const bytes = out.bytes;
  const start = out.length;
  bytes.set(value, start);
  for (let written = value.length; written < total; ) {
    const next = Math.min(written, total - written);
    bytes.copyWithin(start + written, start, start + next);
    written += next;
  }
  out.length = start + total;
}

/** Strings with their length prefix, one after another. The writer appends to `values` and then calls `end`. */
export class StringColumn implements ColumnBuffer {
  count = 0;
  readonly values = new ByteWriter();
  /** Where each value ends; kept for repeated columns only, whose values are few. */
  readonly #ends: number[] | null;

  constructor(repeated: boolean) {
    this.#ends = repeated ? [] : null;
  }

  get capacityBytes(): number {
    return this.values.bytes.length;
  }

  /** The value that was appended to `values` is whole. */
  end(): void {
    this.count++;
    if (this.#ends !== null) this.#ends.push(this.values.length);
  }

  writePrefix(): void {}

  writeData(out: ByteWriter, _rowCount: number, runs: Runs): void {
    if (runs === null || this.#ends === null) return out.append(this.values.view());
    let start = 0;
    for (let i = 0; i < runs.length; i++) {
      const end = this.#ends[i]!;
      writeRepeated(out, this.values.bytes.subarray(start, end), runs[i]!);
      start = end;
    }
  }

  save(marks: number[]): void {
    marks.push(this.count, this.values.length);
  }

  restore(marks: readonly number[], at: number): number {
    this.count = marks[at]!;
    this.values.length = marks[at + 1]!;
    if (this.#ends !== null) this.#ends.length = this.count;
    return at + 2;
  }

  clear(keptBytesMax: number): void {
    this.count = 0;
    this.values.clear();
    this.values.shrink(keptBytesMax);
    if (this.#ends !== null) this.#ends.length = 0;
  }
}

/** Indexes into a dictionary; the index type of the block is the smallest that fits. */
export class LowCardinalityColumn implements ColumnBuffer {
  count = 0;
  readonly dictionary = new Dictionary();
  indexes = new Uint32Array(ROWS_INITIAL);
  readonly #named: number[] = [];

  get capacityBytes(): number {
    return 4 * this.indexes.length + this.dictionary.capacityBytes;
  }

  get dictionaries(): readonly Dictionary[] {
    return [this.dictionary];
  }

  /** Guesses that the value is the previous one, which for most columns it is. */
  push(source: Uint8Array, start: number, end: number): void {
    const count = this.count;
    if (count > 0) {
      const previous = this.indexes[count - 1]!;
      if (this.dictionary.matches(previous, source, start, end)) return this.pushIndex(previous);
    }
    this.pushIndex(this.dictionary.lookup(source, start, end));
  }

  pushText(text: string): void {
    this.pushIndex(this.dictionary.lookupText(text));
  }

  /** The name of an enum's number; a number without a name as its digits, signed (reference otlp.md E8). */
  pushName(names: readonly string[], number: number): void {
    const name = names[number];
    let index = name === undefined ? -1 : (this.#named[number] ?? -1);
    if (index < 0) {
      index = this.dictionary.lookupText(name ?? String(number | 0));
      if (name !== undefined) this.#named[number] = index;
    }
    this.pushIndex(index);
  }

  pushIndex(index: number): void {
    if (this.count === this.indexes.length) {
      const grown = new Uint32Array(2 * this.count);
      grown.set(this.indexes);
      this.indexes = grown;
    }
    this.indexes[this.count++] = index;
  }

  writePrefix(out: ByteWriter): void {
    out.uint64(1, 0);
  }

  /** Nothing at all when there are no rows. */
  writeData(out: ByteWriter, rowCount: number, runs: Runs): void {
    if (rowCount === 0) return;
    const width = indexWidth(this.dictionary.count);
    this.writeHead(out, rowCount);
    if (runs === null) return writeIndexes(out, this.indexes, 0, this.count, width);
    out.reserve(rowCount * width);
    for (let i = 0; i < runs.length; i++) {
      const start = out.length;
      writeIndexes(out, this.indexes, i, i + 1, width);
      const value = out.bytes.subarray(start, out.length);
      out.length = start;
      writeRepeated(out, value, runs[i]!);
    }
  }

  /** Index type, keys and row count: what stands before the indexes. */
  writeHead(out: ByteWriter, rowCount: number): void {
    const width = indexWidth(this.dictionary.count);
    out.uint64((width >>> 1) | 0x600, 0); // 1, 2, 4 bytes → 0, 1, 2; 0x600: own keys, no global dictionary
    out.uint64(this.dictionary.count, 0);
    out.append(this.dictionary.keys.view());
    out.uint64(rowCount, 0);
  }

  save(marks: number[]): void {
    marks.push(this.count, this.dictionary.count);
  }

  restore(marks: readonly number[], at: number): number {
    this.count = marks[at]!;
    this.#named.length = 0;
    this.dictionary.truncate(marks[at + 1]!);
    return at + 2;
  }

  clear(keptBytesMax: number): void {
    this.count = 0;
    this.#named.length = 0;
    this.dictionary.clear();
    if (this.indexes.length * 4 > keptBytesMax) this.indexes = new Uint32Array(ROWS_INITIAL);
  }
}

function indexWidth(keyCount: number): 1 | 2 | 4 {
  return keyCount <= 0x100 ? 1 : keyCount <= 0x1_0000 ? 2 : 4;
}

function writeIndexes(out: ByteWriter, indexes: Uint32Array, from: number, to: number, width: 1 | 2 | 4): void {
  out.reserve((to - from) * width);
  const bytes = out.bytes;
  let at = out.length;
  if (width === 1) for (let i = from; i < to; i++) bytes[at++] = indexes[i]!;
  else if (width === 2) {
    for (let i = from; i < to; i++) {
      const index = indexes[i]!;
      bytes[at++] = index;
      bytes[at++] = index >>> 8;
    }
  } else {
    for (let i = from; i < to; i++) at = bytes.writeUInt32LE(indexes[i]!, at);
  }
  out.length = at;
}

/** Map(LowCardinality(String), String): keys and values of all entries, and where each value of the column ends. */
export class MapColumn implements ColumnBuffer {
  readonly keys = new LowCardinalityColumn();
  /** Values with their length prefixes. */
  readonly values = new ByteWriter();
  /** Entries up to and including each value. */
  #ends = new Uint32Array(ROWS_INITIAL);
  /** Bytes of `values` up to and including each value; kept for repeated columns only. */
  readonly #valueEnds: number[] | null;
  count = 0;

  constructor(repeated: boolean) {
    this.#valueEnds = repeated ? [] : null;
  }

  get capacityBytes(): number {
    return this.keys.capacityBytes + this.values.bytes.length + 4 * this.#ends.length;
  }

  get dictionaries(): readonly Dictionary[] {
    return this.keys.dictionaries;
  }

  /** First entry of the value written before the one that is being written: where its keys can be guessed from. */
  get previousStart(): number {
    return this.count < 2 ? 0 : this.#ends[this.count - 2]!;
  }

  end(): void {
    if (this.count === this.#ends.length) {
      const grown = new Uint32Array(2 * this.count);
      grown.set(this.#ends);
      this.#ends = grown;
    }
    this.#ends[this.count++] = this.keys.count;
    if (this.#valueEnds !== null) this.#valueEnds.push(this.values.length);
  }

  writePrefix(out: ByteWriter): void {
    this.keys.writePrefix(out);
  }

  writeData(out: ByteWriter, rowCount: number, runs: Runs): void {
    if (runs === null || this.#valueEnds === null) {
      out.uint64s(this.#ends, rowCount);
      this.keys.writeData(out, this.keys.count, null);
      out.append(this.values.view());
      return;
    }
    this.#writeRepeated(out, rowCount, runs, this.#valueEnds);
  }

  #writeRepeated(out: ByteWriter, rowCount: number, runs: Uint32Array, valueEnds: readonly number[]): void {
    const ends = new Uint32Array(rowCount);
    let entries = 0;
    let at = 0;
    for (let i = 0; i < runs.length; i++) {
      const size = this.#ends[i]! - (i === 0 ? 0 : this.#ends[i - 1]!);
      for (let row = runs[i]!; row > 0; row--) {
        entries += size;
        ends[at++] = entries;
      }
    }
    out.uint64s(ends, rowCount);
    if (entries === 0) return;
    this.keys.writeHead(out, entries);
    const width = indexWidth(this.keys.dictionary.count);
    for (let i = 0; i < runs.length; i++) {
      const start = out.length;
      writeIndexes(out, this.keys.indexes, i === 0 ? 0 : this.#ends[i - 1]!, this.#ends[i]!, width);
      const value = out.bytes.subarray(start, out.length);
      out.length = start;
      writeRepeated(out, value, runs[i]!);
    }
    for (let i = 0; i < runs.length; i++) {
      writeRepeated(out, this.values.bytes.subarray(i === 0 ? 0 : valueEnds[i - 1]!, valueEnds[i]!), runs[i]!);
    }
  }

  save(marks: number[]): void {
    marks.push(this.count, this.values.length);
    this.keys.save(marks);
  }

  restore(marks: readonly number[], at: number): number {
    this.count = marks[at]!;
    this.values.length = marks[at + 1]!;
    if (this.#valueEnds !== null) this.#valueEnds.length = this.count;
    return this.keys.restore(marks, at + 2);
  }

  clear(keptBytesMax: number): void {
    this.count = 0;
    this.keys.clear(keptBytesMax);
    this.values.clear();
    this.values.shrink(keptBytesMax);
    if (this.#valueEnds !== null) this.#valueEnds.length = 0;
    if (this.#ends.length * 4 > keptBytesMax) this.#ends = new Uint32Array(ROWS_INITIAL);
  }
}
