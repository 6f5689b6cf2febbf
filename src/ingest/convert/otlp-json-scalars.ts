/**
 * One JSON value → one scalar on the wire. A value that the field cannot hold is told as a reason (the rule, never the
 * value), not thrown: the caller decides whether an item or the whole request is refused. The token is consumed either
 * way. 64-bit integers are read from their digits into two words, so nothing is rounded (reference otlp.md J4–J12).
 */
import type { ByteWriter } from '../../base/byte-writer.ts';
import { HAS_ESCAPE, HAS_HIGH_BYTE, hexValue, type JsonCursor, numberEnd } from './otlp-json-cursor.ts';
import { DecimalInteger } from './otlp-json-integer.ts';
import { appendUnescaped } from './otlp-json-text.ts';
import type { Field } from './otlp-schema.ts';
import { appendUtf8 } from './text.ts';

/** undefined: written. Else the rule that the value breaks. */
export type Wrong = string | undefined;

const NOT_NUMBER = 'expected a number or a decimal string';
const QUOTE = 0x22;

export class ScalarWriter {
  /** Texts that held invalid UTF-8 or a lone surrogate, which is U+FFFD now (E10, J19). */
  repaired = 0;
  readonly #cursor: JsonCursor;
  readonly #out: ByteWriter;
  readonly #unescaped: ByteWriter;
  readonly #integer = new DecimalInteger();
  /** The text that is looked at now: the token itself, or its unescaped copy. */
  #text: Uint8Array;
  #start = 0;
  #end = 0;
  /** The string loaded last has no lone surrogate among its escapes. */
  #wellFormed = true;

  /** `unescaped` is scratch memory of the caller, written anew for each text that holds an escape. */
  constructor(cursor: JsonCursor, out: ByteWriter, unescaped: ByteWriter) {
    this.#cursor = cursor;
    this.#out = out;
    this.#unescaped = unescaped;
    this.#text = cursor.bytes;
  }

  /** Writes tag and value; with `packed` the value alone. Nothing is written when a reason is returned. */
  write(field: Field, packed: boolean): Wrong {
    switch (field.type) {
      case 'string':
        return this.#string(field);
      case 'bytes':
        return this.#base64(field);
      case 'id':
        return this.#hex(field);
      case 'bool':
        return this.#boolean(field);
      case 'double':
        return this.#double(field, packed);
      case 'message':
        return 'expected an object';
      default:
        return this.#integerField(field, packed);
    }
  }

