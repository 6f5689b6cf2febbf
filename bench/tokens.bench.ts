/**
 * `npm run bench -- tokens`: what many organizations and tokens cost: the start, the memory of an ingest process, a look-up, a change.
 * The same service with one token beside it is what the figures are held against.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { loadPepper } from '../src/accounts/key-file.ts';
import { loadPlanCatalogue } from '../src/accounts/plan-catalogue.ts';
import { openAccounts } from '../src/accounts/store/accounts-database.ts';
import { accountsPath, openSqlite } from '../src/accounts/store/sqlite.ts';
import { openTokenSource } from '../src/accounts/store/token-source.ts';
import { newTokenSecret, SCOPES } from '../src/accounts/token.ts';
import { loadKeyedHash } from '../src/base/keyed-hash.ts';
import { createLog } from '../src/base/log.ts';
import { openTokenTable } from '../src/ingest/authenticate/token-table.ts';
import { type LiveService, startLiveService } from './live-service.ts';
import { machineText } from './machine.ts';
import { spreadOf } from './statistics.ts';

export interface TokensBench {
  readonly organizations: number;
  readonly tokensEach: number;
  readonly changes: number;
}

interface Made {
  readonly orgIds: readonly string[];
  readonly tokens: readonly string[];
}

const SETTLE_MS = 8_000;
const POLL_MS = 5;
const LOOKUPS = 200_000;
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

export async function benchTokens({ organizations, tokensEach, changes }: TokensBench): Promise<number> {
  console.log(`${machineText()}\n`);
  const few = await measure(1, 1, changes);
  const many = await measure(organizations, tokensEach, changes);
  const line = (name: string, one: string, other: string) =>
    console.log(`${name.padEnd(44)}${one.padStart(12)}${other.padStart(12)}`);
  line('', '1 token', `${organizations * tokensEach} tokens`);
  line('ready after, s', few.readyS.toFixed(2), many.readyS.toFixed(2));
  line('memory of an ingest process (PSS), MB', few.pssMb.toFixed(1), many.pssMb.toFixed(1));
  line('look-up with keyed hash, µs of CPU', few.lookupMicros.toFixed(2), many.lookupMicros.toFixed(2));
  line('a new token is taken after, ms (median)', few.createdMs.toFixed(0), many.createdMs.toFixed(0));
  line('a revoked one is refused after, ms (median)', few.revokedMs.toFixed(0), many.revokedMs.toFixed(0));
  line('  the slowest', few.slowestMs.toFixed(0), many.slowestMs.toFixed(0));
  line('event loop late during changes, at most, ms', few.lagMs, many.lagMs);
  return 0;
}

async function measure(organizations: number, tokensEach: number, changes: number) {
  let made: Made = { orgIds: [], tokens: [] };
  const startedMs = performance.now();
  let preparedMs = 0;
  const service = await startLiveService({ BACKWORK_WORKERS: '1' }, undefined, async (dataDir) => {
    made = await fill(dataDir, organizations, tokensEach);
    preparedMs = performance.now() - startedMs;
  });
  try {
    const readyS = (performance.now() - startedMs - preparedMs) / 1_000;
    await delay(SETTLE_MS);
    const pssMb = pssOf(service) / 1e6;
    const before = await lags(service);
    const { created, revoked } = await change(service, made, changes);
    const lagMs = highestLag(before, await lags(service));
    const times = {
      createdMs: spreadOf(created).median,
      revokedMs: spreadOf(revoked).median,
      slowestMs: Math.max(...created, ...revoked),
    };
    return { readyS, pssMb, lookupMicros: await lookupMicros(service.dataDir, made), lagMs, ...times };
  } finally {
    await service.stop();
  }
}

/** Rows as accounts would make them, in one transaction. */
async function fill(dataDir: string, organizations: number, tokensEach: number): Promise<Made> {
  const accounts = await openAccounts({ dataDir });
  const plan = loadPlanCatalogue({ plansFile: '', retentionDays: 30 }).defaultPlan;
  const rules = { ownPlacementsMax: 8, sharedPlacements: 1 };
  const { id: first } = await accounts.organizations.create({ name: 'Bench', plan, createdAtMs: Date.now() }, rules);
  await accounts.close();
  const deps = { pepper: loadPepper(dataDir, { create: true }), hash: await loadKeyedHash(), random: randomBytes };
  const database = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 1_000 });
  const names = database.prepare('SELECT name FROM pragma_table_info(?)').all('organizations') as { name: string }[];
  const columns = names.map(({ name }) => name);
  const values = columns.map((name) => (name === 'id' || name === 'slug' ? '?' : name));
  const organization = database.prepare(
    `INSERT INTO organizations (${columns.join(', ')}) SELECT ${values.join(', ')} FROM organizations WHERE id = ?`,
  );
  const token = database.prepare(
    `INSERT INTO tokens (id, digest, pepper_id, org_id, name, scopes, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, 1, 1)`,
  );
  const made = { orgIds: [first], tokens: [] as string[] };
  database.exec('BEGIN');
  for (let index = 1; index < organizations; index++) {
    const id = `org_${Array.from(randomBytes(16), (byte) => BASE32[byte & 31]).join('')}`;
    organization.run(id, `bench-${index}x`, first);
    made.orgIds.push(id);
  }
  for (const orgId of made.orgIds) {
    for (let index = 0; index < tokensEach; index++) {
      const { token: text, stored } = newTokenSecret('ing', deps);
      token.run(stored.id, stored.digest, stored.pepperId, orgId, `token ${index}`, SCOPES.join(','));
      made.tokens.push(text);
    }
  }
  database.exec('COMMIT');
  database.close();
  return made;
}

