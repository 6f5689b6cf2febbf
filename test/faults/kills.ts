/**
 * Kills: SIGKILL to an ingest process, the store, the engine, the supervisor, or all of them, at each fault point and at any
 * time, under load over both protocols. The oracle runs in a process of its own that nobody kills. Afterwards every
 * acknowledged id is stored once, an unacknowledged one at most once, every row is whole, and a fresh record arrives.
 *
 * A run cannot pass by doing nothing: between two kills at least `rowsBetween` rows are acknowledged, every step of the
 * plan was really set off where it says, and goodput from ready to the next kill is measured against the same load
 * undisturbed. Everything but timing follows from the seed.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { FaultPoint, PlantedBug } from '../../src/base/fault-points.ts';
import { takeLock } from '../../src/base/lock-file.ts';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { Load, LOOKUP_MISMATCHES } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import { type Door, runningQueries } from './support/door-client.ts';
import type { Hit, Role } from './support/fault-agent.ts';
import { FaultControl } from './support/fault-control.ts';
import { type KillKind, type KillStep, roleOf } from './support/kill-plan.ts';
import { Oracle, type OracleLoad, type OracleStatus, type Verdict } from './support/oracle.ts';

export interface KillOptions {
  readonly seed: number;
  readonly steps: readonly KillStep[];
  readonly rowsBetween: number;
  /** How long the same load is measured before the first kill. */
  readonly undisturbedMs: number;
  readonly clients: OracleLoad['clients'];
  /** Mistakes that the service makes from the first kill on (fault-control.ts). */
  readonly plant?: Partial<Record<PlantedBug, number>>;
  /** No further kill is begun after it. */
  readonly withinMs?: number;
  readonly say: (line: string) => void;
}

export interface KillReport {
  /** Steps that were set off. */
  readonly kills: number;
  /** Processes that died, by what was killed. */
  readonly killed: Record<KillKind, number>;
  readonly hits: Partial<Record<FaultPoint, number>>;
  /** Steps whose point was not reached in time. */
  readonly misses: readonly string[];
  /** Of the kills at random times: while an INSERT ran. */
  readonly atInsert: number;
  readonly fewestBetween: number;
  /** Rows acknowledged a second. */
  readonly undisturbed: number;
  readonly goodput: number;
  /** From the start of the whole service to its ready line. */
  readonly startsMs: readonly number[];
  /** From the kill of one process until the one in its place was ready. */
  readonly recoveriesMs: readonly number[];
  /** Traces whose span and row of the lookup are not there once each. */
  readonly lookupMismatches: number;
  readonly load: OracleStatus;
  readonly verdict: Verdict;
}

/** Longest that anything may take before the run counts as stuck. */
const PATIENCE_MS = 60_000;
const HIT_WAIT_MS = 15_000;
const INSERT_WAIT_MS = 3_000;
const WARM_UP_MS = 1_000;
const WORKERS = 2;
/** 4,000 rows a second from ten clients: a third of what two cores carry, so a kill is not hidden by a queue. */
const ROWS_PER_REQUEST = 100;
const INTERVAL_MS = 250;
/** A child that ends again and again is started after longer and longer delays; a whole start forgets that. */
const ENDS_IN_A_ROW_MAX = 3;

export async function runKills(options: KillOptions): Promise<KillReport> {
  const run = new KillRun(options);
  try {
    return await run.run();
  } finally {
    await run.end();
  }
}

class KillRun {
  readonly #options: KillOptions;
  readonly #random: Random;
  readonly #control = new FaultControl();
  readonly #oracle = new Oracle();
  readonly #dataDir = temporaryDirectory();
  #service: TestService | undefined;
  #token = '';
  readonly #killed: Record<KillKind, number> = { group: 0, supervisor: 0, ingest: 0, store: 0, engine: 0 };
  readonly #hits: Partial<Record<FaultPoint, number>> = {};
  readonly #misses: string[] = [];
  readonly #startsMs: number[] = [];
  readonly #recoveriesMs: number[] = [];
  readonly #ends = new Map<Role, number>();
  #atInsert = 0;
  #kills = 0;
  #fewestBetween = Number.POSITIVE_INFINITY;
  /** Since when everything has been ready, and how much was acknowledged then. */
  #ready = { atMs: 0, rows: 0 };
  readonly #window = { ms: 0, rows: 0 };

