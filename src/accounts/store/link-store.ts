/**
 * Links that are mailed: to verify an address, to set a new password. A link opens once, for the address it was mailed to,
 * and not for long. One of each kind is live for a user: a new one ends the one before.
 */
import type { Kysely } from 'kysely';
import { emailKey } from '../user.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export const LINK_PURPOSES = ['verify-email', 'reset-password', 'change-email'] as const;
export type LinkPurpose = (typeof LINK_PURPOSES)[number];

/** Reference 2.3. */
export const LINK_MS = 30 * 60_000;

export interface LinkStore {
  /** `digest`: keyed hash of what the link holds. */
  create(digest: string, purpose: LinkPurpose, userId: string, emailKey: string, nowMs: number): Promise<void>;
  /** The user of a live link, once: whoever comes second finds none. Nothing when the user's address is another now. */
  use(digest: string, purpose: LinkPurpose, nowMs: number): Promise<string | undefined>;
  /** One that opens with the address it was mailed to, which becomes the user's. */
  createChange(digest: string, userId: string, email: string, nowMs: number): Promise<void>;
  /** Who wants to change to which address, once. */
  useChange(digest: string, nowMs: number): Promise<{ readonly userId: string; readonly email: string } | undefined>;
  /** Removes what is over; returns how many. */
  sweep(nowMs: number): Promise<number>;
}

export function linkStore(db: Kysely<Tables>): LinkStore {
  return {
    create: (digest, purpose, userId, emailKey, nowMs) =>
      create(db, { digest, purpose, userId, emailKey, email: '' }, nowMs),
    createChange: (digest, userId, email, nowMs) =>
      create(
        db,
        // A link that opens nothing has no use for the address of somebody else.
        { digest, purpose: 'change-email', userId, emailKey: emailKey(email), email: userId === '' ? '' : email },
        nowMs,
      ),
    useChange: (digest, nowMs) =>
      write(db, async (tx) => {
        const row = await tx
          .deleteFrom('links')
          .where('digest', '=', digest)
          .where('purpose', '=', 'change-email')
          .returningAll()
          .executeTakeFirst();
        if (row === undefined || row.expires_at <= nowMs || row.user_id === '') return undefined;
        return { userId: row.user_id, email: row.email };
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

interface NewLink {
  readonly digest: string;
  readonly purpose: LinkPurpose;
  readonly userId: string;
  readonly emailKey: string;
  readonly email: string;
}

function create(db: Kysely<Tables>, link: NewLink, nowMs: number): Promise<void> {
  const { digest, purpose, userId, email } = link;
  return write(db, async (tx) => {
    await tx.deleteFrom('links').where('user_id', '=', userId).where('purpose', '=', purpose).execute();
    const times = { created_at: nowMs, expires_at: nowMs + LINK_MS };
    await tx
      .insertInto('links')
      .values({ digest, purpose, user_id: userId, email_key: link.emailKey, email, ...times })
      .execute();
  });
}
