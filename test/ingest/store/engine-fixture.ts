/** The real embedded engine in its own process, which can be killed and started again on the same data and port. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ClickHouse, connectClickHouse } from '../../../src/engine/clickhouse.ts';
import { createTableSql } from '../../../src/engine/migrate.ts';
import type { ChildMessage } from '../../../src/process-messages.ts';
import { smallTable } from './spool-fixture.ts';

const ENGINE_FILE = fileURLToPath(new URL('../../../src/engine-process.ts', import.meta.url));
const LOGIN = { user: 'backwork', password: 'of-the-test' };

export interface Engine {
  /** Undefined before the first start. */
  readonly port: () => number;
  readonly url: () => string;
  readonly login: typeof LOGIN;
  /** Straight to the engine, for the test's own questions. */
  readonly clickhouse: () => ClickHouse;
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  createTable(name: string): Promise<void>;
  close(): Promise<void>;
}

/** `dataDir` gets `engine/` and `engine.json`, as in production. */
export async function startEngine(dataDir: string): Promise<Engine> {
  let child: ChildProcess | undefined;
  let port = 0;
  const clients: ClickHouse[] = [];
  const url = () => `http://127.0.0.1:${port}`;
  const connected = () => {
    const client = connectClickHouse({ url: url(), ...LOGIN, database: 'default' });
    clients.push(client);
    return client;
  };
  const engine: Engine = {
    port: () => port,
    url,
    login: LOGIN,
    clickhouse: () => clients[0] ?? connected(),
    start: async () => {
      child = fork(ENGINE_FILE, [], {
        stdio: ['ignore', 2, 2, 'ipc'],
        env: {
          ...process.env,
          UV_THREADPOOL_SIZE: '32',
          TZ: 'UTC',
          BACKWORK_ENGINE_DIR: join(dataDir, 'engine'),
          BACKWORK_ENGINE_PORT: String(port),
          BACKWORK_ENGINE_FILE: join(dataDir, 'engine.json'),
          BACKWORK_ENGINE_MEMORY_MIB: '1024',
          BACKWORK_LOG_LEVEL: 'error',
        },
      });
      port = await readyPort(child);
    },
    kill: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
    createTable: (name) => engine.clickhouse().command(createTableSql(smallTable(name), { embedded: true })),
    close: async () => {
      for (const client of clients) await client.close();
      await engine.kill();
    },
  };
  await mkdir(dataDir, { recursive: true });
  writeFileSync(join(dataDir, 'engine.json'), JSON.stringify(LOGIN));
  await engine.start();
  return engine;
}

async function readyPort(child: ChildProcess): Promise<number> {
  for (;;) {
    const [message] = (await Promise.race([once(child, 'message'), exited(child)])) as [ChildMessage];
    if (message.type === 'fatal') throw new Error(message.message);
    if (message.type === 'ready') return message.ports!['engine']!;
  }
}

async function exited(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, 'exit');
  throw new Error(`the engine ended: ${signal ?? code}`);
}
