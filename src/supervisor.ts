/**
 * One child process: started, watched, started again when it ends, and stopped when it is asked to be.
 *
 * - A child is a fork with an IPC channel, in the supervisor's process group, so that a signal to the group reaches all.
 *   It ends by itself within 1 s of losing the channel, hence nothing is left when the supervisor is killed.
 * - Its stdout and stderr are the supervisor's stderr: stdout is the operator's.
 * - It ends unasked: it is started again after a delay with full jitter, 100 ms up to 10 s, growing with each end;
 *   30 s up make it forget earlier ends.
 * - It speaks at least once a second while its event loop turns; one that has been silent longer may hang.
 * - It says `fatal` before it was ever ready: nothing is started again and `ready` rejects with its line, because a
 *   start must fail with one clear line. Later a `fatal` is logged, and the child is started again as after any end.
 * - Stopping: the `stop` message, then SIGKILL after the grace that the caller gives.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { BackworkError } from './base/errors.ts';
import type { Log } from './base/log.ts';
import type { ChildMessage, SupervisorMessage } from './process-messages.ts';

export type Ports = Readonly<Record<string, number>>;

export interface ChildSpec {
  /** For the log: `engine`, `ingest 0`. */
  readonly name: string;
  /** Absolute path of the file that is run. */
  readonly file: string;
  /** The environment of the next start; asked again each time, because ports become known. */
  readonly env: () => NodeJS.ProcessEnv;
  /** Options of Node itself, behind those that this process was started with. */
  readonly nodeOptions?: readonly string[];
  readonly onMessage?: (message: ChildMessage) => void;
  /** The child has ended, asked or not. */
  readonly onEnd?: () => void;
}

export interface SuperviseDeps {
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface Child {
  readonly name: string;
  /** Of the process that runs now; undefined between two. */
  readonly pid: () => number | undefined;
  /** Resolves at the first `ready`; rejects when the child says `fatal` before, or is stopped before. */
  readonly ready: Promise<Ports>;
  /** How often it ended unasked and was started again. */
  readonly restarts: () => number;
  /** Since the process that runs now last said anything; undefined from the end of one to the first word of the next. */
  readonly silentMs: () => number | undefined;
  /** Sent to the process that runs now; lost when there is none, so a message may only hasten what happens anyway. */
  send(message: SupervisorMessage): void;
  /** From now on an end is final: a signal to the process group may end children before they are asked to. */
  retire(): void;
  /** Asks the child to end, kills it after `graceMs`, resolves when it has ended. Never starts it again. */
  stop(graceMs: number): Promise<void>;
  /** SIGKILL, and never started again. */
  kill(): void;
}

const RESTART_DELAY_MIN_MS = 100;
const RESTART_DELAY_MAX_MS = 10_000;
/** Up this long, a child counts as healthy: its next end is its first. */
const HEALTHY_AFTER_MS = 30_000;
/** A child that said `fatal` should end by itself; it is not waited for longer. */
const FATAL_GRACE_MS = 1_000;

/** Full jitter between the bounds; `ends` counts the ends in a row, from 0. Pure. */
export function restartDelayMs(ends: number, random: () => number): number {
  const ceiling = Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MIN_MS * 2 ** (ends + 1));
  return Math.round(RESTART_DELAY_MIN_MS + random() * (ceiling - RESTART_DELAY_MIN_MS));
}

/** Starts the child and keeps it running until `stop` or `kill`. */
export function superviseChild(spec: ChildSpec, deps: SuperviseDeps): Child {
  const supervised = new SupervisedChild(spec, deps);
  supervised.start();
  return supervised;
}

class SupervisedChild implements Child {
  readonly name: string;
  readonly ready: Promise<Ports>;
  readonly #spec: ChildSpec;
  readonly #deps: SuperviseDeps;
  readonly #ready = Promise.withResolvers<Ports>();
  readonly #stopped = Promise.withResolvers<void>();
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #startedMs = 0;
  #ends = 0;
  #restarts = 0;
  /** undefined until the process that runs now has said something. */
  #heardMs: number | undefined;
  #wasReady = false;
  /** It is not started again: it was stopped, killed or retired, or has said `fatal` at its start. */
  #final = false;
  #asked = false;

  constructor(spec: ChildSpec, deps: SuperviseDeps) {
    this.name = spec.name;
    this.#spec = spec;
    this.#deps = deps;
    this.ready = this.#ready.promise;
    // Whoever awaits `ready` sees the rejection; nobody has to.
    this.ready.catch(() => undefined);
  }

  pid(): number | undefined {
    return this.#process?.pid;
  }

  restarts(): number {
    return this.#restarts;
  }

  silentMs(): number | undefined {
    return this.#heardMs === undefined ? undefined : performance.now() - this.#heardMs;
  }

  start(): void {
    this.#restart = undefined;
    this.#startedMs = performance.now();
    const child = fork(this.#spec.file, [], {
      env: this.#spec.env(),
      execArgv: [...process.execArgv, ...(this.#spec.nodeOptions ?? [])],
      stdio: ['ignore', 2, 2, 'ipc'],
      serialization: 'json',
    });
    this.#process = child;
    child.on('message', (message: ChildMessage) => this.#receive(child, message));
    child.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`));
    child.on('error', (error) => {
      // Not even started: no `exit` follows. Other errors are of messages to a child that is ending.
      if (child.pid === undefined) this.#ended(child, error.message);
    });
  }

  send(message: SupervisorMessage): void {
    if (this.#process?.connected) this.#process.send(message, () => undefined);
  }

  retire(): void {
    this.#final = true;
    this.#ready.reject(new BackworkError('shutting-down', `${this.name} is being stopped`));
    clearTimeout(this.#restart);
    if (this.#process === undefined) this.#stopped.resolve();
  }

  async stop(graceMs: number): Promise<void> {
    this.retire();
    if (!this.#asked) this.send({ type: 'stop' });
    this.#asked = true;
    const kill = setTimeout(() => {
      this.#deps.log.warn({ child: this.name, graceMs }, 'the process did not stop in time and is killed');
      this.#process?.kill('SIGKILL');
    }, graceMs);
    await this.#stopped.promise;
    clearTimeout(kill);
  }

  kill(): void {
    this.retire();
    this.#process?.kill('SIGKILL');
  }

  #receive(child: ChildProcess, message: ChildMessage): void {
    this.#heardMs = performance.now();
    if (message.type === 'ready') {
      this.#wasReady = true;
      this.#ready.resolve(message.ports ?? {});
    } else if (message.type === 'fatal') {
      this.#fatal(child, message.message);
    }
    this.#spec.onMessage?.(message);
  }

  #fatal(child: ChildProcess, line: string): void {
    if (this.#wasReady) {
      this.#deps.log.error({ child: this.name, reason: line }, 'the process cannot go on');
    } else {
      this.#final = true;
      this.#ready.reject(new BackworkError('internal', line));
    }
    setTimeout(() => child.kill('SIGKILL'), FATAL_GRACE_MS).unref();
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#process !== child) return;
    this.#process = undefined;
    this.#heardMs = undefined;
    this.#spec.onEnd?.();
    if (this.#final) {
      this.#stopped.resolve();
      return;
    }
    this.#restarts++;
    const upMs = Math.round(performance.now() - this.#startedMs);
    if (upMs >= HEALTHY_AFTER_MS) this.#ends = 0;
    const delayMs = restartDelayMs(this.#ends++, this.#deps.random);
    this.#deps.log.warn({ child: this.name, how, upMs, delayMs }, 'the process ended and is started again');
    this.#restart = setTimeout(() => this.start(), delayMs);
  }
}
