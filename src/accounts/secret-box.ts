/**
 * Secrets at rest: XChaCha20-Poly1305 of libsodium, under keys that stand outside the database (reference 2.5).
 *
 *   key file (KEK) ─ wraps ─► data key of an organization (DEK), a row ─ seals ─► secret, a column
 *
 *   v1.<key id>.<nonce, 24 bytes>.<ciphertext and tag>      the last two base64url
 *
 * What a ciphertext belongs to (table, column, row, organization, key id) is bound to it as associated data: moved to another place
 * it does not open. A nonce is 192 random bits, fresh for each sealing, so it is never used twice.
 */
import { BackworkError } from '../base/errors.ts';

export interface SecretPlace {
  readonly table: string;
  readonly column: string;
  /** Of the row: its primary key. */
  readonly row: string;
  /** '' for what belongs to no organization. */
  readonly orgId: string;
}

export interface SecretKey {
  /** Names the key in a ciphertext: 1 to 32 of a–z, 0–9 and `-`. */
  readonly id: string;
  /** 32 bytes. */
  readonly bytes: Uint8Array;
}

export interface SecretBox {
  /** The text to store. */
  seal(secret: Uint8Array, place: SecretPlace, key: SecretKey): string;
  /**
   * What was sealed for this place. Throws `corrupt` for whatever was not, without telling why: another place or key, or a
   * changed byte.
   */
  open(sealed: string, place: SecretPlace, keyOf: (id: string) => SecretKey | undefined): Buffer;
}

export const SECRET_KEY_BYTES = 32;
const NONCE_BYTES = 24;
const SEALED = /^v1\.([a-z0-9-]{1,32})\.([A-Za-z0-9_-]{32})\.([A-Za-z0-9_-]{22,})$/;
const KEY_ID = /^[a-z0-9-]{1,32}$/;

/** `random`: that many bytes of a CSPRNG. */
export async function loadSecretBox(random: (bytes: number) => Uint8Array): Promise<SecretBox> {
  const sodium = (await import('libsodium-wrappers')).default;
  await sodium.ready;
  return {
    seal(secret, place, key) {
      checkKey(key);
      const nonce = random(NONCE_BYTES);
      const sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
        secret,
        bound(place, key.id),
        null,
        nonce,
        key.bytes,
      );
      return `v1.${key.id}.${base64url(nonce)}.${base64url(sealed)}`;
    },
    open(text, place, keyOf) {
      const [, id = '', nonce = '', sealed = ''] = SEALED.exec(text) ?? [];
      const key = keyOf(id);
      if (key === undefined)
        throw new BackworkError('corrupt', `a secret is sealed with the key ${JSON.stringify(id)}, which is not here`);
      checkKey(key);
      try {
        return Buffer.from(
          sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            null,
            Buffer.from(sealed, 'base64url'),
            bound(place, id),
            Buffer.from(nonce, 'base64url'),
            key.bytes,
          ),
        );
      } catch (cause) {
        const where = `${place.table}.${place.column} of ${place.row}`;
        throw new BackworkError(
          'corrupt',
          `the secret in ${where} does not open: it was changed, moved, or sealed with another key`,
          { cause },
        );
      }
    },
  };
}

/** The id of the key that a text was sealed with; undefined when it is no sealed secret. */
export function sealedWith(text: string): string | undefined {
  return SEALED.exec(text)?.[1];
}

/** Each part with its length in front, so that no two places give the same bytes. */
function bound({ table, column, row, orgId }: SecretPlace, keyId: string): Buffer {
  const parts = ['backwork secret v1', table, column, row, orgId, keyId].map((part) => Buffer.from(part));
  return Buffer.concat(parts.flatMap((part) => [Buffer.from(Uint32Array.of(part.length).buffer), part]));
}

function checkKey({ id, bytes }: SecretKey): void {
  if (!KEY_ID.test(id))
    throw new BackworkError('bad-setting', `${JSON.stringify(id)} names no key: 1 to 32 of a–z, 0–9 and -`);
  if (bytes.length !== SECRET_KEY_BYTES)
    throw new BackworkError('bad-setting', `the key ${id} has ${bytes.length} bytes, a key has ${SECRET_KEY_BYTES}`);
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
