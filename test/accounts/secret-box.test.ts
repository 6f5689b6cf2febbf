import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { loadSecretBox, sealedWith, type SecretKey } from '../../src/accounts/secret-box.ts';

const box = await loadSecretBox(randomBytes);
const KEY: SecretKey = { id: 'k1', bytes: randomBytes(32) };
const PLACE = { table: 'users', column: 'totp_seed', row: 'usr_1', orgId: '' };
const SECRET = Buffer.from('a seed that nobody else should know');
const known = (id: string) => (id === KEY.id ? KEY : undefined);

describe('a sealed secret', () => {
  const sealed = box.seal(SECRET, PLACE, KEY);

  test('opens where it was sealed for, and names its key', () => {
    expect(box.open(sealed, PLACE, known)).toEqual(SECRET);
    expect(sealedWith(sealed)).toBe('k1');
    expect(sealed).not.toContain('seed');
  });

  test('is another text each time', () => {
    expect(box.seal(SECRET, PLACE, KEY)).not.toBe(sealed);
  });

  test.each([
    { ...PLACE, table: 'user' },
    { ...PLACE, column: 'totp_seed2' },
    { ...PLACE, row: 'usr_2' },
    { ...PLACE, orgId: 'org_aaaabbbbccccdddd' },
    { ...PLACE, table: 'userstotp_seed', column: '' },
  ])('does not open in another place: %o', (place) => {
    expect(() => box.open(sealed, place, known)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });

  test('does not open with any byte changed', () => {
    const [version, id, nonce = '', text = ''] = sealed.split('.');
    const flipped = (part: string, at: number): string => {
      const bytes = Buffer.from(part, 'base64url');
      bytes[at]! ^= 1;
      return bytes.toString('base64url');
    };
    for (let at = 0; at < 24; at++)
      expect(() => box.open([version, id, flipped(nonce, at), text].join('.'), PLACE, known)).toThrow('does not open');
    for (let at = 0; at < SECRET.length + 16; at++)
      expect(() => box.open([version, id, nonce, flipped(text, at)].join('.'), PLACE, known)).toThrow('does not open');
  });

  test('does not open with another key of the same name, nor without it', () => {
    const other = { id: 'k1', bytes: randomBytes(32) };
    expect(() => box.open(sealed, PLACE, () => other)).toThrow(expect.objectContaining({ code: 'corrupt' }));
    expect(() => box.open(sealed, PLACE, () => undefined)).toThrow('"k1", which is not here');
  });

  test.each(['', 'v1', 'v2.k1.a.b', 'v1.K1.a.b', SECRET.toString()])('is not %j', (text) => {
    expect(sealedWith(text)).toBeUndefined();
    expect(() => box.open(text, PLACE, known)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });
});

test('a key has 32 bytes and a plain name', () => {
  expect(() => box.seal(SECRET, PLACE, { id: 'k1', bytes: randomBytes(31) })).toThrow('31 bytes');
  expect(() => box.seal(SECRET, PLACE, { id: 'K 1', bytes: randomBytes(32) })).toThrow('names no key');
});
