/**
 * F2: power cuts, kills, failing and full disks, broken connections, all simulated: the whole data path runs in one
 * process on a disk in memory and under virtual time (test/model/). A seed is one run; the seeds follow one another from
 * the one given, so a failing one is replayed by giving it.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAULT_POINTS } from '../../src/base/fault-points.ts';
import { simulate } from '../model/simulation.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';

const SEEDS = { ci: 2_000, full: 20_000 } as const;
/** Of 20,000 runs at least 1,000 must have met each class of damage. */
const RUNS_PER_CLASS = 20;
/** Each fault point must have been struck so often in 20,000 runs. */
const RUNS_PER_STRIKE = 1_000;
const FAILURES_MAX = 3;
const SAY_EVERY = 1_000;

export const f02: Fault = {
  id: 'F2',
  title: 'the simulated machine: power cuts, kills, failing disks, broken connections',
  async run({ size, seed, say }: FaultOptions): Promise<FaultReport> {
    const totals = new Totals();
    const violations: string[] = [];
    const seeds = SEEDS[size];
    const startedMs = performance.now();
    for (let run = 0; run < seeds && violations.length < FAILURES_MAX; run++) {
      const failure = await runOne(seed + run, totals);
      if (failure !== undefined) violations.push(failure);
      if ((run + 1) % SAY_EVERY === 0) say(`F2 ${run + 1} of ${seeds} runs, ${violations.length} violations`);
    }
    if (violations.length === 0) violations.push(...totals.tooFew(seeds));
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    return { figures: { seeds, seconds, ...totals.figures() }, violations };
  },
};

/** What was wrong in this run, and where its story is. */
async function runOne(seed: number, totals: Totals): Promise<string | undefined> {
  const report = await simulate(seed);
  totals.add(report);
  if (report.violations.length === 0) return undefined;
  const story: string[] = [];
  await simulate(seed, { trace: (line) => story.push(line) });
  const path = join(tmpdir(), `backwork-f2-${seed}.log`);
  writeFileSync(path, story.join('\n'));
  return `seed ${seed}: ${report.violations.slice(0, 3).join('; ')} (--only F2 --seed ${seed}; what happened: ${path})`;
}

/** Sums over all runs. */
class Totals {
  private requests = 0;
  private acknowledged = 0;
  /** Runs in which a power cut did damage of this class. */
  private readonly classes = new Map<string, number>();
  private readonly happened = new Map<string, number>();

  add({ requests, acknowledged, counts, cuts }: Awaited<ReturnType<typeof simulate>>): void {
    this.requests += requests;
    this.acknowledged += acknowledged;
    for (const [name, count] of Object.entries(cuts)) add(this.classes, name, count > 0 ? 1 : 0);
    for (const [name, count] of counts) add(this.happened, name, count);
  }

  /** A run that meets nothing proves nothing. */
  tooFew(seeds: number): string[] {
    const wrong: string[] = [];
    for (const [name, runs] of this.classes)
      if (runs < seeds / RUNS_PER_CLASS) wrong.push(`only ${runs} of ${seeds} runs met ${name}`);
    for (const point of FAULT_POINTS) {
      const strikes = this.happened.get(`at ${point}`) ?? 0;
      if (strikes < seeds / RUNS_PER_STRIKE) wrong.push(`${point} was struck only ${strikes} times in ${seeds} runs`);
    }
    return wrong;
  }

  figures(): Record<string, number | string> {
    const { requests, acknowledged } = this;
    const happened = [...this.happened].sort(([one], [other]) => (one < other ? -1 : 1));
    return { requests, acknowledged, ...Object.fromEntries(this.classes), ...Object.fromEntries(happened) };
  }
}

function add(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
