/** The whole service with its ingest workers watched: CPU and stalls of the event loop. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startService, type TestService } from '../../support/service.ts';
import { cpuMs } from './process-figures.ts';

export interface Stall {
  readonly atMs: number;
  readonly stallMs: number;
  /** CPU of the loop's own thread within it. */
  readonly cpuMs: number;
}

export interface WatchedService {
  readonly service: TestService;
  /** Of all ingest workers together, to 10 ms. */
  cpuMs(): number;
  /** Stalls of 20 ms or more since this time of the wall clock. */
  stallsSince(atMs: number): readonly Stall[];
  stop(): Promise<void>;
}

const WATCH = join(import.meta.dirname, 'loop-watch.ts');

export async function startWatchedService(env: Readonly<Record<string, string>> = {}): Promise<WatchedService> {
  const loopDir = mkdtempSync(join(tmpdir(), 'backwork-loop-'));
  const nodeOptions = `${process.env['NODE_OPTIONS'] ?? ''} --import=${pathToFileURL(WATCH).href}`.trim();
  const watch = { NODE_OPTIONS: nodeOptions, BACKWORK_TEST_LOOP_DIR: loopDir };
  const service = await startService({ env: { ...watch, ...env } });
  return {
    service,
    cpuMs: () => cpuMs(service.children('ingest')),
    stallsSince: (atMs) =>
      readdirSync(loopDir)
        .flatMap((file) => readFileSync(join(loopDir, file), 'utf8').split('\n'))
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Stall)
        .filter((stall) => stall.atMs >= atMs),
    async stop() {
      await service.stopAndRemove();
      rmSync(loopDir, { recursive: true, force: true });
    },
  };
}
