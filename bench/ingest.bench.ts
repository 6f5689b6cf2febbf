/**
 * `npm run bench -- ingest`: the live service under load over one protocol at a time, each with a service of its own.
 *
 *   corpus ─► bodies, encoded once ─► warm-up ─► spool empty ─► load ─► spool empty ─► rows counted in the engine
 *                                               └─────── CPU, memory and bytes are of this ───────┘
 *
 * Generator and service share the machine, so rows/s says what both reach together; CPU µs a row is the figure to
 * compare. It is user and system time of each process over everything acknowledged, until the spool was empty.
 */
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Signal } from '../src/ingest/messages.ts';
import { corpusText } from './convert.bench.ts';
import { makeCorpus } from './corpus.ts';
import { type LiveService, startLiveService } from './live-service.ts';
import { type LoadResult, runLoad } from './load-generator.ts';
import { machineText } from './machine.ts';
import { type ProcessFigures, processFigures } from './process-figures.ts';
import { type RequestBody, requestBodies } from './request-bodies.ts';
import { openSender, type Protocol } from './senders.ts';
import { quantile, spreadOf, spreadText, tableText } from './statistics.ts';
import { countStored, type StoredRows } from './stored-rows.ts';

export interface IngestOptions {
  readonly protocols: readonly Protocol[];
  readonly signal: Signal;
  readonly seconds: number;
  /** RSS is printed for each; 0: not asked for. */
  readonly minutes: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  readonly inFlight: number;
  readonly itemsPerRequest: number;
  /** 0: full speed. */
  readonly itemsPerSecond: number;
  readonly gzip: boolean;
  /** undefined: as the service chooses. */
  readonly workers: number | undefined;
  readonly seed: number;
}

const BODIES_MIN = 128;
const DRAIN_WITHIN_MS = 300_000;
const MINUTE_MS = 60_000;
/** What an ingest process may grow from minute 1 on. */
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;
const MB = 1_000_000;

/** Exit code: 1 when an acknowledged row is missing or one is doubled. */
export async function benchIngest(options: IngestOptions): Promise<number> {
  console.log(`ingest    ${describeLoad(options)}`);
  console.log(machineText());
  const bodyCount = Math.max(BODIES_MIN, options.connections * options.inFlight);
  const corpus = makeCorpus({ ...options, requests: bodyCount });
  console.log(corpusText(corpus).replace(' a segment', ', sent again and again under new ids'));
  let exitCode = 0;
  for (const protocol of options.protocols) {
    const bodies = requestBodies(corpus, { grpc: protocol === 'grpc', gzip: options.gzip });
    const kept = await benchProtocol(protocol, options, bodies);
    if (!kept) exitCode = 1;
  }
  return exitCode;
}

function describeLoad(options: IngestOptions): string {
  const { signal, connections, inFlight, itemsPerRequest, itemsPerSecond, seconds, warmUpSeconds, gzip } = options;
  const rate = itemsPerSecond === 0 ? 'full speed' : `${itemsPerSecond} items/s`;
  return (
    `${signal}, ${itemsPerRequest} items a request${gzip ? ', gzip' : ''}, ${connections} connections, ` +
    `${inFlight} in flight each, ${rate}, ${seconds} s after ${warmUpSeconds} s of warm-up`
  );
}

async function benchProtocol(
  protocol: Protocol,
  options: IngestOptions,
  bodies: readonly RequestBody[],
): Promise<boolean> {
  const env = options.workers === undefined ? undefined : { BACKWORK_WORKERS: String(options.workers) };
  const service = await startLiveService(env ?? {});
  try {
    console.log(`\n${protocol}: fdatasync of 64 KiB here takes ${spreadText(await syncMs(service.dataDir))} ms`);
    const { signal, gzip, inFlight } = options;
    const port = service.ports[protocol];
    const senders = Array.from({ length: options.connections }, () =>
      openSender(protocol, { port, token: service.token, signal, gzip, inFlight }),
    );
    const load = { senders, inFlight, bodies, itemsPerRequest: options.itemsPerRequest };
    const warmUp = await runLoad({ ...load, itemsPerSecond: 0, seconds: options.warmUpSeconds, firstRequestId: 0 });
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const before = figuresOf(service);
    const stopWatching = watchMinutes(service, options.minutes);
    const { itemsPerSecond, seconds } = options;
    const measured = await runLoad({ ...load, itemsPerSecond, seconds, firstRequestId: warmUp.nextRequestId });
    stopWatching();
    for (const sender of senders) sender.close();
    const drainStartMs = performance.now();
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const drainedMs = performance.now() - drainStartMs;
    console.log(report(options, measured, drainedMs, before, figuresOf(service)));
    return await judge(service, options, [warmUp, measured]);
  } finally {
    await service.stop();
  }
}

