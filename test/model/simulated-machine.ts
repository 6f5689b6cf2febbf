/**
 * The machine of a simulation: two workers, the store and the engine as processes on one disk, what strikes them, and
 * the supervisor that starts them again.
 */
import type { FaultPoint, FaultPoints, PlantedBug } from '../../src/base/fault-points.ts';
import type { Log } from '../../src/base/log.ts';
import { readIdentity } from '../../src/ingest/spool/identity.ts';
import {
  listSealed,
  listUnsealed,
  readBatch,
  readFooter,
  readRecords,
  removeSegment,
} from '../../src/ingest/spool/reader.ts';
import { synced } from '../../src/ingest/spool/spool-files.ts';
import { openSpool, type Spool, type SpoolDeps } from '../../src/ingest/spool/writer.ts';
import type { Store, StoreDeps } from '../../src/ingest/store/store-deps.ts';
import { startStore } from '../../src/ingest/store/store-loop.ts';
import { tableSync } from '../../src/ingest/store/sync-tables.ts';
import { type Disaster, drawFate, drawTrigger, SLOTS, type Slot, type Trigger } from './disasters.ts';
import type { Random } from './random.ts';
import type { Port } from './simulated-clients.ts';
import { type CutCounts, type DiskCall, NO_CUTS, SimulatedDisk } from './simulated-disk.ts';
import { connectTo, SimulatedEngine } from './simulated-engine.ts';
import { encodeRecords, reencode, SimulatedRows } from './simulated-rows.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

/** 2026-11-23T17:46:40Z */
const EPOCH_MS = 1_795_456_000_000;
export const SPOOL_DIRS = ['/data/spool/0', '/data/spool/1'] as const;
/** A fault point that is not reached within so many disk calls is given up. */
const PATIENCE_CALLS = 600;
/** Mostly the first, sometimes up to the second: a supervisor that waits longer after each failure. */
const RESTART_MS_MAX = [400, 5_000] as const;

/** A simulated process, from its start to its death. */
class Process implements Owner {
  readonly name: Slot;
  alive = true;

  constructor(name: Slot) {
    this.name = name;
  }
}

export interface MachineOptions {
  readonly bug: PlantedBug | undefined;
  readonly trace: (line: string) => void;
}

export class SimulatedMachine {
  readonly disk: SimulatedDisk;
  /** Promises that did not hold, one sentence each. */
  readonly violations: string[] = [];
  /** What happened, by name. */
  readonly counts = new Map<string, number>();
  readonly cuts: CutCounts = { ...NO_CUTS };
  engine: SimulatedEngine | undefined;
  private readonly time: VirtualTime;
  private readonly random: Random;
  private readonly options: MachineOptions;
  private readonly supervisor = { name: 'supervisor', alive: true };
  private readonly processes = new Map<Slot, Process>();
  private readonly spools = new Map<Slot, Spool<SimulatedRows>>();
  private readonly locks = new Map<string, Process>();
  private store: Store | undefined;
  private trigger: Trigger | undefined;
  private patience = 0;
  private disastersLeft: number;
  private failing: { readonly slot: Slot; readonly call: DiskCall; left: number } | undefined;
  private readonly badInsertOneIn: number;
  private readonly latencyMsMax: number;
  private atPeace = false;

  constructor(time: VirtualTime, random: Random, options: MachineOptions) {
    this.time = time;
    this.random = random;
    this.options = options;
    this.disastersLeft = 1 + random(4);
    this.badInsertOneIn = random(2) === 0 ? 3 : 20;
    this.latencyMsMax = 1 + random(8);
    this.disk = new SimulatedDisk(random, time, {
      before: (owner, call, path, half) => this.beforeCall(owner as Process, call, path, half),
      latencyMs: (call) => (call === 'sync' || random(4) === 0 ? random(this.latencyMsMax) : 0),
      failure: (owner, call, path) => this.failureOf(owner as Process, call, path),
    });
    this.trigger = drawTrigger(random);
  }

  /** All that was to go wrong has. */
  get isOver(): boolean {
    return this.violations.length > 0 || (this.disastersLeft === 0 && this.trigger === undefined);
  }

  startAll(): void {
    for (const slot of SLOTS) this.start(slot);
  }

  /** From now on nothing breaks. */
  peace(): void {
    this.trace('peace');
    this.atPeace = true;
    this.trigger = undefined;
    this.failing = undefined;
    this.disk.capacityBytes = Number.POSITIVE_INFINITY;
  }

  /** The power goes, and only the engine comes back. */
  endWithPowerCut(): void {
    this.powerCut();
    this.start('engine');
  }

  /** Ends what still runs. */
  end(): void {
    for (const process of this.processes.values()) process.alive = false;
    this.supervisor.alive = false;
  }

