/**
 * The children of a service, in order.
 *
 *   start, from the store outwards:   engine ─ migrations ─ store ─ ingest 0 ─ ingest 1 … n
 *   stop, from the door inwards:      ingest 0 … n together ─ store ─ engine
 *
 * - Ingest does not need the store: its spool keeps what it answered for. So when the engine or the server is away at
 *   start, ingest starts all the same after STORE_WAIT_MS, and the store follows when the migrations are through.
 * - The store never starts before the migrations: it would insert into tables that are not there.
 * - The first worker's ports, and the engine's, are learned at their first `ready` and kept for every later start.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ChildMessage } from '../process-messages.ts';
import { type Child, type ChildSpec, type Ports, restartDelayMs, superviseChild } from '../supervisor.ts';
import { ChildMetrics } from './child-metrics.ts';
import { type ChildContext, engineChild, ingestChild, storeChild } from './children.ts';
import type { MetricsSource } from './service-metrics.ts';

export interface ServiceDeps extends ChildContext {
  readonly log: Log;
  readonly random: () => number;
  /** Ingest processes; 1 where ports cannot be shared. */
  readonly workers: number;
  /** Brings the store's tables up to date; throws what engine/migrate.ts throws. `enginePort` is 0 for a server. */
  readonly migrate: (enginePort: number) => Promise<void>;
  /** What no restart mends, found after start returned: the service must end with this error. */
  readonly onFatal: (error: unknown) => void;
}

export interface ServicePorts {
  readonly grpc: number;
  readonly http: number;
  /** undefined with a ClickHouse server. */
  readonly engine: number | undefined;
}

export interface Service {
  /**
   * Resolves when every worker serves. `storeReady` is false when the telemetry store was not reached yet; it goes on
   * being tried. Throws the first error that no restart mends; the caller then calls `stop`.
   */
  start(): Promise<{ ports: ServicePorts; storeReady: boolean }>;
  /** Where the embedded engine listens now; 0 with a server. */
  enginePort(): number;
  /** Whether a request sent now would be accepted, and what is amiss. */
  readiness(): { ready: boolean; reasons: string[] };
  /** All children have ended when it resolves, `withinMs` from now at most. */
  stop(withinMs: number): Promise<void>;
  /** SIGKILL to all. */
  kill(): void;
  /** What /metrics shows of it. */
  readonly source: MetricsSource;
}

/** How long ingest waits for the store at start: an engine that has to be repaired after a kill is up in 1–3 s. */
const STORE_WAIT_MS = 5_000;
/** Of the time to stop in, kept for the store and the engine, and for the engine alone. */
const STORE_STOP_MS = 2_500;
const ENGINE_STOP_MS = 1_000;
/** What migrating may meet while the store is on its way up. */
const WORTH_RETRYING: readonly ErrorCode[] = ['store-unreachable', 'store-temporary', 'store-unknown-outcome'];

/** A child that has said nothing for so long hangs: it speaks at least once a second. */
const HANGS_AFTER_MS = 3_000;

interface WorkerState {
  readonly child: Child;
  accepting: boolean;
  reason: string;
}

export function createService(deps: ServiceDeps): Service {
  return new SupervisedService(deps);
}

