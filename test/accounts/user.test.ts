import { describe, expect, test } from 'vitest';
import { mayAs, mayGive, ROLES } from '../../src/accounts/role.ts';
import { checkEmail, emailKey } from '../../src/accounts/user.ts';

describe('an e-mail address', () => {
  test.each([
    'ada@example.com',
    'a+b.c_d-e@sub.example.co.uk',
    "o'neill@example.com",
    'müller@bücher.example',
    'x@1and1.de',
  ])('is %s', (email) => {
    expect(checkEmail(email)).toBe(email.normalize('NFC'));
  });

  test.each([
    '',
    'ada',
    '@example.com',
    'ada@',
    'ada@localhost',
    'ada@@example.com',
    'a da@example.com',
    ' ada@example.com',
    'ada@example.com ',
    'ada@example.com\r\nBcc: eve@example.com',
    'ada\n@example.com',
    'ada\0@example.com',
    'ada@exa\0mple.com',
    'ada@example.com,eve@example.com',
    'ada@example.com;eve@example.com',
    'Ada <ada@example.com>',
    '"ada eve"@example.com',
    'ada(comment)@example.com',
    'ada@[127.0.0.1]',
    'ada@127.0.0.1',
    'ada@example..com',
    'ada@.example.com',
    'ada@example.com.',
    'ada@-example.com',
    'ada@example-.com',
    '.ada@example.com',
    'ada.@example.com',
    'a..da@example.com',
    'ada\u202e@example.com',
    'ada\u200b@example.com',
    'ada@exam\u00a0ple.com',
    'ada\\@example.com',
    `${'a'.repeat(65)}@example.com`,
    `ada@${'a'.repeat(64)}.com`,
    `ada@${'a.'.repeat(130)}com`,
    'ada:eve@example.com',
    'ada@exa_mple.com',
    'ada@example.com%0aBcc:eve@example.com',
    'ada@example.com?bcc=eve',
    'ada@ex ample.com',
  ])('is not %j, and the error does not repeat it', (text) => {
    const thrown = (() => {
      try {
        checkEmail(text);
      } catch (error) {
        return error as Error;
      }
      return undefined;
    })();
    expect(thrown).toMatchObject({ code: 'invalid-input' });
    expect(thrown?.message).toBe('this is no e-mail address of the form name@example.com');
  });

  test('is the same person in any case and however its characters are written', () => {
    expect(emailKey('MÜLLER@example.com')).toBe(emailKey('mu\u0308ller@Example.COM'));
  });
});

describe('roles', () => {
  test('may all that the ones after them may', () => {
    const table = ROLES.map((role) => ROLES.map((needed) => mayAs(role, needed)));
    expect(table).toEqual([
      [true, true, true, true],
      [false, true, true, true],
      [false, false, true, true],
      [false, false, false, true],
    ]);
  });

  test('are given by admins and owners, and never above their own', () => {
    const table = ROLES.map((actor) => ROLES.map((given) => mayGive(actor, given)));
    expect(table).toEqual([
      [true, true, true, true],
      [false, true, true, true],
      [false, false, false, false],
      [false, false, false, false],
    ]);
  });
});
