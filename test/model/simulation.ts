/**
 * The whole data path in one process, under everything that can break it (reference F2): two spool writers with their
 * recovery, the store with its journal, segment finder and removal, a telemetry store, all on one simulated disk, under
 * virtual time. One seed is one run: requests come, disasters strike, then peace returns, everything must drain, the
 * power goes once more, and the oracle judges the rows that are left.
 */
import type { PlantedBug } from '../../src/base/fault-points.ts';
import { SLOTS } from './disasters.ts';
import { Oracle } from './oracle.ts';
import { type Random, seeded } from './random.ts';
import { SimulatedClients } from './simulated-clients.ts';
import type { CutCounts } from './simulated-disk.ts';
import { SimulatedMachine, SPOOL_DIRS } from './simulated-machine.ts';
import { VirtualTime } from './virtual-time.ts';

export interface RunReport {
  readonly violations: readonly string[];
  readonly requests: number;
  readonly acknowledged: number;
  /** What happened, by name: disasters, points at which one struck, fates of INSERTs. */
  readonly counts: ReadonlyMap<string, number>;
  /** Damage that the power cuts of this run did, by class. */
  readonly cuts: CutCounts;
  /** The same seed makes the same number. */
  readonly tasks: number;
}

/** After the last request; then peace returns. */
const TROUBLE_MS_MAX = 30_000;
/** Segments that are set aside are tried again within 5 minutes, and INSERTs time out after 3. */
const PEACE_MS_MAX = 1_800_000;

export interface RunOptions {
  /** A mistake to make on purpose. */
  readonly bug?: PlantedBug | undefined;
  /** Told what happens, for reading a failure. */
  readonly trace?: ((line: string) => void) | undefined;
}

/** Runs one seed. Until it has ended the timers of this process are simulated ones. */
export async function simulate(seed: number, options: RunOptions = {}): Promise<RunReport> {
  const time = new VirtualTime();
  time.install();
  try {
    return await new Simulation(time, seeded(seed), options).run();
  } finally {
    time.uninstall();
  }
}

class Simulation {
  private readonly time: VirtualTime;
  private readonly random: Random;
  private readonly machine: SimulatedMachine;
  private readonly oracle = new Oracle();
  private readonly clients: SimulatedClients;

  constructor(time: VirtualTime, random: Random, { bug, trace = () => {} }: RunOptions) {
    const { oracle } = this;
    this.time = time;
    this.random = random;
    this.machine = new SimulatedMachine(time, random, { bug, trace });
    const portOf = (worker: number) => this.machine.portOf(SLOTS[worker]!);
    this.clients = new SimulatedClients({ time, random, oracle, portOf });
  }

  async run(): Promise<RunReport> {
    const { machine, oracle } = this;
    await this.trouble();
    if (machine.violations.length === 0) await this.drain();
    if (machine.violations.length === 0) await this.lastCut();
    machine.end();
    const { violations, counts, cuts } = machine;
    const acknowledged = oracle.acknowledged.size;
    return { violations, requests: oracle.requests.size, acknowledged, counts, cuts, tasks: this.time.tasks };
  }

  private async trouble(): Promise<void> {
    const { time, random, machine } = this;
    machine.startAll();
    const durationMs = 100 + random(6_000);
    for (let bursts = 4 + random(16); bursts > 0; bursts--) {
      const delayMs = random(durationMs);
      const worker = random(2);
      for (let sends = 1 + random(4); sends > 0; sends--) this.clients.sendAfter(delayMs, worker);
    }
    await time.run(
      () => machine.violations.length > 0 || (time.nowMs > durationMs && machine.isOver),
      durationMs + TROUBLE_MS_MAX,
    );
  }

  /** What was acknowledged must reach the engine, and a fresh request to each worker too. */
  private async drain(): Promise<void> {
    const { time, machine, oracle } = this;
    machine.peace();
    const acknowledgedBefore = oracle.acknowledged.size;
    for (const worker of [0, 1]) this.clients.sendAfter(0, worker, true);
    const drained = (): boolean => this.clients.underWay === 0 && segmentFiles(machine).next().done === true;
    const inTime = await time.run(() => machine.violations.length > 0 || drained(), time.nowMs + PEACE_MS_MAX);
    if (machine.violations.length > 0) return;
    if (!inTime) machine.violated(`after ${PEACE_MS_MAX} ms of peace the spools hold ${[...segmentFiles(machine)]}`);
    if (oracle.acknowledged.size < acknowledgedBefore + 2) machine.violated('a request in peace was not answered');
    machine.violations.push(...oracle.judge(machine.engine?.rows() ?? []));
  }

  /** What is stored must outlive the spools. */
  private async lastCut(): Promise<void> {
    const { time, machine, oracle } = this;
    machine.endWithPowerCut();
    const back = await time.run(() => machine.engine?.isServing === true, time.nowMs + PEACE_MS_MAX);
    if (!back) machine.violated('the engine did not start');
    const wrong = oracle.judge(machine.engine?.rows() ?? []);
    machine.violations.push(...wrong.map((line) => `after the last cut: ${line}`));
  }
}

function* segmentFiles({ disk }: SimulatedMachine): Generator<string> {
  for (const dir of SPOOL_DIRS) for (const name of disk.list(dir)) if (/^\d/.test(name)) yield name;
}
