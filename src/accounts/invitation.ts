/** An invitation into an organization: a link mailed to one address, which only an account of that address may use. */
import type { Role } from './role.ts';

export interface Invitation {
  /** `inv_` and 16 base32 digits. */
  readonly id: string;
  readonly orgId: string;
  readonly email: string;
  readonly role: Role;
  /** Id of the user. */
  readonly invitedBy: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** Longer than other links: who is invited did not ask for it and may be away. */
export const INVITATION_MS = 7 * 24 * 3_600_000;
