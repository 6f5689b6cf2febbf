/**
 * F33: requests that ClickHouse refuses for good, at each position of a batch: by a CHECK constraint that was added to
 * the running table (code 469), and by codes 27, 41 and 53 from a proxy. Each is alone in quarantine; its neighbours
 * in the batch and other organizations are stored; when the cause is gone a replay adds exactly the missing rows.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type RefusingProxy, startRefusingProxy } from '../ingest/quarantine/refusing-proxy.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type Door, queryRows } from './support/door-client.ts';
import { OwnEngine } from './support/own-engine.ts';
import { type Burst, BURST_REQUESTS, Neighbour, ROWS_PER_REQUEST, sendBurst } from './support/poison-bursts.ts';

const SEGMENT_MS = 150;
/** A burst is in one segment when the one before it was sealed; finding its poison takes seven INSERTs. */
const BURST_EVERY_MS = { ci: 250, full: 1_000 };
const STORED_WITHIN_MS = 30_000;
/** The pass figures: of the good requests of a poisoned batch, and of other organizations. */
const LATE_MS_MAX = 5_000;
const SLOWER_MAX = 1.1;
const CODES: Readonly<Record<string, { readonly code: number; readonly type: string }>> = {
  poison27: { code: 27, type: 'CANNOT_PARSE_INPUT_ASSERTION_FAILED' },
  poison41: { code: 41, type: 'CANNOT_PARSE_DATETIME' },
  poison53: { code: 53, type: 'TYPE_MISMATCH' },
};

interface Stage {
  readonly service: TestService;
  readonly door: Door;
  readonly proxy: RefusingProxy;
  readonly violations: string[];
}

export const f33: Fault = {
  id: 'F33',
  title: 'requests that ClickHouse refuses for good',
  async run(options: FaultOptions): Promise<FaultReport> {
    const engine = new OwnEngine();
    await engine.start();
    const proxy = await startRefusingProxy(engine.port);
    try {
      const { user, password } = engine;
      const url = proxy.url.replace('//', `//${user}:${password}@`);
      const env = {
        BACKWORK_WORKERS: '2',
        BACKWORK_SEGMENT_MS: String(SEGMENT_MS),
        BACKWORK_CLICKHOUSE_URL: `${url}/default`,
      };
      const service = await startService({ env });
      try {
        return await poison({ service, door: engine, proxy, violations: [] }, options);
      } finally {
        await service.stopAndRemove();
      }
    } finally {
      await proxy.close();
      await engine.remove();
    }
  },
};

async function poison(stage: Stage, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const { service, door, proxy, violations } = stage;
  const neighbour = new Neighbour(service, await anotherToken(service), door);
  neighbour.start();
  // The same load without poison first: what it is compared with.
  const healthy = await bursts(stage, 0, Array.from({ length: size === 'full' ? 60 : 2 }), BURST_EVERY_MS[size]);
  const healthyLateMs = healthy.lateMs;
  const healthyMs = neighbour.takeLatenciesMs();
  await queryRows(door, "ALTER TABLE otel_logs ADD CONSTRAINT no_poison CHECK NOT startsWith(Body, 'poison469')");
  proxy.refuse = (body) => CODES[Object.keys(CODES).find((text) => body.includes(text)) ?? ''];
  const rounds = poisons(size, seed);
  const refusedBefore = proxy.inserts.length;
  const sick = await bursts(stage, healthy.all.length, rounds, BURST_EVERY_MS[size]);
  const poisonedMs = neighbour.takeLatenciesMs();
  await neighbour.stop();
  const inserts = proxy.inserts.length - refusedBefore;
  say(`${rounds.length} poisoned requests, ${inserts} INSERTs`);
  const listed = await judgeQuarantine(stage, sick.all);
  await judgeReplay(stage, [...healthy.all, ...sick.all], listed);
  const slower = middle(poisonedMs) / middle(healthyMs);
  const lateMs = Math.max(...sick.lateMs) - middle(healthyLateMs);
  if (size === 'full' && lateMs > LATE_MS_MAX) violations.push(`good requests were ${Math.round(lateMs)} ms late`);
  if (size === 'full' && slower > SLOWER_MAX) violations.push(`another organization waited ${slower.toFixed(2)} times`);
  return {
    figures: {
      poisoned: rounds.length,
      quarantined: listed.length,
      inserts,
      lateMsMax: Math.round(lateMs),
      neighbourHealthyP50Ms: Math.round(middle(healthyMs)),
      neighbourPoisonedP50Ms: Math.round(middle(poisonedMs)),
      neighbourSlower: slower.toFixed(2),
    },
    violations,
  };
}

async function anotherToken(service: TestService): Promise<string> {
  await service.command('org', 'create', '--name', 'Neighbour', '--slug', 'neighbour');
  return (await service.command('token', 'create', '--org', 'neighbour', '--name', 'f33')).stdout.trim();
}

