/**
 * F25: compressed bodies that inflate to just over the limit, broken ones, and codings that are not served. Each is
 * refused with its own status over both protocols, costs little time and no more memory than one body, and no other client
 * waits for it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BODY_BYTES_MAX } from '../../src/base/limits.ts';
import type { Fault, FaultOptions } from './fault.ts';
import { type Bomb, brokenBombs, inflatingBombs, sendGrpc, sendHttp } from './support/bombs.ts';
import { GoodClients, type Phase } from './support/good-clients.ts';
import { cpuMs, resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';
import { mib, underService, type Watched } from './support/under-service.ts';

const SIZES = { ci: { repeats: 1, phaseMs: 500 }, full: { repeats: 10, phaseMs: 20_000 } };
/** Between two bombs of one attacker who sends one after another, beside the good clients. */
const PAUSE_MS = 250;
const CPU_MS_MAX = 200;
const RSS_GROWN_MIB_MAX = 64;
const P99_RATIO_MAX = 2;

export const f25: Fault = {
  id: 'F25',
  title: 'compressed bodies that are bombs, broken, or in a coding that is not served',
  run: (options) => underService({}, (watched) => inject(watched, options)),
};

type Send = () => Promise<string | undefined>;

async function inject(watched: Watched, { size, say }: FaultOptions): Promise<Record<string, number | string>> {
  const { service, ingest, violations } = watched;
  const { repeats, phaseMs } = SIZES[size];
  const sends = (bombs: readonly Bomb[]) =>
    bombs.flatMap(
      (bomb): Array<[string, Send]> => [
        [`${bomb.name} over HTTP`, () => sendHttp(service, bomb)],
        [`${bomb.name} over gRPC`, () => sendGrpc(service, bomb)],
      ],
    );
  const inflating = sends(inflatingBombs(BODY_BYTES_MAX));
  const broken = sends(brokenBombs());

  const good = new GoodClients(service);
  good.start();
  await delay(size === 'full' ? 3_000 : 200);
  const baseline = await good.measure(phaseMs);
  say(`without: ${JSON.stringify(baseline)}`);
  const rssAtFirst = rssBytes(ingest);
  const underInflating = await measureUnder(good, inflating, phaseMs);
  const underBroken = await measureUnder(good, broken, phaseMs);
  say(`under bombs: ${JSON.stringify(underInflating)}; under broken bodies: ${JSON.stringify(underBroken)}`);
  await good.stop();

  let cpuMsMax = 0;
  let rssGrownMib = 0;
  for (const [name, send] of [...inflating, ...broken]) {
    const cpuBefore = cpuMs(ingest);
    const rssBefore = rssBytes(ingest);
    resetRssPeak(ingest);
    let wrong: string | undefined;
    for (let i = 0; i < repeats; i++) wrong ??= await send().catch((error: Error) => `${name}: ${error.message}`);
    const cost = Math.round((cpuMs(ingest) - cpuBefore) / repeats);
    const grownMib = mib(rssPeakBytes(ingest) - rssBefore);
    say(`${name}: ${cost} ms of processor time, ${grownMib} MiB`);
    cpuMsMax = Math.max(cpuMsMax, cost);
    rssGrownMib = Math.max(rssGrownMib, grownMib);
    if (wrong !== undefined) violations.push(wrong);
  }
  const rssGrownInAllMib = mib(rssBytes(ingest) - rssAtFirst);
  const stored = await service.query("SELECT 1 FROM otel_logs WHERE startsWith(Body, 'bomb-')");
  if (stored.length > 0) violations.push(`${stored.length} rows of refused bodies are stored`);
  violations.push(...(await good.judgeRows()));

  const failed = underInflating.failed + underBroken.failed;
  if (failed > 0) violations.push(`${failed} good requests were not answered OK`);
  const ratio = Math.max(underInflating.p99Ms, underBroken.p99Ms) / baseline.p99Ms;
  if (size === 'full') {
    if (cpuMsMax > CPU_MS_MAX) violations.push(`a body cost ${cpuMsMax} ms of processor time`);
    if (rssGrownMib > RSS_GROWN_MIB_MAX) violations.push(`a body made the ingest process grow by ${rssGrownMib} MiB`);
    if (ratio > P99_RATIO_MAX) violations.push(`good clients' p99 is ${ratio.toFixed(2)} × as long`);
  }
  return {
    bodies: (inflating.length + broken.length) * repeats,
    ...figures(baseline, underInflating, ratio, failed),
    cpuMsMax,
    rssGrownMib,
    rssGrownInAllMib,
  };
}

function figures(baseline: Phase, under: Phase, ratio: number, goodFailed: number): Record<string, number> {
  const p99Ratio = Math.round(ratio * 100) / 100;
  return { goodRequests: under.requests, goodFailed, p99BaselineMs: baseline.p99Ms, p99Ms: under.p99Ms, p99Ratio };
}

/** What good clients see while one attacker sends these, over and over. */
async function measureUnder(good: GoodClients, sends: ReadonlyArray<[string, Send]>, forMs: number): Promise<Phase> {
  const endMs = performance.now() + forMs;
  good.takePhase();
  for (let i = 0; performance.now() < endMs; i++) {
    await sends[i % sends.length]![1]();
    await delay(PAUSE_MS);
  }
  return good.takePhase();
}