/** Makes and revokes a token in different organizations; resolves to the times until each counts. */
async function change(service: LiveService, made: Made, changes: number) {
  const accounts = await openAccounts({ dataDir: service.dataDir });
  const deps = { pepper: loadPepper(service.dataDir), hash: await loadKeyedHash(), random: randomBytes };
  const [created, revoked]: [number[], number[]] = [[], []];
  for (let index = 0; index < changes; index++) {
    const orgId = made.orgIds[(index * 7_919) % made.orgIds.length] ?? '';
    const { token, stored } = newTokenSecret('ing', deps);
    const rest = { orgId, name: `change ${index}`, scopes: SCOPES, createdAtMs: Date.now(), expiresAtMs: undefined };
    await accounts.tokens.create({ ...stored, ...rest });
    created.push(await until(service, token, 200));
    await accounts.tokens.revoke(stored.id, Date.now());
    revoked.push(await until(service, token, 401));
  }
  await accounts.close();
  return { created, revoked };
}

async function until(service: LiveService, token: string, status: number): Promise<number> {
  const startedMs = performance.now();
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: '{}',
    });
    await answer.arrayBuffer();
    if (answer.status === status) return performance.now() - startedMs;
    await delay(POLL_MS);
  }
}

/** In this process, over the service's own database. */
async function lookupMicros(dataDir: string, { tokens }: Made): Promise<number> {
  const limits = { bytesPerSecond: 0, itemsPerSecond: 0, requestsAtOnce: 0, spoolBytes: 0, weight: 10 };
  const deps = { pepper: loadPepper(dataDir).key, hash: await loadKeyedHash(), nowMs: Date.now };
  const log = createLog('main', 'error');
  const table = await openTokenTable({ source: openTokenSource(dataDir), limits, log, ...deps });
  const before = process.cpuUsage();
  for (let index = 0; index < LOOKUPS; index++)
    void table.tenant(`Bearer ${tokens[(index * 7_919) % tokens.length]}`, 'logs');
  const { user, system } = process.cpuUsage(before);
  table.close();
  return (user + system) / LOOKUPS;
}

function pssOf(service: LiveService): number {
  const pid = service.processes.find(({ name }) => name === 'ingest 0')?.pid;
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1_024;
}

/** Counts of the ingest process's lag by upper bound in seconds. */
async function lags(service: LiveService): Promise<Map<string, number>> {
  const { ports } = JSON.parse(readFileSync(join(service.dataDir, 'service.json'), 'utf8')) as {
    ports: { api: number };
  };
  const text = await (await fetch(`http://127.0.0.1:${ports.api}/metrics`)).text();
  const found = new Map<string, number>();
  for (const [, labels = '', count] of text.matchAll(/^backwork_event_loop_lag_seconds_bucket\{([^}]*)\} (\d+)/gm)) {
    const bound = /le="([^"]+)"/.exec(labels)?.[1];
    if (labels.includes('process="ingest"') && bound !== undefined) found.set(bound, Number(count));
  }
  return found;
}

/** The lowest bound under which every new sample is. */
function highestLag(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string {
  const added = (bound: string) => (after.get(bound) ?? 0) - (before.get(bound) ?? 0);
  const all = added('+Inf');
  const bound = [...after.keys()].find((one) => added(one) === all) ?? '+Inf';
  return String(Number(bound) * 1_000);
}
