/** The protobuf wire format, as far as answers need it: varints and length-delimited fields. Not hot. */

/** `value`: a whole number from 0 to 2^53 − 1. Zero is the default of every proto3 field and leaves nothing. */
export function varintField(field: number, value: number): Buffer {
  return value === 0 ? Buffer.alloc(0) : Buffer.from([...varint(field * 8), ...varint(value)]);
}

/** An empty string is the default and leaves nothing. */
export function stringField(field: number, text: string): Buffer {
  return text === '' ? Buffer.alloc(0) : messageField(field, Buffer.from(text));
}

/** A message, string or bytes field, written even when empty. */
export function messageField(field: number, ...parts: readonly Buffer[]): Buffer {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(bytes)]), ...parts]);
}

/** Division, not shifts: counts may pass 31 bits. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}
