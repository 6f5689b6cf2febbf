/** The second factor of an account: one-time codes by an app, and ten recovery codes. Seeds are sealed (secret-box.ts). */
import { BackworkError } from '../base/errors.ts';
import type { KeyRing } from './key-ring.ts';
import type { SecretBox, SecretPlace } from './secret-box.ts';
import type { SecondFactorStore } from './store/second-factor-store.ts';
import type { Credentials } from './store/user-store.ts';
import { acceptTotp, newRecoveryCodes, newTotpSeed, plainRecoveryCode, type Random, totpUri } from './totp.ts';
import type { User } from './user.ts';

export interface SecondFactorOffer {
  /** For a QR code. */
  readonly uri: string;
  /** Sealed: given back with the first code, so that nothing is stored of an offer. */
  readonly offer: string;
}

export interface SecondFactors {
  offer(user: User): SecondFactorOffer;
  /** Switches it on with the first code of the app; shows the recovery codes once. Throws `invalid-input`. */
  confirm(user: User, offer: string, code: string): Promise<string[]>;
  remove(userId: string): Promise<void>;
  /** A code of the app, or a recovery code; each once. */
  accept(credentials: Credentials, code: string): Promise<boolean>;
}

export interface SecondFactorDeps {
  readonly store: SecondFactorStore;
  readonly box: SecretBox;
  readonly keys: KeyRing;
  readonly random: Random;
  readonly digestOf: (secret: string) => string;
  readonly nowMs: () => number;
}

const ISSUER = 'backwork';
const OFFER_MS = 15 * 60_000;
const TIME_BYTES = 8;

export function createSecondFactors({ store, box, keys, random, digestOf, nowMs }: SecondFactorDeps): SecondFactors {
  const seedOf = (sealed: string, place: SecretPlace) => box.open(sealed, place, (id) => keys.find(id));
  return {
    offer(user) {
      const seed = newTotpSeed(random);
      const time = Buffer.alloc(TIME_BYTES);
      time.writeDoubleBE(nowMs());
      const offer = box.seal(Buffer.concat([time, seed]), offerPlace(user.id), keys.current);
      return { uri: totpUri(seed, ISSUER, user.email), offer };
    },
    async confirm(user, offer, code) {
      const seed = openOffer(() => seedOf(offer, offerPlace(user.id)), nowMs());
      const step = acceptTotp(seed, code, nowMs(), -1);
      if (step === undefined)
        throw new BackworkError('invalid-input', 'the code is wrong: is the clock of the device right?', {
          field: 'code',
        });
      const recovery = newRecoveryCodes(random);
      const digests = recovery.map((one) => digestOf(recoveryText(user.id, one)));
      await store.set(user.id, box.seal(seed, seedPlace(user.id), keys.current), step, digests);
      return recovery;
    },
    remove: (userId) => store.remove(userId),
    async accept({ user, totpSeed, totpLastStep }, code) {
      if (totpSeed === undefined) return false;
      const step = acceptTotp(seedOf(totpSeed, seedPlace(user.id)), code, nowMs(), totpLastStep);
      if (step !== undefined) return store.useStep(user.id, step);
      return store.useRecoveryCode(user.id, digestOf(recoveryText(user.id, code)));
    },
  };
}

function openOffer(open: () => Buffer, nowMs: number): Buffer {
  let bytes: Buffer;
  try {
    bytes = open();
  } catch (cause) {
    throw new BackworkError('invalid-input', 'this is no offer of a second factor to this account', {
      cause,
      field: 'offer',
    });
  }
  if (nowMs - bytes.readDoubleBE(0) > OFFER_MS)
    throw new BackworkError('invalid-input', 'the offer is over: ask for another one', { field: 'offer' });
  return bytes.subarray(TIME_BYTES);
}

function recoveryText(userId: string, code: string): string {
  return `recovery ${userId} ${plainRecoveryCode(code)}`;
}

function seedPlace(userId: string): SecretPlace {
  return { table: 'users', column: 'totp_seed', row: userId, orgId: '' };
}

function offerPlace(userId: string): SecretPlace {
  return { table: 'users', column: 'offer', row: userId, orgId: '' };
}
