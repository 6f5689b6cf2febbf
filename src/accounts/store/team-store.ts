/** Teams and their members in the accounts database. Every call names the organization: a foreign id is not found. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable, Transaction } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { newId } from '../ids.ts';
import { checkName } from '../organization.ts';
import type { Team, TeamMember, TeamRole } from '../team.ts';
import type { TeamMembersTable, TeamsTable } from './schema-teams.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface TeamStore {
  /** Throws `invalid-input` (name) and `conflict` (the organization has one of that name). */
  create(orgId: string, name: string, nowMs: number): Promise<Team>;
  find(orgId: string, id: string): Promise<Team | undefined>;
  /** By name. */
  list(orgId: string): Promise<Team[]>;
  /** Throws `not-found`, and as `create` does. */
  rename(orgId: string, id: string, name: string): Promise<Team>;
  /** Throws `not-found`. */
  remove(orgId: string, id: string): Promise<void>;
  members(orgId: string, id: string): Promise<TeamMember[]>;
  /** Adds or changes. Throws `not-found`: no such team, or no member of its organization. */
  setMember(orgId: string, id: string, userId: string, role: TeamRole): Promise<TeamMember>;
  /** Throws `not-found`. */
  removeMember(orgId: string, id: string, userId: string): Promise<void>;
}

export function teamStore(db: Kysely<Tables>): TeamStore {
  return {
    create: (orgId, name, nowMs) => create(db, orgId, name, nowMs),
    async find(orgId, id) {
      const row = await teamsOf(db, orgId).where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    },
    list: async (orgId) => (await teamsOf(db, orgId).orderBy('name').execute()).map(fromRow),
    async rename(orgId, id, name) {
      checkName(name);
      return write(db, async (tx, revision) => {
        await requireFreeName(tx, orgId, name, id);
        const row = await tx
          .updateTable('teams')
          .set({ name, revision })
          .where('org_id', '=', orgId)
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirst();
        if (row === undefined) throw noTeam();
        return fromRow(row);
      });
    },
    remove: (orgId, id) =>
      write(db, async (tx) => {
        const { numDeletedRows } = await tx
          .deleteFrom('teams')
          .where('org_id', '=', orgId)
          .where('id', '=', id)
          .executeTakeFirst();
        if (numDeletedRows === 0n) throw noTeam();
      }),
    async members(orgId, id) {
      const rows = await db
        .selectFrom('team_members')
        .innerJoin('teams', 'teams.id', 'team_members.team_id')
        .selectAll('team_members')
        .where('teams.org_id', '=', orgId)
        .where('teams.id', '=', id)
        .orderBy('user_id')
        .execute();
      return rows.map(memberFromRow);
    },
    setMember: (orgId, id, userId, role) => setMember(db, { orgId, id, userId, role }),
    removeMember: (orgId, id, userId) =>
      write(db, async (tx) => {
        await requireTeam(tx, orgId, id);
        const { numDeletedRows } = await tx
          .deleteFrom('team_members')
          .where('team_id', '=', id)
          .where('user_id', '=', userId)
          .executeTakeFirst();
        if (numDeletedRows === 0n) throw new BackworkError('not-found', 'the team has no such member');
      }),
  };
}

function teamsOf(db: Kysely<Tables>, orgId: string) {
  return db.selectFrom('teams').selectAll().where('org_id', '=', orgId);
}

function create(db: Kysely<Tables>, orgId: string, name: string, nowMs: number): Promise<Team> {
  checkName(name);
  return write(db, async (tx, revision) => {
    await requireFreeName(tx, orgId, name, '');
    const row = { id: newId('team', randomBytes), org_id: orgId, name, created_at: nowMs, revision };
    await tx.insertInto('teams').values(row).execute();
    return fromRow(row);
  });
}

function setMember(
  db: Kysely<Tables>,
  { orgId, id, userId, role }: { orgId: string; id: string; userId: string; role: TeamRole },
): Promise<TeamMember> {
  return write(db, async (tx, revision) => {
    await requireTeam(tx, orgId, id);
    const member = await tx
      .selectFrom('memberships')
      .select('user_id')
      .where('org_id', '=', orgId)
      .where('user_id', '=', userId)
      .executeTakeFirst();
    if (member === undefined) throw new BackworkError('not-found', 'the organization has no such member');
    const row = await tx
      .insertInto('team_members')
      .values({ team_id: id, user_id: userId, role, revision })
      .onConflict((conflict) => conflict.columns(['team_id', 'user_id']).doUpdateSet({ role, revision }))
      .returningAll()
      .executeTakeFirstOrThrow();
    return memberFromRow(row);
  });
}

async function requireFreeName(tx: Transaction<Tables>, orgId: string, name: string, exceptId: string): Promise<void> {
  const other = await teamsOf(tx, orgId).where('name', '=', name).where('id', '!=', exceptId).executeTakeFirst();
  if (other !== undefined) throw new BackworkError('conflict', `there is a team ${JSON.stringify(name)} already`);
}

async function requireTeam(tx: Transaction<Tables>, orgId: string, id: string): Promise<void> {
  if ((await teamsOf(tx, orgId).where('id', '=', id).executeTakeFirst()) === undefined) throw noTeam();
}

function noTeam(): BackworkError {
  return new BackworkError('not-found', 'there is no such team');
}

function fromRow(row: Selectable<TeamsTable>): Team {
  return { id: row.id, orgId: row.org_id, name: row.name, createdAtMs: row.created_at, revision: row.revision };
}

function memberFromRow(row: Selectable<TeamMembersTable>): TeamMember {
  return { teamId: row.team_id, userId: row.user_id, role: row.role as TeamRole };
}
