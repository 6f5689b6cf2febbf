/** Runs `node src/main.ts …` as a user does, in a directory of its own, and collects what it prints. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const FREE_PORTS = {
  BACKWORK_OTLP_GRPC_PORT: '0',
  BACKWORK_OTLP_HTTP_PORT: '0',
  BACKWORK_API_PORT: '0',
  BACKWORK_ENGINE_PORT: '0',
  BACKWORK_WORKERS: '1',
};

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stdoutBytes: Buffer;
  readonly stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves when stdout holds the text; rejects when the process ends before. */
  printed(text: string): Promise<void>;
  readonly ended: Promise<Ended>;
}

/** A temporary directory, and processes that work in it. */
export class Workplace {
  readonly dir = mkdtempSync(join(tmpdir(), 'backwork-main-'));
  readonly dataDir = join(this.dir, 'data');
  readonly #running = new Set<Running>();

  /** The environment of every process: free ports, the data directory, nothing of the tester's own settings. */
  env(more: Record<string, string> = {}): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('BACKWORK_'));
    return { ...Object.fromEntries(own), ...FREE_PORTS, BACKWORK_DATA_DIR: this.dataDir, ...more };
  }

  start(args: readonly string[], env: Record<string, string> = {}, input = ''): Running {
    const child = spawn(process.execPath, [MAIN, ...args], { env: this.env(env), cwd: this.dir, stdio: 'pipe' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const stdout = () => Buffer.concat(out).toString();
    const stderr = () => Buffer.concat(err).toString();
    const ended = once(child, 'close').then(([code]) => {
      this.#running.delete(running);
      return { code: code as number | null, stdout: stdout(), stdoutBytes: Buffer.concat(out), stderr: stderr() };
    });
    const running: Running = {
      process: child,
      stdout,
      stderr,
      ended,
      async printed(text) {
        while (!stdout().includes(text)) {
          if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${stdout()}\n${stderr()}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      },
    };
    this.#running.add(running);
    return running;
  }

  run(args: readonly string[], env: Record<string, string> = {}, input = ''): Promise<Ended> {
    return this.start(args, env, input).ended;
  }

  /** Ends what still runs (children end within a second of losing their supervisor) and removes the directory. */
  async remove(): Promise<void> {
    for (const running of this.#running) {
      running.process.kill('SIGKILL');
      await running.ended;
    }
    chmodSync(this.dir, 0o700);
    rmSync(this.dir, { recursive: true, maxRetries: 20, retryDelay: 100 });
  }
}
