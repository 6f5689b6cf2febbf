/** Second factors in the accounts database: a sealed seed in the user's row, recovery codes as digests. */
import type { Kysely } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface SecondFactorStore {
  /** Sealed by secret-box.ts. Codes up to step `lastStep` were used; recovery codes of an earlier seed go. Throws `not-found`. */
  set(userId: string, seed: string, lastStep: number, recoveryDigests: readonly string[]): Promise<void>;
  /** Seed and recovery codes. */
  remove(userId: string): Promise<void>;
  /** True for the one caller who used the step; a code opens once, whoever comes twice. */
  useStep(userId: string, step: number): Promise<boolean>;
  /** True once for each recovery code. */
  useRecoveryCode(userId: string, digest: string): Promise<boolean>;
  recoveryCodesLeft(userId: string): Promise<number>;
}

export function secondFactorStore(db: Kysely<Tables>): SecondFactorStore {
  return {
    set: (userId, seed, lastStep, recoveryDigests) =>
      write(db, async (tx, revision) => {
        const { numUpdatedRows } = await tx
          .updateTable('users')
          .set({ totp_seed: seed, totp_last_step: lastStep, revision })
          .where('id', '=', userId)
          .executeTakeFirst();
        if (numUpdatedRows === 0n) throw new BackworkError('not-found', `there is no user ${userId}`);
        await tx.deleteFrom('recovery_codes').where('user_id', '=', userId).execute();
        const rows = recoveryDigests.map((digest) => ({ user_id: userId, digest }));
        if (rows.length > 0) await tx.insertInto('recovery_codes').values(rows).execute();
      }),
    remove: (userId) =>
      write(db, async (tx, revision) => {
        await tx.updateTable('users').set({ totp_seed: null, revision }).where('id', '=', userId).execute();
        await tx.deleteFrom('recovery_codes').where('user_id', '=', userId).execute();
      }),
    async useStep(userId, step) {
      const { numUpdatedRows } = await db
        .updateTable('users')
        .set({ totp_last_step: step })
        .where('id', '=', userId)
        .where('totp_last_step', '<', step)
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    },
    async useRecoveryCode(userId, digest) {
      const { numDeletedRows } = await db
        .deleteFrom('recovery_codes')
        .where('user_id', '=', userId)
        .where('digest', '=', digest)
        .executeTakeFirst();
      return numDeletedRows === 1n;
    },
    async recoveryCodesLeft(userId) {
      const rows = await db.selectFrom('recovery_codes').select('digest').where('user_id', '=', userId).execute();
      return rows.length;
    },
  };
}
