/** Organizations in the accounts database. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import {
  checkName,
  checkSlug,
  choosePlacement,
  freeSlug,
  isOrganizationId,
  type NewOrganization,
  newOrganizationId,
  type Organization,
  type PlacementRules,
  slugOf,
} from '../organization.ts';
import type { OrganizationsTable, Tables } from './schema.ts';
import { write } from './write.ts';

export interface OrganizationStore {
  /**
   * Adds an organization and decides its placement. Throws BackworkError `invalid-input` (name, slug) or `conflict`
   * (the slug given is taken).
   */
  create(input: NewOrganization, rules: PlacementRules): Promise<Organization>;
  /** By id or slug. */
  find(idOrSlug: string): Promise<Organization | undefined>;
  /** In the order in which they were made. */
  list(): Promise<Organization[]>;
  /** Ingest refuses a disabled organization within a second; undefined lets it in again. Throws `not-found`. */
  setDisabled(id: string, disabledAtMs: number | undefined): Promise<Organization>;
}

export function organizationStore(db: Kysely<Tables>): OrganizationStore {
  return {
    create: (input, rules) => create(db, input, rules),
    async find(idOrSlug) {
      const column = isOrganizationId(idOrSlug) ? 'id' : 'slug';
      const row = await db.selectFrom('organizations').selectAll().where(column, '=', idOrSlug).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    },
    async list() {
      const rows = await db.selectFrom('organizations').selectAll().orderBy('created_at').orderBy('id').execute();
      return rows.map(fromRow);
    },
    setDisabled: (id, disabledAtMs) =>
      write(db, async (tx, revision) => {
        const row = await tx
          .updateTable('organizations')
          .set({ disabled_at: disabledAtMs ?? null, revision })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirst();
        if (row === undefined) throw new BackworkError('not-found', `there is no organization ${id}`);
        return fromRow(row);
      }),
  };
}

async function create(db: Kysely<Tables>, input: NewOrganization, rules: PlacementRules): Promise<Organization> {
  checkName(input.name);
  const wanted = input.slug === undefined ? slugOf(input.name) : checkSlug(input.slug);
  return write(db, async (tx, revision) => {
    const others = await tx.selectFrom('organizations').select(['id', 'slug', 'placement']).execute();
    const taken = new Set(others.map((other) => other.slug));
    if (input.slug !== undefined && taken.has(wanted)) {
      throw new BackworkError('conflict', `an organization with slug ${wanted} exists`);
    }
    const id = newOrganizationId(randomBytes);
    const ownPlacements = others.filter((other) => other.placement === other.id).length;
    const row: Selectable<OrganizationsTable> = {
      id,
      slug: freeSlug(wanted, taken),
      name: input.name,
      placement: choosePlacement(id, ownPlacements, rules),
      retention_days_logs: input.retentionDays.logs,
      retention_days_metrics: input.retentionDays.metrics,
      retention_days_traces: input.retentionDays.traces,
      disabled_at: null,
      created_at: input.createdAtMs,
      revision,
    };
    await tx.insertInto('organizations').values(row).execute();
    return fromRow(row);
  });
}

function fromRow(row: Selectable<OrganizationsTable>): Organization {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    placement: row.placement,
    retentionDays: {
      logs: row.retention_days_logs,
      metrics: row.retention_days_metrics,
      traces: row.retention_days_traces,
    },
    disabledAtMs: row.disabled_at ?? undefined,
    createdAtMs: row.created_at,
    revision: row.revision,
  };
}
