/** Protobuf bytes made field by field, for what protobufjs neither writes nor reads: invalid UTF-8 and deep nesting. */

/** A length-delimited field. */
export function field(number: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([head(number, content.length), content]);
}

/** A varint field of a small number. */
export function varintField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

/** A fixed64, sfixed64 or double field; `value` as its 64 bits. */
export function fixed64Field(number: number, value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return Buffer.concat([varint(number * 8 + 1), bytes]);
}

/** A KeyValue whose value is this AnyValue. */
export function keyValue(key: Uint8Array, value: Uint8Array): Buffer {
  return Buffer.concat([field(1, key), field(2, value)]);
}

/** An AnyValue of arrays nested this deep; lengths are computed from the inside out, because protobufjs cannot. */
export function nestedArrays(levels: number): Buffer {
  const heads: Buffer[] = [];
  let length = 0;
  for (let level = 0; level < levels; level++) {
    // AnyValue 5 array_value holds ArrayValue 1 values.
    for (const number of [1, 5]) {
      const next = head(number, length);
      heads.push(next);
      length += next.length;
    }
  }
  return Buffer.concat(heads.reverse());
}

function head(number: number, contentBytes: number): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(contentBytes)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
