/** Metrics of a service whose children are scripts: what a child does not say, and what it was before it was started again. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MetricsReading } from '../../src/commands/metrics-reading.ts';
import { createService, type Service } from '../../src/commands/service.ts';
import { ServiceMetrics, textOf } from '../../src/commands/service-metrics.ts';
import { METRICS, type MetricName } from '../../src/base/metrics-table.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { CHILD_FILE, createRecorder, type Recorder } from '../supervisor/events.ts';

let recorder: Recorder;
let service: Service | undefined;
let metrics: ServiceMetrics | undefined;

beforeEach(() => {
  recorder = createRecorder();
});
afterEach(async () => {
  metrics?.stop();
  await service?.stop(0);
  recorder.remove();
});

async function start(mode: string): Promise<{ service: Service; read: () => Promise<MetricsReading> }> {
  const ports = { BACKWORK_OTLP_GRPC_PORT: '0', BACKWORK_OTLP_HTTP_PORT: '0', BACKWORK_ENGINE_PORT: '0' };
  const made = createService({
    settings: loadSettings(ports),
    dataDir: recorder.dir,
    env: { PATH: process.env['PATH'], CHILD_MODE: mode, CHILD_EVENTS: recorder.eventsPath },
    files: { engine: CHILD_FILE, store: CHILD_FILE, ingest: CHILD_FILE },
    log: recorder.log,
    random: () => 0,
    workers: 2,
    migrate: async () => undefined,
    onFatal: () => undefined,
  });
  service = made;
  await made.start();
  const page = new ServiceMetrics({
    dataDir: recorder.dir,
    reserveBytes: () => 1_000,
    source: made.source,
    log: recorder.log,
  });
  metrics = page;
  return { service: made, read: async () => new MetricsReading((await page.text()).text) };
}

/** Process id of the newest process of that name. */
async function pidOf(name: string, starts = 1): Promise<number> {
  const seen = await recorder.seen(new RegExp(`^${name} start`), starts);
  return Number(/pid=(\d+)/.exec(seen.at(-1) ?? '')?.[1]);
}

test('all processes answer, and what they count is summed', async () => {
  const { read } = await start('');
  const reading = await read();
  expect(reading.by('backwork_process_up', 'process')).toEqual([
    ['ingest', 2],
    ['main', 1],
    ['engine', 1],
    ['store', 1],
  ]);
  const pids = await Promise.all(['engine', 'store', 'ingest 0', 'ingest 1'].map((name) => pidOf(name)));
  const sum = pids.reduce((one, other) => one + other, 0);
  expect(reading.value('backwork_commit_records_total')).toBe(sum);
  expect(reading.value('backwork_disk_reserve_bytes')).toBe(1_000);
});

test('a child that does not answer is shown as down, and the others are there', async () => {
  const { read } = await start('store=mute');
  const reading = await read();
  expect(reading.labelsWhere('backwork_process_up', 0)).toEqual([{ process: 'store' }]);
  const pids = await Promise.all(['engine', 'ingest 0', 'ingest 1'].map((name) => pidOf(name)));
  expect(reading.value('backwork_commit_records_total')).toBe(pids.reduce((one, other) => one + other, 0));
});

test('a counter keeps what a process counted that is gone, and a restart is counted', async () => {
  const { read } = await start('');
  const before = (await read()).sum('backwork_commit_records_total');
  process.kill(await pidOf('ingest 1'), 'SIGKILL');
  const second = await pidOf('ingest 1', 2);
  await expect.poll(async () => (await read()).labelsWhere('backwork_process_up', 0)).toEqual([]);
  const reading = await read();
  expect(reading.sum('backwork_commit_records_total')).toBe(before + second);
  expect(reading.labelsWhere('backwork_process_restarts_total', 1)).toEqual([{ process: 'ingest', worker: '1' }]);
});

test('a worker that hangs is not accepting, whatever it said last', async () => {
  const { service: it, read } = await start('');
  await expect.poll(() => it.readiness()).toEqual({ ready: true, reasons: [] });
  const pid = await pidOf('ingest 0');
  process.kill(pid, 'SIGSTOP');
  const hangs = expect.stringMatching(/^ingest 0: the process hangs: it has said nothing for \d+ s$/);
  await expect.poll(() => it.readiness(), { timeout: 10_000 }).toEqual({ ready: true, reasons: [hangs] });
  expect((await read()).labelsWhere('backwork_accepting', 0)).toEqual([{ worker: '0' }]);
  process.kill(await pidOf('ingest 1'), 'SIGSTOP');
  await expect.poll(() => it.readiness().ready, { timeout: 10_000 }).toBe(false);
  expect((await read()).value('backwork_ready')).toBe(0);
  process.kill(pid, 'SIGCONT');
  await expect.poll(() => it.readiness().ready, { timeout: 10_000 }).toBe(true);
});

test('an engine or a store that ended is said and is no reason to refuse', async () => {
  const { service: it } = await start('engine=once');
  process.kill(await pidOf('engine'), 'SIGKILL');
  const away = 'engine: the process has ended and is started again; what arrives waits in the spool';
  await expect.poll(() => it.readiness()).toEqual({ ready: true, reasons: [away] });
});

test('every metric of the table is on the page, also when nothing was counted', async () => {
  const { contentType, text } = await textOf({});
  expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const name of Object.keys(METRICS) as MetricName[]) {
    expect(text).toContain(`# HELP ${name} ${METRICS[name].help.replaceAll('\\', '\\\\')}\n`);
    expect(text).toContain(`# TYPE ${name} ${METRICS[name].type}\n`);
  }
});
