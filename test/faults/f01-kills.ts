/**
 * F1: SIGKILL to a worker, the store, the engine, the supervisor and all of them, at every fault point and at random times,
 * while clients send again what was not answered. Every acknowledged row is stored once, an unacknowledged one at most
 * once; and the service goes on to be of use between the kills.
 */
import { FAULT_POINTS } from '../../src/base/fault-points.ts';
import { seededRandom } from '../corpus/seeded-random.ts';
import type { Protocol } from '../support/load.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type KillReport, runKills } from './kills.ts';
import { killPlan } from './support/kill-plan.ts';
import { violationsOf } from './support/oracle.ts';

/** A start of the whole service takes longer than that of one process: the short form has fewer. */
const FULL_PLAN = { hitsEach: 20, timesEach: 8, wholeShare: 0.2 };
const SHORT_PLAN = { hitsEach: 1, timesEach: 1, wholeShare: 0.05 };
/** Of the short form's shuffled plan, which has each point and kind once: half, another half with each seed. */
const SHORT_STEPS = 10;
const KILLS_MIN = 200;
const ROWS_MIN = 1_000_000;
const ROWS_BETWEEN = 1_000;
const GOODPUT_SHARE_MIN = 0.5;
const READY_MS_MAX = 2_000;

export const f01: Fault = {
  id: 'F1',
  title: 'SIGKILL to every process, at every fault point and at random times, under load',
  run: runF01,
};

async function runF01({ size, seed, minutes, say }: FaultOptions): Promise<FaultReport> {
  const full = size === 'full';
  const beganMs = performance.now();
  const steps = full
    ? killPlan(seededRandom(seed), FULL_PLAN)
    : killPlan(seededRandom(seed), SHORT_PLAN).slice(0, SHORT_STEPS);
  const report = await runKills({
    seed,
    steps,
    rowsBetween: ROWS_BETWEEN,
    undisturbedMs: full ? 10_000 : 1_000,
    clients: clients(),
    ...(minutes === undefined ? {} : { withinMs: minutes * 60_000 }),
    say,
  });
  return {
    figures: { ...figuresOf(report), minutes: round((performance.now() - beganMs) / 60_000, 1) },
    violations: judge(report, full, minutes !== undefined),
  };
}

/** Eight that send again what was not answered, two that never do. */
function clients(): { protocol: Protocol; retrying: boolean }[] {
  return Array.from({ length: 10 }, (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: i < 8 }));
}

function judge(report: KillReport, full: boolean, cutShort: boolean): string[] {
  const { hits, misses, fewestBetween, verdict, load, lookupMismatches } = report;
  const violations = violationsOf(verdict);
  if (lookupMismatches > 0) violations.push(`${lookupMismatches} traces lack their span or their row of the lookup`);
  if (fewestBetween < ROWS_BETWEEN) violations.push(`only ${fewestBetween} rows were acknowledged between two kills`);
  if (misses.length > 0) violations.push(`never reached in time: ${misses.join(', ')}`);
  if (verdict.acknowledged !== load.acknowledged) violations.push('the oracle has not written down what it counted');
  for (const [name, count] of Object.entries(load.by)) if (count === 0) violations.push(`no ${name} was acknowledged`);
  if (cutShort) return violations;
  if (!full) return report.kills === SHORT_STEPS ? violations : [...violations, `only ${report.kills} kills`];
  const rare = FAULT_POINTS.filter((point) => (hits[point] ?? 0) < FULL_PLAN.hitsEach);
  if (rare.length > 0) violations.push(`hit fewer than ${FULL_PLAN.hitsEach} times: ${rare.join(', ')}`);
  if (report.kills < KILLS_MIN) violations.push(`${report.kills} kills, wanted are ${KILLS_MIN}`);
  if (verdict.acknowledged < ROWS_MIN) violations.push(`${verdict.acknowledged} rows acknowledged, wanted ${ROWS_MIN}`);
  const share = report.goodput / report.undisturbed;
  if (share < GOODPUT_SHARE_MIN) violations.push(`goodput between kills is ${round(share, 2)} of that undisturbed`);
  const startMs = percentile(report.startsMs, 0.5);
  if (startMs > READY_MS_MAX) violations.push(`half of the starts took over ${startMs} ms`);
  return violations;
}

function figuresOf(report: KillReport): Record<string, number | string> {
  const { hits, killed, load, verdict } = report;
  return {
    kills: report.kills,
    killed: text(killed),
    atInsert: report.atInsert,
    hitsMin: Math.min(...FAULT_POINTS.map((point) => hits[point] ?? 0)),
    hits: text(hits),
    acknowledged: verdict.acknowledged,
    by: text(load.by),
    issued: verdict.issued,
    stored: verdict.stored,
    refused: load.failed,
    sentAgain: load.retried,
    lost: verdict.lost,
    doubled: verdict.doubled,
    damaged: verdict.damaged,
    fewestBetween: report.fewestBetween,
    undisturbedRowsPerSecond: round(report.undisturbed),
    goodputRowsPerSecond: round(report.goodput),
    startP50Ms: percentile(report.startsMs, 0.5),
    startMaxMs: percentile(report.startsMs, 1),
    recoveryP50Ms: percentile(report.recoveriesMs, 0.5),
    recoveryMaxMs: percentile(report.recoveriesMs, 1),
  };
}

function text(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
}

function round(value: number, digits = 0): number {
  return Number(value.toFixed(digits));
}
