/**
 * Columns that are made of other columns: Array(T), with the offsets that all subcolumns of a Nested share, and
 * Nullable(T) (architecture section 4 has the layouts).
 */
import type { ByteWriter } from '../../base/byte-writer.ts';
import { type ColumnBuffer, FixedColumn, type Runs } from './column-buffers.ts';
import type { Dictionary } from './dictionary.ts';

const ROWS_INITIAL = 64;

/** How many elements there are up to and including each row; one for all arrays of a Nested column. */
export class ArrayOffsets {
  count = 0;
  #ends = new Uint32Array(ROWS_INITIAL);
  #total = 0;

  get capacityBytes(): number {
    return 4 * this.#ends.length;
  }

  /** The row has this many elements. */
  end(elementCount: number): void {
    if (this.count === this.#ends.length) {
      const grown = new Uint32Array(2 * this.count);
      grown.set(this.#ends);
      this.#ends = grown;
    }
    this.#total += elementCount;
    this.#ends[this.count++] = this.#total;
  }

  write(out: ByteWriter, rowCount: number): void {
    if (this.#total === 0) out.zeros(8 * rowCount);
    else out.uint64s(this.#ends, rowCount);
  }

  save(marks: number[]): void {
    marks.push(this.count);
  }

  restore(count: number): void {
    this.count = count;
    this.#total = count === 0 ? 0 : this.#ends[count - 1]!;
  }

  clear(keptBytesMax: number): void {
    this.restore(0);
    if (4 * this.#ends.length > keptBytesMax) this.#ends = new Uint32Array(ROWS_INITIAL);
  }
}

/** Array(T) of level `row`. The writer pushes elements to `inner` and ends the row in `offsets`. */
export class ArrayColumn implements ColumnBuffer {
  readonly inner: ColumnBuffer;
  readonly offsets: ArrayOffsets;

  constructor(inner: ColumnBuffer, offsets: ArrayOffsets) {
    this.inner = inner;
    this.offsets = offsets;
  }

  get count(): number {
    return this.offsets.count;
  }

  get capacityBytes(): number {
    return this.offsets.capacityBytes + this.inner.capacityBytes;
  }

  get dictionaries(): readonly Dictionary[] {
    return this.inner.dictionaries ?? [];
  }

  writePrefix(out: ByteWriter): void {
    this.inner.writePrefix(out);
  }

  writeData(out: ByteWriter, rowCount: number): void {
    this.offsets.write(out, rowCount);
    this.inner.writeData(out, this.inner.count, null);
  }

  /** Offsets that are shared are saved with each of their columns; to restore them more than once changes nothing. */
  save(marks: number[]): void {
    this.offsets.save(marks);
    this.inner.save(marks);
  }

  restore(marks: readonly number[], at: number): number {
    this.offsets.restore(marks[at]!);
    return this.inner.restore(marks, at + 1);
  }

  clear(keptBytesMax: number): void {
    this.offsets.clear(keptBytesMax);
    this.inner.clear(keptBytesMax);
  }
}

/** Nullable of an 8-byte type: a byte a value that says whether it is null, then the values. */
export class NullableFixed8Column implements ColumnBuffer {
  readonly #nulls = new FixedColumn(1);
  readonly #values = new FixedColumn(8);

  get count(): number {
    return this.#nulls.count;
  }

  get capacityBytes(): number {
    return this.#nulls.capacityBytes + this.#values.capacityBytes;
  }

  push(low: number, high: number): void {
    this.#nulls.push1(0);
    this.#values.push8(low, high);
  }

  pushNull(): void {
    this.#nulls.push1(1);
    this.#values.push8(0, 0);
  }

  writePrefix(): void {}

  writeData(out: ByteWriter, rowCount: number, runs: Runs): void {
    this.#nulls.writeData(out, rowCount, runs);
    this.#values.writeData(out, rowCount, runs);
  }

  save(marks: number[]): void {
    this.#nulls.save(marks);
    this.#values.save(marks);
  }

  restore(marks: readonly number[], at: number): number {
    return this.#values.restore(marks, this.#nulls.restore(marks, at));
  }

  clear(keptBytesMax: number): void {
    this.#nulls.clear(keptBytesMax);
    this.#values.clear(keptBytesMax);
  }
}
