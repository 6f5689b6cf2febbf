/** What was answered to requests with an idempotency key, for a day. Answers are kept without what is shown once. */
import type { Kysely } from 'kysely';
import type { Tables } from './schema.ts';

export const IDEMPOTENCY_MS = 24 * 3_600_000;
/** A request that was begun and has no answer after this time will get none: its process was killed. */
const UNANSWERED_MS = 60_000;

export interface StoredAnswer {
  readonly status: number;
  readonly body: string;
}

export type Begun =
  | { readonly kind: 'first' }
  | { readonly kind: 'again'; readonly answer: StoredAnswer }
  /** The first one has not ended yet. */
  | { readonly kind: 'running' }
  /** The key came with another body. */
  | { readonly kind: 'other-request' };

export interface IdempotencyStore {
  /** `digest`: who asks, what for, and the key; `request`: the body. */
  begin(digest: string, request: string, nowMs: number): Promise<Begun>;
  finish(digest: string, answer: StoredAnswer): Promise<void>;
  /** The request failed before it did anything: the next one with the key is the first. */
  forget(digest: string): Promise<void>;
  sweep(nowMs: number): Promise<number>;
}

export function idempotencyStore(db: Kysely<Tables>): IdempotencyStore {
  return {
    begin: (digest, request, nowMs) =>
      db.transaction().execute(async (tx) => {
        const { numInsertedOrUpdatedRows } = await tx
          .insertInto('idempotency')
          .values({ digest, request, status: null, body: '', created_at: nowMs })
          .onConflict((conflict) => conflict.column('digest').doNothing())
          .executeTakeFirst();
        if (numInsertedOrUpdatedRows === 1n) return { kind: 'first' };
        const row = await tx
          .selectFrom('idempotency')
          .selectAll()
          .where('digest', '=', digest)
          .executeTakeFirstOrThrow();
        const age = nowMs - row.created_at;
        const isOver = age >= IDEMPOTENCY_MS || (row.status === null && age >= UNANSWERED_MS);
        if (isOver) {
          await tx
            .updateTable('idempotency')
            .set({ request, status: null, body: '', created_at: nowMs })
            .where('digest', '=', digest)
            .execute();
          return { kind: 'first' };
        }
        if (row.request !== request) return { kind: 'other-request' };
        if (row.status === null) return { kind: 'running' };
        return { kind: 'again', answer: { status: row.status, body: row.body } };
      }),
    async finish(digest, { status, body }) {
      await db.updateTable('idempotency').set({ status, body }).where('digest', '=', digest).execute();
    },
    async forget(digest) {
      await db.deleteFrom('idempotency').where('digest', '=', digest).execute();
    },
    async sweep(nowMs) {
      const { numDeletedRows } = await db
        .deleteFrom('idempotency')
        .where('created_at', '<=', nowMs - IDEMPOTENCY_MS)
        .executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}
