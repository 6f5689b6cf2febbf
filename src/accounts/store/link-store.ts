/**
 * Links that are mailed: to verify an address, to set a new password. A link opens once, for the address it was mailed to,
 * and not for long. One of each kind is live for a user: a new one ends the one before.
 */
import type { Kysely } from 'kysely';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export const LINK_PURPOSES = ['verify-email', 'reset-password'] as const;
export type LinkPurpose = (typeof LINK_PURPOSES)[number];

/** Reference 2.3. */
export const LINK_MS = 30 * 60_000;

export interface LinkStore {
  /** `digest`: keyed hash of what the link holds. */
  create(digest: string, purpose: LinkPurpose, userId: string, emailKey: string, nowMs: number): Promise<void>;
  /** The user of a live link, once: whoever comes second finds none. Nothing when the user's address is another now. */
  use(digest: string, purpose: LinkPurpose, nowMs: number): Promise<string | undefined>;
  /** Removes what is over; returns how many. */
  sweep(nowMs: number): Promise<number>;
}

export function linkStore(db: Kysely<Tables>): LinkStore {
  return {
    create: (digest, purpose, userId, emailKey, nowMs) =>
      write(db, async (tx) => {
        await tx.deleteFrom('links').where('user_id', '=', userId).where('purpose', '=', purpose).execute();
        const times = { created_at: nowMs, expires_at: nowMs + LINK_MS };
        await tx
          .insertInto('links')
          .values({ digest, purpose, user_id: userId, email_key: emailKey, ...times })
          .execute();
      }),
    use: (digest, purpose, nowMs) =>
      write(db, async (tx) => {
        const row = await tx
          .deleteFrom('links')
          .where('digest', '=', digest)
          .where('purpose', '=', purpose)
          .returningAll()
          .executeTakeFirst();
        if (row === undefined || row.expires_at <= nowMs) return undefined;
        const user = await tx.selectFrom('users').select('email_key').where('id', '=', row.user_id).executeTakeFirst();
        return user?.email_key === row.email_key ? row.user_id : undefined;
      }),
    async sweep(nowMs) {
      const { numDeletedRows } = await db.deleteFrom('links').where('expires_at', '<=', nowMs).executeTakeFirst();
      return Number(numDeletedRows);
    },
  };
}