  portOf(slot: Slot): Port | undefined {
    const owner = this.processes.get(slot);
    const spool = this.spools.get(slot);
    if (owner?.alive !== true || spool === undefined) return undefined;
    const wallClockMs = (): number => EPOCH_MS + this.time.nowMs;
    return { owner, spool, wallClockMs, answerDue: () => this.reached(owner, 'answer-due') };
  }

  violated(what: string): void {
    this.trace(`violated: ${what}`);
    this.violations.push(what);
  }

  private start(slot: Slot): void {
    // Two disasters in a row ask for two starts.
    if (this.processes.get(slot)?.alive === true) return;
    const process = new Process(slot);
    this.processes.set(slot, process);
    this.trace(`${slot} starts`);
    const run = () => (slot === 'engine' ? this.startEngine(process) : this.startOurs(process));
    const started = this.time.as(process, run);
    started.catch((error: unknown) => this.fatal(process, error));
  }

  private async startEngine(process: Process): Promise<void> {
    const { time, random, disk } = this;
    this.engine = new SimulatedEngine(process, time, disk.filesOf(process), random, {
      fateOf: () => {
        const fate = this.atPeace ? 'ordinary' : drawFate(random, this.badInsertOneIn);
        this.count(`INSERT ${fate}`);
        return fate;
      },
      violated: (what) => this.violated(what),
    });
    await this.engine.start();
  }

  private async startOurs(process: Process): Promise<void> {
    const { time } = this;
    if (process.name === 'store') {
      const store = await startStore(this.storeDeps(process));
      if (process.alive) this.store = store;
      return;
    }
    await time.pause(process, 1);
    const spool = await openSpool(this.spoolDeps(process));
    if (process.alive) this.spools.set(process.name, spool);
  }

  private spoolDeps(process: Process): SpoolDeps<SimulatedRows> {
    const { random, time } = this;
    const dir = SPOOL_DIRS[process.name === 'worker 0' ? 0 : 1];
    return {
      dir,
      files: this.disk.filesOf(process),
      log: this.logOf(process),
      segmentBytesMax: 400 + random(4_000),
      segmentAgeMs: 20 + random(600),
      reserveBytes: 1,
      takeLock: async (path) => this.lock(process, path),
      newRows: () => new SimulatedRows(),
      encodeRecords,
      converterVersion: 1,
      onSealed: (sequence) => {
        // Through main: it may come late, or never.
        const to = this.processes.get('store');
        if (to !== undefined && random(4) > 0) time.after(to, random(20), () => this.store?.sealed(dir, sequence));
      },
      onFatal: (error) => this.fatal(process, error),
      nowMs: () => EPOCH_MS + time.nowMs,
      faults: this.faultsOf(process),
    };
  }

  private storeDeps(process: Process): StoreDeps {
    const { random, time } = this;
    const files = this.disk.filesOf(process);
    const questionFails = (): boolean => !this.atPeace && random(20) === 0;
    const clickhouse = connectTo(process, time, random, () => this.engine, questionFails);
    const syncDirectory = (path: string): Promise<void> => synced(files.syncDirectory(path), path);
    return {
      clickhouse,
      embedded: true,
      spoolDirs: async () => SPOOL_DIRS.filter((dir) => [...this.disk.list(dir)].length > 0),
      files,
      readers: { listSealed, listUnsealed, readFooter, readRecords, readBatch, removeSegment, readIdentity },
      reencode,
      journalPath: '/data/store.journal',
      nowMs: () => EPOCH_MS + time.nowMs,
      log: this.logOf(process),
      syncTables: tableSync({ clickhouse, syncDirectory }),
      onFatal: (error) => this.fatal(process, error),
      random: () => random(1_000_000) / 1_000_000,
      faults: this.faultsOf(process),
    };
  }

  private faultsOf(process: Process): FaultPoints {
    return {
      reached: (point) => this.reached(process, point),
      planted: (bug) => bug === this.options.bug,
    };
  }

  private reached(process: Process, point: FaultPoint): void {
    if (!process.alive || this.trigger?.point !== point || this.trigger.left-- > 0) return;
    this.count(`at ${point}`);
    // Here a kill strikes the one that came to the point.
    const { disaster } = this.trigger;
    this.strike(
      disaster.kind === 'kill' && disaster.slots.length === 1 ? { kind: 'kill', slots: [process.name] } : disaster,
    );
  }

  private beforeCall(process: Process, call: DiskCall, path: string, half: () => void): void {
    const { trigger } = this;
    if (trigger === undefined) return;
    const elsewhere = trigger.path !== undefined && (call === 'read' || call === 'name' || !trigger.path.test(path));
    if (trigger.point !== undefined || elsewhere) {
      if (++this.patience > PATIENCE_CALLS) this.armNext();
      return;
    }
    if (trigger.left-- > 0) return;
    this.trace(`${process.name}: ${call} ${path} is where it strikes`);
    const { disaster } = trigger;
    if (disaster.kind === 'power cut' || (disaster.kind === 'kill' && disaster.slots.includes(process.name))) half();
    this.strike(disaster);
  }

