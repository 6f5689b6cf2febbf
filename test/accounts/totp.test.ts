import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  acceptTotp,
  newRecoveryCodes,
  newTotpSeed,
  plainRecoveryCode,
  totpCode,
  totpUri,
} from '../../src/accounts/totp.ts';

/** RFC 6238, appendix B: SHA-1, the last six of the eight digits printed there. */
const RFC_SEED = Buffer.from('12345678901234567890');
const STEP_MS = 30_000;

describe('a one-time code', () => {
  test.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ])('at %i s is that of the RFC', (seconds, code) => {
    expect(totpCode(RFC_SEED, Math.floor(seconds / 30))).toBe(code);
    expect(acceptTotp(RFC_SEED, code, seconds * 1_000, -1)).toBe(Math.floor(seconds / 30));
  });

  test('counts a step before and after its own, and no more', () => {
    const accepted = [-2, -1, 0, 1, 2].map((drift) =>
      acceptTotp(RFC_SEED, totpCode(RFC_SEED, 100), (100 + drift) * STEP_MS, -1),
    );
    expect(accepted).toEqual([undefined, 100, 100, 100, undefined]);
  });

  test('opens once: steps up to the last one that was used are refused', () => {
    expect(acceptTotp(RFC_SEED, totpCode(RFC_SEED, 100), 100 * STEP_MS, 100)).toBeUndefined();
    expect(acceptTotp(RFC_SEED, totpCode(RFC_SEED, 101), 100 * STEP_MS, 100)).toBe(101);
  });

  test.each(['', '12345', '1234567', 'abcdef', '２８７０８２'])('is not %j', (code) => {
    expect(acceptTotp(RFC_SEED, code, 59_000, -1)).toBeUndefined();
  });

  test('may be typed with a space', () => {
    expect(acceptTotp(RFC_SEED, '287 082', 59_000, -1)).toBe(1);
  });
});

test('an app is given the seed in base32, its issuer and its account escaped', () => {
  expect(totpUri(RFC_SEED, 'back work', 'a+b@example.com')).toBe(
    'otpauth://totp/back%20work:a%2Bb%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=back%20work',
  );
  expect(newTotpSeed(randomBytes)).toHaveLength(20);
});

test('ten codes to recover with are shown in groups and compared without signs', () => {
  const codes = newRecoveryCodes(randomBytes);
  expect(new Set(codes).size).toBe(10);
  for (const code of codes) expect(code).toMatch(/^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);
  expect(plainRecoveryCode(` ${codes[0]!.toLowerCase().replaceAll('-', ' ')}`)).toBe(codes[0]!.replaceAll('-', ''));
});
