/**
 * F27: ten times as much is sent as the service takes. Its capacity is lowered by a setting, so that the clients of one machine
 * can offer that much. What it takes in stays what it was, memory stays under the ceiling, every refusal is one that
 * exporters come back from and is counted under its reason, and what was acknowledged is stored once.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { encodeRecords } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type OutcomeSender, outcomeSender } from './support/outcome-sender.ts';
import { resetRssPeak, rssPeakBytes } from './support/process-figures.ts';
import { mib } from './support/under-service.ts';

const WORKERS = 2;
const MEMORY_MIB = 512;
const BODY_BYTES = 32_768;
/** Above what is taken, so that no worker is short of requests however connections spread. */
const TIMES_AT_PEAK = 3;
const TIMES_AT_OVERLOAD = 10;
const GOODPUT_SHARE_MIN = 0.8;
/** A rate may be used 5 s ahead: measured from here on. */
const BURST_MS = 5_000;
const SIZES = {
  ci: { bytesPerSecond: 131_072, clients: 8, peakMs: 1_000, overloadMinutes: 0.04, burstMs: 0 },
  full: { bytesPerSecond: 524_288, clients: 16, peakMs: 30_000, overloadMinutes: 5, burstMs: BURST_MS + 1_000 },
};

export const f27: Fault = {
  id: 'F27',
  title: 'ten times the capacity is offered',
  async run(options: FaultOptions): Promise<FaultReport> {
    const service = await startService({
      env: {
        BACKWORK_WORKERS: String(WORKERS),
        BACKWORK_INGEST_MEMORY_MIB: String(MEMORY_MIB),
        BACKWORK_INGEST_BYTES_PER_SECOND: String(SIZES[options.size].bytesPerSecond),
      },
    });
    try {
      return await overload(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

async function overload(service: TestService, options: FaultOptions): Promise<FaultReport> {
  const { bytesPerSecond, clients, peakMs, overloadMinutes, burstMs } = SIZES[options.size];
  const workers = service.children('ingest');
  resetRssPeak(workers);
  const crowd = new Crowd(service, clients, (bytesPerSecond * WORKERS) / BODY_BYTES);
  const violations: string[] = [];
  crowd.start(TIMES_AT_PEAK);
  await delay(burstMs);
  const peak = await crowd.measure(peakMs);
  crowd.times = TIMES_AT_OVERLOAD;
  const overloaded = await crowd.measure((options.minutes ?? overloadMinutes) * 60_000);
  await crowd.stop();
  options.say(`goodput ${overloaded.goodput} requests/s of ${peak.goodput}, ${overloaded.offered} offered`);
  const rssPeaksMib = workers.map((pid) => mib(rssPeakBytes([pid])));
  if (rssPeaksMib.some((used) => used > MEMORY_MIB)) violations.push(`${rssPeaksMib.join(' and ')} MiB were used`);
  if (options.size === 'full') {
    if (overloaded.goodput < GOODPUT_SHARE_MIN * peak.goodput)
      violations.push(`${overloaded.goodput} requests a second were taken, of ${peak.goodput} at the peak`);
    if (overloaded.offered < 0.9 * TIMES_AT_OVERLOAD * peak.goodput)
      violations.push(`only ${overloaded.offered} requests a second were offered: nothing was tested`);
  }
  violations.push(...crowd.dropped.map((what) => `refused for good: ${what}`));
  if (crowd.retried === 0) violations.push('nobody was refused: nothing was tested');
  const counted = await refusalsCounted(service);
  if (JSON.stringify(counted) !== JSON.stringify({ overloaded: crowd.retried }))
    violations.push(`${crowd.retried} refusals were seen, and counted are ${JSON.stringify(counted)}`);
  violations.push(...(await crowd.judgeRows()));
  const { acknowledged, issued, retried, unanswered } = crowd;
  const figures = { acknowledged: acknowledged.size, issued: issued.size, retried, unanswered };
  const rates = { peakPerSecond: peak.goodput, goodputPerSecond: overloaded.goodput, offered: overloaded.offered };
  return { figures: { ...figures, ...rates, rssPeaksMib: rssPeaksMib.join(' ') }, violations };
}

/** By reason, over all processes. */
async function refusalsCounted(service: TestService): Promise<Record<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${service.ports.api}/metrics`)).text();
  const counted: Record<string, number> = {};
  for (const [, labels = '', value] of text.matchAll(/^backwork_requests_refused_total\{([^}]*)\} (\d+)$/gm)) {
    const reason = /reason="([^"]*)"/.exec(labels)?.[1] ?? '';
    if (Number(value) > 0) counted[reason] = (counted[reason] ?? 0) + Number(value);
  }
  return counted;
}

/** Clients that send at a pace and never wait as they are told. */
class Crowd {
  /** Of what the service takes: how much all of them offer together. */
  times = 1;
  readonly acknowledged = new Set<string>();
  readonly issued = new Set<string>();
  readonly dropped: string[] = [];
  retried = 0;
  unanswered = 0;
  readonly #service: TestService;
  readonly #clients: number;
  /** Requests that the service takes. */
  readonly #perSecond: number;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(service: TestService, clients: number, perSecond: number) {
    this.#service = service;
    this.#clients = clients;
    this.#perSecond = perSecond;
  }

  start(times: number): void {
    this.times = times;
    const { ports, token } = this.#service;
    const senders = Array.from({ length: this.#clients }, (_, i) =>
      i % 2 === 0 ? outcomeSender('grpc', ports.grpc, token) : outcomeSender('http', ports.http, token),
    );
    this.#running = Promise.all(senders.map((sender) => this.#client(sender)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** A second, for that long. */
  async measure(forMs: number): Promise<{ goodput: number; offered: number }> {
    const [acknowledged, issued, startMs] = [this.acknowledged.size, this.issued.size, performance.now()];
    await delay(forMs);
    const seconds = (performance.now() - startMs) / 1_000;
    const perSecond = (count: number): number => Math.round((10 * count) / seconds) / 10;
    return {
      goodput: perSecond(this.acknowledged.size - acknowledged),
      offered: perSecond(this.issued.size - issued),
    };
  }

  async judgeRows(): Promise<string[]> {
    const sql = 'SELECT Body AS id, toString(count()) AS n FROM otel_logs GROUP BY id';
    const done = (rows: { id: string }[]) => rows.length >= this.acknowledged.size;
    const rows = await this.#service.queryUntil<{ id: string; n: string }>(sql, done, 60_000);
    const stored = new Map(rows.map(({ id, n }) => [id, n]));
    const lost = [...this.acknowledged].filter((id) => !stored.has(id)).length;
    const doubled = rows.filter(({ n }) => n !== '1').length;
    const foreign = rows.filter(({ id }) => !this.issued.has(id)).length;
    if (lost + doubled + foreign === 0) return [];
    return [`${lost} requests are lost, ${doubled} doubled, ${foreign} were never sent`];
  }

  async #client(sender: OutcomeSender): Promise<void> {
    let nextMs = performance.now();
    while (!this.#stopping) {
      nextMs = Math.max(nextMs + (1_000 * this.#clients) / (this.#perSecond * this.times), performance.now() - 1_000);
      const id = `over-${this.issued.size}`;
      this.issued.add(id);
      const { kind, status, message } = await sender.send(bodyOf(id));
      if (kind === 'accepted') this.acknowledged.add(id);
      else if (kind === 'retried') this.retried++;
      else if (kind === 'dropped') this.dropped.push(`${status} ${message}`);
      else this.unanswered++;
      await delay(Math.max(0, nextMs - performance.now()));
    }
    sender.close();
  }
}

const PAD = 'p'.repeat(BODY_BYTES - 64);

function bodyOf(id: string): Buffer {
  return encodeRecords([{ body: { stringValue: id }, attributes: [{ key: 'pad', value: { stringValue: PAD } }] }]);
}
