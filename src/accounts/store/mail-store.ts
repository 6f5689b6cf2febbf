/** Mail that waits to be sent. What it says, and to whom, is sealed: it holds links that open things. */
import type { Kysely, Selectable } from 'kysely';
import type { MailsTable } from './schema-people.ts';
import type { Tables } from './schema.ts';

export interface QueuedMail {
  readonly id: string;
  readonly userId: string;
  readonly kind: string;
  readonly sealed: string;
  readonly createdAtMs: number;
  readonly attempts: number;
  readonly nextAtMs: number;
}

export interface MailStore {
  add(mail: Omit<QueuedMail, 'attempts' | 'nextAtMs'>): Promise<void>;
  /** Whose time has come, the oldest first, at most `count`. */
  due(nowMs: number, count: number): Promise<QueuedMail[]>;
  list(): Promise<QueuedMail[]>;
  /** It could not be sent. */
  postpone(id: string, nextAtMs: number): Promise<void>;
  remove(id: string): Promise<void>;
  /** Made before this time; returns how many. What they link to is over long before. */
  sweep(beforeMs: number): Promise<number>;
}

export function mailStore(db: Kysely<Tables>): MailStore {
  return {
    async add({ id, userId, kind, sealed, createdAtMs }) {
      const row = { id, user_id: userId, kind, sealed, created_at: createdAtMs, attempts: 0, next_at: createdAtMs };
      await db.insertInto('mails').values(row).execute();
    },
    async due(nowMs, count) {
      const rows = await db
        .selectFrom('mails')
        .selectAll()
        .where('next_at', '<=', nowMs)
        .orderBy('created_at')
        .limit(count)
        .execute();
      return rows.map(fromRow);
    },
    list: async () =>
      (await db.selectFrom('mails').selectAll().orderBy('created_at').orderBy('id').execute()).map(fromRow),
    async postpone(id, nextAtMs) {
      await db
        .updateTable('mails')
        .set((expression) => ({ attempts: expression('attempts', '+', 1), next_at: nextAtMs }))
        .where('id', '=', id)
        .execute();
    },
    async remove(id) {
      await db.deleteFrom('mails').where('id', '=', id).execute();
    },
    async sweep(beforeMs) {
      const { numDeletedRows } = await db.deleteFrom('mails').where('created_at', '<', beforeMs).executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}

function fromRow(row: Selectable<MailsTable>): QueuedMail {
  return {
    id: row.id,
    userId: row.user_id,
    kind: row.kind,
    sealed: row.sealed,
    createdAtMs: row.created_at,
    attempts: row.attempts,
    nextAtMs: row.next_at,
  };
}
