import { describe, expect, it } from 'vitest';
import { BackworkError } from '../../../src/base/errors.ts';
import { ProtobufReader } from '../../../src/ingest/convert/protobuf-reader.ts';

function readerOf(...bytes: number[]): { reader: ProtobufReader; end: number } {
  return { reader: new ProtobufReader(Buffer.from(bytes)), end: bytes.length };
}

function failure(run: () => unknown): BackworkError {
  try {
    run();
  } catch (error) {
    if (error instanceof BackworkError) return error;
  }
  throw new Error('nothing was thrown');
}

describe('the protobuf reader', () => {
  it('reads varints of every length as two words', () => {
    const cases: [number[], bigint][] = [
      [[0x00], 0n],
      [[0x7f], 127n],
      [[0x80, 0x01], 128n],
      [[0xff, 0xff, 0xff, 0xff, 0x0f], 2n ** 32n - 1n],
      [[0x80, 0x80, 0x80, 0x80, 0x10], 2n ** 32n],
      [[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 2n ** 35n],
      [[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 2n ** 64n - 1n],
    ];
    for (const [bytes, value] of cases) {
      const { reader, end } = readerOf(...bytes);
      reader.varint(end);
      expect(BigInt(reader.high) * 2n ** 32n + BigInt(reader.low)).toBe(value);
      expect(reader.pos).toBe(end);
    }
  });

  it('refuses what is cut off, too long, or points outside, and says so', () => {
    const cases: [string, number[], (reader: ProtobufReader, end: number) => unknown][] = [
      ['a varint is cut off', [0x80], (reader, end) => reader.varint(end)],
      ['longer than 10 bytes', Array(11).fill(0x80), (reader, end) => reader.varint(end)],
      ['a field has the number 0', [0x02], (reader, end) => reader.tag(end)],
      ['not a field number', [0x80, 0x80, 0x80, 0x80, 0x10], (reader, end) => reader.tag(end)],
      ['longer than its message', [0x05, 1, 2], (reader, end) => reader.fieldEnd(end)],
      ['longer than its message', [0xff, 0xff, 0xff, 0xff, 0x0f], (reader, end) => reader.fieldEnd(end)],
      ['longer than its message', [0x80, 0x80, 0x80, 0x80, 0x80, 0x01], (reader, end) => reader.fieldEnd(end)],
      ['a 32-bit field is cut off', [1, 2, 3], (reader, end) => reader.fixed32(end)],
      ['a 64-bit field is cut off', [1, 2, 3, 4, 5, 6, 7], (reader, end) => reader.fixed64(end)],
      ['a field is cut off', [1, 2, 3], (reader, end) => reader.skip(0x09, end)],
      ['wire type 6', [1], (reader, end) => reader.skip(0x0e, end)],
      ['a group ends that was not open', [0x14], (reader, end) => reader.skip(0x0b, end)],
      ['a group has no end', [0x08, 0x01], (reader, end) => reader.skip(0x0b, end)],
      ['nested deeper than 100', Array(101).fill(0x0b), (reader, end) => reader.skip(0x0b, end)],
    ];
    for (const [message, bytes, read] of cases) {
      const { reader, end } = readerOf(...bytes);
      const error = failure(() => read(reader, end));
      expect(error.code).toBe('malformed');
      expect(error.message).toContain(message);
    }
  });

  it('skips fields of every wire type, groups within groups included', () => {
    const group = [0x08, 0x96, 0x01, 0x13, 0x0a, 0x01, 0x61, 0x14, 0x15, 1, 2, 3, 4, 0x0c];
    const { reader, end } = readerOf(...group, 0x2a);
    reader.skip(0x0b, end);
    expect(reader.pos).toBe(group.length);
  });
});
