/** Ids of what people make: a prefix that says what it is, and 80 random bits as 16 lower-case base32 digits of RFC 4648. */
const DIGITS = 'abcdefghijklmnopqrstuvwxyz234567';
const LENGTH = 16;

export type IdPrefix = 'usr' | 'team' | 'inv' | 'ntc';

/** `random` gives that many bytes of a CSPRNG. Each byte gives one digit: 256 is a multiple of 32. */
export function newId(prefix: IdPrefix, random: (bytes: number) => Uint8Array): string {
  const digits = Array.from(random(LENGTH), (byte) => DIGITS[byte & 31]);
  return `${prefix}_${digits.join('')}`;
}
