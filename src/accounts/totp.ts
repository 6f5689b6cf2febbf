/**
 * The second factor: one-time codes by time (RFC 6238 with its defaults: HMAC-SHA-1, 30 s, six digits, which is what all
 * authenticator apps do) and codes to recover with. Pure; who calls keeps the last step, so that a code opens once.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const STEP_MS = 30_000;
const DIGITS = 6;
/** Steps before and after now whose codes count, for clocks that differ. */
const DRIFT_STEPS = 1;
const SEED_BYTES = 20;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const RECOVERY_CODES = 10;
/** 80 bits: more than can be tried, little enough to type. */
const RECOVERY_BYTES = 10;

export type Random = (bytes: number) => Uint8Array;

export function newTotpSeed(random: Random): Buffer {
  return Buffer.from(random(SEED_BYTES));
}

/** What an authenticator app reads from a QR code (Key URI format). `account` is the address; both are escaped. */
export function totpUri(seed: Uint8Array, issuer: string, account: string): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  return `otpauth://totp/${label}?secret=${base32(seed)}&issuer=${encodeURIComponent(issuer)}`;
}

/**
 * The step whose code this is, to be stored as `lastStep`; undefined when it is none, or one that was used: steps up to
 * `lastStep` open nothing any more.
 */
export function acceptTotp(seed: Uint8Array, code: string, nowMs: number, lastStep: number): number | undefined {
  const given = Buffer.from(code.replaceAll(/\s/g, ''));
  if (given.length !== DIGITS) return undefined;
  const now = Math.floor(nowMs / STEP_MS);
  let accepted: number | undefined;
  // All of them, whichever fits: how long it takes tells nothing.
  for (let step = now - DRIFT_STEPS; step <= now + DRIFT_STEPS; step++) {
    if (timingSafeEqual(Buffer.from(totpCode(seed, step)), given) && step > lastStep) accepted ??= step;
  }
  return accepted;
}

/** RFC 4226 section 5.3, with the step as its counter. */
export function totpCode(seed: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeUInt32BE(Math.floor(step / 2 ** 32), 0);
  counter.writeUInt32BE(step % 2 ** 32, 4);
  const mac = createHmac('sha1', seed).update(counter).digest();
  const number = mac.readUInt32BE(mac.readUInt8(mac.length - 1) & 0xf) & 0x7fff_ffff;
  return String(number % 10 ** DIGITS).padStart(DIGITS, '0');
}

/** As shown, once: `ABCD-EFGH-IJKL-MNOP`. */
export function newRecoveryCodes(random: Random): string[] {
  return Array.from({ length: RECOVERY_CODES }, () => (base32(random(RECOVERY_BYTES)).match(/.{4}/g) ?? []).join('-'));
}

/** What is hashed and compared: a code as it was typed, in any case, with or without its signs. */
export function plainRecoveryCode(code: string): string {
  return code.toUpperCase().replaceAll(/[^A-Z2-7]/g, '');
}

function base32(bytes: Uint8Array): string {
  let [text, bits, count] = ['', 0, 0];
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    count += 8;
    for (; count >= 5; count -= 5) text += BASE32[(bits >>> (count - 5)) & 31];
    bits &= (1 << count) - 1;
  }
  return count === 0 ? text : text + BASE32[(bits << (5 - count)) & 31];
}
