/**
 * The Collector's program: starts a Collector that sends to the service, and feeds it by the JS client's program, which
 * knows nothing of the Collector. The Collector is stopped (SIGTERM) once its exporters' queues are empty; a queue that
 * does not become empty fails the run. In an outage the Collector with a persistent queue is itself stopped and started
 * again while the service is away.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { collectorConfig } from './config.ts';

const FEEDER = join(import.meta.dirname, '../js/program.ts');
const READY_WITHIN_MS = 30_000;
/** The longest wait of the default retry is 30 s + 50 %, and one may have begun just before the service came back. */
const QUEUES_EMPTY_WITHIN_MS = 100_000;
/** Longer than the batch processor keeps items (200 ms). */
const BATCH_LEFT_MS = 1_000;
/** So long after the service went away, its requests wait in the queue. */
const RESTART_AFTER_MS = 6_000;
const LOOK_EVERY_MS = 250;

const [binary = '', directory = ''] = process.argv.slice(2);
const { INTEROP_ENDPOINT: endpoint = '', INTEROP_RUN: run = '', INTEROP_MODE: mode } = process.env;
const persistent = process.env['INTEROP_VARIANT'] === 'persistent queue';
const say = (line: string): void => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);

const runDirectory = join(directory, 'runs', run);
const configFile = join(runDirectory, 'config.yaml');
const [receiverPort, metricsPort] = [await freePort(), await freePort()];
let restarts = 0;
writeConfig();
let collector = await startCollector();
const restarting = mode === 'steady' && persistent ? restartWhenAway() : Promise.resolve();
const report = await feed();
await restarting;
await queuesEmpty();
await stopCollector();
if (mode === 'steady') say(`the Collector was restarted ${restarts} times`);
console.log(report);

function writeConfig(): void {
  rmSync(runDirectory, { recursive: true, force: true });
  const queueDirectory = join(runDirectory, 'queue');
  mkdirSync(queueDirectory, { recursive: true });
  const config = collectorConfig({
    exporter: process.env['INTEROP_PROTOCOL'] === 'grpc' ? 'otlp_grpc' : 'otlp_http',
    endpoint,
    token: process.env['INTEROP_TOKEN'] ?? '',
    receiverPort,
    metricsPort,
    queueDirectory: persistent ? queueDirectory : undefined,
  });
  writeFileSync(configFile, config, { mode: 0o600 });
}

async function startCollector(): Promise<ChildProcess> {
  const child = spawn(binary, ['--config', configFile], { stdio: ['ignore', 2, 2] });
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!(await listens(receiverPort))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error('the Collector did not get ready');
    await delay(LOOK_EVERY_MS);
  }
  return child;
}

async function stopCollector(): Promise<void> {
  if (collector.exitCode !== null) throw new Error(`the Collector ended by itself with ${collector.exitCode}`);
  const ended = new Promise<number | null>((resolve) => collector.once('exit', resolve));
  collector.kill('SIGTERM');
  const code = await ended;
  if (code !== 0) throw new Error(`the Collector ended with ${code}`);
}

/** Runs the JS client's program against the Collector's receiver; its last line. */
async function feed(): Promise<string> {
  const env = {
    ...process.env,
    INTEROP_ENDPOINT: `http://127.0.0.1:${receiverPort}`,
    INTEROP_PROTOCOL: 'http/protobuf',
    INTEROP_COMPRESSION: 'none',
    INTEROP_VARIANT: '',
  };
  const child = spawn(process.execPath, [FEEDER], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the feeding program ended with ${code}`);
  return stdout.trimEnd().split('\n').at(-1) ?? '';
}

async function restartWhenAway(): Promise<void> {
  const port = Number(new URL(endpoint).port);
  const giveUpAt = performance.now() + Number(process.env['INTEROP_SECONDS']) * 1_000;
  while (await listens(port)) {
    if (performance.now() > giveUpAt) throw new Error('the service did not go away');
    await delay(LOOK_EVERY_MS);
  }
  await delay(RESTART_AFTER_MS);
  if (await listens(port)) throw new Error('the service came back before the Collector was restarted');
  await stopCollector();
  say('the Collector is stopped while the service is away');
  collector = await startCollector();
  restarts++;
}

/** Resolves once no exporter has a request waiting or under way: the queue's size counts both. */
async function queuesEmpty(): Promise<void> {
  await delay(BATCH_LEFT_MS);
  const deadline = performance.now() + QUEUES_EMPTY_WITHIN_MS;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
    const sizes = [...(await answer.text()).matchAll(/^otelcol_exporter_queue_size\{.*\} (\S+)$/gm)].map(([, n]) =>
      Number(n),
    );
    if (sizes.length > 0 && sizes.every((n) => n === 0)) return;
    if (performance.now() > deadline) throw new Error(`requests are left in the queues: ${sizes.join(', ')}`);
    await delay(LOOK_EVERY_MS);
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    const answer = (value: boolean) => () => {
      socket.destroy();
      resolve(value);
    };
    socket.once('connect', answer(true)).once('error', answer(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
