/** Organizations in the accounts database. */
import { randomBytes } from 'node:crypto';
import type { Kysely, Selectable, Transaction, Updateable } from 'kysely';
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
import {
  checkChosen,
  checkOverrides,
  type InForce,
  inForce,
  NO_OVERRIDES,
  type PlanOverrides,
  placementUnder,
  planOf,
} from '../plan.ts';
import type { PlanCatalogue } from '../plan-catalogue.ts';
import type { Scope } from '../token.ts';
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
   * Plan, operator's overrides and owners' choice, each as given or as it was; ingest holds what follows from them within a
   * second. Throws `not-found`, and `invalid-input` as planOf, checkOverrides and checkChosen do.
   */
  decide(id: string, decision: PlanDecision, catalogue: PlanCatalogue, rules: PlacementRules): Promise<Organization>;
  /** Works out again what is in force, after the catalogue has changed; `unknown` have a plan that is not in it and stay as they are. */
  applyPlans(
    catalogue: PlanCatalogue,
    rules: PlacementRules,
  ): Promise<{ readonly changed: readonly AppliedPlan[]; readonly unknown: readonly Organization[] }>;
  /** Ingest refuses its requests until then; undefined lets them in again. Throws `not-found`. */
  setRefusedUntil(id: string, refusedUntilMs: number | undefined): Promise<Organization>;
}

export interface PlanDecision {
  readonly plan?: string;
  readonly overrides?: PlanOverrides;
  readonly chosenDays?: Readonly<Partial<Record<Scope, number>>>;
}

export interface AppliedPlan {
  readonly before: Organization;
  readonly after: Organization;
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
    setName: async (id, name) => update(db, id, { name: checkName(name) }),
    setDisabled: (id, disabledAtMs) => update(db, id, { disabled_at: disabledAtMs ?? null }),
    decide: (id, decision, catalogue, rules) => decide(db, id, decision, catalogue, rules),
    applyPlans: (catalogue, rules) => applyPlans(db, catalogue, rules),
    setRefusedUntil: (id, refusedUntilMs) => update(db, id, { refused_until: refusedUntilMs ?? null }),
  };
}

function update(db: Kysely<Tables>, id: string, changes: Updateable<OrganizationsTable>): Promise<Organization> {
  return write(db, (tx, revision) => updateRow(tx, id, { ...changes, revision }));
}

async function updateRow(
  tx: Transaction<Tables>,
  id: string,
  changes: Updateable<OrganizationsTable>,
): Promise<Organization> {
  const row = await tx.updateTable('organizations').set(changes).where('id', '=', id).returningAll().executeTakeFirst();
  if (row === undefined) throw new BackworkError('not-found', `there is no organization ${id}`);
  return fromRow(row);
}

async function decide(
  db: Kysely<Tables>,
  id: string,
  decision: PlanDecision,
  { plans }: PlanCatalogue,
  rules: PlacementRules,
): Promise<Organization> {
  return write(db, async (tx, revision) => {
    const row = await tx.selectFrom('organizations').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw new BackworkError('not-found', `there is no organization ${id}`);
    const before = fromRow(row);
    const { plan: name = before.plan, overrides = before.overrides, chosenDays = before.chosenDays } = decision;
    const plan = planOf(plans, name);
    checkOverrides(overrides);
    // What owners chose under a larger plan stays written down, and is held to what the new one allows.
    if (decision.chosenDays !== undefined) checkChosen(plan, { overrides, chosenDays });
    const choice = { overrides, chosenDays };
    const stored = { plan: name, plan_overrides: JSON.stringify(overrides), chosen_days: JSON.stringify(chosenDays) };
    return updateRow(tx, id, { ...stored, ...columnsInForce(before, inForce(plan, choice), rules), revision });
  });
}

async function applyPlans(
  db: Kysely<Tables>,
  { plans }: PlanCatalogue,
  rules: PlacementRules,
): Promise<{ changed: AppliedPlan[]; unknown: Organization[] }> {
  const changed: AppliedPlan[] = [];
  const unknown: Organization[] = [];
  const rows = await db.selectFrom('organizations').selectAll().execute();
  for (const row of rows) {
    const before = fromRow(row);
    const plan = plans.get(before.plan);
    if (plan === undefined) {
      unknown.push(before);
      continue;
    }
    const columns: Updateable<OrganizationsTable> = columnsInForce(before, inForce(plan, before), rules);
    const differs = Object.entries(columns).some(([name, value]) => row[name as keyof OrganizationsTable] !== value);
    if (differs) changed.push({ before, after: await update(db, before.id, columns) });
  }
  return { changed, unknown };
}

function columnsInForce(
  organization: Pick<Organization, 'id' | 'placement' | 'refusedUntilMs' | 'bytesPerDay'>,
  now: InForce,
  rules: PlacementRules,
) {
  const { limits, retentionDays } = now;
  const shared = choosePlacement(organization.id, rules.ownPlacementsMax, rules);
  const bytesPerDay = now.bytesPerDay ?? null;
  return {
    placement: placementUnder(now.placement, organization, shared),
    retention_days_logs: retentionDays.logs,
    retention_days_metrics: retentionDays.metrics,
    retention_days_traces: retentionDays.traces,
    limit_bytes_per_second: limits.bytesPerSecond ?? null,
    limit_items_per_second: limits.itemsPerSecond ?? null,
    limit_requests_at_once: limits.requestsAtOnce ?? null,
    limit_spool_mib: limits.spoolMib ?? null,
    weight: limits.weight ?? null,
    volume_bytes_per_day: bytesPerDay,
    // With another limit the day is judged anew, when its usage is next written.
    refused_until: bytesPerDay === (organization.bytesPerDay ?? null) ? (organization.refusedUntilMs ?? null) : null,
  };
}

async function create(db: Kysely<Tables>, input: NewOrganization, rules: PlacementRules): Promise<Organization> {
  checkName(input.name);
  const { plan, chosenDays = {} } = input;
  checkChosen(plan, { overrides: NO_OVERRIDES, chosenDays });
  const wanted = input.slug === undefined ? slugOf(input.name) : checkSlug(input.slug);
  return write(db, async (tx, revision) => {
    const others = await tx.selectFrom('organizations').select(['id', 'slug', 'placement']).execute();
    const taken = new Set(others.map((other) => other.slug));
    if (input.slug !== undefined && taken.has(wanted)) {
      throw new BackworkError('conflict', `an organization with slug ${wanted} exists`);
    }
    const id = newOrganizationId(randomBytes);
    const ownPlacements = others.filter((other) => other.placement === other.id).length;
    const placement = choosePlacement(id, ownPlacements, rules);
    const now = inForce(plan, { overrides: NO_OVERRIDES, chosenDays });
    const row: Selectable<OrganizationsTable> = {
      ...columnsInForce({ id, placement, bytesPerDay: undefined, refusedUntilMs: undefined }, now, rules),
      id,
      slug: freeSlug(wanted, taken),
      name: input.name,
      plan: plan.name,
      plan_overrides: JSON.stringify(NO_OVERRIDES),
      chosen_days: JSON.stringify(chosenDays),
      disabled_at: null,
      created_at: input.createdAtMs,
      revision,
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
    bytesPerDay: row.volume_bytes_per_day ?? undefined,
    refusedUntilMs: row.refused_until ?? undefined,
    plan: row.plan,
    overrides: JSON.parse(row.plan_overrides) as PlanOverrides,
    chosenDays: JSON.parse(row.chosen_days) as Organization['chosenDays'],
    createdAtMs: row.created_at,
    revision: row.revision,
  };
}
