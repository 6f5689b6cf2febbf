/** Users and their memberships in the accounts database. Password strings and sealed seeds go in; nothing here makes them. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable, Transaction } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { newId } from '../ids.ts';
import { checkName } from '../organization.ts';
import type { Role } from '../role.ts';
import { checkEmail, emailKey, type Membership, type User } from '../user.ts';
import type { MembershipsTable, UsersTable } from './schema-people.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface NewUser {
  readonly email: string;
  readonly name: string;
  /** An argon2id string. */
  readonly password: string;
  readonly ageConfirmedAtMs: number;
  readonly createdAtMs: number;
}

/** What a login is judged by; never leaves the room of accounts. */
export interface Credentials {
  readonly user: User;
  readonly password: string;
  readonly totpSeed: string | undefined;
  readonly totpLastStep: number;
}

export interface UserStore {
  /** Throws BackworkError `invalid-input` (address, name) and `conflict` (somebody has the address). */
  create(input: NewUser): Promise<User>;
  /**
   * The first account of an empty installation, as owner of `orgId` and with a verified address: nobody is there who could
   * let it in. Undefined, and nothing done, when there is an account already.
   */
  createFirst(input: NewUser, orgId: string): Promise<User | undefined>;
  find(id: string): Promise<User | undefined>;
  credentialsOf(email: string): Promise<Credentials | undefined>;
  /** A new password ends every session and every link of its user, at once with it. Throws `not-found`. */
  setPassword(id: string, password: string): Promise<User>;
  /** The same password under new parameters: sessions stay. Nothing when the password was changed meanwhile. */
  rehash(id: string, before: string, after: string): Promise<void>;
  setEmailVerified(id: string, atMs: number): Promise<User>;
  /**
   * Another address, verified, with the end of every session and link. Throws `not-found`, `invalid-input`, and `conflict` when
   * somebody has it.
   */
  setEmail(id: string, email: string, atMs: number): Promise<User>;
  /** Throws `not-found` and `invalid-input`. */
  setName(id: string, name: string): Promise<User>;
  /** Undefined lets the user in again. Disabling ends every session. */
  setDisabled(id: string, disabledAtMs: number | undefined): Promise<User>;
  /** With memberships, sessions, links, and invitations of the address. Throws `not-found`, and `conflict` for the only owner of an organization. */
  remove(id: string): Promise<void>;
  membershipsOf(userId: string): Promise<Membership[]>;
  membersOf(orgId: string): Promise<Membership[]>;
  membership(userId: string, orgId: string): Promise<Membership | undefined>;
  /** Whether nobody has an account yet. */
  isEmpty(): Promise<boolean>;
  /** Adds or changes. Throws `not-found`, and `conflict` when no owner would be left. */
  setMembership(userId: string, orgId: string, role: Role, atMs: number): Promise<Membership>;
  /** Throws `not-found`, and `conflict` for the only owner. */
  removeMembership(userId: string, orgId: string): Promise<void>;
}

type Db = Kysely<Tables> | Transaction<Tables>;

export function userStore(db: Kysely<Tables>): UserStore {
  return {
    create: (input) => create(db, input),
    createFirst: (input, orgId) => createFirst(db, input, orgId),
    async find(id) {
      const row = await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    },
    async credentialsOf(email) {
      const row = await db.selectFrom('users').selectAll().where('email_key', '=', emailKey(email)).executeTakeFirst();
      return row === undefined ? undefined : credentials(row);
    },
    setPassword: (id, password) =>
      write(db, async (tx, revision) => {
        const user = await change(tx, id, { password, revision });
        await endAccess(tx, id);
        return user;
      }),
    async rehash(id, before, after) {
      await db
        .updateTable('users')
        .set({ password: after })
        .where('id', '=', id)
        .where('password', '=', before)
        .execute();
    },
    setEmailVerified: (id, atMs) => write(db, (tx, revision) => change(tx, id, { email_verified_at: atMs, revision })),
    setEmail: (id, email, atMs) => setEmail(db, id, email, atMs),
    async setName(id, name) {
      checkName(name);
      return write(db, (tx, revision) => change(tx, id, { name, revision }));
    },
    setDisabled: (id, disabledAtMs) =>
      write(db, async (tx, revision) => {
        const user = await change(tx, id, { disabled_at: disabledAtMs ?? null, revision });
        if (disabledAtMs !== undefined) await endAccess(tx, id);
        return user;
      }),
    remove: (id) => write(db, (tx) => remove(tx, id)),
    isEmpty: async () => (await db.selectFrom('users').select('id').limit(1).executeTakeFirst()) === undefined,
    ...membershipCalls(db),
  };
}

