/** Notices in the accounts database, and who has read which. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { newId } from '../ids.ts';
import { checkNotice, type Notice } from '../notice.ts';
import type { Tables } from './schema.ts';
import type { NoticesTable } from './schema-privacy.ts';
import { write } from './write.ts';

export interface NoticeStore {
  /** Throws `invalid-input`. */
  publish(notice: Omit<Notice, 'id'>): Promise<Notice>;
  /** The newest first. */
  list(): Promise<Notice[]>;
  /** Takes it back, with who has read it. Throws `not-found`. */
  withdraw(id: string): Promise<void>;
  /**
   * Those that the user has not read, the oldest first. Who came after a notice took effect has agreed to what was in force and
   * is not shown it.
   */
  unreadOf(user: { readonly id: string; readonly createdAtMs: number }): Promise<Notice[]>;
  /** Once read it stays read. Throws `not-found`. */
  read(id: string, userId: string, atMs: number): Promise<void>;
}

export function noticeStore(db: Kysely<Tables>): NoticeStore {
  return {
    async publish(input) {
      checkNotice(input);
      const notice = { id: newId('ntc', randomBytes), ...input };
      const { id, title, body, effectiveAtMs, publishedAtMs } = notice;
      const row = { id, title, body, effective_at: effectiveAtMs, published_at: publishedAtMs };
      await write(db, (tx) => tx.insertInto('notices').values(row).execute());
      return notice;
    },
    async list() {
      const rows = await db.selectFrom('notices').selectAll().orderBy('published_at', 'desc').orderBy('id').execute();
      return rows.map(fromRow);
    },
    async withdraw(id) {
      const { numDeletedRows } = await db.deleteFrom('notices').where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) throw noNotice();
    },
    async unreadOf({ id, createdAtMs }) {
      const read = db.selectFrom('notice_reads').select('notice_id').where('user_id', '=', id);
      const rows = await db
        .selectFrom('notices')
        .selectAll()
        .where('effective_at', '>', createdAtMs)
        .where('id', 'not in', read)
        .orderBy('published_at')
        .orderBy('id')
        .execute();
      return rows.map(fromRow);
    },
    read: (id, userId, atMs) =>
      write(db, async (tx) => {
        const notice = await tx.selectFrom('notices').select('id').where('id', '=', id).executeTakeFirst();
        if (notice === undefined) throw noNotice();
        await tx
          .insertInto('notice_reads')
          .values({ notice_id: id, user_id: userId, read_at: atMs })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      }),
  };
}

function noNotice(): BackworkError {
  return new BackworkError('not-found', 'there is no such notice');
}

function fromRow(row: Selectable<NoticesTable>): Notice {
  const { id, title, body } = row;
  return { id, title, body, effectiveAtMs: row.effective_at, publishedAtMs: row.published_at };
}
