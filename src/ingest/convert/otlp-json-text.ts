/** JSON strings with escapes → UTF-8. */
import type { ByteWriter } from '../../base/byte-writer.ts';
import { hexValue } from './otlp-json-cursor.ts';

const ESCAPED: Readonly<Record<number, number>> = { 98: 8, 102: 12, 110: 10, 114: 13, 116: 9 };

/**
 * Appends a string's text with its escapes resolved; what is not escaped is copied, valid UTF-8 or not. A surrogate
 * without its other half becomes U+FFFD; returns false when there was one. The escapes were checked by the cursor.
 */
export function appendUnescaped(out: ByteWriter, bytes: Uint8Array, start: number, end: number): boolean {
  out.reserve(end - start);
  const target = out.bytes;
  let to = out.length;
  let wellFormed = true;
  let at = start;
  while (at < end) {
    const byte = bytes[at++]!;
    if (byte !== 0x5c) {
      target[to++] = byte;
      continue;
    }
    const letter = bytes[at++]!;
    if (letter !== 0x75) {
      target[to++] = ESCAPED[letter] ?? letter;
      continue;
    }
    let character = fourHexDigits(bytes, at);
    at += 4;
    if (character >= 0xd800 && character < 0xdc00 && bytes[at] === 0x5c && bytes[at + 1] === 0x75 && at < end) {
      const low = fourHexDigits(bytes, at + 2);
      if (low >= 0xdc00 && low < 0xe000) {
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
      }
    }
    if (character >= 0xd800 && character < 0xe000) {
      character = 0xfffd;
      wellFormed = false;
    }
    to = putCharacter(target, to, character);
  }
  out.length = to;
  return wellFormed;
}

function fourHexDigits(bytes: Uint8Array, at: number): number {
  return (
    (hexValue(bytes[at]!) << 12) |
    (hexValue(bytes[at + 1]!) << 8) |
    (hexValue(bytes[at + 2]!) << 4) |
    hexValue(bytes[at + 3]!)
  );
}

/** UTF-8 of a code point, which is no surrogate; returns where it ends. */
function putCharacter(target: Uint8Array, start: number, character: number): number {
  let at = start;
  if (character < 0x80) {
    target[at++] = character;
    return at;
  }
  if (character < 0x800) target[at++] = 0xc0 | (character >>> 6);
  else {
    if (character < 0x10000) target[at++] = 0xe0 | (character >>> 12);
    else {
      target[at++] = 0xf0 | (character >>> 18);
      target[at++] = 0x80 | ((character >>> 12) & 0x3f);
    }
    target[at++] = 0x80 | ((character >>> 6) & 0x3f);
  }
  target[at++] = 0x80 | (character & 0x3f);
  return at;
}
