/**
 * Values as text, written straight into a ByteWriter: no JavaScript strings but for doubles with a fraction. The forms are
 * those of reference otlp.md 4.6.
 */
import { isUtf8 } from 'node:buffer';
import type { ByteWriter } from '../../base/byte-writer.ts';

/** From this length on, one native copy and one native check cost less than a loop over the bytes; a prefix of one byte ends here too. */
const NATIVE_COPY_BYTES_MIN = 128;
const WORD = 4_294_967_296;

// ignoreBOM: a byte order mark is a character of the value.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Appends UTF-8 without a prefix, repaired where it is ill-formed (E10). Returns false when something was replaced. */
export function appendUtf8(out: ByteWriter, source: Uint8Array, start: number, end: number): boolean {
  const part = source.subarray(start, end);
  const valid = isUtf8(part);
  out.append(valid ? part : repairUtf8(source, start, end));
  return valid;
}

/** The same text with U+FFFD for each ill-formed part. */
export function repairUtf8(source: Uint8Array, start: number, end: number): Buffer {
  return Buffer.from(decoder.decode(source.subarray(start, end)), 'utf8');
}

/** A String value: length prefix, then the text. Returns false when invalid UTF-8 was replaced. */
export function appendString(out: ByteWriter, source: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  // Fast path: the prefix is one byte, and bytes below 128 are valid as they are.
  if (length < NATIVE_COPY_BYTES_MIN) {
    out.reserve(length + 1);
    const target = out.bytes;
    const at = out.length + 1;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const byte = source[start + i]!;
      seen |= byte;
      target[at + i] = byte;
    }
    if (seen < 0x80 || isUtf8(source.subarray(start, end))) {
      target[at - 1] = length;
      out.length = at + length;
      return true;
    }
  } else if (isUtf8(source.subarray(start, end))) {
    out.varuint(length);
    out.append(source.subarray(start, end));
    return true;
  }
  const repaired = repairUtf8(source, start, end);
  out.varuint(repaired.length);
  out.append(repaired);
  return false;
}

/** Decimal digits of a two's-complement 64-bit integer. */
export function appendInt64(out: ByteWriter, low: number, high: number): void {
  let lowWord = low;
  let highWord = high;
  if (high >= 0x8000_0000) {
    out.byte(0x2d /* - */);
    lowWord = (~low + 1) >>> 0;
    highWord = (~high + (lowWord === 0 ? 1 : 0)) >>> 0;
  }
  appendUint64(out, lowWord, highWord);
}

/** Decimal digits of an unsigned 64-bit integer. */
export function appendUint64(out: ByteWriter, low: number, high: number): void {
  // Below 2^53 a double holds the number exactly.
  if (high < 0x20_0000) return appendDigits(out, high * WORD + low, 1);
  // value = quotient × 10^9 + rest, divided in 16-bit steps: every partial result stays below 2^53.
  let quotientHigh = 0;
  let quotientLow = 0;
  let rest = 0;
  const parts = [high >>> 16, high & 0xffff, low >>> 16, low & 0xffff];
  for (let i = 0; i < 4; i++) {
    const value = rest * 0x10000 + parts[i]!;
    const digit = Math.floor(value / 1e9);
    rest = value - digit * 1e9;
    if (i < 2) quotientHigh = quotientHigh * 0x10000 + digit;
    else quotientLow = quotientLow * 0x10000 + digit;
  }
  // The quotient is below 2^64 ÷ 10^9 < 2^35: exact in a double.
  appendDigits(out, quotientHigh * WORD + quotientLow, 1);
  appendDigits(out, rest, 9);
}

/** Digits of an integer from 0 to 2^53, filled with zeros up to `digitsMin`. */
function appendDigits(out: ByteWriter, value: number, digitsMin: number): void {
  let count = 1;
  for (let bound = 10; value >= bound && count < 17; bound *= 10) count++;
  if (count < digitsMin) count = digitsMin;
  out.reserve(count);
  const bytes = out.bytes;
  let rest = value;
  let at = out.length + count;
  out.length = at;
  for (let i = 0; i < count; i++) {
    const next = Math.floor(rest / 10);
    bytes[--at] = 0x30 + (rest - next * 10);
    rest = next;
  }
}

