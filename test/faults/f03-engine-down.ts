/**
 * F3: the engine is away for minutes under a steady load. The spool takes what comes and acknowledgements go on as before;
 * when the engine is back, the store catches up, oldest first, at several times the rate of the intake.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { storedBetween, violationsOf } from './support/oracle.ts';

const DOWN_MS = { ci: 3_000, full: 600_000 };
const HEALTHY_MS = { ci: 1_000, full: 60_000 };
const WARM_UP_MS = { ci: 500, full: 10_000 };
/** 5,000 rows a second. */
const LOAD = {
  clients: Array.from(
    { length: 10 },
    (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: false }) as const,
  ),
  rowsPerRequest: 100,
  intervalMs: 200,
};
const P99_RATIO_MAX = 2;
const DRAIN_RATIO_MIN = 3;

export const f03: Fault = {
  id: 'F3',
  title: 'the engine is away for minutes under 5,000 rows a second',
  run: (options) => behindProxy({ BACKWORK_SEGMENT_MS: '1000' }, (behind) => run(behind, options), { direct: true }),
};

async function run(behind: BehindProxy, options: FaultOptions): Promise<FaultReport> {
  const { size, say } = options;
  const { engine, oracle } = behind;
  behind.load(LOAD);
  await oracle.acknowledged(1);
  await delay(WARM_UP_MS[size]);
  const healthyAtMs = Date.now();
  const most = await mostWaiting(behind, HEALTHY_MS[size]);
  const downAtMs = Date.now();
  await engine.kill();
  await delay(options.minutes === undefined ? DOWN_MS[size] : options.minutes * 60_000);
  const upAtMs = Date.now();
  const backlog = behind.service.waitingSegments();
  say(`${backlog} segments wait, in health at most ${most}`);
  await engine.start();
  const drain = await drained(behind, { most, downAtMs, upAtMs, backlog });
  const healthy = oracle.between(healthyAtMs, downAtMs);
  const down = oracle.between(downAtMs, upAtMs);
  const meanwhile = oracle.between(upAtMs, drain.endedAtMs);
  const intake = rate(down.rows, upAtMs - downAtMs);
  const drainedRate = rate(down.rows + meanwhile.rows, drain.endedAtMs - upAtMs);
  const verdict = await behind.judge();
  const violations = violationsOf(verdict);
  if (down.rows === 0) violations.push('nothing was acknowledged while the engine was away');
  if (size === 'full') {
    const ratio = down.p99Ms / healthy.p99Ms;
    if (ratio > P99_RATIO_MAX) violations.push(`p99 of acknowledgements rose ${ratio.toFixed(2)} times`);
    if (drainedRate < DRAIN_RATIO_MIN * intake)
      violations.push(`drained ${drainedRate} rows a second, taken in ${intake}`);
    if (drain.early <= drain.late)
      violations.push(`half way, ${drain.early} early and ${drain.late} late rows were stored`);
  }
  const figures = {
    ...{ downS: Math.round((upAtMs - downAtMs) / 1_000), drainS: (drain.endedAtMs - upAtMs) / 1_000, backlog },
    ...{ healthyP99Ms: healthy.p99Ms, downP99Ms: down.p99Ms, duringDrainP99Ms: meanwhile.p99Ms },
    ...{ intakeRowsPerSecond: intake, drainRowsPerSecond: drainedRate, early: drain.early, late: drain.late },
    ...{ acknowledged: verdict.acknowledged, lost: verdict.lost, doubled: verdict.doubled },
  };
  return { figures, violations };
}

async function mostWaiting({ service }: BehindProxy, forMs: number): Promise<number> {
  let most = 0;
  for (const end = performance.now() + forMs; performance.now() < end; await delay(50))
    most = Math.max(most, service.waitingSegments());
  return most;
}

/** Until no more segments wait than in health. Half way: how much is stored of the first and second half of the outage. */
async function drained(
  behind: BehindProxy,
  { most, downAtMs, upAtMs, backlog }: { most: number; downAtMs: number; upAtMs: number; backlog: number },
): Promise<{ endedAtMs: number; early: number; late: number }> {
  const middleMs = (downAtMs + upAtMs) / 2;
  const first = behind.oracle.between(downAtMs, middleMs);
  const second = behind.oracle.between(middleMs, upAtMs);
  let halfWay: { early: number; late: number } | undefined;
  for (;;) {
    const waiting = behind.service.waitingSegments();
    if (waiting <= most + 1) return { endedAtMs: Date.now(), ...(halfWay ?? { early: 0, late: 0 }) };
    if (halfWay === undefined && waiting < (backlog + most) / 2) {
      const stored = (half: typeof first) => storedBetween(behind.engine, half.firstId, half.lastId);
      halfWay = { early: await stored(first), late: await stored(second) };
    }
    await delay(50);
  }
}

function rate(rows: number, ms: number): number {
  return Math.round((rows / ms) * 1_000);
}
