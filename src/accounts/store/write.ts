/** The one way to write: a transaction that begins by taking the next revision. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Tables } from './schema.ts';

/**
 * Runs `work` in a transaction; `revision` is for every row it adds or changes. Raising the counter first makes writers
 * wait for each other (SQLite: one writer; PostgreSQL: the row's lock), so what `work` reads stays true until it ends.
 */
export function write<Result>(
  db: Kysely<Tables>,
  work: (tx: Transaction<Tables>, revision: number) => Promise<Result>,
): Promise<Result> {
  return db.transaction().execute(async (tx) => {
    const counter = await tx
      .updateTable('revision_counter')
      .set({ revision: sql<number>`revision + 1` })
      .where('id', '=', 1)
      .returning('revision')
      .executeTakeFirstOrThrow();
    return work(tx, counter.revision);
  });
}
