import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { makeToken, parseToken, TOKEN_LENGTH } from '../../src/base/token-format.ts';

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** mulberry32: the same numbers for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe('token format', () => {
  it('makes the token that its definition gives for known random bytes', () => {
    let next = 0;
    const counting = (count: number) => Uint8Array.from({ length: count }, () => next++ % 256);
    const { token, id } = makeToken('ing', counting);
    const body = 'bw_ing_0123456789AB_CDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs';
    // Python's zlib.crc32 of the body is 4,262,591,569, and 4eTOmv is that in base 62.
    expect(token).toBe(`${body}4eTOmv`);
    expect(id).toBe('0123456789AB');
  });

  it('writes the CRC-32 of everything before it as six base62 digits, the highest first', () => {
    const { token } = makeToken('api', randomBytes);
    const value = [...token.slice(-6)].reduce((sum, digit) => sum * 62 + DIGITS.indexOf(digit), 0);
    expect(value).toBe(crc32(token.slice(0, -6)));
  });

  it('uses no random byte that would make some digits more likely', () => {
    // 248 to 255 would be the digits 0 to 7 once more than the others.
    const bytes = [248, 255, 250, 1];
    let next = 0;
    const { id } = makeToken('ing', (count) => Uint8Array.from({ length: count }, () => bytes[next++ % 4] ?? 0));
    expect(id).toBe('111111111111');
  });

  it('gives every digit about as often as any other', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 2_000; i++) {
      for (const digit of makeToken('ing', randomBytes).token.slice(20, 63)) {
        counts.set(digit, (counts.get(digit) ?? 0) + 1);
      }
    }
    // 86,000 digits, 1,387 expected of each, standard deviation 37: ten deviations are never seen by chance.
    expect(counts.size).toBe(62);
    for (const count of counts.values()) expect(Math.abs(count - 1_387)).toBeLessThan(370);
  });

  it('reads back what it made, for every kind', () => {
    for (const kind of ['ing', 'api', 'cli'] as const) {
      const { token, id } = makeToken(kind, randomBytes);
      expect(token).toHaveLength(TOKEN_LENGTH);
      expect(parseToken(token)).toEqual({ kind, id, token });
    }
  });

  it('refuses single-character typos, at least 99.99 % of them', () => {
    const seed = 20_261_123;
    const random = seeded(seed);
    const pick = (count: number) => Math.floor(random() * count);
    let accepted = 0;
    const typos = 50_000;
    for (let i = 0; i < typos; i++) {
      const { token } = makeToken('ing', (count) => Uint8Array.from({ length: count }, () => pick(256)));
      const at = pick(TOKEN_LENGTH);
      const others = DIGITS.replace(token[at] ?? '', '');
      const typo = token.slice(0, at) + others[pick(others.length)] + token.slice(at + 1);
      if (parseToken(typo) !== undefined) accepted++;
    }
    expect(accepted, `seed ${seed}`).toBeLessThanOrEqual(typos * 0.0001);
  });

  it('refuses two neighbours exchanged', () => {
    const { token } = makeToken('ing', randomBytes);
    for (let at = 7; at + 1 < TOKEN_LENGTH; at++) {
      const swapped = token.slice(0, at) + token[at + 1] + token[at] + token.slice(at + 2);
      if (swapped !== token) expect(parseToken(swapped), swapped.slice(at, at + 2)).toBeUndefined();
    }
  });

  it.each([
    ['nothing', ''],
    ['one character less', (token: string) => token.slice(0, -1)],
    ['one character more', (token: string) => `${token}0`],
    ['a line end after it', (token: string) => `${token.slice(0, -1)}\n`],
    ['another kind with the CRC of this one', (token: string) => token.replace('_ing_', '_api_')],
    ['an unknown kind with its own right CRC', 'bw_adm_0123456789AB_CDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs2tQdrd'],
    ['a dash for an underscore', (token: string) => token.replaceAll('_', '-')],
  ])('refuses %s', (_what, change) => {
    const { token } = makeToken('ing', randomBytes);
    expect(parseToken(typeof change === 'string' ? change : change(token))).toBeUndefined();
  });
});
