/** An integer read from decimal digits into a sign and two 32-bit words, and written in the form of its type. */
import type { ByteWriter } from '../../base/byte-writer.ts';
import type { ScalarType } from './otlp-schema.ts';

const WORD = 4_294_967_296;
/** 2^64 − 1 has 20 digits. */
const DIGITS_MAX = 20;
/** An exponent beyond this leaves no integer of 64 bits whatever the digits are: a body has fewer digits. */
const EXPONENT_MAX = 1e9;

export class DecimalInteger {
  #low = 0;
  #high = 0;
  #negative = false;

  /**
   * Reads a JSON number (its form was checked), exponent and fraction included: `1e3` and `10.0` are integers. False
   * when it is no integer, or its magnitude is beyond 2^64 − 1.
   */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    this.#low = 0;
    this.#high = 0;
    this.#negative = bytes[start] === 0x2d;
    const from = this.#negative ? start + 1 : start;
    let plain = true;
    for (let i = from; i < end; i++) {
      const digit = bytes[i]! - 0x30;
      if (digit < 0 || digit > 9) {
        plain = false;
        break;
      }
    }
    return plain ? this.#digits(bytes, from, end) : this.#scientific(bytes, from, end);
  }

  /** Whether the integer read last is in the range of the type. */
  fits(type: ScalarType | 'message'): boolean {
    switch (type) {
      case 'int32':
      case 'sint32':
      case 'enum':
        return this.#high === 0 && this.#low <= (this.#negative ? 0x8000_0000 : 0x7fff_ffff);
      case 'uint32':
      case 'fixed32':
        return this.#high === 0 && (!this.#negative || this.#low === 0);
      case 'int64':
      case 'sfixed64':
        if (this.#high < 0x8000_0000) return true;
        return this.#negative && this.#high === 0x8000_0000 && this.#low === 0;
      case 'uint64':
      case 'fixed64':
        return !this.#negative || (this.#high === 0 && this.#low === 0);
      default:
        return false;
    }
  }

  /** Appends the integer read last, which fits the type. */
  write(out: ByteWriter, type: ScalarType | 'message'): void {
    let low = this.#low;
    let high = this.#high;
    if (this.#negative) {
      low = (~low + 1) >>> 0;
      high = (~high + (low === 0 ? 1 : 0)) >>> 0;
    }
    if (type === 'fixed64' || type === 'sfixed64') return void out.uint64(low, high);
    if (type === 'fixed32') {
      out.reserve(4);
      out.bytes.writeUInt32LE(low, out.length);
      out.length += 4;
      return;
    }
    // Zigzag: the sign moves to the lowest bit.
    if (type === 'sint32') return void out.varuint(((low << 1) ^ (low >> 31)) >>> 0);
    writeVarint(out, low, high);
  }

  #digits(bytes: Uint8Array, start: number, end: number): boolean {
    let at = start;
    // Fast path: 15 digits are exact in a double, and most integers but times have no more.
    let value = 0;
    const exact = Math.min(end, start + 15);
    while (at < exact) value = value * 10 + (bytes[at++]! - 0x30);
    this.#low = value >>> 0;
    this.#high = Math.floor(value / WORD);
    while (at < end) if (!this.#push(bytes[at++]! - 0x30)) return false;
    return true;
  }

  /** Appends a digit: value × 10 + digit. False when it is beyond 64 bits. */
  #push(digit: number): boolean {
    const low = this.#low * 10 + digit;
    const high = this.#high * 10 + Math.floor(low / WORD);
    if (high >= WORD) return false;
    this.#low = low % WORD;
    this.#high = high;
    return true;
  }

  /** Digits, a point among them perhaps, and perhaps an exponent. */
  #scientific(bytes: Uint8Array, start: number, end: number): boolean {
    let mantissaEnd = start;
    let point = -1;
    while (mantissaEnd < end && (bytes[mantissaEnd]! | 0x20) !== 0x65) {
      if (bytes[mantissaEnd] === 0x2e) point = mantissaEnd;
      mantissaEnd++;
    }
    const fractionDigits = point < 0 ? 0 : mantissaEnd - point - 1;
    // Zeros appended (or, below 0, digits that must be zeros) once the point is gone.
    let shift = exponentOf(bytes, mantissaEnd + 1, end) - fractionDigits;
    let last = mantissaEnd;
    // Zeros at the end of the mantissa are shift too: 1.50e1 is 15 × 10^0.
    while (last > start && (bytes[last - 1] === 0x30 || bytes[last - 1] === 0x2e)) {
      if (bytes[last - 1] === 0x30) shift++;
      last--;
    }
    let digits = 0;
    for (let i = start; i < last; i++) {
      if (bytes[i] === 0x2e || (digits === 0 && bytes[i] === 0x30)) continue;
      if (++digits > DIGITS_MAX || !this.#push(bytes[i]! - 0x30)) return false;
    }
    if (digits === 0) return true;
    if (shift < 0 || digits + shift > DIGITS_MAX) return false;
    for (let i = 0; i < shift; i++) if (!this.#push(0)) return false;
    return true;
  }
}

function exponentOf(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return 0;
  const negative = bytes[start] === 0x2d;
  let value = 0;
  for (let i = negative || bytes[start] === 0x2b ? start + 1 : start; i < end; i++) {
    value = Math.min(value * 10 + (bytes[i]! - 0x30), EXPONENT_MAX);
  }
  return negative ? -value : value;
}

/** LEB128 of two words. */
function writeVarint(out: ByteWriter, low: number, high: number): void {
  out.reserve(10);
  const bytes = out.bytes;
  let at = out.length;
  let lowRest = low;
  let highRest = high;
  while (highRest !== 0 || lowRest >= 0x80) {
    bytes[at++] = (lowRest & 0x7f) | 0x80;
    lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0;
    highRest >>>= 7;
  }
  bytes[at++] = lowRest;
  out.length = at;
}