  /** Loads the string ahead, unescaped, into #text; false when the value ahead is no string (nothing is consumed). */
  #load(): boolean {
    const cursor = this.#cursor;
    if (cursor.ahead() !== QUOTE) return false;
    cursor.string();
    this.#text = cursor.bytes;
    this.#start = cursor.tokenStart;
    this.#end = cursor.tokenEnd;
    this.#wellFormed = true;
    if ((cursor.flags & HAS_ESCAPE) === 0) return true;
    this.#unescaped.clear();
    this.#wellFormed = appendUnescaped(this.#unescaped, cursor.bytes, cursor.tokenStart, cursor.tokenEnd);
    this.#text = this.#unescaped.bytes;
    this.#start = 0;
    this.#end = this.#unescaped.length;
    return true;
  }

  #string(field: Field): Wrong {
    if (!this.#load()) return 'expected a string';
    const out = this.#out;
    const length = this.#end - this.#start;
    out.varuint(field.number * 8 + 2);
    const lengthAt = out.length;
    out.varuint(length);
    const textAt = out.length;
    if ((this.#cursor.flags & (HAS_HIGH_BYTE | HAS_ESCAPE)) === 0) copyAscii(out, this.#text, this.#start, this.#end);
    else if (!appendUtf8(out, this.#text, this.#start, this.#end)) {
      this.#wellFormed = false;
      const text = Buffer.from(out.bytes.subarray(textAt, out.length));
      out.length = lengthAt;
      out.varuint(text.length);
      out.append(text);
    }
    if (!this.#wellFormed) this.repaired++;
    return undefined;
  }

  #hex(field: Field): Wrong {
    if (!this.#load()) return 'expected a string of hex digits';
    const text = this.#text;
    const digits = this.#end - this.#start;
    for (let i = this.#start; i < this.#end; i++) {
      if (hexValue(text[i]!) < 0) return 'not hex digits; ids are hex in OTLP/JSON, not base64';
    }
    if (digits % 2 !== 0) return 'an odd number of hex digits; ids are hex in OTLP/JSON, two digits a byte';
    const out = this.#out;
    out.varuint(field.number * 8 + 2);
    out.varuint(digits / 2);
    out.reserve(digits / 2);
    let at = out.length;
    for (let i = this.#start; i < this.#end; i += 2) {
      out.bytes[at++] = hexValue(text[i]!) * 16 + hexValue(text[i + 1]!);
    }
    out.length = at;
    return undefined;
  }

  /** Standard or URL-safe alphabet, padded or not. */
  #base64(field: Field): Wrong {
    if (!this.#load()) return 'expected a base64 string';
    let end = this.#end;
    while (end > this.#start && this.#end - end < 2 && this.#text[end - 1] === 0x3d) end--;
    const characters = end - this.#start;
    const padded = end !== this.#end;
    if (characters % 4 === 1 || (padded && (this.#end - this.#start) % 4 !== 0))
      return 'not base64: its length is wrong';
    for (let i = this.#start; i < end; i++) {
      if (base64Value(this.#text[i]!) < 0) return 'not base64: a character is outside both alphabets';
    }
    const out = this.#out;
    const length = Math.floor((characters * 3) / 4);
    out.varuint(field.number * 8 + 2);
    out.varuint(length);
    out.reserve(length);
    let bits = 0;
    let held = 0;
    for (let i = this.#start; i < end; i++) {
      bits = ((bits << 6) | base64Value(this.#text[i]!)) & 0xffffff;
      held += 6;
      if (held < 8) continue;
      held -= 8;
      out.bytes[out.length++] = (bits >>> held) & 0xff;
    }
    return undefined;
  }

  #boolean(field: Field): Wrong {
    const value = this.#cursor.boolean();
    if (value === undefined) return 'expected true or false';
    this.#out.varuint(field.number * 8);
    this.#out.byte(value ? 1 : 0);
    return undefined;
  }

  #double(field: Field, packed: boolean): Wrong {
    const isString = this.#load();
    if (!isString && !this.#loadNumber()) return NOT_NUMBER;
    const special = isString ? specialDouble(this.#latin1()) : undefined;
    if (special === undefined && numberEnd(this.#text, this.#start, this.#end) !== this.#end) return NOT_NUMBER;
    if (special === undefined) return this.#finite(field.number, this.#finiteDouble(), packed);
    this.#writeDouble(field.number, special, packed);
    return undefined;
  }

  #finite(number: number, value: number, packed: boolean): Wrong {
    if (!Number.isFinite(value)) return 'out of range: no double is as large';
    this.#writeDouble(number, value, packed);
    return undefined;
  }

  /** The number in #text, whose form was checked. */
  #finiteDouble(): number {
    // Fast path: up to 15 digits and nothing else, which a double holds exactly.
    if (this.#end - this.#start > 15) return Number(this.#latin1());
    let value = 0;
    for (let i = this.#start; i < this.#end; i++) {
      const digit = this.#text[i]! - 0x30;
      if (digit < 0 || digit > 9) return Number(this.#latin1());
      value = value * 10 + digit;
    }
    return value;
  }

  #integerField(field: Field, packed: boolean): Wrong {
    const isString = this.#load();
    if (!isString && !this.#loadNumber()) return field.type === 'enum' ? 'expected an enum number' : NOT_NUMBER;
    if (numberEnd(this.#text, this.#start, this.#end) !== this.#end) return this.#enumName(field);
    const integer = this.#integer;
    if (!integer.read(this.#text, this.#start, this.#end) || !integer.fits(field.type)) {
      // What JavaScript writes for a large number, `1e+21`, is kept as the double it was (J9).
      if (field.name !== 'int_value') return `not an integer in the range of ${field.type}`;
      return this.#finite(INT_VALUE_AS_DOUBLE, Number(this.#latin1()), false);
    }
    const out = this.#out;
    if (!packed) out.varuint(field.number * 8 + wireTypeOf(field));
    integer.write(out, field.type);
    return undefined;
  }

  #enumName(field: Field): Wrong {
    if (field.enumNumbers === undefined) return NOT_NUMBER;
    const number = field.enumNumbers.get(this.#latin1());
    if (number === undefined) return 'an enum name that is not known; enums are numbers in OTLP/JSON';
    this.#out.varuint(field.number * 8);
    this.#out.varuint(number);
    return undefined;
  }

  #loadNumber(): boolean {
    if (!this.#cursor.number()) return false;
    this.#text = this.#cursor.bytes;
    this.#start = this.#cursor.tokenStart;
    this.#end = this.#cursor.tokenEnd;
    return true;
  }

  #latin1(): string {
    return Buffer.from(this.#text.buffer, this.#text.byteOffset + this.#start, this.#end - this.#start).toString(
      'latin1',
    );
  }

  #writeDouble(number: number, value: number, packed: boolean): void {
    const out = this.#out;
    if (!packed) out.varuint(number * 8 + 1);
    out.reserve(8);
    out.bytes.writeDoubleLE(value, out.length);
    out.length += 8;
  }
}

/** AnyValue.double_value. */
const INT_VALUE_AS_DOUBLE = 4;

/** Wire type of a scalar field: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
export function wireTypeOf(field: Field): 0 | 1 | 2 | 5 {
  switch (field.type) {
    case 'fixed64':
    case 'sfixed64':
    case 'double':
      return 1;
    case 'fixed32':
      return 5;
    case 'string':
    case 'bytes':
    case 'id':
    case 'message':
      return 2;
    default:
      return 0;
  }
}

function copyAscii(out: ByteWriter, source: Uint8Array, start: number, end: number): void {
  const length = end - start;
  out.reserve(length);
  const target = out.bytes;
  const at = out.length;
  // A native copy costs more than a loop for the short strings that most are.
  if (length > 64) target.set(source.subarray(start, end), at);
  else for (let i = 0; i < length; i++) target[at + i] = source[start + i]!;
  out.length = at + length;
}

function specialDouble(text: string): number | undefined {
  if (text === 'NaN') return Number.NaN;
  if (text === 'Infinity') return Number.POSITIVE_INFINITY;
  return text === '-Infinity' ? Number.NEGATIVE_INFINITY : undefined;
}

function base64Value(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte - 0x41;
  if (byte >= 0x61 && byte <= 0x7a) return byte - 0x47;
  if (byte >= 0x30 && byte <= 0x39) return byte + 4;
  if (byte === 0x2b || byte === 0x2d) return 62;
  return byte === 0x2f || byte === 0x5f ? 63 : -1;
}