  private failureOf(process: Process, call: DiskCall, path: string): 'EIO' | undefined {
    const { failing } = this;
    if (failing === undefined || failing.slot !== process.name || failing.call !== call) return undefined;
    if (failing.left-- > 0) return undefined;
    this.failing = undefined;
    this.trace(`${process.name}: ${call} ${path} fails`);
    this.count(`EIO at a ${call}`);
    // Often its process dies while it still sees to that.
    const slots = [process.name];
    if (this.random(2) === 0)
      this.trigger = { point: undefined, path: undefined, left: this.random(8), disaster: { kind: 'kill', slots } };
    return 'EIO';
  }

  private strike(disaster: Disaster): void {
    this.count(disaster.kind);
    this.trace(`${disaster.kind} ${JSON.stringify(disaster)}`);
    this.trigger = undefined;
    switch (disaster.kind) {
      case 'power cut':
        this.powerCut();
        for (const slot of SLOTS) this.startLater(slot);
        break;
      case 'kill':
        for (const slot of disaster.slots) this.kill(slot);
        break;
      case 'failing sync':
      case 'failing write':
        this.failing = {
          slot: disaster.slot,
          call: disaster.kind === 'failing sync' ? 'sync' : 'write',
          left: this.random(6),
        };
        break;
      case 'full disk':
        this.disk.capacityBytes = this.disk.usedBytes + disaster.roomBytes;
        this.time.after(this.supervisor, disaster.forMs, () => {
          this.disk.capacityBytes = Number.POSITIVE_INFINITY;
        });
        break;
      case 'stop':
        void this.stop(disaster.slot);
        break;
    }
    this.armNext();
  }

  private armNext(): void {
    this.trigger = undefined;
    this.patience = 0;
    if (this.disastersLeft === 0) return;
    this.disastersLeft--;
    const arm = (): void => {
      if (!this.atPeace) this.trigger = drawTrigger(this.random);
    };
    // At times at once: the next one then meets the recovery.
    if (this.random(2) === 0) arm();
    else this.time.after(this.supervisor, this.random(1_500), arm);
  }

  private powerCut(): void {
    for (const slot of SLOTS) this.die(slot);
    for (const [name, count] of Object.entries(this.disk.losePower())) this.cuts[name as keyof CutCounts] += count;
  }

  private kill(slot: Slot): void {
    if (this.processes.get(slot)?.alive !== true) return;
    this.die(slot);
    this.startLater(slot);
  }

  private die(slot: Slot): void {
    const process = this.processes.get(slot);
    if (process?.alive !== true) return;
    this.trace(`${slot} dies`);
    process.alive = false;
    this.spools.delete(slot);
    if (slot === 'store') {
      this.store = undefined;
      this.engine?.clientDied(process);
    }
    if (slot === 'engine') this.engine?.died();
  }

  private startLater(slot: Slot): void {
    const delayMs = this.random(RESTART_MS_MAX[this.random(4) === 0 ? 1 : 0]);
    this.time.after(this.supervisor, delayMs, () => this.start(slot));
  }

  /** In order, as at SIGTERM; then its process is started again. */
  private async stop(slot: Slot): Promise<void> {
    const process = this.processes.get(slot);
    if (process?.alive !== true) return;
    await this.time.as(process, () => (slot === 'store' ? this.store?.stop() : this.spools.get(slot)?.close()));
    if (process.alive) this.kill(slot);
  }

  /** A process of ours ends by itself: only a disk that failed may be the reason (R9). */
  private fatal(process: Process, error: unknown): void {
    if (!process.alive) return;
    const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
    if (code !== 'EIO' && cause?.code !== 'EIO')
      this.violated(`${process.name} ends: ${(error as Error).stack ?? error}`);
    this.count('process ends after EIO');
    this.kill(process.name);
  }

  private lock(process: Process, path: string): { release(): void } {
    const holder = this.locks.get(path);
    if (holder?.alive === true) this.violated(`${process.name} takes ${path}, which ${holder.name} holds`);
    this.locks.set(path, process);
    return {
      release: () => {
        if (this.locks.get(path) === process) this.locks.delete(path);
      },
    };
  }

  private logOf(process: Process): Log {
    const at =
      (level: string) =>
      (fields: object, message: string): void => {
        if (!process.alive) return;
        if (level === 'error') this.count(`error: ${message}`);
        this.trace(`${process.name}: ${level} ${message} ${JSON.stringify(fields)}`);
      };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }

  private count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  private trace(line: string): void {
    this.options.trace(`${this.time.nowMs} ${line}`);
  }
}
