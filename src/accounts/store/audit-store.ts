/** The audit log in the accounts database: appended, read, and never changed. */
import type { Kysely, Selectable } from 'kysely';
import { type AuditEntry, auditHash, FIRST_HASH } from '../audit.ts';
import type { AuditTable } from './schema-people.ts';
import type { Tables } from './schema.ts';
import { write } from './write.ts';

export interface AuditStore {
  /** Numbers and chains it. Writers follow one another, so a chain never forks. */
  append(entry: Omit<AuditEntry, 'number' | 'hash'>): Promise<AuditEntry>;
  /** How often this was done in the organization since then. */
  count(orgId: string, action: AuditEntry['action'], sinceMs: number): Promise<number>;
  /** At most `count` after number `after`, in their order. */
  read(orgId: string, after: number, count: number): Promise<AuditEntry[]>;
}

export function auditStore(db: Kysely<Tables>): AuditStore {
  return {
    append: (entry) =>
      write(db, async (tx) => {
        const last = await tx
          .selectFrom('audit')
          .select(['number', 'hash'])
          .where('org_id', '=', entry.orgId)
          .orderBy('number', 'desc')
          .limit(1)
          .executeTakeFirst();
        const numbered = { ...entry, number: (last?.number ?? 0) + 1 };
        const whole: AuditEntry = { ...numbered, hash: auditHash(last?.hash ?? FIRST_HASH, numbered) };
        const { orgId, atMs, ...rest } = whole;
        await tx
          .insertInto('audit')
          .values({ org_id: orgId, at: atMs, ...rest })
          .execute();
        return whole;
      }),
    async count(orgId, action, sinceMs) {
      const row = await db
        .selectFrom('audit')
        .select((select) => select.fn.countAll<number>().as('count'))
        .where('org_id', '=', orgId)
        .where('action', '=', action)
        .where('at', '>', sinceMs)
        .executeTakeFirstOrThrow();
      return Number(row.count);
    },
    async read(orgId, after, count) {
      const rows = await db
        .selectFrom('audit')
        .selectAll()
        .where('org_id', '=', orgId)
        .where('number', '>', after)
        .orderBy('number')
        .limit(count)
        .execute();
      return rows.map(fromRow);
    },
  };
}

function fromRow({ org_id, at, ...rest }: Selectable<AuditTable>): AuditEntry {
  return {
    ...rest,
    orgId: org_id,
    atMs: at,
    action: rest.action as AuditEntry['action'],
    result: rest.result as AuditEntry['result'],
  };
}
