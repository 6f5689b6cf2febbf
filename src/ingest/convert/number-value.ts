/**
 * The value of a number point or an exemplar: a double, an integer, or none. Value holds the double, or the integer as a
 * double; ValueInt the exact integer; ValueType says which it was (`d`, `i`, `n`; reference otlp.md 4.6).
 */
import type { FixedColumn, LowCardinalityColumn } from './column-buffers.ts';
import type { ProtobufReader } from './protobuf-reader.ts';

const TYPES = ['n', 'i', 'd'];
const NONE = 0;
const INT = 1;
const DOUBLE = 2;
const WORD = 4_294_967_296;

const words = new Uint32Array(2);
const double = new Float64Array(words.buffer);

export class NumberValue {
  #type = NONE;
  #low = 0;
  #high = 0;

  get isNone(): boolean {
    return this.#type === NONE;
  }

  clear(): void {
    this.#type = NONE;
    this.#low = 0;
    this.#high = 0;
  }

  readDouble(reader: ProtobufReader, end: number): void {
    reader.fixed64(end);
    this.#set(DOUBLE, reader.low, reader.high);
  }

  readInt(reader: ProtobufReader, end: number): void {
    reader.fixed64(end);
    this.#set(INT, reader.low, reader.high);
  }

  #set(type: number, low: number, high: number): void {
    this.#type = type;
    this.#low = low;
    this.#high = high;
  }

  write(value: FixedColumn, valueType: LowCardinalityColumn, valueInt: FixedColumn): void {
    valueType.pushName(TYPES, this.#type);
    if (this.#type === INT) {
      // Both terms are exact, so the sum is rounded once: the double nearest to the integer.
      double[0] = (this.#high | 0) * WORD + this.#low;
      value.push8(words[0]!, words[1]!);
      valueInt.push8(this.#low, this.#high);
    } else {
      value.push8(this.#low, this.#high);
      valueInt.push8(0, 0);
    }
  }
}
