/** A person with an account. Type, rules, pure functions; the rows are in accounts/store. */
import { BackworkError } from '../base/errors.ts';
import type { Role } from './role.ts';

export interface User {
  /** `usr_` and 16 base32 characters. Never changes and is never given again. */
  readonly id: string;
  /** As its owner writes it. */
  readonly email: string;
  readonly name: string;
  /** Undefined until the link that was mailed there was followed. */
  readonly emailVerifiedAtMs: number | undefined;
  /** When it was confirmed that its owner is 16 or older (privacy promise P11). No birth date is asked. */
  readonly ageConfirmedAtMs: number;
  readonly disabledAtMs: number | undefined;
  readonly hasSecondFactor: boolean;
  readonly createdAtMs: number;
  readonly revision: number;
}

export interface Membership {
  readonly userId: string;
  readonly orgId: string;
  readonly role: Role;
  readonly createdAtMs: number;
}

/** RFC 5321 section 4.5.3.1: of the part before the @, and of a whole path without its brackets. */
const LOCAL_BYTES_MAX = 64;
const EMAIL_BYTES_MAX = 254;
/** What stands in no header unquoted: controls, blanks, and what separates addresses and their parts. */
const NOT_IN_LOCAL = /[\p{C}\p{Z}()<>[\]:;@\\,"]/u;
const DOMAIN_LABEL = /^[\p{L}\p{N}]([\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?$/u;

/**
 * An address as we take it: one mailbox, no display name, no quotes, no comments, a domain of two labels or more. Returns
 * it in NFC. Throws `invalid-input`, without the text: what is refused may be anything.
 */
export function checkEmail(text: string): string {
  const email = text.normalize('NFC');
  const at = email.lastIndexOf('@');
  const [local, domain] = [email.slice(0, Math.max(0, at)), email.slice(at + 1)];
  const labels = domain.split('.');
  const fits =
    Buffer.byteLength(email) <= EMAIL_BYTES_MAX &&
    local.length > 0 &&
    Buffer.byteLength(local) <= LOCAL_BYTES_MAX &&
    !NOT_IN_LOCAL.test(local) &&
    !/^\.|\.\.|\.$/.test(local) &&
    labels.length >= 2 &&
    labels.every((label) => DOMAIN_LABEL.test(label)) &&
    !/^\d+$/.test(labels.at(-1) ?? '');
  if (!fits) throw new BackworkError('invalid-input', 'this is no e-mail address of the form name@example.com');
  return email;
}

/** What is unique: two addresses that differ in case, or in how a character is written, are one person's. */
export function emailKey(email: string): string {
  return email.normalize('NFKC').toLowerCase();
}
