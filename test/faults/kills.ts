/**
 * Kills: SIGKILL to the whole process group, an ingest process, the store, or the engine, around INSERTs, under load over
 * both protocols. Afterwards every acknowledged id is stored once, an unacknowledged one at most once, every row is
 * whole, and a fresh record arrives.
 *
 * The run cannot pass by doing nothing: between two kills at least `rowsBetween` rows must have been acknowledged, and each
 * kind of kill that was asked for must have happened. Everything but timing follows from the seed.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type Signal, SIGNALS } from '../../src/ingest/messages.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { type Judgement, judge, Load, LOOKUP_MISMATCHES, STORED_IDS, type StoredRow } from '../support/load.ts';
import { type ChildName, startService, type TestService, temporaryDirectory } from '../support/service.ts';

export type KillKind = 'group' | 'ingest' | 'store' | 'engine';
export const KILL_KINDS: readonly KillKind[] = ['group', 'ingest', 'store', 'engine'];

export interface KillOptions {
  readonly seed: number;
  readonly kills: number;
  readonly rowsBetween: number;
  readonly say: (line: string) => void;
}

export interface KillReport {
  readonly killed: Record<KillKind, number>;
  /** Kills that came while an INSERT ran, or just after it had ended and before its segments were removed. */
  readonly atInsert: number;
  readonly acknowledged: number;
  readonly acknowledgedBy: { readonly grpc: number; readonly http: number };
  readonly acknowledgedOf: Readonly<Record<Signal, number>>;
  readonly issued: number;
  readonly stored: number;
  /** Traces whose span and row of the lookup are not there once each. */
  readonly lookupMismatches: number;
  readonly judgement: Judgement;
}

/** Longest that anything may take before the run counts as stuck. */
const PATIENCE_MS = 60_000;
const INSERT_WAIT_MS = 5_000;

export async function runKills(options: KillOptions): Promise<KillReport> {
  const random = seededRandom(options.seed);
  const dataDir = temporaryDirectory();
  const env = { BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '300' };
  let service = await startService({ dataDir, env });
  const { ports, token } = service;
  const load = new Load({
    grpcPort: ports.grpc,
    httpPort: ports.http,
    token,
    clients: ['grpc', 'http', 'grpc', 'http'],
    rowsPerRequest: 20,
    signals: SIGNALS,
  });
  const killed: Record<KillKind, number> = { group: 0, ingest: 0, store: 0, engine: 0 };
  let atInsert = 0;
  load.start();
  try {
    for (let i = 0; i < options.kills; i++) {
      const kind = KILL_KINDS[i % KILL_KINDS.length]!;
      await acknowledge(load, options.rowsBetween);
      await delay(random.int(0, 400));
      if (await moment(service, kind, random)) atInsert++;
      if (kind === 'group') {
        await service.killAll();
        service = await startService({ dataDir, env, ports });
      } else await killChild(service, kind, random.next());
      killed[kind]++;
      options.say(`kill ${i + 1} of ${options.kills}: ${kind}, ${load.acknowledged.size} rows acknowledged`);
    }
    await acknowledge(load, options.rowsBetween);
  } finally {
    await load.stop();
  }
  try {
    const rows = await settle(service, load);
    const judgement = judge(load.acknowledged, load.issued, rows);
    const [lookup] = await service.query<{ n: string }>(LOOKUP_MISMATCHES);
    const lookupMismatches = Number(lookup?.n);
    const { acknowledgedBy, acknowledgedOf } = load;
    const [acknowledged, issued, stored] = [load.acknowledged.size, load.issued.size, rows.length];
    return {
      killed,
      atInsert,
      acknowledged,
      acknowledgedBy,
      acknowledgedOf,
      issued,
      stored,
      lookupMismatches,
      judgement,
    };
  } finally {
    await service.stopAndRemove();
  }
}

/** Waits until this many more rows were acknowledged. */
async function acknowledge(load: Load, rows: number): Promise<void> {
  const wanted = load.acknowledged.size + rows;
  const deadline = performance.now() + PATIENCE_MS;
  while (load.acknowledged.size < wanted) {
    if (performance.now() > deadline) throw new Error(`${rows} rows were not acknowledged within ${PATIENCE_MS} ms`);
    await delay(5);
  }
}

/**
 * Waits for a moment that is hard for this kind of kill, and returns whether it came: the engine dies while an INSERT runs,
 * the store and the whole group at times just after one has ended. An ingest process dies at any time.
 */
async function moment(service: TestService, kind: KillKind, random: Random): Promise<boolean> {
  if (kind === 'ingest') return false;
  const running = await waitForInserts(service, (count) => count > 0);
  if (kind === 'engine' || random.chance(0.3)) return running;
  return running && (await waitForInserts(service, (count) => count === 0));
}

async function killChild(service: TestService, kind: ChildName, chance: number): Promise<void> {
  const pids = await runningChildren(service, kind);
  process.kill(pids[Math.floor(chance * pids.length)]!, 'SIGKILL');
}

/** The one that was killed before may still be waiting for its next start. */
async function runningChildren(service: TestService, kind: ChildName): Promise<number[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const pids = service.children(kind);
    if (pids.length > 0) return pids;
    if (performance.now() > deadline) throw new Error(`no ${kind} process was started within ${PATIENCE_MS} ms`);
    await delay(50);
  }
}

/** Asks the door which of the store's INSERTs run until `wanted` says so; false when that does not come. */
async function waitForInserts(service: TestService, wanted: (count: number) => boolean): Promise<boolean> {
  const { user, password } = JSON.parse(readFileSync(`${service.dataDir}/engine.json`, 'utf8'));
  const headers = { 'x-clickhouse-user': user, 'x-clickhouse-key': password };
  const deadline = performance.now() + INSERT_WAIT_MS;
  while (performance.now() < deadline) {
    const answer = await fetch(`http://127.0.0.1:${service.ports.engine}/running`, { headers }).catch(() => undefined);
    if (answer?.ok && wanted(((await answer.json()) as unknown[]).length)) return true;
  }
  return false;
}

/** The rows once nothing waits any more; a fresh record is the proof that the service still works. */
async function settle(service: TestService, load: Load): Promise<StoredRow[]> {
  const fresh = new Load({
    grpcPort: service.ports.grpc,
    httpPort: service.ports.http,
    token: load.token,
    clients: ['http'],
    rowsPerRequest: 1,
    prefix: 'fresh',
  });
  fresh.start();
  await acknowledge(fresh, 1);
  await fresh.stop();
  const deadline = performance.now() + PATIENCE_MS;
  while (service.waitingSegments() > 0 || !(await arrived(service, fresh))) {
    if (performance.now() > deadline) {
      throw new Error(`${service.waitingSegments()} segments still wait\n${service.stderr.slice(-4_000)}`);
    }
    await delay(100);
  }
  const rows = await service.query<StoredRow>(STORED_IDS);
  return rows.filter((row) => !fresh.issued.has(row.id));
}

async function arrived(service: TestService, fresh: Load): Promise<boolean> {
  const id = [...fresh.acknowledged].at(-1);
  const rows = await service.query(`SELECT 1 FROM otel_logs WHERE Body = '${id}'`).catch(() => []);
  return rows.length === 1;
}