  constructor(options: KillOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed + 1);
  }

  async run(): Promise<KillReport> {
    const { steps, withinMs = Number.POSITIVE_INFINITY } = this.#options;
    const beganMs = performance.now();
    await this.#start();
    const undisturbed = await this.#beginLoad();
    this.#control.plant(this.#options.plant ?? {});
    for (const step of steps) {
      if (performance.now() - beganMs > withinMs) break;
      await this.#step(step);
    }
    await this.#oracle.acknowledged(this.#options.rowsBetween);
    await this.#oracle.stop();
    await settle(this.#running, this.#token);
    const [lookup] = await this.#running.query<{ n: string }>(LOOKUP_MISMATCHES);
    return {
      kills: this.#kills,
      killed: this.#killed,
      hits: this.#hits,
      misses: this.#misses,
      atInsert: this.#atInsert,
      fewestBetween: this.#fewestBetween,
      undisturbed,
      goodput: (this.#window.rows / this.#window.ms) * 1_000,
      startsMs: this.#startsMs,
      recoveriesMs: this.#recoveriesMs,
      lookupMismatches: Number(lookup?.n),
      load: this.#oracle.status,
      verdict: await this.#oracle.judge(doorOf(this.#running)),
    };
  }

  async end(): Promise<void> {
    this.#oracle.remove();
    await this.#service?.stopAndRemove();
    this.#control.remove();
  }

  get #running(): TestService {
    if (this.#service === undefined) throw new Error('the service was not started');
    return this.#service;
  }

  async #start(): Promise<void> {
    const env = { BACKWORK_WORKERS: String(WORKERS), BACKWORK_SEGMENT_MS: '300', ...this.#control.env };
    const ports = this.#service?.ports;
    const beganMs = performance.now();
    this.#service = await startService({ dataDir: this.#dataDir, env, ...(ports === undefined ? {} : { ports }) });
    this.#startsMs.push(performance.now() - beganMs);
    this.#ends.clear();
    this.#token ||= this.#service.token;
  }

  /** Returns the goodput of the load undisturbed, in rows a second. */
  async #beginLoad(): Promise<number> {
    const { ports } = this.#running;
    this.#oracle.start({
      grpcPort: ports.grpc,
      httpPort: ports.http,
      token: this.#token,
      clients: this.#options.clients,
      rowsPerRequest: ROWS_PER_REQUEST,
      intervalMs: INTERVAL_MS,
      signals: SIGNALS,
    });
    await this.#oracle.acknowledged(1);
    if (this.#options.undisturbedMs > 0) await delay(WARM_UP_MS);
    const before = { atMs: performance.now(), rows: this.#oracle.status.acknowledged };
    await delay(this.#options.undisturbedMs);
    this.#nowReady();
    return ((this.#ready.rows - before.rows) / (this.#ready.atMs - before.atMs)) * 1_000;
  }

  async #step(step: KillStep): Promise<void> {
    await this.#oracle.acknowledged(this.#options.rowsBetween, this.#ready.rows);
    await delay(this.#random.int(0, 300));
    // How many were ready, not which: in a long run process ids come again.
    const readyOf = (role: Role): number => this.#control.ready(role).length;
    const known = { ingest: readyOf('ingest'), store: readyOf('store'), engine: readyOf('engine') };
    const target = 'point' in step ? await this.#killAtPoint(step) : await this.#killAtAnyTime(step);
    if (target === undefined) return;
    this.#kills++;
    this.#options.say(
      `kill ${this.#kills} of ${this.#options.steps.length}: ${target}${'point' in step ? ` at ${step.point}${step.powerCut ? ', power cut' : ''}` : ''}, ` +
        `${this.#oracle.status.acknowledged} rows acknowledged`,
    );
    const beganMs = performance.now();
    if ('point' in step && step.workersFirst === true) await this.#recoverWorkers(known.ingest);
    if (target === 'group' || target === 'supervisor') await this.#start();
    else {
      this.#ends.set(target, (this.#ends.get(target) ?? 0) + 1);
      await this.#replaced(target, known[target]);
      this.#recoveriesMs.push(performance.now() - beganMs);
    }
    this.#nowReady();
  }

  /** Arms the point and waits for the kill. undefined: it was not reached. */
  async #killAtPoint(step: Extract<KillStep, { point: FaultPoint }>): Promise<KillKind | undefined> {
    const role = roleOf(step.point);
    const whole = step.whole || (this.#ends.get(role) ?? 0) >= ENDS_IN_A_ROW_MAX;
    const action = step.powerCut ? 'power-cut' : whole ? 'group' : 'process';
    const id = this.#control.arm({ role, point: step.point, nth: step.nth, action });
    // A question is asked only when an outcome is unknown: the store that is started in place of this one asks.
    if (step.point === 'question-answered') await this.#killOne('store', 0);
    const hit = await this.#control.waitForHit(id, HIT_WAIT_MS);
    this.#closeWindow();
    if (hit === undefined) {
      this.#misses.push(`${step.point} (${step.nth})`);
      this.#nowReady();
      return undefined;
    }
    return await this.#wasHit(hit);
  }

  async #wasHit({ point, role, action }: Hit): Promise<KillKind> {
    this.#hits[point] = (this.#hits[point] ?? 0) + 1;
    const kind = action === 'group' ? 'group' : role;
    this.#killed[kind]++;
    // The agent has sent the signal; what is still on its way down is waited for here.
    if (kind === 'group') await this.#running.killAll();
    return kind;
  }

  async #killAtAnyTime({ kind, chance }: Extract<KillStep, { kind: KillKind }>): Promise<KillKind> {
    if (kind === 'engine' && (await this.#insertRuns())) this.#atInsert++;
    this.#closeWindow();
    this.#killed[kind]++;
    if (kind === 'group') await this.#running.killAll();
    else if (kind === 'supervisor') await this.#running.killSupervisor();
    else await this.#killOne(kind, chance);
    return kind;
  }

  async #killOne(kind: Role, chance: number): Promise<void> {
    const pids = await until(`a ${kind} process`, () => {
      const found = this.#running.children(kind);
      return found.length > 0 ? found : undefined;
    });
    process.kill(pids[Math.floor(chance * pids.length)] ?? 0, 'SIGKILL');
  }

  /** The store, which is dead, waits for its lock while the workers are killed and recover their spools. */
  async #recoverWorkers(known: number): Promise<void> {
    const lock = await takeLock(`${this.#dataDir}/store.lock`, PATIENCE_MS);
    for (const pid of this.#running.children('ingest')) process.kill(pid, 'SIGKILL');
    await until('new workers', () => {
      const ready = this.#control.ready('ingest').slice(known);
      return ready.length >= WORKERS || undefined;
    });
    lock.release();
  }

  /** Waits until a process of the kind is ready that was not before. */
  async #replaced(role: Role, known: number): Promise<void> {
    await until(`a new ${role} process`, () => {
      const living = this.#running.children(role);
      return this.#control
        .ready(role)
        .slice(known)
        .find((pid) => living.includes(pid));
    });
  }

  async #insertRuns(): Promise<boolean> {
    const deadline = performance.now() + INSERT_WAIT_MS;
    while (performance.now() < deadline) {
      const running = await runningQueries(doorOf(this.#running));
      if (running?.some((id) => id.startsWith('backwork-'))) return true;
      await delay(1);
    }
    return false;
  }

  #nowReady(): void {
    this.#ready = { atMs: performance.now(), rows: this.#oracle.status.acknowledged };
  }

  #closeWindow(): void {
    const rows = this.#oracle.status.acknowledged - this.#ready.rows;
    this.#window.ms += performance.now() - this.#ready.atMs;
    this.#window.rows += rows;
    this.#fewestBetween = Math.min(this.#fewestBetween, rows);
  }
}

