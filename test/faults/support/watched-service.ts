/** The whole service with its ingest workers watched: CPU, memory, stalls of the event loop. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startService, type TestService } from '../../support/service.ts';

export interface Stall {
  readonly atMs: number;
  readonly stallMs: number;
  /** CPU of the loop's own thread within it. */
  readonly cpuMs: number;
}

export interface WorkerFigures {
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

export interface WatchedService {
  readonly service: TestService;
  /** Of all ingest workers together. */
  figures(): WorkerFigures;
  /** Stalls of 20 ms or more since this time of the wall clock. */
  stallsSince(atMs: number): readonly Stall[];
  /** Starts the kernel's count of the greatest RSS anew. */
  resetPeak(): void;
  stop(): Promise<void>;
}

const WATCH = join(import.meta.dirname, 'loop-watch.ts');
/** Linux's USER_HZ. */
const TICK_MS = 10;

export async function startWatchedService(env: Readonly<Record<string, string>> = {}): Promise<WatchedService> {
  const loopDir = mkdtempSync(join(tmpdir(), 'backwork-loop-'));
  const nodeOptions = `${process.env['NODE_OPTIONS'] ?? ''} --import=${pathToFileURL(WATCH).href}`.trim();
  const watch = { NODE_OPTIONS: nodeOptions, BACKWORK_TEST_LOOP_DIR: loopDir };
  const service = await startService({ env: { ...watch, ...env } });
  return {
    service,
    figures: () => service.children('ingest').map(figuresOf).reduce(sum),
    stallsSince: (atMs) =>
      readdirSync(loopDir)
        .flatMap((file) => readFileSync(join(loopDir, file), 'utf8').split('\n'))
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Stall)
        .filter((stall) => stall.atMs >= atMs),
    resetPeak: () => service.children('ingest').forEach(resetPeak),
    async stop() {
      await service.stopAndRemove();
      rmSync(loopDir, { recursive: true, force: true });
    },
  };
}

function figuresOf(pid: number): WorkerFigures {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    rssBytes: bytes('VmRSS'),
    peakRssBytes: bytes('VmHWM'),
  };
}

function sum(one: WorkerFigures, other: WorkerFigures): WorkerFigures {
  return {
    cpuMs: one.cpuMs + other.cpuMs,
    rssBytes: one.rssBytes + other.rssBytes,
    peakRssBytes: one.peakRssBytes + other.peakRssBytes,
  };
}

function resetPeak(pid: number): void {
  // proc(5): 5 sets VmHWM to the RSS of now.
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
