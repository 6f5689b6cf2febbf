/** API keys in the accounts database. Digests go in. */
import type { Kysely, Selectable } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import {
  API_KEY_USED_EVERY_MS,
  API_KEYS_PER_ORGANIZATION_MAX,
  type ApiKey,
  type ApiScope,
  isLiveKey,
} from '../api-key.ts';
import { checkName } from '../organization.ts';
import type { TokenSecret } from '../token.ts';
import type { ApiKeysTable } from './schema-teams.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface NewApiKey extends TokenSecret {
  readonly orgId: string;
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
}

export interface ApiKeyStore {
  /** Throws `invalid-input` (name, an expiry that is past) and `conflict` (too many live ones). */
  create(key: NewApiKey): Promise<ApiKey>;
  /** All of an organization, dead ones too, the oldest first. */
  list(orgId: string): Promise<ApiKey[]>;
  /** The live key of this id with its digest; notes that it was used. */
  use(id: string, nowMs: number): Promise<{ key: ApiKey; digest: Buffer } | undefined>;
  /** Ends it now; one that is revoked stays as it is. Throws `not-found`. */
  revoke(orgId: string, id: string, nowMs: number): Promise<ApiKey>;
}

export function apiKeyStore(db: Kysely<Tables>): ApiKeyStore {
  return {
    create: (key) => create(db, key),
    async list(orgId) {
      const rows = await db
        .selectFrom('api_keys')
        .selectAll()
        .where('org_id', '=', orgId)
        .orderBy('created_at')
        .orderBy('id')
        .execute();
      return rows.map(fromRow);
    },
    async use(id, nowMs) {
      const row = await db.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined || !isLiveKey(fromRow(row), nowMs)) return undefined;
      if (nowMs - (row.used_at ?? Number.NEGATIVE_INFINITY) >= API_KEY_USED_EVERY_MS)
        await db.updateTable('api_keys').set({ used_at: nowMs }).where('id', '=', id).execute();
      return { key: fromRow(row), digest: Buffer.from(row.digest, 'hex') };
    },
    revoke: (orgId, id, nowMs) =>
      write(db, async (tx, revision) => {
        const found = tx.selectFrom('api_keys').selectAll().where('org_id', '=', orgId).where('id', '=', id);
        const row = await found.executeTakeFirst();
        if (row === undefined) throw new BackworkError('not-found', 'there is no such API key');
        if (row.revoked_at !== null) return fromRow(row);
        const ended = { revoked_at: nowMs, revision };
        await tx.updateTable('api_keys').set(ended).where('id', '=', id).execute();
        return fromRow({ ...row, ...ended });
      }),
  };
}

function create(db: Kysely<Tables>, key: NewApiKey): Promise<ApiKey> {
  checkName(key.name);
  if (key.expiresAtMs !== undefined && key.expiresAtMs <= key.createdAtMs)
    throw new BackworkError(
      'invalid-input',
      `the key would expire at ${new Date(key.expiresAtMs).toISOString()}, which is past`,
    );
  return write(db, async (tx, revision) => {
    const rows = await tx
      .selectFrom('api_keys')
      .selectAll()
      .where('org_id', '=', key.orgId)
      .where('revoked_at', 'is', null)
      .execute();
    const count = rows.filter((row) => isLiveKey(fromRow(row), key.createdAtMs)).length;
    if (count >= API_KEYS_PER_ORGANIZATION_MAX)
      throw new BackworkError(
        'conflict',
        `an organization has at most ${API_KEYS_PER_ORGANIZATION_MAX} live API keys: revoke one first`,
      );
    const row: Selectable<ApiKeysTable> = {
      id: key.id,
      digest: key.digest,
      pepper_id: key.pepperId,
      org_id: key.orgId,
      name: key.name,
      scopes: key.scopes.join(','),
      created_by: key.createdBy,
      created_at: key.createdAtMs,
      expires_at: key.expiresAtMs ?? null,
      revoked_at: null,
      used_at: null,
      revision,
    };
    await tx.insertInto('api_keys').values(row).execute();
    return fromRow(row);
  });
}

function fromRow(row: Selectable<ApiKeysTable>): ApiKey {
  return {
    id: row.id,
    orgId: row.org_id,
    name: row.name,
    scopes: row.scopes.split(',') as ApiScope[],
    pepperId: row.pepper_id,
    createdBy: row.created_by,
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at ?? undefined,
    revokedAtMs: row.revoked_at ?? undefined,
    usedAtMs: row.used_at ?? undefined,
    revision: row.revision,
  };
}
