/** The store as its own process, with the data directory and engine of a StoreFixture. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { StoreFixture } from './store-fixture.ts';

const STORE_FILE = fileURLToPath(new URL('../../../src/store-process.ts', import.meta.url));

export function forkStore(it: StoreFixture, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = fork(STORE_FILE, [], {
    stdio: ['ignore', 2, 2, 'ipc'],
    env: {
      PATH: process.env['PATH'],
      BACKWORK_DATA_DIR: it.dir,
      BACKWORK_ENGINE_PORT: String(it.engine.port()),
      BACKWORK_WORKERS: '1',
      BACKWORK_LOG_LEVEL: 'error',
      ...env,
    },
  });
  it.onCleanup(() => kill(child));
  return child;
}

/** Resolves when it is ready. */
export async function startStoreProcess(it: StoreFixture, env: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  await writeFile(join(it.dir, 'engine.json'), JSON.stringify(it.engine.login));
  const child = forkStore(it, env);
  const [message] = await once(child, 'message');
  expect(message).toEqual({ type: 'ready' });
  return child;
}

export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** As the supervisor stops it. */
export async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.send({ type: 'stop' });
  expect(await ended).toEqual([0, null]);
}
