/** The service as users start it, for the ingest bench: free ports, a data directory of its own that is removed at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT } from './machine.ts';
import { childrenOf } from './process-figures.ts';

export interface LiveService {
  readonly dataDir: string;
  readonly ports: { readonly grpc: number; readonly http: number; readonly engine: number };
  readonly token: string;
  /** Processes by what they do: `ingest 0`, `store`, `engine`, `main`. */
  readonly processes: readonly { readonly name: string; readonly pid: number }[];
  /** Resolves when every acknowledged request is stored and its segment removed. Throws after `withinMs`. */
  spoolEmpty(withinMs: number): Promise<void>;
  /** Rows of a query, asked at the engine. */
  query<Row>(sql: string): Promise<Row[]>;
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 20_000;
/** Longer than a segment stays open. */
const LAST_SEAL_MS = 1_500;
const PROCESS_FILES = ['ingest-process.ts', 'store-process.ts', 'engine-process.ts'];

/** `root`: the tree whose service it is. `prepare` fills the data directory before the first start. */
export async function startLiveService(
  env: Readonly<Record<string, string>>,
  root = ROOT,
  prepare?: (dataDir: string) => Promise<void>,
): Promise<LiveService> {
  const dataDir = mkdtempSync(join(tmpdir(), 'backwork-bench-'));
  await prepare?.(dataDir);
  const child = spawn(process.execPath, [join(root, 'src/main.ts'), 'serve'], {
    env: {
      ...process.env,
      BACKWORK_DATA_DIR: dataDir,
      BACKWORK_OTLP_GRPC_PORT: '0',
      BACKWORK_OTLP_HTTP_PORT: '0',
      BACKWORK_API_PORT: '0',
      BACKWORK_ENGINE_PORT: '0',
      BACKWORK_LOG_LEVEL: 'warn',
      ...env,
    },
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const announced = await ready(child);
    const { ports } = JSON.parse(readFileSync(join(dataDir, 'service.json'), 'utf8')) as Pick<LiveService, 'ports'>;
    const token = /bw_ing_\w+/.exec(announced)?.[0] ?? '';
    return { dataDir, ports, token, processes: processesOf(child), ...methodsOf(child, dataDir, ports.engine) };
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true });
    throw error;
  }
}

/** What the service printed until it said that it is ready. */
async function ready(child: ChildProcess): Promise<string> {
  let stdout = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!stdout.includes('backwork is ready')) {
    if (child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`the service did not get ready (exit code ${child.exitCode})\n${stdout}`);
    }
    await delay(50);
  }
  return stdout;
}

function processesOf(child: ChildProcess): LiveService['processes'] {
  const main = child.pid ?? 0;
  let workers = 0;
  const children = childrenOf(main, PROCESS_FILES).map(({ pid, file }) => {
    const name = file.replace('-process.ts', '');
    return { name: name === 'ingest' ? `ingest ${workers++}` : name, pid };
  });
  return [...children, { name: 'main', pid: main }];
}

function methodsOf(
  child: ChildProcess,
  dataDir: string,
  enginePort: number,
): Pick<LiveService, 'spoolEmpty' | 'query' | 'stop'> {
  return {
    async spoolEmpty(withinMs) {
      const deadline = performance.now() + withinMs;
      await delay(LAST_SEAL_MS);
      for (;;) {
        const waiting = sealedSegments(dataDir);
        if (waiting === 0) return;
        if (performance.now() > deadline) throw new Error(`${waiting} segments wait after ${withinMs} ms`);
        await delay(100);
      }
    },
    async query<Row>(sql: string): Promise<Row[]> {
      const login = JSON.parse(readFileSync(join(dataDir, 'engine.json'), 'utf8')) as Record<string, string>;
      const answer = await fetch(`http://127.0.0.1:${enginePort}/?default_format=JSONEachRow`, {
        method: 'POST',
        headers: { 'x-clickhouse-user': login['user'] ?? '', 'x-clickhouse-key': login['password'] ?? '' },
        body: sql,
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
      const lines = text.split('\n').filter((line) => line !== '');
      return lines.map((line) => JSON.parse(line) as Row);
    },
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await ended;
      }
      clearTimeout(kill);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Segments whose requests were acknowledged and whose rows are not known to be stored yet. */
function sealedSegments(dataDir: string): number {
  const workers = readdirSync(join(dataDir, 'spool')).filter((name) => /^\d+$/.test(name));
  return workers
    .flatMap((worker) => readdirSync(join(dataDir, 'spool', worker)))
    .filter((name) => name.endsWith('.footer') || name.endsWith('.footer.tmp')).length;
}
