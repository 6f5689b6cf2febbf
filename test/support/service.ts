/**
 * The whole service as users start it, for tests: real processes in a process group of their own, free ports, a data
 * directory that is removed at the end unless the test brought its own.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const ROOT = join(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'src/main.ts');
const READY_WITHIN_MS = 30_000;

export interface Ports {
  readonly grpc: number;
  readonly http: number;
  readonly api: number;
  readonly engine: number;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ServiceOptions {
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** As an earlier start of the same directory had them. */
  readonly ports?: Ports;
}

export type ChildName = 'ingest' | 'store' | 'engine';

export class TestService {
  readonly dataDir: string;
  readonly ports: Ports;
  /** The token that this start printed; '' when it printed none. */
  readonly token: string;
  readonly stdout: string;
  readonly #process: ChildProcess;
  readonly #env: NodeJS.ProcessEnv;
  readonly #stderr: () => string;

  constructor(process: ChildProcess, env: NodeJS.ProcessEnv, dataDir: string, stdout: string, stderr: () => string) {
    this.#process = process;
    this.#env = env;
    this.dataDir = dataDir;
    this.stdout = stdout;
    this.#stderr = stderr;
    this.ports = JSON.parse(readFileSync(join(dataDir, 'service.json'), 'utf8')).ports as Ports;
    this.token = /bw_ing_\w+/.exec(stdout)?.[0] ?? '';
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The log so far. */
  get stderr(): string {
    return this.#stderr();
  }

  /** Runs a command of the command line on the same data directory. */
  command(...args: string[]): Promise<CommandResult> {
    return runCommand(this.#env, args);
  }

  /** Rows of a query, asked at the engine's port; throws when the engine refuses or is away. */
  async query<Row = Record<string, string>>(sql: string): Promise<Row[]> {
    const login = JSON.parse(readFileSync(join(this.dataDir, 'engine.json'), 'utf8')) as {
      user: string;
      password: string;
    };
    const answer = await fetch(`http://127.0.0.1:${this.ports.engine}/?default_format=JSONEachRow`, {
      method: 'POST',
      headers: { 'x-clickhouse-user': login.user, 'x-clickhouse-key': login.password },
      body: sql,
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Row);
  }

  /** Asks again until `done` says so; the last answer, or a failure that shows it. */
  async queryUntil<Row>(sql: string, done: (rows: Row[]) => boolean, withinMs = 20_000): Promise<Row[]> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const rows = await this.query<Row>(sql).catch(() => undefined);
      if (rows !== undefined && done(rows)) return rows;
      if (performance.now() > deadline)
        throw new Error(`${sql} gave ${JSON.stringify(rows)?.slice(0, 500)}\n${this.stderr.slice(-2_000)}`);
      await delay(50);
    }
  }

  /** Process ids of running children of this kind. */
  children(name: ChildName): number[] {
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .filter((entry) => {
        try {
          const parent = readFileSync(`/proc/${entry}/stat`, 'utf8').split(') ')[1]?.split(' ')[1];
          return (
            parent === String(this.pid) && readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(`${name}-process.ts`)
          );
        } catch {
          return false;
        }
      })
      .map(Number);
  }

  /** Segments with acknowledged requests that the store has not removed yet. */
  waitingSegments(): number {
    let count = 0;
    for (const worker of readdirSync(join(this.dataDir, 'spool'))) {
      if (!/^\d+$/.test(worker)) continue;
      count += readdirSync(join(this.dataDir, 'spool', worker)).filter((file) => file.endsWith('.footer')).length;
    }
    return count;
  }

  /** SIGTERM; resolves to the exit code. */
  async stop(): Promise<number | null> {
    this.#process.kill('SIGTERM');
    return ended(this.#process);
  }

  /** SIGKILL to every process of the service at once, as a machine that loses power does. */
  async killAll(): Promise<void> {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch (error) {
      // All of them are gone already.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await ended(this.#process);
  }

  /** SIGKILL to the first process alone; the others end when they notice. */
  async killSupervisor(): Promise<void> {
    this.#process.kill('SIGKILL');
    await ended(this.#process);
  }

  async stopAndRemove(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'backwork-test-'));
}

/** Starts the service and waits for its ready line; throws with what it printed when that does not come. */
export async function startService(options: ServiceOptions = {}): Promise<TestService> {
  const dataDir = options.dataDir ?? temporaryDirectory();
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    BACKWORK_DATA_DIR: dataDir,
    BACKWORK_OTLP_GRPC_PORT: String(options.ports?.grpc ?? 0),
    BACKWORK_OTLP_HTTP_PORT: String(options.ports?.http ?? 0),
    BACKWORK_API_PORT: String(options.ports?.api ?? 0),
    BACKWORK_ENGINE_PORT: String(options.ports?.engine ?? 0),
    ...options.env,
  };
  // A group of its own, so that killAll reaches every process and none of the test's.
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    env,
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-200_000);
  });
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!stdout.includes('backwork is ready')) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`the service did not get ready (exit code ${child.exitCode})\n${stdout}\n${stderr}`);
    }
    await delay(20);
  }
  return new TestService(child, env, dataDir, stdout, () => stderr);
}

export function runCommand(env: NodeJS.ProcessEnv, args: readonly string[]): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env, cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}

function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
