/**
 * Time of a simulation: timers and turns of the event loop that fire in one fixed order, as fast as they can, instead of
 * when the machine's clock says so. While it is installed, the program's own timers (global and of
 * `node:timers/promises`) and `performance.now` are these.
 *
 * Each task belongs to a simulated process and is dropped when that is dead; what a task starts belongs to the same
 * process. Between two tasks all promises settle. Real I/O (thread pool, sockets) has no place here.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';

/** Whose task it is. */
export interface Owner {
  readonly name: string;
  readonly alive: boolean;
}

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Owner;
  readonly run: () => void;
  cancelled: boolean;
}

type Callback = (...args: unknown[]) => void;

/** Everything that no simulated process started: it never dies. */
const WORLD: Owner = { name: 'world', alive: true };
const promises = createRequire(import.meta.url)('node:timers/promises') as Record<string, unknown>;
const realTurn = setImmediate;
/** Far more than a run needs. */
const TASKS_MAX = 1_000_000;

export class VirtualTime {
  nowMs = 0;
  /** Tasks run so far: the same seed makes the same number. */
  tasks = 0;
  private owner: Owner = WORLD;
  private order = 0;
  private turns: Task[] = [];
  private readonly timers: Task[] = [];
  private restore: (() => void) | undefined;

  /** After `delayMs`, unless the owner is dead then. */
  after(owner: Owner, delayMs: number, run: () => void): Task {
    const task = { atMs: this.nowMs + Math.max(0, delayMs), order: this.order++, owner, run, cancelled: false };
    push(this.timers, task);
    return task;
  }

  /** Runs it now, as a part of this process: what it starts belongs to that. */
  as<T>(owner: Owner, run: () => T): T {
    const before = this.owner;
    this.owner = owner;
    try {
      return run();
    } finally {
      this.owner = before;
    }
  }

  /** Never settles when the owner dies meanwhile. */
  pause(owner: Owner, delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(owner, delayMs, resolve));
  }

  /**
   * Runs tasks until `done`, which is asked between two tasks, or until `limitMs` of this clock; true when done. Rejects
   * with what a task throws.
   */
  run(done: () => boolean, limitMs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          if (done() || !this.runNext(limitMs)) return resolve(done());
        } catch (error) {
          return reject(error);
        }
        // The tick after this microtask runs when every other microtask has: all promises have settled then.
        queueMicrotask(() => process.nextTick(step));
      };
      // A turn of the real loop, so that the test runner is not starved between two runs.
      realTurn(step);
    });
  }

  install(): void {
    const saved = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate };
    const savedPromises = { ...promises };
    const savedNow = performance.now;
    Object.assign(globalThis, {
      setTimeout: (run: Callback, ms = 0, ...args: unknown[]) => this.timer(ms, () => run(...args)),
      clearTimeout: (timer?: Timer) => timer?.close(),
      setImmediate: (run: Callback, ...args: unknown[]) => this.turn(() => run(...args)),
      clearImmediate: (timer?: Timer) => timer?.close(),
      setInterval: (run: Callback, ms = 0, ...args: unknown[]) => this.interval(ms, () => run(...args)),
      clearInterval: (timer?: Timer) => timer?.close(),
    });
    Object.assign(promises, {
      setTimeout: (ms = 0, value?: unknown, options: { signal?: AbortSignal } = {}) => this.sleep(ms, value, options),
      setImmediate: (value?: unknown) => new Promise((resolve) => this.turn(() => resolve(value))),
    });
    performance.now = () => this.nowMs;
    syncBuiltinESMExports();
    this.restore = () => {
      Object.assign(globalThis, saved);
      Object.assign(promises, savedPromises);
      performance.now = savedNow;
      syncBuiltinESMExports();
    };
  }

  uninstall(): void {
    this.restore?.();
    this.restore = undefined;
  }

  /** False: nothing is due. */
  private runNext(limitMs: number): boolean {
    const task = this.next();
    if (task === undefined) return false;
    if (task.atMs > limitMs) {
      push(this.timers, task);
      return false;
    }
    this.nowMs = Math.max(this.nowMs, task.atMs);
    this.owner = task.owner;
    if (++this.tasks > TASKS_MAX) throw new Error(`more than ${TASKS_MAX} tasks: something goes round in circles`);
    task.run();
    return true;
  }

  private next(): Task | undefined {
    for (;;) {
      const task = this.turns.shift() ?? pop(this.timers);
      if (task === undefined || (!task.cancelled && task.owner.alive)) return task;
    }
  }

  private timer(ms: number, run: () => void): Timer {
    return new Timer(this.after(this.owner, Math.max(1, ms), run));
  }

  private turn(run: () => void): Timer {
    const task = { atMs: this.nowMs, order: this.order++, owner: this.owner, run, cancelled: false };
    this.turns.push(task);
    return new Timer(task);
  }

  private interval(ms: number, run: () => void): Timer {
    const { owner } = this;
    const again = (): Task =>
      this.after(owner, Math.max(1, ms), () => {
        if (timer.closed) return;
        timer.task = again();
        run();
      });
    const timer = new Timer(again());
    return timer;
  }

  private sleep(ms: number, value: unknown, { signal }: { signal?: AbortSignal }): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = this.timer(ms, () => resolve(value));
      signal?.addEventListener('abort', () => {
        timer.close();
        reject(signal.reason);
      });
    });
  }
}

/** What the program sees of a task: as much of NodeJS.Timeout as anybody uses. */
class Timer {
  task: Task;
  closed = false;

  constructor(task: Task) {
    this.task = task;
  }

  close(): this {
    this.closed = true;
    this.task.cancelled = true;
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function before(one: Task, other: Task): boolean {
  return one.atMs !== other.atMs ? one.atMs < other.atMs : one.order < other.order;
}

/** A binary heap, the task that is due first at the front. */
function push(heap: Task[], task: Task): void {
  let at = heap.push(task) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(task, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = task;
}

function pop(heap: Task[]): Task | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
