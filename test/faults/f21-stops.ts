/**
 * F21: SIGTERM under load, and SIGTERM followed by SIGKILL of everything a second later. The service ends in order within
 * its time; either way every acknowledged row is stored once by the one that is started next.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { startService, temporaryDirectory, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { doorOf, settle } from './kills.ts';
import { Oracle, violationsOf } from './support/oracle.ts';

/** Of each way. */
const STOPS = { ci: 1, full: 10 };
const STOP_MS_MAX = 12_000;
const KILL_AFTER_MS = 1_000;
const ROWS_BETWEEN = 1_000;

export const f21: Fault = {
  id: 'F21',
  title: 'SIGTERM under load, and SIGKILL one second after it',
  run,
};

async function run({ size, say }: FaultOptions): Promise<FaultReport> {
  const dataDir = temporaryDirectory();
  const env = { BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '300' };
  const oracle = new Oracle();
  let service = await startService({ dataDir, env });
  const { ports, token } = service;
  const violations: string[] = [];
  const stopsMs: number[] = [];
  try {
    oracle.start({
      grpcPort: ports.grpc,
      httpPort: ports.http,
      token,
      clients: Array.from({ length: 8 }, (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: i < 6 })),
      rowsPerRequest: 100,
      intervalMs: 250,
      signals: SIGNALS,
    });
    for (let i = 0; i < 2 * STOPS[size]; i++) {
      await oracle.acknowledged(ROWS_BETWEEN);
      if (i % 2 === 0) stopsMs.push(await stopInOrder(service, violations));
      else await killAfter(service);
      say(`stop ${i + 1} of ${2 * STOPS[size]}, ${oracle.status.acknowledged} rows acknowledged`);
      service = await startService({ dataDir, env, ports });
    }
    await oracle.acknowledged(ROWS_BETWEEN);
    await oracle.stop();
    await settle(service, token);
    const verdict = await oracle.judge(doorOf(service));
    const slowestMs = Math.max(...stopsMs);
    if (size === 'full' && slowestMs > STOP_MS_MAX) violations.push(`a stop took ${slowestMs} ms`);
    const { acknowledged, lost, doubled } = verdict;
    const figures = { stops: stopsMs.length, kills: STOPS[size], stopMaxMs: slowestMs, acknowledged, lost, doubled };
    return { figures, violations: [...violations, ...violationsOf(verdict)] };
  } finally {
    oracle.remove();
    await service.stopAndRemove();
  }
}

/** Returns how long it took. */
async function stopInOrder(service: TestService, violations: string[]): Promise<number> {
  const beganMs = performance.now();
  const code = await service.stop();
  if (code !== 0) violations.push(`SIGTERM ended with exit code ${code}`);
  return Math.round(performance.now() - beganMs);
}

/** It may have ended in order before the kill comes. */
async function killAfter(service: TestService): Promise<void> {
  const ended = service.stop();
  await Promise.race([ended, delay(KILL_AFTER_MS)]);
  await service.killAll();
}
