/**
 * F37: an organization sends 50 times what it may, in bodies of 20 MB, over both protocols and to both workers, and never
 * waits as it is told. It gets its own retryable refusals and no more than its rate; its neighbour is refused nothing, and
 * its acknowledgements and its rows come as fast as without the noise. Then the store stands still: the organization's
 * share of the spool fills, and the neighbour goes on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LIMIT_BURST_MS } from '../../src/base/limits.ts';
import { encodeIds, httpSender } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { limitOrganization, makeOrganization, startNoise } from './support/noisy-neighbour.ts';
import type { NoisyResult } from './support/noisy-thread.ts';

const TIMES_THE_LIMIT = 50;
const ACK_RATIO_MAX = 1.5;
const VISIBLE_RATIO_MAX = 2;
const WORKERS = 2;
/** Short: bodies small enough that two workers which did not hear of each other would let in too much. */
const SIZES = {
  ci: {
    bytesPerSecond: 100_000,
    bodyBytes: 100_000,
    quietMs: 1_000,
    noisyMs: 2_000,
    spoolMs: 500,
    spoolMib: 1,
    probers: 1,
  },
  full: {
    bytesPerSecond: 400_000,
    bodyBytes: 20_000_000,
    quietMs: 60_000,
    noisyMs: 60_000,
    spoolMs: 10_000,
    spoolMib: 8,
    probers: 4,
  },
} as const;
/** What the noise must have met, of each at least one. */
const ANSWERS = [/^accepted/, /^retried 429/, /^retried gRPC 14/];
/** Of the bodies that fill the spool. */
const SPOOL_BODY_BYTES = 1_000_000;
/** How often a row is looked for: the visible time is known to this. */
const LOOK_MS = 25;

type Size = (typeof SIZES)[keyof typeof SIZES];

