/**
 * F23: connections by the thousand that do nothing, half of HTTP/1.1 and half of gRPC, with well-behaved clients beside
 * them. They cost little memory, slow nobody down, and each is served when it wakes up.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { type IdleConnection, openIdle } from './support/idle-connections.ts';
import { openFilesMax, resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';
import { mib, underService, type Watched } from './support/under-service.ts';

const SIZES = {
  ci: { connections: 400, woken: 400, phaseMs: 500 },
  full: { connections: 10_000, woken: 500, phaseMs: 25_000 },
};
/** What else either side has open. */
const FILES_BESIDES = 500;
const RSS_GROWN_MIB_MAX = 400;
const P99_RATIO_MAX = 2;

export const f23: Fault = { id: 'F23', title: 'thousands of idle connections', run };

async function run(options: FaultOptions): Promise<FaultReport> {
  const { connections } = SIZES[options.size];
  const filesMax = openFilesMax('self');
  if (filesMax < connections + FILES_BESIDES) {
    const notRun = `a process may have ${filesMax} files open, and ${connections + FILES_BESIDES} are needed`;
    return { figures: {}, violations: [], notRun };
  }
  return underService({}, (watched) => inject(watched, options));
}

async function inject(watched: Watched, { size, say }: FaultOptions): Promise<Record<string, number | string>> {
  const { service, ingest, violations } = watched;
  const { connections, woken, phaseMs } = SIZES[size];
  const good = new GoodClients(service);
  good.start();
  await delay(size === 'full' ? 3_000 : 200);
  const baseline = await good.measure(phaseMs);
  say(`without: ${JSON.stringify(baseline)}`);
  const rssBefore = rssBytes(ingest);
  resetRssPeak(ingest);
  const idle = await openIdle(service, connections);
  const opening = good.takePhase();
  say(`${idle.length} are open, while they opened: ${JSON.stringify(opening)}`);
  const under = await good.measure(phaseMs);
  say(`under: ${JSON.stringify(under)}`);
  const rssGrownMib = mib(rssPeakBytes(ingest) - rssBefore);
  const closed = idle.filter((one) => one.isClosed()).length;
  const served = await wake(idle, woken);
  for (const one of idle) one.close();
  await good.stop();

  const failed = opening.failed + under.failed;
  const ratio = under.p99Ms / baseline.p99Ms;
  if (idle.length < connections) violations.push(`${connections - idle.length} connections were refused`);
  if (closed > 0) violations.push(`${closed} connections were closed before their time`);
  if (served < Math.min(woken, connections)) violations.push(`${served} of ${woken} were served when they woke up`);
  if (failed > 0) violations.push(`${failed} good requests were not answered OK`);
  if (rssGrownMib > RSS_GROWN_MIB_MAX) violations.push(`the ingest process grew by ${rssGrownMib} MiB`);
  if (size === 'full' && ratio > P99_RATIO_MAX) violations.push(`good clients' p99 is ${ratio.toFixed(2)} × as long`);
  violations.push(...(await good.judgeRows()));
  return {
    connections: idle.length,
    served,
    goodRequests: under.requests,
    goodFailed: failed,
    p99BaselineMs: baseline.p99Ms,
    p99Ms: under.p99Ms,
    p99Ratio: Math.round(ratio * 100) / 100,
    rssGrownMib,
  };
}

/** Sends on `count` of them, spread over all. */
async function wake(idle: readonly IdleConnection[], count: number): Promise<number> {
  const step = Math.max(1, Math.floor(idle.length / count));
  // Both protocols take turns in the list: an even step would meet one of them only.
  const chosen = Array.from(
    { length: Math.min(count, idle.length) },
    (_, i) => idle[i * step + (step > 1 ? i % 2 : 0)]!,
  );
  let served = 0;
  for (const one of chosen) served += (await one.serves()) ? 1 : 0;
  return served;
}
