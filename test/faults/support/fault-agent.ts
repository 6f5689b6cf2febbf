/**
 * Loaded by `node --import` into every process of a service under test; `FAULT_AGENT` names the directory through which
 * fault-control.ts directs it. It ends its process at a fault point, makes planted mistakes, moves the wall clock, and tells
 * when the process said that it is ready.
 *
 *   arm.json          { id, role, point, nth, action } or {}: the n-th time from now; whoever comes first takes it
 *   hit-<id>          made by the one that took it, just before the kill: what happened, where
 *   plant.json        { <bug>: times }: that many times in all processes together; -1 is always
 *   planted-<bug>-<n> made by each time, by the first when it is always
 *   clock.json        { offsetMs }: what Date.now is ahead of the machine's clock
 *   ready.log         `role pid` of each process that said `ready`
 *
 * Files are read when they change, never at a point: a point that is not armed costs a comparison.
 */
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  watch,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  FAULT_POINTS_KEY,
  type FaultPoint,
  type FaultPoints,
  type PlantedBug,
} from '../../../src/base/fault-points.ts';

export type Role = 'ingest' | 'store' | 'engine';
/**
 * `process`: SIGKILL to itself. `group`: to every process of the service. `power-cut`: what the open segment holds beyond
 * its last sync is gone, as when the machine loses power, then as `process`; at `record-written`, and at `record-synced`,
 * where that sync counts as not done, for nobody was told of it yet.
 */
export type FaultAction = 'process' | 'group' | 'power-cut';

export interface Arm {
  readonly id: string;
  readonly role: Role;
  readonly point: FaultPoint;
  readonly nth: number;
  readonly action: FaultAction;
}

export interface Hit extends Arm {
  readonly pid: number;
}

function begin(control: string, own: Role | undefined): void {
  const clock = shiftedClock(control);
  const agent = new Agent(control, own);
  if (own !== undefined) {
    Object.assign(globalThis, { [FAULT_POINTS_KEY]: agent });
    tellWhenReady(control, own);
  }
  const look = () => {
    clock();
    agent.look();
  };
  look();
  // Without it a process that has nothing else to do would never end.
  watch(control, look).unref();
}

class Agent implements FaultPoints {
  readonly #control: string;
  readonly #role: Role | undefined;
  #armed: Arm | undefined;
  #left = 0;
  #plants: Partial<Record<PlantedBug, number>> = {};
  #syncedBytes: { readonly path: string; readonly bytes: number } | undefined;

  constructor(control: string, own: Role | undefined) {
    this.#control = control;
    this.#role = own;
  }

  look(): void {
    const arm = readControl<Partial<Arm>>(this.#control, 'arm.json');
    if (arm?.id !== this.#armed?.id) {
      this.#armed = arm?.id === undefined || arm.role !== this.#role ? undefined : (arm as Arm);
      this.#left = this.#armed?.nth ?? 0;
      this.#syncedBytes = undefined;
    }
    this.#plants = readControl<Partial<Record<PlantedBug, number>>>(this.#control, 'plant.json') ?? {};
  }

  reached(point: FaultPoint): void {
    const arm = this.#armed;
    if (arm === undefined) return;
    const newest = arm.action === 'power-cut' ? newestSegment() : undefined;
    const synced = this.#syncedBytes;
    if (point === 'record-synced') this.#syncedBytes = newest;
    if (point !== arm.point || --this.#left > 0) return;
    // Only of a segment whose last sync was seen is it known what a power cut takes.
    if (arm.action === 'power-cut' && (synced === undefined || newest?.path !== synced.path)) return;
    this.#armed = undefined;
    if (!claim(this.#control, `hit-${arm.id}`, JSON.stringify({ ...arm, pid: process.pid }))) return;
    if (arm.action === 'power-cut' && synced !== undefined) truncateSync(synced.path, synced.bytes);
    process.kill(arm.action === 'group' ? 0 : process.pid, 'SIGKILL');
    // A signal to oneself comes before the next step of this thread; the group's may take a moment longer.
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  }

  planted(bug: PlantedBug): boolean {
    const times = this.#plants[bug];
    if (times === undefined) return false;
    if (times < 0) claim(this.#control, `planted-${bug}-0`, `${process.pid}\n`);
    if (times < 0) return true;
    for (let n = 0; n < times; n++) if (claim(this.#control, `planted-${bug}-${n}`, `${process.pid}\n`)) return true;
    return false;
  }
}

/** Moves `Date.now`; timers, which run by the monotonic clock, stay. Returns what looks at the file again. */
function shiftedClock(control: string): () => void {
  const machineNowMs = Date.now.bind(Date);
  let offsetMs = 0;
  Date.now = () => machineNowMs() + offsetMs;
  return () => {
    offsetMs = readControl<{ offsetMs: number }>(control, 'clock.json')?.offsetMs ?? 0;
  };
}

function tellWhenReady(control: string, own: Role): void {
  const send = process.send?.bind(process);
  if (send === undefined) return;
  const telling = (message: { type?: string }, ...rest: []) => {
    if (message.type === 'ready') appendFileSync(join(control, 'ready.log'), `${own} ${process.pid}\n`);
    return send(message, ...rest);
  };
  Object.assign(process, { send: telling });
}

/** True for the one process that made the file. */
function claim(control: string, name: string, text: string): boolean {
  try {
    const file = openSync(join(control, name), 'wx');
    writeSync(file, text);
    closeSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The segment that this worker writes: the newest of its spool. */
function newestSegment(): { readonly path: string; readonly bytes: number } | undefined {
  const spool = join(process.env['BACKWORK_DATA_DIR'] ?? '', 'spool', process.env['BACKWORK_WORKER_INDEX'] ?? '0');
  const name = readdirSync(spool)
    .filter((file) => file.endsWith('.segment'))
    .sort()
    .at(-1);
  return name === undefined ? undefined : { path: join(spool, name), bytes: statSync(join(spool, name)).size };
}

function readControl<T>(control: string, name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(join(control, name), 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

// Last: what it uses is defined by now.
const dir = process.env['FAULT_AGENT'];
const role = /\b(ingest|store|engine)-process\.ts$/.exec(process.argv[1] ?? '')?.[1] as Role | undefined;
if (dir !== undefined) begin(dir, role);
