/** A data directory for one test, and the few calls with which tests of accounts make organizations and tokens. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { loadPepper } from '../../src/accounts/key-file.ts';
import type { Organization, PlacementRules } from '../../src/accounts/organization.ts';
import type { OrganizationLimits } from '../../src/accounts/organization-limits.ts';
import { NO_OVERRIDES, namedLimits } from '../../src/accounts/plan.ts';
import { loadPlanCatalogue } from '../../src/accounts/plan-catalogue.ts';
import type { AccountsDatabase } from '../../src/accounts/store/accounts-database.ts';
import { newTokenSecret, SCOPES, type Token } from '../../src/accounts/token.ts';
import { loadKeyedHash } from '../../src/base/keyed-hash.ts';

export const RULES: PlacementRules = { ownPlacementsMax: 8, sharedPlacements: 1 };
export const PLANS = loadPlanCatalogue({ plansFile: '', retentionDays: 30 });
export const DAYS = { logs: 7, metrics: 30, traces: 3 };
export const HOUR_MS = 3_600_000;
/** 2026-11-23T12:00:00Z */
export const NOON_MS = 1_795_435_200_000;

/** Removed when the test ends. */
export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'backwork-accounts-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function makeOrganization(accounts: AccountsDatabase, name: string, rules = RULES): Promise<Organization> {
  return accounts.organizations.create(
    { name, plan: PLANS.defaultPlan, chosenDays: DAYS, createdAtMs: NOON_MS },
    rules,
  );
}

/** As `org limits` does. */
export async function setLimits(
  accounts: AccountsDatabase,
  id: string,
  changes: Partial<OrganizationLimits>,
): Promise<Organization> {
  const { overrides } = (await accounts.organizations.find(id)) ?? { overrides: NO_OVERRIDES };
  const limits = namedLimits({ ...overrides.limits, ...changes });
  return accounts.organizations.decide(id, { overrides: { ...overrides, limits } }, PLANS, RULES);
}

/** A token of `dataDir`'s pepper, with its text. */
export async function makeTokenOf(
  accounts: AccountsDatabase,
  dataDir: string,
  orgId: string,
  given: Partial<Pick<Token, 'name' | 'scopes' | 'createdAtMs' | 'expiresAtMs'>> = {},
): Promise<{ token: string; row: Token }> {
  const { token, stored } = await secretOf(dataDir);
  const defaults = { name: 'edge', scopes: SCOPES, createdAtMs: NOON_MS, expiresAtMs: undefined };
  const row = await accounts.tokens.create({ ...defaults, ...given, ...stored, orgId });
  return { token, row };
}

export async function secretOf(dataDir: string) {
  const pepper = loadPepper(dataDir, { create: true });
  return newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes });
}
