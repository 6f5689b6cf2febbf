/** All that is stored of one person, for the export of it (privacy promise P10). No digest, no secret, nothing of others. */
import type { Kysely } from 'kysely';
import type { Role } from '../role.ts';
import type { Tables } from './schema.ts';

export interface PersonalData {
  readonly memberships: readonly {
    readonly orgId: string;
    readonly organization: string;
    readonly role: Role;
    readonly sinceMs: number;
  }[];
  readonly teams: readonly {
    readonly orgId: string;
    readonly teamId: string;
    readonly team: string;
    readonly role: string;
  }[];
  readonly sessions: readonly {
    readonly createdAtMs: number;
    readonly seenAtMs: number;
    readonly confirmedAtMs: number;
  }[];
  readonly links: readonly { readonly purpose: string; readonly newEmail: string; readonly expiresAtMs: number }[];
  /** That wait to be sent. */
  readonly mails: readonly { readonly kind: string; readonly createdAtMs: number }[];
  /** To this address. */
  readonly invitations: readonly { readonly orgId: string; readonly role: string; readonly expiresAtMs: number }[];
  /** Sent by this person; whom they were for is theirs. */
  readonly invitationsSent: readonly { readonly id: string; readonly orgId: string; readonly createdAtMs: number }[];
  readonly apiKeysMade: readonly {
    readonly id: string;
    readonly orgId: string;
    readonly name: string;
    readonly createdAtMs: number;
  }[];
  readonly noticesRead: readonly { readonly noticeId: string; readonly readAtMs: number }[];
  /** By this person or about them. */
  readonly audit: readonly {
    readonly orgId: string;
    readonly number: number;
    readonly atMs: number;
    readonly actor: string;
    readonly action: string;
    readonly target: string;
    readonly result: string;
  }[];
}

export interface PersonalStore {
  of(user: { readonly id: string; readonly emailKey: string }): Promise<PersonalData>;
}

export function personalStore(db: Kysely<Tables>): PersonalStore {
  return {
    async of({ id, emailKey }) {
      return {
        ...(await membershipsOf(db, id)),
        ...(await accessOf(db, id, emailKey)),
        ...(await madeBy(db, id)),
        audit: await auditOf(db, id),
      };
    },
  };
}

async function membershipsOf(db: Kysely<Tables>, id: string): Promise<Pick<PersonalData, 'memberships' | 'teams'>> {
  const memberships = await db
    .selectFrom('memberships as m')
    .innerJoin('organizations as o', 'o.id', 'm.org_id')
    .select(['m.org_id as orgId', 'o.name as organization', 'm.role as role', 'm.created_at as sinceMs'])
    .where('m.user_id', '=', id)
    .orderBy('m.org_id')
    .execute();
  const teams = await db
    .selectFrom('team_members as m')
    .innerJoin('teams as t', 't.id', 'm.team_id')
    .select(['t.org_id as orgId', 't.id as teamId', 't.name as team', 'm.role as role'])
    .where('m.user_id', '=', id)
    .orderBy('t.id')
    .execute();
  return { memberships: memberships.map((row) => ({ ...row, role: row.role as Role })), teams };
}

async function accessOf(
  db: Kysely<Tables>,
  id: string,
  emailKey: string,
): Promise<Pick<PersonalData, 'sessions' | 'links' | 'mails' | 'invitations' | 'noticesRead'>> {
  return {
    sessions: await db
      .selectFrom('sessions')
      .select(['created_at as createdAtMs', 'seen_at as seenAtMs', 'authenticated_at as confirmedAtMs'])
      .where('user_id', '=', id)
      .orderBy('created_at')
      .execute(),
    links: await db
      .selectFrom('links')
      .select(['purpose', 'email as newEmail', 'expires_at as expiresAtMs'])
      .where('user_id', '=', id)
      .orderBy('purpose')
      .execute(),
    mails: await db
      .selectFrom('mails')
      .select(['kind', 'created_at as createdAtMs'])
      .where('user_id', '=', id)
      .orderBy('created_at')
      .execute(),
    invitations: await db
      .selectFrom('invitations')
      .select(['org_id as orgId', 'role', 'expires_at as expiresAtMs'])
      .where('email_key', '=', emailKey)
      .orderBy('created_at')
      .execute(),
    noticesRead: await db
      .selectFrom('notice_reads')
      .select(['notice_id as noticeId', 'read_at as readAtMs'])
      .where('user_id', '=', id)
      .orderBy('read_at')
      .execute(),
  };
}

async function madeBy(db: Kysely<Tables>, id: string): Promise<Pick<PersonalData, 'invitationsSent' | 'apiKeysMade'>> {
  return {
    invitationsSent: await db
      .selectFrom('invitations')
      .select(['id', 'org_id as orgId', 'created_at as createdAtMs'])
      .where('invited_by', '=', id)
      .orderBy('created_at')
      .execute(),
    apiKeysMade: await db
      .selectFrom('api_keys')
      .select(['id', 'org_id as orgId', 'name', 'created_at as createdAtMs'])
      .where('created_by', '=', id)
      .orderBy('created_at')
      .execute(),
  };
}

async function auditOf(db: Kysely<Tables>, id: string): Promise<PersonalData['audit']> {
  return db
    .selectFrom('audit')
    .select(['org_id as orgId', 'number', 'at as atMs', 'actor', 'action', 'target', 'result'])
    .where((where) => where.or([where('actor', '=', id), where('target', '=', id)]))
    .orderBy('at')
    .orderBy('number')
    .execute();
}
