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
    turns: 1,
    quietMs: 300,
    noisyMs: 1_500,
    spoolMs: 0,
    spoolMib: 1,
    probers: 1,
  },
  full: {
    bytesPerSecond: 400_000,
    bodyBytes: 20_000_000,
    turns: 4,
    quietMs: 30_000,
    noisyMs: 30_000,
    spoolMs: 10_000,
    spoolMib: 8,
    probers: 4,
  },
} as const;
/** What the noise must have met, of each at least one. */
const ANSWERS = [/^accepted/, /^retried 429/, /^retried gRPC 14/];
const SPOOL_IS_FULL = /^retried .*wait for the telemetry store/s;
/** Of the bodies that fill the spool. */
const SPOOL_BODY_BYTES = 1_000_000;
/** After noise: what it left to be stored is stored. */
const SETTLED_MS = 5_000;
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
  const stage = { service, token, sized, good, probes };
  const [quiet, noisy] = [new Seen(), new Seen()];
  const noised: NoisyResult[] = [];
  const startedMs = performance.now();
  // In turns: whatever else the machine does falls on both alike.
  for (let turn = 1; turn <= sized.turns; turn++) {
    if (turn > 1) await delay(SETTLED_MS);
    await measure(stage, quiet, sized.quietMs);
    noised.push(await makeNoise(stage, noisy, turn));
    say(
      `turn ${turn}: ${quiet.text()} without noise, ${noisy.text()} beside it, ${JSON.stringify(noised.at(-1)?.answers)}`,
    );
  }
  const noise = sumOf(noised);
  violations.push(...judgeNoise(noise, sized, (performance.now() - startedMs) / 1_000));
  const refusedBeside = quiet.failed + noisy.failed;
  if (refusedBeside > 0) violations.push(`${refusedBeside} requests of the neighbour were not accepted`);
  const ackRatio = p99(noisy.ackMs) / p99(quiet.ackMs);
  const visibleRatio = p99(noisy.visibleMs) / p99(quiet.visibleMs);
  if (size === 'full' && ackRatio > ACK_RATIO_MAX) violations.push(`p99 of answers grew ${ackRatio.toFixed(2)} times`);
  if (size === 'full' && visibleRatio > VISIBLE_RATIO_MAX)
    violations.push(`p99 of rows grew ${visibleRatio.toFixed(2)} times`);
  await probes.stop();

  const spool = await fillSpool(service, token, sized, good, violations);
  await good.stop();
  violations.push(...(await good.judgeRows()), ...(await judgeRows(service, noise.acceptedRows + spool.acceptedRows)));
  return {
    figures: {
      offeredMb: Math.round(noise.offeredBytes / 1e6),
      acceptedMb: Math.round(noise.acceptedBytes / 1e6),
      ...noise.answers,
      neighbourRequests: quiet.ackMs.length + noisy.ackMs.length,
      neighbourRefused: refusedBeside + spool.refusedBeside,
      ...(size === 'full' && {
        ackP99Ms: `${p99(quiet.ackMs)} -> ${p99(noisy.ackMs)} (${ackRatio.toFixed(2)} x)`,
        visibleP99Ms: `${p99(quiet.visibleMs)} -> ${p99(noisy.visibleMs)} (${visibleRatio.toFixed(2)} x)`,
      }),
      spoolAcceptedMb: Math.round(spool.acceptedBytes / 1e6),
    },
    violations,
  };
}

interface Stage {
  readonly service: TestService;
  readonly token: string;
  readonly sized: Size;
  readonly good: GoodClients;
  readonly probes: Probes;
}

/** What the neighbour saw, over all turns of one kind. */
class Seen {
  readonly ackMs: number[] = [];
  readonly visibleMs: number[] = [];
  failed = 0;

  text(): string {
    return `p99 ${p99(this.ackMs)} ms and visible after ${p99(this.visibleMs)} ms`;
  }
}

async function measure({ good, probes }: Stage, seen: Seen, forMs: number): Promise<void> {
  good.takeLatencies();
  probes.take();
  await delay(forMs);
  const { sortedMs, failed } = good.takeLatencies();
  seen.ackMs.push(...sortedMs);
  seen.visibleMs.push(...probes.take());
  seen.failed += failed;
}

async function makeNoise(stage: Stage, seen: Seen, turn: number): Promise<NoisyResult> {
  const { service, token, sized } = stage;
  const loud = startNoise(noiseOf(service, token, sized, `noisy${turn}`));
  await measure(stage, seen, sized.noisyMs);
  // Later, what the first turn was given may still be owed: no body need be accepted.
  await loud.heard(turn === 1 ? ANSWERS : ANSWERS.slice(1));
  return loud.stop();
}

function sumOf(results: readonly NoisyResult[]): NoisyResult {
  const sum = {
    offeredBytes: 0,
    acceptedBytes: 0,
    acceptedRows: 0,
    answers: {} as Record<string, number>,
    message: '',
  };
  for (const one of results) {
    sum.offeredBytes += one.offeredBytes;
    sum.acceptedBytes += one.acceptedBytes;
    sum.acceptedRows += one.acceptedRows;
    sum.message ||= one.message;
    for (const [answer, count] of Object.entries(one.answers)) {
      sum.answers[answer] = (sum.answers[answer] ?? 0) + count;
    }
  }
  return sum;
}

/** In tenths of a ms. */
function p99(valuesMs: readonly number[]): number {
  const sorted = [...valuesMs].sort((a, b) => a - b);
  return Math.round((sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN) * 10) / 10;
}

function noiseOf(service: TestService, token: string, sized: Size, prefix: string) {
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
  let isShared: boolean;
  try {
    const loud = startNoise({ ...noiseOf(service, token, sized, 'noisyS'), bodyBytes: SPOOL_BODY_BYTES });
    await delay(sized.spoolMs);
    // The new limits, too, reach the workers only meanwhile: until then its bytes a second are what it is refused for.
    isShared = await loud.heard([SPOOL_IS_FULL]);
    noised = await loud.stop();
  } finally {
    for (const pid of stores) process.kill(pid, 'SIGCONT');
  }
  const { failed } = good.takePhase();
  if (failed > 0) violations.push(`${failed} requests of the neighbour were not accepted while the spool filled`);
  if (!isShared) {
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

  /** Those found since the last call, in ms. */
  take(): number[] {
    const taken = this.#visibleMs;
    this.#visibleMs = [];
    return taken;
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
