/**
 * Preloaded into the service's processes (`NODE_OPTIONS=--import`): writes down how long the event loop of an ingest
 * process stood still, so that a test can judge it from outside. Nothing of the service knows of it.
 *
 * A line a stall: wall clock at its end, its length, and the CPU time that the loop's own thread took in it: a thread that
 * the machine did not run is late as well, but holds nobody up.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const TICK_MS = 5;
const WRITTEN_FROM_MS = 20;

const dir = process.env['BACKWORK_TEST_LOOP_DIR'];
if (dir !== undefined && isMainThread && process.argv[1]?.endsWith('ingest-process.ts')) {
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1_000;
  };
  let lastMs = performance.now();
  let lastCpuMs = cpuMs();
  setInterval(() => {
    const nowMs = performance.now();
    const nowCpuMs = cpuMs();
    const stallMs = nowMs - lastMs - TICK_MS;
    if (stallMs >= WRITTEN_FROM_MS) {
      const line = { atMs: Date.now(), stallMs: Math.round(stallMs), cpuMs: Math.round(nowCpuMs - lastCpuMs) };
      appendFileSync(join(dir, String(process.pid)), `${JSON.stringify(line)}\n`);
    }
    lastMs = nowMs;
    lastCpuMs = nowCpuMs;
  }, TICK_MS).unref();
}
