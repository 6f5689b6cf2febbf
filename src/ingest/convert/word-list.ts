/** 64-bit values of one repeated field as pairs of words, packed or not: noted before they are judged and written. */
import type { FixedColumn } from './column-buffers.ts';
import type { ProtobufReader } from './protobuf-reader.ts';

export class WordList {
  count = 0;
  #words = new Uint32Array(64);
  #doubles = new Float64Array(this.#words.buffer);

  clear(): void {
    this.count = 0;
  }

  push(low: number, high: number): void {
    if (2 * this.count === this.#words.length) {
      const grown = new Uint32Array(4 * this.count);
      grown.set(this.#words);
      this.#words = grown;
      this.#doubles = new Float64Array(grown.buffer);
    }
    this.#words[2 * this.count] = low;
    this.#words[2 * this.count + 1] = high;
    this.count++;
  }

  /** One fixed64, sfixed64 or double. */
  readFixed64(reader: ProtobufReader, end: number): void {
    reader.fixed64(end);
    this.push(reader.low, reader.high);
  }

  /** A packed field of them; the tag was just read. */
  readPackedFixed64(reader: ProtobufReader, end: number): void {
    const fieldEnd = reader.fieldEnd(end);
    while (reader.pos < fieldEnd) this.readFixed64(reader, fieldEnd);
  }

  /** One uint64 varint. */
  readVarint(reader: ProtobufReader, end: number): void {
    reader.varint(end);
    this.push(reader.low, reader.high);
  }

  readPackedVarint(reader: ProtobufReader, end: number): void {
    const fieldEnd = reader.fieldEnd(end);
    while (reader.pos < fieldEnd) this.readVarint(reader, fieldEnd);
  }

  /** As doubles: each above the one before it, and none is NaN. */
  get strictlyIncreasing(): boolean {
    const doubles = this.#doubles;
    if (this.count > 0 && Number.isNaN(doubles[0]!)) return false;
    for (let i = 1; i < this.count; i++) if (!(doubles[i]! > doubles[i - 1]!)) return false;
    return true;
  }

  writeTo(column: FixedColumn): void {
    for (let i = 0; i < this.count; i++) column.push8(this.#words[2 * i]!, this.#words[2 * i + 1]!);
  }
}
