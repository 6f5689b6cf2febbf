/**
 * The form of a token: `bw_<kind>_<id12>_<secret43><crc6>`, 69 characters of which none ends a double-click.
 *
 *     bw_ing_4bTq9sX0LmZ2_<43 digits of secret>kR0zPw
 *     │  │   │             │                    └ CRC-32 over everything before it, 6 base62 digits
 *     │  │   │             └ 43 uniformly random base62 digits: 62^43 > 2^256
 *     │  │   └ public id, 12 uniformly random base62 digits; safe to log and to show
 *     │  └ what it opens: `ing` (ingest), `api`, `cli`
 *     └ lets scanners of source code know ours
 *
 * The CRC lets us and scanners refuse a mistyped token without a look-up; it protects nothing. The secret does.
 */
import { crc32 } from 'node:zlib';

export type TokenKind = 'ing' | 'api' | 'cli';

export interface ParsedToken {
  readonly kind: TokenKind;
  readonly id: string;
  /** The whole token, as hashed. Never log it. */
  readonly token: string;
}

export const TOKEN_LENGTH = 69;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 12;
const SECRET_LENGTH = 43;
const CRC_LENGTH = 6;
const FORM = /^bw_(ing|api|cli)_([0-9A-Za-z]{12})_[0-9A-Za-z]{49}$/;

/** A new token. `random` gives that many bytes of a CSPRNG (node:crypto's randomBytes). */
export function makeToken(kind: TokenKind, random: (bytes: number) => Uint8Array): { token: string; id: string } {
  const id = randomDigits(ID_LENGTH, random);
  const body = `bw_${kind}_${id}_${randomDigits(SECRET_LENGTH, random)}`;
  return { token: body + checksum(body), id };
}

/** Checks form and CRC, no more: undefined means that this was never a token of ours. */
export function parseToken(text: string): ParsedToken | undefined {
  if (text.length !== TOKEN_LENGTH) return undefined;
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const body = text.slice(0, -CRC_LENGTH);
  if (text.slice(-CRC_LENGTH) !== checksum(body)) return undefined;
  return { kind: match[1] as TokenKind, id: match[2] as string, token: text };
}

/** Uniform digits: a byte of 248 or more is thrown away, because 256 is no multiple of 62. */
function randomDigits(count: number, random: (bytes: number) => Uint8Array): string {
  const limit = 256 - (256 % DIGITS.length);
  let digits = '';
  while (digits.length < count) {
    for (const byte of random(count - digits.length)) {
      if (byte < limit) digits += DIGITS[byte % DIGITS.length];
    }
  }
  return digits;
}

function checksum(body: string): string {
  let rest = crc32(body);
  let digits = '';
  for (let place = 0; place < CRC_LENGTH; place++) {
    digits = DIGITS[rest % DIGITS.length] + digits;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}