/** The door of a service with an embedded engine. */
export function doorOf(service: TestService): Door {
  const login = JSON.parse(readFileSync(`${service.dataDir}/engine.json`, 'utf8')) as {
    user: string;
    password: string;
  };
  return { port: () => service.ports.engine, ...login };
}

/** Waits until nothing waits any more; a fresh record is the proof that the service still works. */
export async function settle(service: TestService, token: string): Promise<void> {
  const fresh = new Load({
    grpcPort: service.ports.grpc,
    httpPort: service.ports.http,
    token,
    clients: ['http'],
    rowsPerRequest: 1,
    prefix: `fresh-${service.pid}`,
  });
  fresh.start();
  await until('acknowledgement of a fresh record', () => fresh.acknowledged.size > 0 || undefined);
  await fresh.stop();
  const id = [...fresh.acknowledged].at(-1);
  await until(`an empty spool (${service.stderr.slice(-2_000)})`, async () => {
    const rows = await service.query(`SELECT 1 FROM otel_logs WHERE Body = '${id}'`).catch(() => []);
    return (service.waitingSegments() === 0 && rows.length === 1) || undefined;
  });
}

/** Asks again until there is an answer; throws when there is none for a long time. */
async function until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what} did not come within ${PATIENCE_MS} ms`);
    await delay(20);
  }
}