/** In full each code at each position, twice; else the constraint at every other position and each code once. */
function poisons(size: FaultOptions['size'], seed: number): { text: string; position: number }[] {
  const at = (text: string, every: number, from: number) =>
    Array.from({ length: BURST_REQUESTS / every }, (_, index) => ({
      text,
      position: (from + index * every) % BURST_REQUESTS,
    }));
  const codes = Object.keys(CODES);
  if (size === 'ci')
    return [...at('poison469', 2, seed % 2), ...codes.flatMap((text, index) => at(text, BURST_REQUESTS, seed + index))];
  const each = ['poison469', ...codes].flatMap((text) => at(text, 1, seed));
  return [...each, ...each];
}

type Poison = { readonly text: string; readonly position: number } | undefined;

/** Sends one after another, and waits for the good rows of all; `lateMs`: how long those of each burst took. */
async function bursts(
  { service, door, violations }: Stage,
  from: number,
  poisons: readonly Poison[],
  everyMs: number,
): Promise<{ all: Burst[]; lateMs: number[] }> {
  const all: Burst[] = [];
  const looking = new AbortController();
  const look = storedAfterMs(door, from, all, poisons.length, looking.signal);
  for (const [index, one] of poisons.entries()) {
    const dueMs = performance.now() + everyMs;
    all.push(await sendBurst(service, from + index, one));
    await delay(Math.max(0, dueMs - performance.now()));
  }
  const giveUp = setTimeout(() => looking.abort(), STORED_WITHIN_MS);
  const lateMs = await look;
  clearTimeout(giveUp);
  if (lateMs.length < poisons.length)
    violations.push(
      `good rows of ${poisons.length - lateMs.length} batches are not stored after ${STORED_WITHIN_MS} ms`,
    );
  return { all, lateMs };
}

/** One question for all bursts, ten times a second. */
async function storedAfterMs(
  door: Door,
  from: number,
  all: readonly Burst[],
  count: number,
  giveUp: AbortSignal,
): Promise<number[]> {
  const lateMs = new Map<number, number>();
  const sql = `SELECT toUInt32(splitByChar('-', Body)[2]) AS burst, toUInt32(count()) AS n FROM otel_logs
    WHERE startsWith(Body, 'burst-') AND burst >= ${from} GROUP BY burst`;
  while (lateMs.size < count && !giveUp.aborted) {
    for (const { burst, n } of await queryRows<{ burst: number; n: number }>(door, sql)) {
      const sent = all[burst - from];
      if (sent === undefined || lateMs.has(burst) || n < sent.good.length) continue;
      lateMs.set(burst, performance.now() - sent.acknowledgedMs);
    }
    await delay(100);
  }
  return [...lateMs.values()];
}

/** Every poisoned request is there, alone, with its reason; returns the ids. */
async function judgeQuarantine({ service, violations }: Stage, sick: readonly Burst[]): Promise<string[]> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  let lines: string[] = [];
  for (;;) {
    const listed = await service.command('quarantine', 'list', '--org', 'default');
    lines = listed.stdout.split('\n').slice(1, -1);
    if (lines.length >= sick.length && !listed.stdout.includes('undecided')) break;
    if (performance.now() > deadline) break;
    await delay(100);
  }
  if (lines.length !== sick.length) violations.push(`${lines.length} entries for ${sick.length} poisoned requests`);
  const odd = lines.filter((line) => !/\totel_logs:5\tINSERT refused: ClickHouse error (469|27|41|53) /.test(line));
  if (odd.length > 0) violations.push(`an entry says ${odd[0]}`);
  return lines.map((line) => line.split('\t')[0] ?? '');
}

/** One is dropped; the others are put back once, although they are replayed twice. */
async function judgeReplay(stage: Stage, all: readonly Burst[], ids: readonly string[]): Promise<void> {
  const { service, door, proxy, violations } = stage;
  if ((await service.command('quarantine', 'drop', ids[0] ?? '')).code !== 0)
    violations.push('an entry was not dropped');
  const refused = await service.command('quarantine', 'replay', ids[1] ?? '');
  if (refused.code !== 1) violations.push(`a replay that is refused again ended with code ${refused.code}`);
  await queryRows(door, 'ALTER TABLE otel_logs DROP CONSTRAINT no_poison');
  proxy.refuse = () => undefined;
  for (const what of ['replay', 'replay again']) {
    const { code, stderr } = await service.command('quarantine', 'replay', '--org', 'default');
    if (code !== 0) violations.push(`${what} ended with code ${code}: ${stderr}`);
  }
  const rows = await queryRows(
    door,
    "SELECT Body, toString(count()) AS n FROM otel_logs WHERE Body NOT LIKE 'neighbour-%' GROUP BY Body",
  );
  const stored = new Map(rows.map((row) => [row['Body'] ?? '', Number(row['n'])]));
  const doubled = [...stored.values()].filter((n) => n !== 1).length;
  if (doubled > 0) violations.push(`${doubled} rows are stored more than once`);
  const lost = all.flatMap(({ good, poisoned }) => [...good, ...poisoned]).filter((body) => !stored.has(body)).length;
  if (lost !== ROWS_PER_REQUEST) violations.push(`${lost} rows are not stored, ${ROWS_PER_REQUEST} were dropped`);
  if (service.waitingSegments() > 0) violations.push(`${service.waitingSegments()} segments still wait`);
}

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