type Figures = ReadonlyMap<string, ProcessFigures>;

/** Throws when a process is gone: one that was started again has other figures. */
function figuresOf(service: LiveService): Figures {
  return new Map(service.processes.map(({ name, pid }) => [name, processFigures(pid)]));
}

function report(options: IngestOptions, load: LoadResult, drainedMs: number, before: Figures, after: Figures): string {
  const rows = load.acknowledgedRequests * options.itemsPerRequest;
  const answered = load.acknowledgementMs;
  const ms = (share: number) => quantile(answered, share).toFixed(1);
  const refused = load.unsure.length === 0 ? 'none' : `${load.unsure.length}, the first: ${load.firstRefusal}`;
  const figures = [...after].map(([name, now]) => {
    const then = before.get(name);
    const cpuUs = (now.cpuMicros - (then?.cpuMicros ?? 0)) / rows;
    return { name, cpuUs, peak: now.peakRssBytes, written: (now.writtenBytes - (then?.writtenBytes ?? 0)) / rows };
  });
  const sum = (names: RegExp) =>
    figures.filter(({ name }) => names.test(name)).reduce((all, one) => all + one.cpuUs, 0);
  return [
    `acknowledged   ${rows} rows in ${load.acknowledgedRequests} requests, ${((1_000 * rows) / load.elapsedMs).toFixed(0)} rows/s; refused: ${refused}`,
    `answered in    p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms, at most ${ms(1)} ms`,
    `spool empty    ${(drainedMs / 1_000).toFixed(1)} s after the last answer`,
    `generator      ${(load.generatorCpuMicros / rows).toFixed(2)} CPU µs a row`,
    tableText([
      ['process', 'CPU µs a row', 'peak RSS MB', 'written B a row'],
      ...figures.map((one) => [one.name, one.cpuUs.toFixed(2), (one.peak / MB).toFixed(0), one.written.toFixed(0)]),
      ['all ingest', sum(/^ingest/).toFixed(2), '', ''],
      ['ingest + store', sum(/^(ingest|store)/).toFixed(2), '', ''],
      ['whole service', sum(/^/).toFixed(2), '', ''],
    ]),
  ].join('\n');
}

/** Counts in the engine, and says what it found. */
async function judge(service: LiveService, options: IngestOptions, loads: readonly LoadResult[]): Promise<boolean> {
  const { signal, itemsPerRequest } = options;
  const acknowledged = loads.reduce((sum, load) => sum + load.acknowledgedRequests, 0) * itemsPerRequest;
  const unsure = loads.flatMap((load) => load.unsure);
  const requestIds = loads.at(-1)?.nextRequestId ?? 0;
  const stored: StoredRows = await countStored(service, { signal, requestIds, itemsPerRequest, unsure });
  const once = stored.rows === acknowledged && stored.distinctRows === acknowledged && stored.doubled === 0;
  const verdict = once ? 'every acknowledged row is stored once' : 'NOT every acknowledged row is stored once';
  console.log(
    `stored         ${verdict}: ${acknowledged} acknowledged with the warm-up, count() ${stored.rows}, ` +
      `uniqExact ${stored.distinctRows}, doubled ${stored.doubled}`,
  );
  return once;
}

/** Prints the RSS of each ingest process at the end of each minute; the last line says how it grew. */
function watchMinutes(service: LiveService, minutes: number): () => void {
  if (minutes === 0) return () => undefined;
  const workers = service.processes.filter(({ name }) => name.startsWith('ingest'));
  const first = new Map<string, number>();
  let minute = 0;
  const look = () => {
    minute++;
    for (const { name, pid } of workers) {
      const { rssBytes } = processFigures(pid);
      if (minute === 1) first.set(name, rssBytes);
      const grown = rssBytes - (first.get(name) ?? 0);
      const verdict = grown <= GROWTH_BYTES_MAX ? 'within' : 'NOT within';
      const since = minute === 1 ? '' : `, ${(grown / MB).toFixed(1)} MB over minute 1: ${verdict} 64 MiB`;
      console.log(`minute ${minute}       ${name}: RSS ${(rssBytes / MB).toFixed(1)} MB${since}`);
    }
  };
  const timer = setInterval(look, MINUTE_MS);
  return () => {
    clearInterval(timer);
    if (minute < minutes) look();
  };
}

/** What one appended and synced write costs on the disk of the data directory. */
async function syncMs(dir: string) {
  const path = join(dir, 'sync-probe');
  const file = await open(path, 'w');
  const times: number[] = [];
  const data = Buffer.alloc(64 * 1024, 1);
  for (let i = 0; i < 40; i++) {
    await file.write(data);
    const start = performance.now();
    await file.datasync();
    times.push(performance.now() - start);
  }
  await file.close();
  await unlink(path);
  return spreadOf(times);
}
