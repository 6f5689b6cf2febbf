/** Sessions in the accounts database: the row is the authority, the cookie only names it. */
import type { Kysely, Selectable } from 'kysely';
import type { SessionsTable } from './schema-people.ts';
import type { Tables } from './schema.ts';

export interface Session {
  /** Keyed hash of the id that the cookie holds. */
  readonly digest: string;
  readonly userId: string;
  readonly createdAtMs: number;
  readonly seenAtMs: number;
  readonly authenticatedAtMs: number;
}

export const SESSION_IDLE_MS = 12 * 3_600_000;
export const SESSION_AGE_MS = 7 * 24 * 3_600_000;
/** A dangerous act wants the password to have been given within this time. */
export const AUTHENTICATED_MS = 600_000;
/** `seenAtMs` is written when it is older: a request is no write. */
const SEEN_EVERY_MS = 60_000;

export interface SessionStore {
  create(digest: string, userId: string, nowMs: number): Promise<Session>;
  /** The session when it is live; notes that it was seen. One that is over is removed. */
  use(digest: string, nowMs: number): Promise<Session | undefined>;
  /** A new digest for the same session, at a change of rights; with `authenticated`, the password was given now. */
  renew(digest: string, next: string, nowMs: number, authenticated: boolean): Promise<Session | undefined>;
  /** Live ones, the newest first. */
  list(userId: string, nowMs: number): Promise<Session[]>;
  end(digest: string): Promise<void>;
  /** All of a user but `except`. */
  endAll(userId: string, except?: string): Promise<void>;
  /** Removes what is over; returns how many. */
  sweep(nowMs: number): Promise<number>;
}

export function sessionStore(db: Kysely<Tables>): SessionStore {
  return {
    async create(digest, userId, nowMs) {
      const row = { digest, user_id: userId, created_at: nowMs, seen_at: nowMs, authenticated_at: nowMs };
      await db.insertInto('sessions').values(row).execute();
      return fromRow(row);
    },
    async use(digest, nowMs) {
      const row = await db.selectFrom('sessions').selectAll().where('digest', '=', digest).executeTakeFirst();
      if (row === undefined) return undefined;
      if (isOver(row, nowMs)) {
        await db.deleteFrom('sessions').where('digest', '=', digest).execute();
        return undefined;
      }
      if (nowMs - row.seen_at < SEEN_EVERY_MS) return fromRow(row);
      await db.updateTable('sessions').set({ seen_at: nowMs }).where('digest', '=', digest).execute();
      return fromRow({ ...row, seen_at: nowMs });
    },
    async renew(digest, next, nowMs, authenticated) {
      const times = authenticated ? { seen_at: nowMs, authenticated_at: nowMs } : { seen_at: nowMs };
      const row = await db
        .updateTable('sessions')
        .set({ digest: next, ...times })
        .where('digest', '=', digest)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    },
    async list(userId, nowMs) {
      const rows = await db
        .selectFrom('sessions')
        .selectAll()
        .where('user_id', '=', userId)
        .orderBy('created_at', 'desc')
        .execute();
      return rows.filter((row) => !isOver(row, nowMs)).map(fromRow);
    },
    async end(digest) {
      await db.deleteFrom('sessions').where('digest', '=', digest).execute();
    },
    async endAll(userId, except = '') {
      await db.deleteFrom('sessions').where('user_id', '=', userId).where('digest', '!=', except).execute();
    },
    async sweep(nowMs) {
      const { numDeletedRows } = await db
        .deleteFrom('sessions')
        .where((where) =>
          where.or([
            where('seen_at', '<=', nowMs - SESSION_IDLE_MS),
            where('created_at', '<=', nowMs - SESSION_AGE_MS),
          ]),
        )
        .executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}

/** A clock that was set back makes none live again: what was over was removed when it was met. */
function isOver(row: Selectable<SessionsTable>, nowMs: number): boolean {
  return nowMs - row.seen_at >= SESSION_IDLE_MS || nowMs - row.created_at >= SESSION_AGE_MS;
}

function fromRow(row: Selectable<SessionsTable>): Session {
  return {
    digest: row.digest,
    userId: row.user_id,
    createdAtMs: row.created_at,
    seenAtMs: row.seen_at,
    authenticatedAtMs: row.authenticated_at,
  };
}
