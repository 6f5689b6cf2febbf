/**
 * F26: as many clients send bodies of the largest size at the same time as would fill a worker's memory ten times over, in
 * every form. Each worker stays under its ceiling and lives; who finds no room is told to come again; what was acknowledged
 * is stored once.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { LARGE_FORMS, LargeBodies, type LargeForm, sendLarge } from './support/large-bodies.ts';
import { resetRssPeak, rssPeakBytes } from './support/process-figures.ts';
import { mib } from './support/under-service.ts';

const WORKERS = 2;
const MIB = 1_048_576;
const SIZES = {
  ci: { bodyMib: 4, memoryMib: 320, clientsPerWorker: 16, minutes: 0.04 },
  full: { bodyMib: 64, memoryMib: 512, clientsPerWorker: 32, minutes: 10 },
};
/** What the shortest Retry-After says. */
const WAIT_MS = 1_000;
/** After the crowd a client of each form tries on for this long. */
const ALONE_MS = 60_000;
/** What the crowd left is stored as long as it takes, if each of these has fewer segments at its end. */
const DRAIN_PROGRESS_MS = 120_000;

export const f26: Fault = {
  id: 'F26',
  title: 'many of the largest bodies at once',
  async run(options: FaultOptions): Promise<FaultReport> {
    const { bodyMib, memoryMib } = SIZES[options.size];
    const service = await startService({
      env: {
        BACKWORK_WORKERS: String(WORKERS),
        BACKWORK_BODY_MIB: String(bodyMib),
        BACKWORK_INGEST_MEMORY_MIB: String(memoryMib),
      },
    });
    try {
      return await crowd(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

interface Counts {
  readonly acknowledged: Set<string>;
  readonly issued: Set<string>;
  readonly byForm: Record<LargeForm, number>;
  retried: number;
  unanswered: number;
  readonly dropped: string[];
}

async function crowd(service: TestService, { size, minutes, say }: FaultOptions): Promise<FaultReport> {
  const { bodyMib, memoryMib, clientsPerWorker, minutes: usualMinutes } = SIZES[size];
  const forMs = (minutes ?? usualMinutes) * 60_000;
  const bodies = new LargeBodies(bodyMib * MIB);
  const workers = service.children('ingest');
  resetRssPeak(workers);
  const counts: Counts = {
    acknowledged: new Set(),
    issued: new Set(),
    byForm: { protobuf: 0, gzip: 0, json: 0, grpc: 0 },
    retried: 0,
    unanswered: 0,
    dropped: [],
  };
  const untilMs = performance.now() + forMs;
  const clients = Array.from({ length: WORKERS * clientsPerWorker }, (_, i) =>
    client(service, bodies, LARGE_FORMS[i % LARGE_FORMS.length]!, untilMs, counts),
  );
  const watching = setInterval(() => {
    const peaks = workers.map((pid) => mib(rssPeakBytes([pid])));
    say(
      `${counts.acknowledged.size} acknowledged, ${counts.retried} told to come again, peaks ${peaks.join(', ')} MiB`,
    );
  }, 10_000);
  await Promise.all(clients);
  clearInterval(watching);
  const violations: string[] = counts.dropped.map((what) => `a client was refused for good: ${what}`);
  const same = JSON.stringify(service.children('ingest')) === JSON.stringify(workers);
  if (!same) violations.push(`an ingest process ended:\n${service.stderr.slice(-2_000)}`);
  const rssPeaksMib = same ? workers.map((pid) => mib(rssPeakBytes([pid]))) : [];
  if (rssPeaksMib.some((peak) => peak > memoryMib))
    violations.push(`${rssPeaksMib.join(' and ')} MiB were used, of ${memoryMib} MiB`);
  const { byForm } = counts;
  const inCrowd = counts.acknowledged.size;
  // One that needs most may find no room as long as others come; alone each finds it.
  const afterwards = LARGE_FORMS.map((form) =>
    client(service, bodies, form, performance.now() + ALONE_MS, counts, true),
  );
  await Promise.all(afterwards);
  for (const form of LARGE_FORMS) {
    if (byForm[form] === 0) violations.push(`no request was accepted as ${form}`);
  }
  if (inCrowd === 0) violations.push('nothing was accepted from the crowd');
  if (counts.retried === 0) violations.push('memory was never short: nothing was tested');
  violations.push(...(await judgeRows(service, bodies, counts)));
  const { acknowledged, retried, unanswered } = counts;
  const figures = { bodyMib, memoryMib, acknowledged: acknowledged.size, retried, unanswered, ...byForm };
  return { figures: { ...figures, rssPeaksMib: rssPeaksMib.join(' ') }, violations };
}

async function client(
  service: TestService,
  bodies: LargeBodies,
  form: LargeForm,
  untilMs: number,
  counts: Counts,
  once = false,
): Promise<void> {
  for (let left = once ? 1 : Number.POSITIVE_INFINITY; left > 0 && performance.now() < untilMs; left--) {
    const id = `one-${counts.issued.size}`;
    counts.issued.add(id);
    const parts = bodies.parts(form, id);
    for (;;) {
      const { kind, status, message } = await sendLarge(service, form, parts);
      if (kind === 'accepted') {
        counts.acknowledged.add(id);
        counts.byForm[form]++;
      } else if (kind === 'dropped') counts.dropped.push(`${form}: ${status} ${message}`);
      else if (kind === 'retried') counts.retried++;
      else counts.unanswered++;
      if (kind === 'accepted' || kind === 'dropped' || performance.now() >= untilMs) break;
      await delay(WAIT_MS);
    }
  }
}

/** Each acknowledged request once and whole, the others once or not at all. */
async function judgeRows(
  service: TestService,
  { records }: LargeBodies,
  { acknowledged, issued }: Counts,
): Promise<string[]> {
  let [waiting, sinceMs] = [service.waitingSegments(), performance.now()];
  while (waiting > 0 && performance.now() - sinceMs < DRAIN_PROGRESS_MS) {
    await delay(200);
    const now = service.waitingSegments();
    if (now < waiting) [waiting, sinceMs] = [now, performance.now()];
  }
  const sql = "SELECT Body AS id, toString(count()) AS n FROM otel_logs WHERE ServiceName = 'one' GROUP BY id";
  const rows = await service.queryUntil<{ id: string; n: string }>(
    sql,
    (found) => found.length >= acknowledged.size,
    30_000,
  );
  const bulk = await service.query<{ n: string }>(
    "SELECT toString(count()) AS n FROM otel_logs WHERE ServiceName = 'bulk'",
  );
  const stored = new Map(rows.map(({ id, n }) => [id, n]));
  const violations: string[] = [];
  for (const id of acknowledged) if (!stored.has(id)) violations.push(`${id} was acknowledged and is not stored`);
  for (const [id, n] of stored) {
    if (n !== '1') violations.push(`${id} is stored ${n} times`);
    if (!issued.has(id)) violations.push(`${id} was never sent`);
  }
  const wanted = String(stored.size * records);
  if (bulk[0]?.n !== wanted) violations.push(`${bulk[0]?.n} rows of ${stored.size} requests are stored, not ${wanted}`);
  return violations;
}
