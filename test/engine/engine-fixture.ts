/** A real engine process for tests: src/engine-process.ts as the supervisor starts it, on a directory of its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildMessage } from '../../src/process-messages.ts';

export interface RunningEngine {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly dir: string;
  readonly child: ChildProcess;
  /** Ends the process; the directory goes too, unless it was given. */
  stop(): Promise<void>;
}

/** Starts an engine and waits until it is ready. Throws its `fatal` message. */
export async function startEngine(givenDir?: string): Promise<RunningEngine> {
  const dir = givenDir ?? mkdtempSync(join(tmpdir(), 'backwork-engine-'));
  const credentials = { user: 'backwork', password: "pass:word'1" };
  const child = forkEngine(dir, credentials);
  const message = await firstMessage(child);
  if (message.type !== 'ready') throw new Error(message.type === 'fatal' ? message.message : message.type);
  return {
    ...credentials,
    url: `http://127.0.0.1:${message.ports?.['engine']}`,
    dir,
    child,
    async stop() {
      await kill(child);
      if (givenDir === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The process alone, started as the supervisor does. */
export function forkEngine(dir: string, credentials: { user: string; password: string }): ChildProcess {
  mkdirSync(join(dir, 'engine'), { recursive: true, mode: 0o700 });
  const file = join(dir, 'engine.json');
  writeFileSync(file, JSON.stringify(credentials), { mode: 0o600 });
  return fork(new URL('../../src/engine-process.ts', import.meta.url), {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
    env: {
      ...process.env,
      TZ: 'UTC',
      UV_THREADPOOL_SIZE: '32',
      BACKWORK_ENGINE_DIR: join(dir, 'engine'),
      BACKWORK_ENGINE_PORT: '0',
      BACKWORK_ENGINE_FILE: file,
      BACKWORK_ENGINE_MEMORY_MIB: '1024',
    },
  });
}

export async function firstMessage(child: ChildProcess): Promise<ChildMessage> {
  return await new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as ChildMessage));
    child.once('exit', (code, signal) => reject(new Error(`the engine ended: ${code ?? signal}`)));
  });
}

/** How the process ended: its exit code, or the signal. */
export async function ended(child: ChildProcess): Promise<number | string | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
  return await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await ended(child);
}