type MembershipCalls = Pick<
  UserStore,
  'membershipsOf' | 'membersOf' | 'membership' | 'setMembership' | 'removeMembership'
>;

function membershipCalls(db: Kysely<Tables>): MembershipCalls {
  return {
    async membershipsOf(userId) {
      const rows = await db
        .selectFrom('memberships')
        .selectAll()
        .where('user_id', '=', userId)
        .orderBy('org_id')
        .execute();
      return rows.map(membership);
    },
    async membersOf(orgId) {
      const rows = await db
        .selectFrom('memberships')
        .selectAll()
        .where('org_id', '=', orgId)
        .orderBy('user_id')
        .execute();
      return rows.map(membership);
    },
    async membership(userId, orgId) {
      const row = await db
        .selectFrom('memberships')
        .selectAll()
        .where('user_id', '=', userId)
        .where('org_id', '=', orgId)
        .executeTakeFirst();
      return row === undefined ? undefined : membership(row);
    },
    setMembership: (userId, orgId, role, atMs) =>
      write(db, async (tx, revision) => {
        await requireRow(tx, 'users', userId);
        await requireRow(tx, 'organizations', orgId);
        if (role !== 'owner') await requireOtherOwner(tx, userId, orgId);
        const row = { user_id: userId, org_id: orgId, role, created_at: atMs, revision };
        const stored = await tx
          .insertInto('memberships')
          .values(row)
          .onConflict((conflict) => conflict.columns(['user_id', 'org_id']).doUpdateSet({ role, revision }))
          .returningAll()
          .executeTakeFirstOrThrow();
        return membership(stored);
      }),
    removeMembership: (userId, orgId) =>
      write(db, async (tx) => {
        await requireOtherOwner(tx, userId, orgId);
        const { numDeletedRows } = await tx
          .deleteFrom('memberships')
          .where('user_id', '=', userId)
          .where('org_id', '=', orgId)
          .executeTakeFirst();
        if (numDeletedRows === 0n) throw new BackworkError('not-found', `${userId} is no member of ${orgId}`);
        const teams = tx.selectFrom('teams').select('id').where('org_id', '=', orgId);
        await tx.deleteFrom('team_members').where('user_id', '=', userId).where('team_id', 'in', teams).execute();
      }),
  };
}

function create(db: Kysely<Tables>, input: NewUser): Promise<User> {
  const row = newRow(input);
  return write(db, async (tx, revision) => {
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('users')
      .values({ ...row, revision })
      .onConflict((conflict) => conflict.column('email_key').doNothing())
      .executeTakeFirst();
    // Who may know it is for the caller to decide: the API answers sign-ups of both kinds alike.
    if (numInsertedOrUpdatedRows === 0n) throw new BackworkError('conflict', 'an account with this address exists');
    return fromRow({ ...row, revision });
  });
}

function createFirst(db: Kysely<Tables>, input: NewUser, orgId: string): Promise<User | undefined> {
  const { createdAtMs } = input;
  const row = { ...newRow(input), email_verified_at: createdAtMs };
  return write(db, async (tx, revision) => {
    if ((await tx.selectFrom('users').select('id').limit(1).executeTakeFirst()) !== undefined) return undefined;
    await tx
      .insertInto('users')
      .values({ ...row, revision })
      .execute();
    const membership = { user_id: row.id, org_id: orgId, role: 'owner', created_at: createdAtMs, revision };
    await tx.insertInto('memberships').values(membership).execute();
    return fromRow({ ...row, revision });
  });
}

