/** Ingest tokens in the accounts database. Digests go in; what reads them is token-source.ts. */
import type { Kysely, Selectable, Transaction } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { checkName } from '../organization.ts';
import {
  checkLivePerName,
  isLive,
  type NewToken,
  planRotation,
  type Scope,
  type Token,
  type TokenSecret,
} from '../token.ts';
import type { Tables, TokensTable } from './schema.ts';
import { write } from './write.ts';

export interface TokenStore {
  /**
   * Adds a token. Throws BackworkError `invalid-input` (name, no scopes, expiry that is past), `not-found`
   * (organization), `conflict` (two live tokens of that name).
   */
  create(token: NewToken): Promise<Token>;
  find(id: string): Promise<Token | undefined>;
  /** All of an organization, dead ones too, in the order in which they were made. */
  list(orgId: string): Promise<Token[]>;
  /**
   * Puts `secret` in the place of token `id`, which ends after `overlapMs` (0: now). Both at once or neither. Throws
   * `not-found`, and as planRotation does.
   */
  rotate(
    id: string,
    secret: TokenSecret,
    when: { readonly overlapMs: number; readonly nowMs: number },
  ): Promise<{ old: Token; next: Token }>;
  /** Ends a token now; one that is revoked already stays as it is. Throws `not-found`. */
  revoke(id: string, nowMs: number): Promise<Token>;
  /** Ids of the peppers that live tokens need, each once. */
  livePepperIds(nowMs: number): Promise<string[]>;
}

export function tokenStore(db: Kysely<Tables>): TokenStore {
  return {
    create: (token) => create(db, token),
    find: async (id) => {
      const row = await rowOf(db, id);
      return row === undefined ? undefined : fromRow(row);
    },
    async list(orgId) {
      const rows = await db.selectFrom('tokens').selectAll().where('org_id', '=', orgId).orderBy('revision').execute();
      return rows.map(fromRow).sort((one, other) => one.createdAtMs - other.createdAtMs);
    },
    rotate: (id, secret, when) => rotate(db, id, secret, when),
    revoke: (id, nowMs) =>
      write(db, async (tx, revision) => {
        const token = await tokenOf(tx, id);
        return token.revokedAtMs === undefined ? endToken(tx, id, { revoked_at: nowMs, revision }) : token;
      }),
    async livePepperIds(nowMs) {
      const rows = await db
        .selectFrom('tokens')
        .select('pepper_id')
        .distinct()
        .where('revoked_at', 'is', null)
        .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', nowMs)]))
        .execute();
      return rows.map((row) => row.pepper_id);
    },
  };
}

async function create(db: Kysely<Tables>, token: NewToken): Promise<Token> {
  checkName(token.name);
  if (token.scopes.length === 0) throw new BackworkError('invalid-input', 'a token needs at least one scope');
  if (token.expiresAtMs !== undefined && token.expiresAtMs <= token.createdAtMs) {
    const date = new Date(token.expiresAtMs).toISOString();
    throw new BackworkError('invalid-input', `the token would expire at ${date}, which is past`);
  }
  return write(db, async (tx, revision) => {
    const org = await tx.selectFrom('organizations').select('id').where('id', '=', token.orgId).executeTakeFirst();
    if (org === undefined) throw new BackworkError('not-found', `there is no organization ${token.orgId}`);
    checkLivePerName(token.name, await liveOfName(tx, token.orgId, token.name, token.createdAtMs));
    return insert(tx, token, undefined, revision);
  });
}

function rotate(
  db: Kysely<Tables>,
  id: string,
  secret: TokenSecret,
  when: { readonly overlapMs: number; readonly nowMs: number },
): Promise<{ old: Token; next: Token }> {
  return write(db, async (tx, revision) => {
    const token = await tokenOf(tx, id);
    const live = await liveOfName(tx, token.orgId, token.name, when.nowMs);
    const plan = planRotation(token, live, secret, when.overlapMs, when.nowMs);
    const endsNow = plan.oldEndsAtMs <= when.nowMs;
    const end = endsNow ? { revoked_at: when.nowMs, revision } : { expires_at: plan.oldEndsAtMs, revision };
    const old = await endToken(tx, id, end);
    return { old, next: await insert(tx, plan.next, id, revision) };
  });
}

function rowOf(db: Kysely<Tables>, id: string): Promise<Selectable<TokensTable> | undefined> {
  return db.selectFrom('tokens').selectAll().where('id', '=', id).executeTakeFirst();
}

async function tokenOf(tx: Transaction<Tables>, id: string): Promise<Token> {
  const row = await rowOf(tx, id);
  if (row === undefined) throw new BackworkError('not-found', 'there is no token with this id');
  return fromRow(row);
}

async function liveOfName(tx: Transaction<Tables>, orgId: string, name: string, nowMs: number): Promise<Token[]> {
  const rows = await tx
    .selectFrom('tokens')
    .selectAll()
    .where('org_id', '=', orgId)
    .where('name', '=', name)
    .where('revoked_at', 'is', null)
    .execute();
  return rows.map(fromRow).filter((token) => isLive(token, nowMs));
}

async function insert(
  tx: Transaction<Tables>,
  token: NewToken,
  rotatedFrom: string | undefined,
  revision: number,
): Promise<Token> {
  const row: Selectable<TokensTable> = {
    id: token.id,
    digest: token.digest,
    pepper_id: token.pepperId,
    org_id: token.orgId,
    name: token.name,
    scopes: token.scopes.join(','),
    created_at: token.createdAtMs,
    expires_at: token.expiresAtMs ?? null,
    revoked_at: null,
    rotated_from: rotatedFrom ?? null,
    revision,
  };
  await tx.insertInto('tokens').values(row).execute();
  return fromRow(row);
}

async function endToken(
  tx: Transaction<Tables>,
  id: string,
  end: { revoked_at?: number; expires_at?: number; revision: number },
): Promise<Token> {
  return fromRow(await tx.updateTable('tokens').set(end).where('id', '=', id).returningAll().executeTakeFirstOrThrow());
}

function fromRow(row: Selectable<TokensTable>): Token {
  return {
    id: row.id,
    orgId: row.org_id,
    name: row.name,
    scopes: row.scopes.split(',') as Scope[],
    pepperId: row.pepper_id,
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at ?? undefined,
    revokedAtMs: row.revoked_at ?? undefined,
    rotatedFrom: row.rotated_from ?? undefined,
    revision: row.revision,
  };
}
