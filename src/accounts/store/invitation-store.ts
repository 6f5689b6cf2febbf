/** Invitations in the accounts database. A row that is used, withdrawn or over is removed: it holds an address. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { newId } from '../ids.ts';
import { INVITATION_MS, type Invitation } from '../invitation.ts';
import type { Role } from '../role.ts';
import { checkEmail, emailKey, type Membership } from '../user.ts';
import type { InvitationsTable } from './schema-teams.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface NewInvitation {
  readonly orgId: string;
  readonly email: string;
  readonly role: Role;
  readonly invitedBy: string;
  /** Keyed hash of what the link holds. */
  readonly digest: string;
  readonly createdAtMs: number;
}

export interface InvitationStore {
  /** Takes the place of an earlier one to the same address. Throws `invalid-input`, `conflict` (a member already). */
  create(input: NewInvitation): Promise<Invitation>;
  /** Live ones, the oldest first. */
  list(orgId: string, nowMs: number): Promise<Invitation[]>;
  /** The live one that a link names, whoever it is for. */
  byDigest(digest: string, nowMs: number): Promise<Invitation | undefined>;
  /** Throws `not-found`. */
  withdraw(orgId: string, id: string): Promise<void>;
  /**
   * Makes the user a member and removes the invitation, both or neither. Throws `not-found`: no live invitation with this
   * digest for this user's address. One who is a member already keeps the role.
   */
  accept(digest: string, userId: string, nowMs: number): Promise<Membership>;
  /** Removes what is over; returns how many. */
  sweep(nowMs: number): Promise<number>;
}

export function invitationStore(db: Kysely<Tables>): InvitationStore {
  return {
    create: (input) => create(db, input),
    async list(orgId, nowMs) {
      const rows = await live(db, nowMs).where('org_id', '=', orgId).orderBy('created_at').orderBy('id').execute();
      return rows.map(fromRow);
    },
    async byDigest(digest, nowMs) {
      const row = await live(db, nowMs).where('digest', '=', digest).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    },
    async withdraw(orgId, id) {
      const { numDeletedRows } = await db
        .deleteFrom('invitations')
        .where('org_id', '=', orgId)
        .where('id', '=', id)
        .executeTakeFirst();
      if (numDeletedRows === 0n) throw new BackworkError('not-found', 'there is no such invitation');
    },
    accept: (digest, userId, nowMs) => accept(db, digest, userId, nowMs),
    async sweep(nowMs) {
      const { numDeletedRows } = await db.deleteFrom('invitations').where('expires_at', '<=', nowMs).executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}

function live(db: Kysely<Tables>, nowMs: number) {
  return db.selectFrom('invitations').selectAll().where('expires_at', '>', nowMs);
}

function create(db: Kysely<Tables>, input: NewInvitation): Promise<Invitation> {
  const email = checkEmail(input.email);
  const row: Selectable<InvitationsTable> = {
    id: newId('inv', randomBytes),
    org_id: input.orgId,
    email,
    email_key: emailKey(email),
    role: input.role,
    digest: input.digest,
    invited_by: input.invitedBy,
    created_at: input.createdAtMs,
    expires_at: input.createdAtMs + INVITATION_MS,
  };
  return write(db, async (tx) => {
    const member = await tx
      .selectFrom('memberships')
      .innerJoin('users', 'users.id', 'memberships.user_id')
      .select('users.id')
      .where('memberships.org_id', '=', input.orgId)
      .where('users.email_key', '=', row.email_key)
      .executeTakeFirst();
    if (member !== undefined) throw new BackworkError('conflict', 'who has this address is a member already');
    await tx
      .deleteFrom('invitations')
      .where('org_id', '=', input.orgId)
      .where('email_key', '=', row.email_key)
      .execute();
    await tx.insertInto('invitations').values(row).execute();
    return fromRow(row);
  });
}

function accept(db: Kysely<Tables>, digest: string, userId: string, nowMs: number): Promise<Membership> {
  return write(db, async (tx, revision) => {
    const row = await live(tx, nowMs)
      .where('digest', '=', digest)
      .where('email_key', '=', (where) => where.selectFrom('users').select('email_key').where('id', '=', userId))
      .executeTakeFirst();
    if (row === undefined)
      throw new BackworkError(
        'not-found',
        'there is no invitation for this account: it was used, withdrawn, is over, or is for another address',
      );
    const { org_id, role } = row;
    const membership = { user_id: userId, org_id, role, created_at: nowMs, revision };
    // One who is a member already was made one after the invitation was sent: that decision is the newer one.
    await tx
      .insertInto('memberships')
      .values(membership)
      .onConflict((conflict) => conflict.columns(['user_id', 'org_id']).doNothing())
      .execute();
    await tx.deleteFrom('invitations').where('id', '=', row.id).execute();
    const stored = await tx
      .selectFrom('memberships')
      .selectAll()
      .where('user_id', '=', userId)
      .where('org_id', '=', org_id)
      .executeTakeFirstOrThrow();
    return { userId, orgId: org_id, role: stored.role as Role, createdAtMs: stored.created_at };
  });
}

function fromRow(row: Selectable<InvitationsTable>): Invitation {
  return {
    id: row.id,
    orgId: row.org_id,
    email: row.email,
    role: row.role as Role,
    invitedBy: row.invited_by,
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at,
  };
}
