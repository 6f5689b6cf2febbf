/**
 * F40: half an hour of everything at random: kills of each process, an engine that is away, connections cut, a full disk,
 * jumps of the clock. Afterwards every row is exact, and neither memory nor open files have grown.
 */
import { readdirSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { FaultControl } from './support/fault-control.ts';
import { violationsOf } from './support/oracle.ts';
import { rssBytes } from './support/process-figures.ts';
import { cannotMount, SmallDisk } from './support/small-disk.ts';
import { mib } from './support/under-service.ts';

const MINUTES = 30;
/** The short form does three of the things, others with each seed. */
const SHORT_TURNS = 3;
const PAUSE_MS = { ci: 200, full: 6_000 };
const HOLD_MS = { ci: 500, full: 5_000 };
const FIRST_LOOK_SHARE = 1 / 6;
const GROWTH_BYTES_MAX = 64 * 1_024 * 1_024;
const FILES_MORE_MAX = 16;
const DISK_MIB = 1_024;
const MS_PER_DAY = 86_400_000;
const ENV = { BACKWORK_SEGMENT_MIB: '4', BACKWORK_SPOOL_RESERVE_MIB: '32' };

export const f40: Fault = {
  id: 'F40',
  title: 'a soak of kills, cuts, an engine that is away, a full disk and a clock that jumps',
  run: async (options) => {
    const dataDir = temporaryDirectory();
    const notRun = cannotMount(dataDir);
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    const disk = new SmallDisk(dataDir, DISK_MIB);
    const control = new FaultControl();
    try {
      return await behindProxy({ ...ENV, ...control.env }, (behind) => run({ behind, control, disk }, options), {
        dataDir,
      });
    } finally {
      control.remove();
      disk.unmount();
      rmSync(dataDir, { recursive: true, force: true });
    }
  },
};

interface Soak {
  readonly behind: BehindProxy;
  readonly control: FaultControl;
  readonly disk: SmallDisk;
}

type Trouble = (soak: Soak, random: Random, holdMs: number) => Promise<void>;

const TROUBLES: Readonly<Record<string, Trouble>> = {
  ingest: async ({ behind }, random) => killOne(behind, 'ingest', random),
  store: async ({ behind }, random) => killOne(behind, 'store', random),
  group: async ({ behind }) => {
    await behind.service.killAll();
    await behind.startAgain();
  },
  engine: async ({ behind }, _, holdMs) => {
    await behind.engine.kill();
    await delay(holdMs);
    await behind.engine.start();
  },
  cuts: async ({ behind }, random, holdMs) => {
    let cuts = 0;
    behind.proxy.fate = ({ kind }) => {
      if (kind !== 'insert' || random.chance(0.5)) return 'pass';
      cuts++;
      return 'cut-reply';
    };
    for (const beganMs = performance.now(); cuts === 0 || performance.now() < beganMs + holdMs; ) await delay(20);
    behind.proxy.fate = () => 'pass';
  },
  disk: async ({ disk }, _, holdMs) => {
    disk.fill();
    await delay(holdMs);
    disk.free();
  },
  clock: async ({ control }, random, holdMs) => {
    control.shiftClock(random.int(-10, 10) * MS_PER_DAY);
    await delay(holdMs);
  },
};

async function run(soak: Soak, options: FaultOptions): Promise<FaultReport> {
  const { size, seed, say } = options;
  const { behind, control } = soak;
  const random = seededRandom(seed);
  const names = shuffled(Object.keys(TROUBLES), random);
  const counts: Record<string, number> = Object.fromEntries(names.map((name) => [name, 0]));
  const totalMs = (options.minutes ?? MINUTES) * 60_000;
  behind.load({ rowsPerRequest: 100, intervalMs: 250 });
  await behind.oracle.acknowledged(1);
  const beganMs = performance.now();
  let first: Look | undefined;
  for (let turn = 0; size === 'ci' ? turn < SHORT_TURNS : performance.now() < beganMs + totalMs; turn++) {
    const name = size === 'ci' ? names[turn]! : random.pick(names);
    await TROUBLES[name]!(soak, random, HOLD_MS[size]);
    counts[name] = (counts[name] ?? 0) + 1;
    // What was broken must work again before the next thing breaks.
    await behind.oracle.acknowledged(500);
    await delay(random.int(0, PAUSE_MS[size]));
    if (first === undefined && performance.now() > beganMs + totalMs * FIRST_LOOK_SHARE) first = look(behind);
    say(`${name}, ${behind.oracle.status.acknowledged} rows acknowledged`);
  }
  control.shiftClock(0);
  const verdict = await behind.judge();
  const last = look(behind);
  const violations = violationsOf(verdict);
  if (first !== undefined) violations.push(...growth(first, last));
  const { acknowledged, lost, doubled } = verdict;
  const looks = [first ?? last, last].map(({ rss, files }) => `${mib(rss)} MiB, ${files} files`).join(' → ');
  return {
    figures: { ...counts, acknowledged, refused: behind.oracle.status.failed, lost, doubled, looks },
    violations,
  };
}

function shuffled(names: readonly string[], random: Random): string[] {
  return names
    .map((name) => ({ name, at: random.next() }))
    .sort((one, other) => one.at - other.at)
    .map(({ name }) => name);
}

function killOne({ service }: BehindProxy, kind: 'ingest' | 'store', random: Random): void {
  const pids = service.children(kind);
  if (pids.length > 0) process.kill(random.pick(pids), 'SIGKILL');
}

interface Look {
  /** Of the largest worker. */
  readonly rss: number;
  /** Open in all workers, the store and the supervisor. */
  readonly files: number;
}

function look({ service }: BehindProxy): Look {
  const workers = service.children('ingest');
  const pids = [service.pid, ...workers, ...service.children('store')];
  return {
    rss: Math.max(...workers.map((pid) => rssBytes([pid]))),
    files: pids.reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0),
  };
}

function growth(first: Look, last: Look): string[] {
  const violations: string[] = [];
  const bytes = last.rss - first.rss;
  if (bytes > GROWTH_BYTES_MAX) violations.push(`a worker has grown by ${mib(bytes)} MiB`);
  const files = last.files - first.files;
  if (files > FILES_MORE_MAX) violations.push(`${files} more files are open than in the beginning`);
  return violations;
}
