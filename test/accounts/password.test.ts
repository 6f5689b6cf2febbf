import { describe, expect, test } from 'vitest';
import { commonPasswordReason } from '../../src/accounts/common-passwords.ts';
import { ARGON2_PARAMETERS, createPasswords, PASSWORD_BYTES_MAX } from '../../src/accounts/password.ts';

const CHEAP = { memoryKib: 64, passes: 1, lanes: 1 };
const GOOD = 'correct horse, battery';
const passwords = createPasswords({ atOnceMax: 2, parameters: CHEAP });

describe('a stored password', () => {
  test('is an argon2id string with its parameters, and opens with its password alone', async () => {
    const stored = await passwords.hash(GOOD);
    expect(stored).toMatch(/^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await passwords.verify(GOOD, stored)).toBe(true);
    expect(await passwords.verify(`${GOOD} `, stored)).toBe(false);
    expect(await passwords.verify('', stored)).toBe(false);
  });

  test('is another one each time', async () => {
    expect(await passwords.hash(GOOD)).not.toBe(await passwords.hash(GOOD));
  });

  test('is made with 64 MiB, 2 passes and 1 lane unless told otherwise', async () => {
    const stored = await createPasswords({ atOnceMax: 1 }).hash(GOOD);
    expect(stored).toContain('$m=65536,t=2,p=1$');
    expect(ARGON2_PARAMETERS).toEqual({ memoryKib: 65_536, passes: 2, lanes: 1 });
  });

  test('that was made with other parameters opens and is told as outdated', async () => {
    const stored = await createPasswords({ atOnceMax: 1, parameters: { ...CHEAP, passes: 2 } }).hash(GOOD);
    expect(await passwords.verify(GOOD, stored)).toBe(true);
    expect(passwords.isOutdated(stored)).toBe(true);
    expect(passwords.isOutdated(await passwords.hash(GOOD))).toBe(false);
  });

  test('does not open with another salt', async () => {
    const stored = await passwords.hash(GOOD);
    const moved = stored.replace(/\$[A-Za-z0-9+/]{22}\$/, `$${'A'.repeat(22)}$`);
    expect(await passwords.verify(GOOD, moved)).toBe(false);
  });

  test.each(['', 'plain', '$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA', '$2b$10$abcdefghijklmnopqrstuv'])(
    'that is %j is refused as corrupt',
    async (stored) => {
      await expect(passwords.verify(GOOD, stored)).rejects.toMatchObject({ code: 'corrupt' });
    },
  );
});

describe('a password', () => {
  test('of a user that does not exist is wrong, after a hash like any other', async () => {
    expect(await passwords.verify(GOOD, undefined)).toBe(false);
  });

  test('has 12 to 1,024 bytes, none of which is cut off', async () => {
    await expect(passwords.hash('elevenbytes')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(passwords.hash('ü'.repeat(PASSWORD_BYTES_MAX / 2 + 1))).rejects.toThrow('1026');
    const long = 'ab, '.repeat(PASSWORD_BYTES_MAX / 4);
    const stored = await passwords.hash(long);
    expect(await passwords.verify(`${long.slice(0, -1)}x`, stored)).toBe(false);
    expect(await passwords.verify(long, stored)).toBe(true);
  });

  test('is the same however its characters were typed', async () => {
    const stored = await passwords.hash('zürich is a town');
    expect(await passwords.verify('zu\u0308rich is a town', stored)).toBe(true);
  });

  test('never stands in an error', async () => {
    const error: Error = await passwords.hash('geheim').catch((thrown) => thrown);
    expect(error.message).not.toContain('geheim');
  });
});

test('32 wait for their turn, and one more is refused to try again', async () => {
  const slow = createPasswords({ atOnceMax: 1, parameters: CHEAP });
  const running = Array.from({ length: 33 }, () => slow.hash(GOOD));
  await expect(slow.hash(GOOD)).rejects.toMatchObject({ code: 'overloaded', retryable: true });
  expect(new Set(await Promise.all(running)).size).toBe(33);
  expect(await slow.verify(GOOD, await slow.hash(GOOD))).toBe(true);
});

describe('a common password', () => {
  test.each([
    'password1234',
    'Password123!',
    'P@ssw0rd2026!',
    '!!passwordpassword',
    '123456789012',
    '1234567890123',
    'qwertyuiop12',
    'aaaaaaaaaaaa',
    'abcabcabcabc',
    'qwertyqwerty',
    '1q2w3e4r5t6y',
    'iloveyou2026',
    'LetMeIn!!2026',
    'welcome12345',
    'admin1234567',
    'administrator',
    'backwork12345',
    'OpenTelemetry1',
    'summer2026!!!',
    'zaq12wsxcde3',
    'abcdefghijkl',
    'changeme1234',
    'monkeydragon',
    'adminadmin123',
    'january202612',
  ])('like %s is told', (password) => {
    expect(commonPasswordReason(password)).toBeDefined();
  });

  test.each(['ada.lovelace1815', 'AdaLovelace!!!', 'lovelace@example.com'])(
    'made of what is known of a person, as %s, is told',
    (password) => {
      expect(commonPasswordReason(password)).toBeUndefined();
      expect(commonPasswordReason(password, ['ada.lovelace@example.com', 'Ada Lovelace'])).toBeDefined();
    },
  );

  test.each([
    GOOD,
    'vier Pferde 8 Wolken',
    'tR7#kk92mQx!',
    'correcthorsebattery',
    'zürich is a town',
    '密码密码是长的一句话',
  ])('is not %s', (password) => {
    expect(commonPasswordReason(password)).toBeUndefined();
  });
});