export const f37: Fault = {
  id: 'F37',
  title: 'a noisy neighbour sends 50 times its limit',
  async run(options: FaultOptions): Promise<FaultReport> {
    const service = await startService({ env: { BACKWORK_WORKERS: String(WORKERS) } });
    try {
      return await beside(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

async function beside(service: TestService, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const sized = SIZES[size];
  const violations: string[] = [];
  const token = await makeOrganization(service, 'noisy', { 'bytes-per-second': sized.bytesPerSecond });
  const good = new GoodClients(service);
  good.start();
  const probes = new Probes(service, seed, sized.probers);
  probes.start();
  await delay(500);
  probes.take();
  const quiet = { ...(await good.measure(sized.quietMs)), visibleP99Ms: probes.take() };
  say(`alone: p99 ${quiet.p99Ms} ms, visible after ${quiet.visibleP99Ms} ms`);
  const loud = startNoise(noise(service, token, sized, 'noisy1'));
  const startedMs = performance.now();
  const noisy = { ...(await good.measure(sized.noisyMs)), visibleP99Ms: probes.take() };
  await loud.heard(ANSWERS);
  const noised = await loud.stop();
  const seconds = (performance.now() - startedMs) / 1_000;
  say(`beside noise: p99 ${noisy.p99Ms} ms, visible after ${noisy.visibleP99Ms} ms, ${JSON.stringify(noised.answers)}`);
  violations.push(...judgeNoise(noised, sized, seconds));
  const refusedBeside = quiet.failed + noisy.failed;
  if (refusedBeside > 0) violations.push(`${refusedBeside} requests of the neighbour were not accepted`);
  const [ackRatio, visibleRatio] = [noisy.p99Ms / quiet.p99Ms, noisy.visibleP99Ms / quiet.visibleP99Ms];
  if (size === 'full' && ackRatio > ACK_RATIO_MAX) violations.push(`p99 of answers grew ${ackRatio.toFixed(2)} times`);
  if (size === 'full' && visibleRatio > VISIBLE_RATIO_MAX)
    violations.push(`p99 of rows grew ${visibleRatio.toFixed(2)} times`);
  await probes.stop();

  const spool = await fillSpool(service, token, sized, good, violations);
  await good.stop();
  violations.push(...(await good.judgeRows()), ...(await judgeRows(service, noised.acceptedRows + spool.acceptedRows)));
  return {
    figures: {
      offeredMb: Math.round(noised.offeredBytes / 1e6),
      acceptedMb: Math.round(noised.acceptedBytes / 1e6),
      ...noised.answers,
      neighbourRequests: quiet.requests + noisy.requests,
      neighbourRefused: refusedBeside + spool.refusedBeside,
      ackP99Ms: `${quiet.p99Ms} -> ${noisy.p99Ms} (${ackRatio.toFixed(2)} x)`,
      visibleP99Ms: `${quiet.visibleP99Ms} -> ${noisy.visibleP99Ms} (${visibleRatio.toFixed(2)} x)`,
      spoolAcceptedMb: Math.round(spool.acceptedBytes / 1e6),
    },
    violations,
  };
}

function noise(service: TestService, token: string, sized: Size, prefix: string) {
  return {
    ports: service.ports,
    token,
    clients: ['http', 'grpc', 'http', 'grpc', 'http', 'grpc', 'http', 'grpc'] as const,
    bodyBytes: sized.bodyBytes,
    bytesPerSecond: TIMES_THE_LIMIT * sized.bytesPerSecond,
    prefix,
  };
}

/** All was accepted, or refused so that it comes again; some of each; and no more than the rate was accepted. */
function judgeNoise(noised: NoisyResult, sized: Size, seconds: number): string[] {
  const violations: string[] = [];
  const kinds = Object.keys(noised.answers);
  const bad = kinds.filter((kind) => !/^(accepted|retried 429|retried gRPC 14)/.test(kind));
  if (bad.length > 0) violations.push(`the noise was answered ${bad.join(', ')}: ${noised.message}`);
  for (const wanted of ANSWERS) {
    if (!kinds.some((kind) => wanted.test(kind))) violations.push(`no noise was answered ${wanted.source}`);
  }
  // Each worker lets a burst through before it hears of the other, and a body when something is left of the rate.
  const burstSeconds = (LIMIT_BURST_MS / 1_000) * WORKERS;
  const most = sized.bytesPerSecond * (seconds + burstSeconds) + WORKERS * sized.bodyBytes;
  if (noised.acceptedBytes > most) violations.push(`${noised.acceptedBytes} bytes were accepted, at most ${most} may`);
  return violations;
}

/** The store stands still. The organization's records pile up to its share of the spool and no further. */
async function fillSpool(
  service: TestService,
  token: string,
  sized: Size,
  good: GoodClients,
  violations: string[],
): Promise<{ acceptedRows: number; acceptedBytes: number; refusedBeside: number }> {
  await limitOrganization(service, 'noisy', { 'bytes-per-second': 0, 'spool-mib': sized.spoolMib });
  const stores = service.children('store');
  good.takePhase();
  for (const pid of stores) process.kill(pid, 'SIGSTOP');
  let noised: NoisyResult;
  try {
    const loud = startNoise({ ...noise(service, token, sized, 'noisy2'), bodyBytes: SPOOL_BODY_BYTES });
    await delay(sized.spoolMs);
    await loud.heard([/^retried/]);
    noised = await loud.stop();
  } finally {
    for (const pid of stores) process.kill(pid, 'SIGCONT');
  }
  const { failed } = good.takePhase();
  if (failed > 0) violations.push(`${failed} requests of the neighbour were not accepted while the spool filled`);
  if (!/wait for the telemetry store/.test(noised.message)) {
    violations.push(`the spool was not shared: ${JSON.stringify(noised.answers)} ${noised.message}`);
  }
  return { ...noised, refusedBeside: failed };
}

async function judgeRows(service: TestService, rows: number): Promise<string[]> {
  const sql = `SELECT toString(count()) AS n, toString(uniqExact(Body)) AS ids FROM otel_logs WHERE startsWith(Body, 'noisy')`;
  const found = await service.queryUntil<{ n: string; ids: string }>(sql, (got) => Number(got[0]?.ids) >= rows, 60_000);
  const { n, ids } = found[0] ?? { n: '0', ids: '0' };
  return n === ids && n === String(rows)
    ? []
    : [`${rows} rows of noise were acknowledged, ${n} of ${ids} ids are stored`];
}

/** How long after it was sent a row of the neighbour is found by a query. */
class Probes {
  readonly #service: TestService;
  readonly #seed: number;
  readonly #probers: number;
  #visibleMs: number[] = [];
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(service: TestService, seed: number, probers: number) {
    this.#service = service;
    this.#seed = seed;
    this.#probers = probers;
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: this.#probers }, (_, index) => this.#probe(index)));
  }

  /** p99 since the last call, in whole ms. */
  take(): number {
    const sorted = this.#visibleMs.sort((a, b) => a - b);
    this.#visibleMs = [];
    return Math.round(sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #probe(index: number): Promise<void> {
    const sender = httpSender(this.#service.ports.http, this.#service.token);
    for (let n = 0; !this.#stopping; n++) {
      const id = `probe-${this.#seed}-${index}-${n}`;
      const startedMs = performance.now();
      if (!(await sender.send(encodeIds([id])))) continue;
      while (!this.#stopping && !(await this.#isThere(id))) await delay(LOOK_MS);
      this.#visibleMs.push(performance.now() - startedMs);
    }
    sender.close();
  }

  async #isThere(id: string): Promise<boolean> {
    const rows = await this.#service.query(`SELECT 1 FROM otel_logs WHERE Body = '${id}' LIMIT 1`).catch(() => []);
    return rows.length > 0;
  }
}
