/**
 * Well-behaved clients beside a fault: each sends a request, waits for its answer, and sends the next one at its pace. What
 * they saw is taken phase by phase of one run, so that figures under a fault stand beside those without it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { encodeIds, grpcSender, httpSender, type Protocol } from '../../support/load.ts';
import type { TestService } from '../../support/service.ts';

export interface Phase {
  readonly requests: number;
  /** Not answered with full success within 5 s. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface GoodClientsOptions {
  readonly clients?: readonly Protocol[];
  /** From the start of one request to that of the next one, unless the answer takes longer. */
  readonly everyMs?: number;
}

const ROWS_PER_REQUEST = 10;
const PREFIX = 'good';

export class GoodClients {
  readonly #service: TestService;
  readonly #everyMs: number;
  readonly #protocols: readonly Protocol[];
  #latenciesMs: number[] = [];
  #failed = 0;
  #rowsAcknowledged = 0;
  #next = 0;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(service: TestService, options: GoodClientsOptions = {}) {
    this.#service = service;
    this.#protocols = options.clients ?? ['grpc', 'http', 'grpc', 'http'];
    this.#everyMs = options.everyMs ?? 20;
  }

  start(): void {
    this.#running = Promise.all(this.#protocols.map((protocol) => this.#client(protocol)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** How long each answer took since the start or the last call, ascending, and how many requests failed. */
  takeLatencies(): { readonly sortedMs: number[]; readonly failed: number } {
    const taken = { sortedMs: this.#latenciesMs.sort((a, b) => a - b), failed: this.#failed };
    this.#latenciesMs = [];
    this.#failed = 0;
    return taken;
  }

  /** What was seen since the start or the last call. */
  takePhase(): Phase {
    const { sortedMs: sorted, failed } = this.takeLatencies();
    const at = (share: number): number => tenths(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
    return { requests: sorted.length, failed, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  }

  /** Lets a phase last, without what came before it. */
  async measure(forMs: number): Promise<Phase> {
    this.takePhase();
    await delay(forMs);
    return this.takePhase();
  }

  /** After `stop`: every acknowledged row is stored once, and nothing that was not sent. A sentence for each breach. */
  async judgeRows(): Promise<string[]> {
    // Rows of a request that was not answered may be stored, so a count says something only when all were answered.
    const sql = `SELECT toString(count()) AS n, toString(uniqExact(Body)) AS ids FROM otel_logs WHERE startsWith(Body, '${PREFIX}-')`;
    const wanted = String(this.#rowsAcknowledged);
    const rows = await this.#service
      .queryUntil<{ n: string; ids: string }>(sql, (found) => Number(found[0]?.ids) >= this.#rowsAcknowledged)
      .catch(() => this.#service.query<{ n: string; ids: string }>(sql));
    const { n, ids } = rows[0] ?? { n: '0', ids: '0' };
    if (n === wanted && ids === wanted) return [];
    return [`${wanted} rows were acknowledged to well-behaved clients, and ${n} rows of ${ids} ids are stored`];
  }

  async #client(protocol: Protocol): Promise<void> {
    const { ports, token } = this.#service;
    const sender = protocol === 'grpc' ? grpcSender(ports.grpc, token) : httpSender(ports.http, token);
    while (!this.#stopping) {
      const ids = Array.from({ length: ROWS_PER_REQUEST }, () => `${PREFIX}-${this.#next++}`);
      const body = encodeIds(ids);
      const startedMs = performance.now();
      if (await sender.send(body)) this.#rowsAcknowledged += ids.length;
      else this.#failed++;
      const tookMs = performance.now() - startedMs;
      this.#latenciesMs.push(tookMs);
      if (tookMs < this.#everyMs) await delay(this.#everyMs - tookMs);
    }
    sender.close();
  }
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
