/** Organizations in the accounts database. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable, Updateable } from 'kysely';
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
import { checkLimits, LIMIT_NAMES, type LimitName, type OrganizationLimits } from '../organization-limits.ts';
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
  /** The slug stays. Throws `not-found` and `invalid-input`. */
  setName(id: string, name: string): Promise<Organization>;
  /** Ingest refuses a disabled organization within a second; undefined lets it in again. Throws `not-found`. */
  setDisabled(id: string, disabledAtMs: number | undefined): Promise<Organization>;
  /**
   * Changes the limits that are named; one that is undefined becomes the default of the settings again. Ingest holds them
   * within a second. Throws `not-found`, and as checkLimits does.
   */
  setLimits(id: string, limits: Partial<OrganizationLimits>): Promise<Organization>;
}

type LimitColumn = 'limit_bytes_per_second' | 'limit_items_per_second' | 'limit_requests_at_once' | 'limit_spool_mib';
const LIMIT_COLUMNS: Readonly<Record<LimitName, LimitColumn | 'weight'>> = {
  bytesPerSecond: 'limit_bytes_per_second',
  itemsPerSecond: 'limit_items_per_second',
  requestsAtOnce: 'limit_requests_at_once',
  spoolMib: 'limit_spool_mib',
  weight: 'weight',
};

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
    setName: async (id, name) => update(db, id, { name: checkName(name) }),
    setDisabled: (id, disabledAtMs) => update(db, id, { disabled_at: disabledAtMs ?? null }),
    async setLimits(id, limits) {
      checkLimits(limits);
      const named = LIMIT_NAMES.filter((name) => name in limits);
      return update(db, id, Object.fromEntries(named.map((name) => [LIMIT_COLUMNS[name], limits[name] ?? null])));
    },
  };
}

function update(db: Kysely<Tables>, id: string, changes: Updateable<OrganizationsTable>): Promise<Organization> {
  return write(db, async (tx, revision) => {
    const row = await tx
      .updateTable('organizations')
      .set({ ...changes, revision })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) throw new BackworkError('not-found', `there is no organization ${id}`);
    return fromRow(row);
  });
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
      limit_bytes_per_second: null,
      limit_items_per_second: null,
      limit_requests_at_once: null,
      limit_spool_mib: null,
      weight: null,
    };
    await tx.insertInto('organizations').values(row).execute();
    if (input.ownerId !== undefined) {
      const owner = { user_id: input.ownerId, org_id: id, role: 'owner', created_at: input.createdAtMs, revision };
      await tx.insertInto('memberships').values(owner).execute();
    }
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
    limits: {
      bytesPerSecond: row.limit_bytes_per_second ?? undefined,
      itemsPerSecond: row.limit_items_per_second ?? undefined,
      requestsAtOnce: row.limit_requests_at_once ?? undefined,
      spoolMib: row.limit_spool_mib ?? undefined,
      weight: row.weight ?? undefined,
    },
    createdAtMs: row.created_at,
    revision: row.revision,
  };
}
