import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  checkName,
  checkSlug,
  choosePlacement,
  freeSlug,
  isOrganizationId,
  newOrganizationId,
  placementRules,
  slugOf,
} from '../../src/accounts/organization.ts';

describe('organization ids', () => {
  it('are org_ and the base32 of RFC 4648 in lower case', () => {
    // "foobarfoob" is MZXW6YTBOJTG633C in the standard's alphabet (Python's base64.b32encode).
    expect(newOrganizationId(() => Buffer.from('foobarfoob'))).toBe('org_mzxw6ytbojtg633c');
    expect(newOrganizationId(() => new Uint8Array(10))).toBe('org_aaaaaaaaaaaaaaaa');
    expect(isOrganizationId(newOrganizationId(randomBytes))).toBe(true);
    for (const text of ['default', 'org_AAAAAAAAAAAAAAAA', 'org_aaaaaaaaaaaaaaa', 'org_aaaaaaaaaaaaaaa1']) {
      expect(isOrganizationId(text)).toBe(false);
    }
  });
});

describe('placement', () => {
  it('is the own one while there are fewer than the maximum, then a bucket by the id', () => {
    const id = 'org_mzxw6ytbojtg633c';
    expect(choosePlacement(id, 7, { ownPlacementsMax: 8, sharedPlacements: 1 })).toBe(id);
    expect(choosePlacement(id, 8, { ownPlacementsMax: 8, sharedPlacements: 1 })).toBe('shared-0');
    // CRC-32 of the id is 686,854,615 (Python's zlib), 7 modulo 16.
    expect(choosePlacement(id, 0, { ownPlacementsMax: 0, sharedPlacements: 16 })).toBe('shared-7');
  });

  it('has one shared bucket in the embedded engine and 16 with a server', () => {
    expect(placementRules({ ownPlacementsMax: 8, clickhouseUrl: '' })).toEqual({
      ownPlacementsMax: 8,
      sharedPlacements: 1,
    });
    expect(placementRules({ ownPlacementsMax: 9, clickhouseUrl: 'http://db' }).sharedPlacements).toBe(16);
  });
});

describe('slugs', () => {
  it.each(['a', 'default', 'acme-2', 'a'.repeat(40)])('accept %s', (slug) => {
    expect(checkSlug(slug)).toBe(slug);
  });

  it.each(['', 'A', '2a', '-a', 'a-', 'a_b', 'a b', 'ä', 'a'.repeat(41), 'org_aaaaaaaaaaaaaaaa'])(
    'refuse %j',
    (slug) => {
      expect(() => checkSlug(slug)).toThrow(expect.objectContaining({ code: 'invalid-input' }));
    },
  );

  it.each([
    ['Acme', 'acme'],
    ['  Größe & Söhne  ', 'gro-e-sohne'],
    ['2nd try', 'nd-try'],
    ['日本', 'org'],
    ['x'.repeat(60), 'x'.repeat(40)],
    [`${'x'.repeat(39)} y`, 'x'.repeat(39)],
  ])('are made of the name %j', (name, slug) => {
    expect(slugOf(name)).toBe(slug);
    expect(checkSlug(slugOf(name))).toBe(slug);
  });

  it('that are taken get a number, and stay short enough', () => {
    expect(freeSlug('acme', new Set(['acme', 'acme-2']))).toBe('acme-3');
    const long = 'x'.repeat(40);
    expect(freeSlug(long, new Set([long]))).toBe(`${'x'.repeat(38)}-2`);
  });
});

describe('names', () => {
  it.each(['', ' a', 'a ', 'a\nb', 'a\u0000b', 'a\u202eb', 'x'.repeat(101)])('refuse %j', (name) => {
    expect(() => checkName(name)).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });
});