/** What JavaScript's String(x) gives, but -0 keeps its sign. */
export function appendDouble(out: ByteWriter, value: number): void {
  // Integers below 2^53 are what most doubles hold; they need no string.
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value < 0) out.byte(0x2d /* - */);
    appendDigits(out, Math.abs(value), 1);
    return;
  }
  out.ascii(Object.is(value, -0) ? '-0' : String(value));
}

const HEX = Uint8Array.from('0123456789abcdef', (character) => character.charCodeAt(0));

/** Lower-case hex, two digits a byte. */
export function appendHex(out: ByteWriter, source: Uint8Array, start: number, end: number): void {
  out.reserve(2 * (end - start));
  const bytes = out.bytes;
  let at = out.length;
  for (let i = start; i < end; i++) {
    const byte = source[i]!;
    bytes[at++] = HEX[byte >>> 4]!;
    bytes[at++] = HEX[byte & 15]!;
  }
  out.length = at;
}

const BASE64 = Uint8Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', (character) =>
  character.charCodeAt(0),
);

/** Standard alphabet, padded. */
export function appendBase64(out: ByteWriter, source: Uint8Array, start: number, end: number): void {
  out.reserve(4 * Math.ceil((end - start) / 3));
  const bytes = out.bytes;
  let at = out.length;
  let i = start;
  for (; i + 2 < end; i += 3) {
    const triple = (source[i]! << 16) | (source[i + 1]! << 8) | source[i + 2]!;
    bytes[at++] = BASE64[triple >>> 18]!;
    bytes[at++] = BASE64[(triple >>> 12) & 63]!;
    bytes[at++] = BASE64[(triple >>> 6) & 63]!;
    bytes[at++] = BASE64[triple & 63]!;
  }
  if (i < end) {
    const second = i + 1 < end ? source[i + 1]! : 0;
    const triple = (source[i]! << 16) | (second << 8);
    bytes[at++] = BASE64[triple >>> 18]!;
    bytes[at++] = BASE64[(triple >>> 12) & 63]!;
    bytes[at++] = i + 1 < end ? BASE64[(triple >>> 6) & 63]! : 0x3d;
    bytes[at++] = 0x3d /* = */;
  }
  out.length = at;
}

const SHORT_ESCAPE: Readonly<Record<number, number>> = { 8: 0x62, 9: 0x74, 10: 0x6e, 12: 0x66, 13: 0x72 };

/** A JSON string with its quotes, escaped as JSON.stringify does. Returns false when invalid UTF-8 was replaced. */
export function appendJsonString(out: ByteWriter, source: Uint8Array, start: number, end: number): boolean {
  let bytes = source;
  let from = start;
  let to = end;
  const valid = isUtf8(source.subarray(start, end));
  if (!valid) {
    bytes = repairUtf8(source, start, end);
    from = 0;
    to = bytes.length;
  }
  out.reserve(6 * (to - from) + 2);
  const target = out.bytes;
  let at = out.length;
  target[at++] = 0x22;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x20 && byte !== 0x22 && byte !== 0x5c) target[at++] = byte;
    else at = escapeByte(target, at, byte);
  }
  target[at++] = 0x22;
  out.length = at;
  return valid;
}

function escapeByte(target: Uint8Array, at: number, byte: number): number {
  let next = at;
  target[next++] = 0x5c;
  const short = byte < 0x20 ? SHORT_ESCAPE[byte] : byte;
  if (short !== undefined) {
    target[next++] = short;
    return next;
  }
  target[next++] = 0x75; // u00xx
  target[next++] = 0x30;
  target[next++] = 0x30;
  target[next++] = HEX[byte >>> 4]!;
  target[next++] = HEX[byte & 15]!;
  return next;
}
