import { describe, expect, it } from 'vitest';
import { loadKeyedHash } from '../../src/base/keyed-hash.ts';

describe('keyed hash', () => {
  // Expected values: Python's hashlib.blake2b(message, key=key, digest_size=32).
  it.each([
    [
      'empty message',
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      '',
      '4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d',
    ],
    [
      'a text',
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      'bw_ing_',
      '31a8aba1c9e556904a5d219a603a2b006c60171155f05f427fabb98bb1d198b3',
    ],
    [
      'another key',
      '0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20',
      'bw_ing_',
      '5e7e6a1c0fd055a2a3538afc8366ed8c74dfb9f19f9f037783e2bfb4d13bba7a',
    ],
  ])('is BLAKE2b-256 with a key: %s', async (_name, key, message, digest) => {
    const hash = await loadKeyedHash();
    expect(Buffer.from(hash(Buffer.from(key, 'hex'), Buffer.from(message))).toString('hex')).toBe(digest);
  });
});