class SupervisedService implements Service {
  readonly #deps: ServiceDeps;
  readonly #workers: WorkerState[] = [];
  readonly #metrics = new Map<Child, ChildMetrics>();
  #engine: Child | undefined;
  #store: Child | undefined;
  #ports: { grpc: number; http: number; engine: number };
  #storeReady = false;
  /** Why the store cannot reach ClickHouse. */
  #storeTrouble = '';
  #stopping = false;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
    const { otlpGrpcPort, otlpHttpPort, enginePort } = deps.settings;
    this.#ports = { grpc: otlpGrpcPort, http: otlpHttpPort, engine: enginePort };
  }

  async start(): Promise<{ ports: ServicePorts; storeReady: boolean }> {
    const store = this.#startStore();
    const inTime = await Promise.race([store.then(() => true), sleep(STORE_WAIT_MS, false, { ref: false })]);
    this.#requireNotStopping();
    if (!inTime) {
      this.#deps.log.warn({}, 'the telemetry store is not reached yet; what arrives waits in the spool');
      store.catch((error) => {
        if (!this.#stopping) this.#deps.onFatal(error);
      });
    }
    await this.#startWorker(0);
    const others = Array.from({ length: this.#deps.workers - 1 }, (_, index) => this.#startWorker(index + 1));
    await Promise.all(others);
    const { grpc, http, engine } = this.#ports;
    return {
      ports: { grpc, http, engine: this.#engine === undefined ? undefined : engine },
      storeReady: this.#storeReady,
    };
  }

  enginePort(): number {
    return this.#engine === undefined ? 0 : this.#ports.engine;
  }

  readiness(): { ready: boolean; reasons: string[] } {
    if (this.#stopping) return { ready: false, reasons: ['the service is stopping'] };
    const refusals = this.#workers.map((worker) => refusalOf(worker));
    const reasons = refusals.filter((reason) => reason !== undefined);
    if (this.#workers.length === 0) reasons.push('no ingest process has been started yet');
    reasons.push(...this.#storeReasons());
    return { ready: refusals.includes(undefined), reasons };
  }

  get source(): MetricsSource {
    return {
      children: () => [...this.#metrics].map(([child, metrics]) => ({ child, metrics })),
      readiness: () => this.readiness(),
      accepting: () => this.#workers.map((worker) => refusalOf(worker) === undefined),
    };
  }

  /** What is amiss behind the spool: said, but no reason to refuse, because the spool takes what comes. */
  #storeReasons(): string[] {
    if (!this.#storeReady)
      return ['store: the telemetry store has not been reached yet; what arrives waits in the spool'];
    const reasons = [this.#store, this.#engine].flatMap((child) => (child === undefined ? [] : troubleOf(child)));
    if (reasons.length === 0 && this.#storeTrouble !== '') reasons.push(`store: ${this.#storeTrouble}`);
    return reasons.map((reason) => `${reason}; what arrives waits in the spool`);
  }

  async stop(withinMs: number): Promise<void> {
    this.#stopping = true;
    for (const child of this.#children()) child.retire();
    const deadline = performance.now() + withinMs;
    const until = (reservedMs: number) => Math.max(0, deadline - performance.now() - reservedMs);
    await Promise.all(this.#workers.map(({ child }) => child.stop(until(STORE_STOP_MS))));
    await this.#store?.stop(until(ENGINE_STOP_MS));
    await this.#engine?.stop(until(0));
  }

  kill(): void {
    this.#stopping = true;
    for (const child of this.#children()) child.kill();
  }

  #children(): Child[] {
    const all = [...this.#workers.map(({ child }) => child), this.#store, this.#engine];
    return all.filter((child) => child !== undefined);
  }

  async #startStore(): Promise<void> {
    if (this.#deps.settings.clickhouseUrl === '') {
      this.#engine = this.#child({
        ...engineChild(this.#deps, () => this.#ports.engine),
        onMessage: (message) => {
          if (message.type === 'ready') this.#ports.engine = message.ports?.['engine'] ?? this.#ports.engine;
        },
      });
      await this.#engine.ready;
    }
    await this.#migrate();
    this.#requireNotStopping();
    this.#store = this.#child({
      ...storeChild(this.#deps, () => this.#ports.engine, this.#deps.workers),
      onMessage: (message) => {
        if (message.type === 'storing') this.#storeTrouble = message.reason;
      },
    });
    await this.#store.ready;
    this.#storeReady = true;
  }

  async #migrate(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#deps.migrate(this.#engine === undefined ? 0 : this.#ports.engine);
        return;
      } catch (error) {
        if (!(error instanceof BackworkError) || !WORTH_RETRYING.includes(error.code)) throw error;
        this.#deps.log.warn({ error, attempt }, 'the telemetry store does not answer; trying again');
      }
      await sleep(restartDelayMs(attempt, this.#deps.random));
      this.#requireNotStopping();
    }
  }

  #startWorker(index: number): Promise<Ports> {
    const child = this.#child({
      ...ingestChild(this.#deps, index, this.#deps.workers, () => this.#ports),
      onMessage: (message) => this.#fromWorker(worker, message),
      onEnd: () => {
        worker.accepting = false;
        worker.reason = 'the process has ended and is started again';
      },
    });
    const worker: WorkerState = { child, accepting: false, reason: 'the process is starting' };
    this.#workers.push(worker);
    return child.ready;
  }

  #fromWorker(worker: WorkerState, message: ChildMessage): void {
    if (message.type === 'ready') {
      const { grpc, http } = message.ports ?? {};
      this.#ports = { ...this.#ports, grpc: grpc ?? this.#ports.grpc, http: http ?? this.#ports.http };
    } else if (message.type === 'accepting') {
      worker.accepting = message.accepting;
      worker.reason = message.reason;
    } else if (message.type === 'use') {
      this.#tellOthers(worker, message.organizations);
    } else if (message.type === 'sealed') {
      this.#store?.send({ type: 'sealed', spoolDir: message.spoolDir, sequence: message.sequence });
    }
  }

  /** A limit of an organization holds over all workers, so each knows what was used in the others. */
  #tellOthers(worker: WorkerState, organizations: readonly object[]): void {
    const message = { type: 'use', worker: this.#workers.indexOf(worker), organizations } as const;
    for (const other of this.#workers) if (other !== worker) other.child.send(message);
  }

  #child(spec: ChildSpec): Child {
    const [process = '', worker] = spec.name.split(' ');
    const metrics = new ChildMetrics(worker === undefined ? { process } : { process, worker });
    const child = superviseChild(
      {
        ...spec,
        onMessage: (message) => {
          if (message.type === 'metrics') metrics.received(message);
          else spec.onMessage?.(message);
        },
        onEnd: () => {
          metrics.ended();
          spec.onEnd?.();
        },
      },
      this.#deps,
    );
    this.#metrics.set(child, metrics);
    return child;
  }

  #requireNotStopping(): void {
    if (this.#stopping) throw new BackworkError('shutting-down', 'the service is being stopped');
  }
}

/** Why a worker does not accept; undefined when it does. One that hangs cannot say that it does not. */
function refusalOf({ child, accepting, reason }: WorkerState): string | undefined {
  if (!accepting) return `${child.name}: ${reason}`;
  return hangText(child);
}

/** What is wrong with a process as such. */
function troubleOf(child: Child): string[] {
  const hangs = hangText(child);
  if (child.silentMs() === undefined) return [`${child.name}: the process has ended and is started again`];
  return hangs === undefined ? [] : [hangs];
}

function hangText(child: Child): string | undefined {
  const silentMs = child.silentMs();
  if (silentMs === undefined || silentMs < HANGS_AFTER_MS) return undefined;
  return `${child.name}: the process hangs: it has said nothing for ${Math.floor(silentMs / 1_000)} s`;
}
