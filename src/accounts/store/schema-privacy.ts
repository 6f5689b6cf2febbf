/**
 * Notices of the operator and who has read them; the address that somebody wants to change to. As schema.ts says of all.
 *
 * Personal: `links.email`, the new address until its link is used or over.
 */
import type { Kysely } from 'kysely';
import type { Tables } from './schema.ts';

export interface NoticesTable {
  id: string;
  title: string;
  body: string;
  effective_at: number;
  published_at: number;
}

export interface NoticeReadsTable {
  notice_id: string;
  user_id: string;
  read_at: number;
}

export interface PrivacyTables {
  notices: NoticesTable;
  notice_reads: NoticeReadsTable;
}

export async function privacy(db: Kysely<Tables>): Promise<void> {
  await db.schema
    .createTable('notices')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('title', 'text', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('effective_at', 'bigint', (column) => column.notNull())
    .addColumn('published_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createTable('notice_reads')
    .addColumn('notice_id', 'text', (column) => column.notNull().references('notices.id').onDelete('cascade'))
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('read_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('notice_reads_key', ['notice_id', 'user_id'])
    .execute();
  await db.schema
    .alterTable('links')
    .addColumn('email', 'text', (column) => column.notNull().defaultTo(''))
    .execute();
}