function setEmail(db: Kysely<Tables>, id: string, text: string, atMs: number): Promise<User> {
  const email = checkEmail(text);
  const key = emailKey(email);
  return write(db, async (tx, revision) => {
    const other = await tx.selectFrom('users').select('id').where('email_key', '=', key).executeTakeFirst();
    if (other !== undefined && other.id !== id)
      throw new BackworkError('conflict', 'an account with this address exists');
    const user = await change(tx, id, { email, email_key: key, email_verified_at: atMs, revision });
    await endAccess(tx, id);
    return user;
  });
}

/** Throws `invalid-input`. */
function newRow(input: NewUser): Omit<Selectable<UsersTable>, 'revision'> {
  const email = checkEmail(input.email);
  return {
    id: newId('usr', randomBytes),
    email,
    email_key: emailKey(email),
    name: checkName(input.name),
    password: input.password,
    email_verified_at: null,
    age_confirmed_at: input.ageConfirmedAtMs,
    totp_seed: null,
    totp_last_step: -1,
    disabled_at: null,
    created_at: input.createdAtMs,
  };
}

async function remove(tx: Transaction<Tables>, id: string): Promise<void> {
  const user = await tx.selectFrom('users').select('email_key').where('id', '=', id).executeTakeFirst();
  if (user === undefined) throw new BackworkError('not-found', `there is no user ${id}`);
  const owned = await tx
    .selectFrom('memberships')
    .select('org_id')
    .where('user_id', '=', id)
    .where('role', '=', 'owner')
    .execute();
  for (const { org_id } of owned) await requireOtherOwner(tx, id, org_id);
  await endAccess(tx, id);
  await tx.deleteFrom('mails').where('user_id', '=', id).execute();
  // Made for the address, before it had an account or while somebody else asked for it.
  await tx.deleteFrom('links').where('email_key', '=', user.email_key).execute();
  // Whoever invited the address may do so again; what is left of it here would be personal data of somebody who is gone.
  await tx.deleteFrom('invitations').where('email_key', '=', user.email_key).execute();
  await tx.deleteFrom('users').where('id', '=', id).execute();
}

/** Throws `conflict` when this user is the only owner. */
async function requireOtherOwner(tx: Transaction<Tables>, userId: string, orgId: string): Promise<void> {
  const owners = await tx
    .selectFrom('memberships')
    .select('user_id')
    .where('org_id', '=', orgId)
    .where('role', '=', 'owner')
    .execute();
  if (owners.length !== 1 || owners[0]?.user_id !== userId) return;
  throw new BackworkError('conflict', `${userId} is the only owner of ${orgId}: make another member an owner first`);
}

async function requireRow(tx: Transaction<Tables>, table: 'users' | 'organizations', id: string): Promise<void> {
  const row = await tx.selectFrom(table).select('id').where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new BackworkError('not-found', `there is no ${id}`);
}

async function change(tx: Transaction<Tables>, id: string, changes: Partial<Omit<UsersTable, 'id'>>): Promise<User> {
  const row = await tx.updateTable('users').set(changes).where('id', '=', id).returningAll().executeTakeFirst();
  if (row === undefined) throw new BackworkError('not-found', `there is no user ${id}`);
  return fromRow(row);
}

/** In the transaction of what made it necessary: there is no moment with the new password and the old sessions. */
async function endAccess(tx: Db, userId: string): Promise<void> {
  await tx.deleteFrom('sessions').where('user_id', '=', userId).execute();
  await tx.deleteFrom('links').where('user_id', '=', userId).execute();
}

function credentials(row: Selectable<UsersTable>): Credentials {
  return {
    user: fromRow(row),
    password: row.password,
    totpSeed: row.totp_seed ?? undefined,
    totpLastStep: row.totp_last_step,
  };
}

function fromRow(row: Selectable<UsersTable>): User {
  return {
    id: row.id,
    email: row.email,
    name: row.name,
    emailVerifiedAtMs: row.email_verified_at ?? undefined,
    ageConfirmedAtMs: row.age_confirmed_at,
    disabledAtMs: row.disabled_at ?? undefined,
    hasSecondFactor: row.totp_seed !== null,
    createdAtMs: row.created_at,
    revision: row.revision,
  };
}

function membership(row: Selectable<MembershipsTable>): Membership {
  return { userId: row.user_id, orgId: row.org_id, role: row.role as Role, createdAtMs: row.created_at };
}
