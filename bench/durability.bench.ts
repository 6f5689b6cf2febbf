/**
 * `npm run bench -- durability`: what it costs that an acknowledged request is on the disk. The live service at half of its
 * own peak, with `fdatasync` and without it in turns, each round with services of their own:
 *
 *   peak: 40 s at full speed, once, all of it stored ─► rounds of (with, without | without, with) at half, probe beside
 *
 * The peak is what the whole service keeps up with: acknowledged rows by the time until the last of them is stored. (What it
 * acknowledges for a while is more; the spool takes the difference, and merges come later: in 10 s the figure is half as high
 * again.)
 *
 * The probe is the disk's own `fdatasync`, timed in a thread beside the load, on the same disk, with as many bytes as a commit
 * has. Promise (reliability reference, 1.5): p99 of the acknowledgement ≤ 3 × p99 of the probe in the same run + 5 ms.
 */
import { join } from 'node:path';
import { storeBody } from '../src/ingest/spool/body.ts';
import { corpusText } from './convert.bench.ts';
import { makeCorpus } from './corpus.ts';
import { startLiveService } from './live-service.ts';
import { type LoadResult, runLoad } from './load-generator.ts';
import { machineText } from './machine.ts';
import { processFigures } from './process-figures.ts';
import { type RequestBody, requestBodies } from './request-bodies.ts';
import { openSender, type Protocol } from './senders.ts';
import { quantile, spreadOf, spreadText, tableText } from './statistics.ts';

export interface DurabilityOptions {
  readonly protocol: Protocol;
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly itemsPerRequest: number;
  readonly seed: number;
}

interface Round {
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU µs a row of each kind of process. */
  readonly ingestUs: number;
  readonly storeUs: number;
  readonly engineUs: number;
  readonly probeP99Ms: number;
  readonly refused: number;
  readonly rows: number;
}

const PEAK_SECONDS = 40;
/** Code is compiled by then: in the first 5 s of a process p99 is twice what it is after. */
const WARM_UP_SECONDS = 10;
const DRAIN_WITHIN_MS = 300_000;
const BODIES_MIN = 128;
const PROBE_EVERY_MS = 20;
const PROBE_RATIO_MAX = 3;
const PROBE_EXTRA_MS = 5;
const AGENT = new URL('no-datasync-agent.ts', import.meta.url).href;

/** Exit code: 1 when the acknowledgement is later than promised, or something was refused. */
export async function benchDurability(options: DurabilityOptions): Promise<number> {
  const { protocol, rounds, seconds, connections, itemsPerRequest } = options;
  console.log(`durability  traces over ${protocol}, ${itemsPerRequest} items a request, ${connections} connections`);
  console.log(machineText());
  const corpus = makeCorpus({ ...options, signal: 'traces', requests: Math.max(BODIES_MIN, connections * 8) });
  console.log(corpusText(corpus).replace(' a segment', ', sent again and again under new ids'));
  const bodies = requestBodies(corpus, { grpc: protocol === 'grpc', gzip: false });
  const peak = await peakRowsPerSecond(options, bodies);
  const rate = Math.round(peak / 2);
  console.log(
    `\npeak ${peak.toFixed(0)} rows/s, acknowledged and stored; measured at ${rate} rows/s, ${seconds} s a run`,
  );
  const withSync: Round[] = [];
  const without: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [withSync, without] : [without, withSync];
    for (const target of order) {
      const measured = await measure(options, bodies, rate, target === withSync);
      target.push(measured);
      console.log(
        `round ${round + 1} ${target === withSync ? 'with   ' : 'without'} ack p50 ${measured.p50Ms.toFixed(1)} p99 ${measured.p99Ms.toFixed(1)} ms, probe p99 ${measured.probeP99Ms.toFixed(1)} ms, refused ${measured.refused}`,
      );
    }
  }
  console.log(`\n${summary(withSync, without)}`);
  return verdict(withSync, without);
}

async function peakRowsPerSecond(options: DurabilityOptions, bodies: readonly RequestBody[]): Promise<number> {
  const service = await startLiveService({});
  try {
    const senders = sendersTo(service, options, 1);
    const load = { senders, inFlight: 1, bodies, itemsPerRequest: options.itemsPerRequest, itemsPerSecond: 0 };
    const warmUp = await runLoad({ ...load, seconds: WARM_UP_SECONDS, firstRequestId: 0 });
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const startMs = performance.now();
    const peak = await runLoad({ ...load, seconds: PEAK_SECONDS, firstRequestId: warmUp.nextRequestId });
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const elapsedMs = performance.now() - startMs;
    for (const sender of senders) sender.close();
    return (1_000 * peak.acknowledgedRequests * options.itemsPerRequest) / elapsedMs;
  } finally {
    await service.stop();
  }
}

