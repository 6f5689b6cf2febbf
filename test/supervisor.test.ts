import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Child, type ChildSpec, restartDelayMs, superviseChild } from '../src/supervisor.ts';
import { CHILD_FILE, createRecorder, type Recorder } from './supervisor/events.ts';

let recorder: Recorder;
let child: Child | undefined;

beforeEach(() => {
  recorder = createRecorder();
});
afterEach(async () => {
  await child?.stop(0);
  child = undefined;
  recorder.remove();
});

function start(mode: string, more: Partial<ChildSpec> = {}): Child {
  const env = () => ({ ...process.env, CHILD_NAME: 'x', CHILD_MODE: `x=${mode}`, CHILD_EVENTS: recorder.eventsPath });
  const spec = { name: 'x', file: CHILD_FILE, env, ...more };
  child = superviseChild(spec, { log: recorder.log, random: () => 0 });
  return child;
}

test('a child is ready with the ports it says', async () => {
  expect(await start('').ready).toEqual({ grpc: 7002, http: 7003 });
});

test('a child that was killed is started again and is told what the new one is asked', async () => {
  const it = start('');
  await it.ready;
  const first = it.pid();
  process.kill(first ?? 0, 'SIGKILL');
  await recorder.seen(/^x start/, 2);
  expect(it.pid()).not.toBe(first);
  await expect.poll(() => it.pid()).toBeGreaterThan(0);
  it.send({ type: 'sealed', spoolDir: '/s', sequence: 7 });
  await recorder.seen(/^x sealed 7$/);
  expect(recorder.logged()).toContainEqual(
    expect.objectContaining({ level: 'warn', child: 'x', how: 'SIGKILL', delayMs: 100 }),
  );
});

test('a child that ends at once is started again after longer and longer delays', async () => {
  let delay = 0;
  const env = () => ({ ...process.env, CHILD_NAME: 'x', CHILD_MODE: 'x=crash', CHILD_EVENTS: recorder.eventsPath });
  const random = () => {
    delay += 1;
    return 0.1;
  };
  child = superviseChild({ name: 'x', file: CHILD_FILE, env }, { log: recorder.log, random });
  await recorder.seen(/^x start/, 4);
  const delays = recorder.logged().map((line) => line['delayMs']);
  expect(delays.slice(0, 3)).toEqual([110, 130, 170]);
  expect(recorder.logged()[0]).toMatchObject({ how: 'exit code 3' });
  expect(delay).toBeGreaterThanOrEqual(3);
});

test('a child that says fatal before it is ready fails the start with its line and is not started again', async () => {
  const it = start('fatal');
  await expect(it.ready).rejects.toThrow('x: no restart helps');
  await expect.poll(() => it.pid(), { timeout: 5_000 }).toBeUndefined();
  expect(recorder.events().filter((event) => event.startsWith('x start'))).toHaveLength(1);
});

test('a child that says fatal after it was ready is logged, killed and started again', async () => {
  await start('late fatal').ready;
  await recorder.seen(/^x start/, 2);
  expect(recorder.logged()).toContainEqual(
    expect.objectContaining({ level: 'error', child: 'x', reason: 'x: no restart helps' }),
  );
});

test('a stopped child ends by itself and is never started again', async () => {
  const it = start('');
  await it.ready;
  await it.stop(10_000);
  expect(it.pid()).toBeUndefined();
  expect(recorder.events().slice(-2)).toEqual(['x stop', 'x end']);
  expect(recorder.logged()).toEqual([]);
});

test('a child that does not listen is killed after the grace it gets', async () => {
  const it = start('deaf');
  await it.ready;
  await it.stop(50);
  expect(it.pid()).toBeUndefined();
  expect(recorder.events()).not.toContain('x end');
});

test('stopping between two starts starts nothing more', async () => {
  let ends = 0;
  const it = start('crash', { onEnd: () => (ends += 1) });
  await expect.poll(() => ends).toBeGreaterThan(0);
  await it.stop(1_000);
  const starts = recorder.events().length;
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(recorder.events()).toHaveLength(starts);
  await expect(it.ready).rejects.toMatchObject({ code: 'shutting-down' });
});

test('delays stay between 100 ms and 10 s, with full jitter', () => {
  expect([0, 1, 2, 6, 7, 1_000].map((ends) => restartDelayMs(ends, () => 0.999999))).toEqual([
    200, 400, 800, 10_000, 10_000, 10_000,
  ]);
  expect([0, 5, 1_000].map((ends) => restartDelayMs(ends, () => 0))).toEqual([100, 100, 100]);
});
