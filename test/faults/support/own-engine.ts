/** The embedded engine behind its door as a process of the test's own: nobody starts it again but the test. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Door } from './door-client.ts';

const ENGINE_FILE = join(import.meta.dirname, '../../../src/engine-process.ts');
const LOGIN = { user: 'backwork', password: 'of-a-test' };

export class OwnEngine implements Door {
  readonly user = LOGIN.user;
  readonly password = LOGIN.password;
  readonly #dir = mkdtempSync(join(tmpdir(), 'backwork-engine-'));
  #port = 0;
  #process: ChildProcess | undefined;

  constructor() {
    writeFileSync(join(this.#dir, 'engine.json'), JSON.stringify(LOGIN));
  }

  /** The same at every start after the first. */
  readonly port = (): number => this.#port;

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Resolves when the door is open. */
  async start(): Promise<void> {
    const { NODE_OPTIONS: _, FAULT_AGENT: __, ...outer } = process.env;
    const child = fork(ENGINE_FILE, [], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...outer,
        UV_THREADPOOL_SIZE: '32',
        TZ: 'UTC',
        BACKWORK_LOG_LEVEL: 'warn',
        BACKWORK_ENGINE_DIR: join(this.#dir, 'engine'),
        BACKWORK_ENGINE_PORT: String(this.#port),
        BACKWORK_ENGINE_FILE: join(this.#dir, 'engine.json'),
        BACKWORK_ENGINE_MEMORY_MIB: '4096',
      },
    });
    this.#process = child;
    this.#port = await new Promise<number>((resolve, reject) => {
      child.once('exit', (code, signal) => reject(new Error(`the engine ended (${signal ?? code})`)));
      child.on('message', (message: { type: string; ports?: { engine: number } }) => {
        if (message.type === 'ready') resolve(message.ports?.engine ?? 0);
      });
    });
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.ended();
  }

  /** Resolves when the process is gone, whoever ended it. */
  async ended(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => child.once('exit', resolve));
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