function sendersTo(
  service: { readonly ports: { readonly grpc: number; readonly http: number }; readonly token: string },
  { protocol, connections }: DurabilityOptions,
  inFlight: number,
) {
  const target = { port: service.ports[protocol], token: service.token, signal: 'traces', gzip: false } as const;
  return Array.from({ length: connections }, () => openSender(protocol, { ...target, inFlight }));
}

async function measure(
  options: DurabilityOptions,
  bodies: readonly RequestBody[],
  rate: number,
  synced: boolean,
): Promise<Round> {
  const { itemsPerRequest, seconds } = options;
  const agent = synced ? {} : { NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import ${AGENT}` };
  const service = await startLiveService(agent);
  try {
    // Several slots a connection: a request that is answered late must not hold back those that are due after it.
    const inFlight = 8;
    const senders = sendersTo(service, options, inFlight);
    const load = { senders, inFlight, bodies, itemsPerRequest, itemsPerSecond: rate };
    const warmUp = await runLoad({ ...load, seconds: WARM_UP_SECONDS, firstRequestId: 0 });
    const before = cpuOf(service.processes);
    // At this load a commit has one request, and its body makes nearly all of the record.
    const probe = startSyncProbeIn(service.dataDir, storeBody(bodies[0]!.bytes).bytes.length);
    const measured = await runLoad({ ...load, seconds, firstRequestId: warmUp.nextRequestId });
    const probed = await (await probe).stop();
    for (const sender of senders) sender.close();
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    return roundOf(measured, itemsPerRequest, before, cpuOf(service.processes), quantile(probed, 0.99));
  } finally {
    await service.stop();
  }
}

async function startSyncProbeIn(dataDir: string, bytes: number) {
  const { startSyncProbe } = await import('./sync-probe.ts');
  return startSyncProbe({ path: join(dataDir, 'spool', 'sync-probe'), bytes, everyMs: PROBE_EVERY_MS });
}

type Cpu = ReadonlyMap<string, number>;

function cpuOf(processes: readonly { readonly name: string; readonly pid: number }[]): Cpu {
  return new Map(processes.map(({ name, pid }) => [name, processFigures(pid).cpuMicros]));
}

function roundOf(load: LoadResult, itemsPerRequest: number, before: Cpu, after: Cpu, probeP99Ms: number): Round {
  const rows = load.acknowledgedRequests * itemsPerRequest;
  const cpuUs = (kind: string) =>
    [...after]
      .filter(([name]) => name.startsWith(kind))
      .reduce((sum, [name, now]) => sum + (now - (before.get(name) ?? 0)) / rows, 0);
  return {
    p50Ms: quantile(load.acknowledgementMs, 0.5),
    p99Ms: quantile(load.acknowledgementMs, 0.99),
    ingestUs: cpuUs('ingest'),
    storeUs: cpuUs('store'),
    engineUs: cpuUs('engine'),
    probeP99Ms,
    refused: load.unsure.length,
    rows,
  };
}

function summary(withSync: readonly Round[], without: readonly Round[]): string {
  const row = (name: string, rounds: readonly Round[]) => [
    name,
    ...(['p50Ms', 'p99Ms', 'probeP99Ms', 'ingestUs', 'storeUs', 'engineUs'] as const).map((figure) =>
      spreadText(spreadOf(rounds.map((round) => round[figure]))),
    ),
  ];
  return tableText([
    ['', 'ack p50 ms', 'ack p99 ms', 'probe p99 ms', 'CPU µs a row: ingest', 'store', 'engine'],
    row('with fdatasync', withSync),
    row('without', without),
  ]);
}

function verdict(withSync: readonly Round[], without: readonly Round[]): number {
  const refused = [...withSync, ...without].reduce((sum, round) => sum + round.refused, 0);
  const late = withSync.filter(({ p99Ms, probeP99Ms }) => p99Ms > PROBE_RATIO_MAX * probeP99Ms + PROBE_EXTRA_MS);
  console.log(
    `p99 of the acknowledgement ≤ ${PROBE_RATIO_MAX} × p99 of the disk's own fdatasync + ${PROBE_EXTRA_MS} ms: ` +
      `${withSync.length - late.length} of ${withSync.length} rounds; refused ${refused}`,
  );
  return late.length === 0 && refused === 0 ? 0 : 1;
}
