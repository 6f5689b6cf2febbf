/**
 * A bounds-checked reader of the protobuf wire format over one body, without copies. Every bound is checked here, once;
 * what is written from its positions trusts them. 64-bit values come as two 32-bit words, `low` and `high`: no bigint.
 *
 * Fields are told apart by their whole tag (number × 8 + wire type): a known number with another wire type is an unknown
 * field and skipped, as are reserved and unknown numbers, groups included (reference otlp.md G32).
 */
import { BackworkError } from '../../base/errors.ts';
import { GROUP_DEPTH_MAX } from '../../base/limits.ts';

export class ProtobufReader {
  bytes: Uint8Array;
  pos = 0;
  /** Words of the last 64-bit value read; `high` and `low` are unsigned. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Tag at `pos`; `end` bounds the message that holds it. */
  tag(end: number): number {
    const first = this.bytes[this.pos]!;
    // Fast path: field numbers up to 15.
    if (first < 0x80) {
      if (first < 8) return this.malformed('a field has the number 0');
      this.pos++;
      return first;
    }
    return this.#longTag(end);
  }

  #longTag(end: number): number {
    this.varint(end);
    if (this.high !== 0 || this.low < 8) return this.malformed('a tag is not a field number and a wire type');
    return this.low;
  }

  /** Reads a varint of up to 10 bytes into `low` and `high`. */
  varint(end: number): void {
    const bytes = this.bytes;
    let pos = this.pos;
    // Fast path: values below 128.
    if (pos < end && bytes[pos]! < 0x80) {
      this.low = bytes[pos]!;
      this.high = 0;
      this.pos = pos + 1;
      return;
    }
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) return void this.malformed('a varint is cut off');
      const byte = bytes[pos++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        this.pos = pos;
        return;
      }
    }
    this.malformed('a varint is longer than 10 bytes');
  }

  /** Reads a length and returns where its field ends; `pos` is then the field's first byte. */
  fieldEnd(end: number): number {
    const pos = this.pos;
    if (pos < end) {
      const length = this.bytes[pos]!;
      // Fast path: lengths below 128.
      if (length < 0x80) {
        const fieldEnd = pos + 1 + length;
        if (fieldEnd > end) return this.malformed('a field is longer than its message');
        this.pos = pos + 1;
        return fieldEnd;
      }
    }
    this.varint(end);
    const fieldEnd = this.pos + this.low;
    if (this.high !== 0 || fieldEnd > end) return this.malformed('a field is longer than its message');
    return fieldEnd;
  }

  /** 4 bytes, little-endian, unsigned. */
  fixed32(end: number): number {
    const pos = this.pos;
    if (pos + 4 > end) return this.malformed('a 32-bit field is cut off');
    const bytes = this.bytes;
    this.pos = pos + 4;
    return (bytes[pos]! | (bytes[pos + 1]! << 8) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 24)) >>> 0;
  }

  /** 8 bytes, little-endian, into `low` and `high`. */
  fixed64(end: number): void {
    if (this.pos + 8 > end) return void this.malformed('a 64-bit field is cut off');
    this.low = this.fixed32(end);
    this.high = this.fixed32(end);
  }

  /** Skips the value of a field whose tag was just read. */
  skip(tag: number, end: number): void {
    switch (tag & 7) {
      case 0:
        return this.varint(end);
      case 1:
        return this.#advance(8, end);
      case 2:
        this.pos = this.fieldEnd(end);
        return;
      case 3:
        return this.#skipGroup(tag, end);
      case 5:
        return this.#advance(4, end);
      default:
        this.malformed(`wire type ${tag & 7} is not known here`);
    }
  }

  #advance(count: number, end: number): void {
    if (this.pos + count > end) this.malformed('a field is cut off');
    this.pos += count;
  }

  /** Groups are skipped by a list of open ones, not by recursion: their depth is the sender's choice. */
  #skipGroup(tag: number, end: number): void {
    const open = [tag >>> 3];
    while (open.length > 0) {
      if (this.pos >= end) this.malformed('a group has no end');
      const inner = this.tag(end);
      if ((inner & 7) === 3) {
        if (open.length === GROUP_DEPTH_MAX) this.malformed(`groups are nested deeper than ${GROUP_DEPTH_MAX}`);
        open.push(inner >>> 3);
      } else if ((inner & 7) === 4) {
        if (open.pop() !== inner >>> 3) this.malformed('a group ends that was not open');
      } else this.skip(inner, end);
    }
  }

  malformed(what: string): never {
    throw new BackworkError(
      'malformed',
      `the body is not a protobuf message of this signal: ${what} (at byte ${this.pos})`,
    );
  }
}

/** A byte range of the body; empty when the field is absent. */
export interface Range {
  start: number;
  end: number;
}

/** Notes where the length-delimited field whose tag was just read stands, and passes over it. */
export function readRange(reader: ProtobufReader, end: number, range: Range): void {
  range.end = reader.fieldEnd(end);
  range.start = reader.pos;
  reader.pos = range.end;
}
