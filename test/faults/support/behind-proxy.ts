/** A whole service whose store reaches an engine of the test's own through the fault proxy, under the oracle's load. */
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SIGNALS } from '../../../src/ingest/messages.ts';
import { Load } from '../../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../../support/service.ts';
import { queryRows } from './door-client.ts';
import { Oracle, type OracleLoad, type Verdict } from './oracle.ts';
import { OwnEngine } from './own-engine.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const PATIENCE_MS = 60_000;

export interface BehindProxy {
  readonly engine: OwnEngine;
  readonly proxy: TcpProxy;
  readonly oracle: Oracle;
  /** The one that runs now. */
  readonly service: TestService;
  /** Clients that never send twice: their rows are stored as often as they were sent, once or not at all. */
  load(load?: Partial<OracleLoad>): void;
  /** Starts the service again after it was stopped or killed. */
  startAgain(): Promise<void>;
  /** Stops the load, waits until the spool is empty and a fresh record is there, and judges all rows. */
  judge(patienceMs?: number): Promise<Verdict>;
}

export interface BehindOptions {
  /** Its contents are removed at the end, and it too unless something is mounted there. */
  readonly dataDir?: string;
  /** Past the proxy: an engine that is away then refuses connections, where the proxy would take and break them. */
  readonly direct?: boolean;
}

/** Runs `siege` and stops everything. `env` besides the test's own: two workers, segments of 300 ms. */
export async function behindProxy<T>(
  env: Readonly<Record<string, string>>,
  siege: (behind: BehindProxy) => Promise<T>,
  options: BehindOptions = {},
): Promise<T> {
  const behind = new Behind(env, options);
  try {
    await behind.start();
    return await siege(behind);
  } finally {
    await behind.stop();
  }
}

class Behind implements BehindProxy {
  readonly engine = new OwnEngine();
  readonly oracle = new Oracle();
  readonly #env: Readonly<Record<string, string>>;
  readonly #dataDir: string;
  readonly #direct: boolean;
  #proxy: TcpProxy | undefined;
  #service: TestService | undefined;
  #token = '';

  constructor(
    env: Readonly<Record<string, string>>,
    { dataDir = temporaryDirectory(), direct = false }: BehindOptions,
  ) {
    this.#env = env;
    this.#dataDir = dataDir;
    this.#direct = direct;
  }

  get proxy(): TcpProxy {
    if (this.#proxy === undefined) throw new Error('the proxy was not started');
    return this.#proxy;
  }

  get service(): TestService {
    if (this.#service === undefined) throw new Error('the service was not started');
    return this.#service;
  }

  async start(): Promise<void> {
    await this.engine.start();
    this.#proxy = await startTcpProxy(this.engine.port);
    await this.startAgain();
    this.#token = this.service.token;
  }

  async startAgain(): Promise<void> {
    const { user, password } = this.engine;
    const port = this.#direct ? this.engine.port() : this.proxy.port;
    const env = {
      BACKWORK_WORKERS: '2',
      BACKWORK_SEGMENT_MS: '300',
      BACKWORK_CLICKHOUSE_URL: `http://${user}:${password}@127.0.0.1:${port}/default`,
      ...this.#env,
    };
    const { ports } = this.#service ?? {};
    this.#service = await startService({ dataDir: this.#dataDir, env, ...(ports === undefined ? {} : { ports }) });
  }

  load(load: Partial<OracleLoad> = {}): void {
    const { grpc: grpcPort, http: httpPort } = this.service.ports;
    this.oracle.start({
      grpcPort,
      httpPort,
      token: this.#token,
      clients: Array.from({ length: 4 }, (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: false })),
      rowsPerRequest: 50,
      intervalMs: 100,
      signals: SIGNALS,
      ...load,
    });
  }

  async judge(patienceMs = PATIENCE_MS): Promise<Verdict> {
    await this.oracle.stop();
    const fresh = await this.#fresh();
    const deadline = performance.now() + patienceMs;
    while (this.service.waitingSegments() > 0 || !(await this.#isStored(fresh))) {
      if (performance.now() > deadline) {
        const waiting = `${this.service.waitingSegments()} segments still wait`;
        throw new Error(`${waiting} after ${patienceMs} ms\n${this.service.stderr.slice(-3_000)}`);
      }
      await delay(50);
    }
    return await this.oracle.judge(this.engine);
  }

  async stop(): Promise<void> {
    this.oracle.remove();
    await this.#service?.stop();
    await this.#proxy?.close();
    await this.engine.remove();
    for (const name of readdirSync(this.#dataDir)) rmSync(join(this.#dataDir, name), { recursive: true, force: true });
    try {
      rmdirSync(this.#dataDir);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    }
  }

  async #fresh(): Promise<string> {
    const { grpc: grpcPort, http: httpPort } = this.service.ports;
    const prefix = `fresh-${this.service.pid}`;
    const fresh = new Load({ grpcPort, httpPort, token: this.#token, clients: ['http'], rowsPerRequest: 1, prefix });
    fresh.start();
    while (fresh.acknowledged.size === 0) await delay(20);
    await fresh.stop();
    return [...fresh.acknowledged].at(-1) ?? '';
  }

  async #isStored(id: string): Promise<boolean> {
    const rows = await queryRows(this.engine, `SELECT 1 FROM otel_logs WHERE Body = '${id}'`).catch(() => []);
    return rows.length === 1;
  }
}
