/**
 * F24: bodies over the limit, however they are announced. They are refused for good, as soon as it can be known, and what
 * was kept of them is never more than one limit.
 *
 * What was read before the answer is the service's own count, from its request log at level debug. CI lowers the limit by
 * its setting; the full size runs at the default.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BODY_BYTES_MAX, MIB } from '../../src/base/limits.ts';
import { until } from '../ingest/accept/peers.ts';
import type { TestService } from '../support/service.ts';
import type { Fault, FaultOptions } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { type OversizedBody, oversizedBodies } from './support/oversized-bodies.ts';
import { resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';
import { mib, underService, type Watched } from './support/under-service.ts';

const LIMIT_BYTES_CI = 8 * MIB;
/** What the socket's reads leave for the garbage collector while 64 MiB come in; seen: 3 to 13 MiB. */
const READ_GARBAGE_BYTES = 16 * MIB;
const LOG_LATE_MS = 100;
const WARM_UP_MS = { ci: 300, full: 5_000 };

export const f24: Fault = {
  id: 'F24',
  title: 'bodies over the limit, and lengths that lie',
  run(options) {
    const limitBytes = options.size === 'ci' ? LIMIT_BYTES_CI : BODY_BYTES_MAX;
    const env = { BACKWORK_LOG_LEVEL: 'debug', BACKWORK_BODY_MIB: String(limitBytes / MIB) };
    return underService(env, (watched) => inject(watched, limitBytes, options));
  },
};

async function inject(watched: Watched, limitBytes: number, { size, say }: FaultOptions) {
  const { service, ingest, violations } = watched;
  const good = new GoodClients(service);
  good.start();
  await delay(WARM_UP_MS[size]);
  await good.stop();
  const cases = oversizedBodies(limitBytes);
  // Refused ones first: what an accepted body leaves behind would hide what they take.
  const refused = cases.filter((one) => one.bytesReadMax !== undefined);
  const rssAtFirst = rssBytes(ingest);
  let bytesReadOver = 0;
  let rssGrownBytes = 0;
  for (const one of refused) {
    const rssBefore = rssBytes(ingest);
    resetRssPeak(ingest);
    const { answered, bytesRead } = await sendOne(service, one);
    const grownBytes = rssPeakBytes(ingest) - rssBefore;
    say(`${one.name}: ${answered}, ${bytesRead} bytes read, at most ${mib(grownBytes)} MiB more`);
    rssGrownBytes = Math.max(rssGrownBytes, grownBytes);
    violations.push(...judge(one, answered));
    const bytesReadMax = one.bytesReadMax ?? 0;
    if (bytesRead > bytesReadMax) violations.push(`${one.name}: ${bytesRead} bytes read, ${bytesReadMax} are allowed`);
    bytesReadOver = Math.max(bytesReadOver, bytesRead - limitBytes);
  }
  const rssGrownInAllMib = mib(rssBytes(ingest) - rssAtFirst);
  if (size === 'full' && rssGrownBytes > limitBytes + READ_GARBAGE_BYTES) {
    violations.push(`a refused body made the ingest process grow by ${mib(rssGrownBytes)} MiB`);
  }
  for (const one of cases) {
    if (!refused.includes(one)) violations.push(...judge(one, (await sendOne(service, one)).answered));
  }
  violations.push(...(await good.judgeRows()));
  return {
    cases: cases.length,
    limitMib: mib(limitBytes),
    bytesReadOver,
    rssGrownMib: mib(rssGrownBytes),
    rssGrownInAllMib,
  };
}

function judge(one: OversizedBody, answered: string): string[] {
  return one.expected.test(answered) ? [] : [`${one.name}: answered ${answered} instead of ${one.expected}`];
}

/** The bytes are those of the first line of the request log that follows. */
async function sendOne(service: TestService, one: OversizedBody): Promise<{ answered: string; bytesRead: number }> {
  // Lines of what was answered before come a moment late.
  await delay(LOG_LATE_MS);
  const last = requestLines(service).at(-1);
  const answered = await one.send(service).catch((error: Error) => error.message.slice(0, 100));
  let line: string | undefined;
  await until(() => {
    const lines = requestLines(service);
    line = lines[last === undefined ? 0 : lines.lastIndexOf(last) + 1];
    return line !== undefined;
  });
  return { answered, bytesRead: (JSON.parse(line!) as { bytes: number }).bytes };
}

/** Each has its time and duration in it, so two are hardly alike; the beginning of the log may be gone. */
function requestLines(service: TestService): string[] {
  return service.stderr.split('\n').filter((line) => line.includes('"msg":"request"') && line.endsWith('}'));
}
