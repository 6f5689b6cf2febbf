/** A proto3 `optional double`: absent is null, not 0. */
import type { NullableFixed8Column } from './array-columns.ts';
import type { ProtobufReader } from './protobuf-reader.ts';

export class OptionalDouble {
  #present = false;
  #low = 0;
  #high = 0;

  clear(): void {
    this.#present = false;
  }

  read(reader: ProtobufReader, end: number): void {
    reader.fixed64(end);
    this.#present = true;
    this.#low = reader.low;
    this.#high = reader.high;
  }

  write(column: NullableFixed8Column): void {
    if (this.#present) column.push(this.#low, this.#high);
    else column.pushNull();
  }
}
