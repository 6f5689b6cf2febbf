import { afterEach, beforeEach, expect, test } from 'vitest';
import { BackworkError } from '../../src/base/errors.ts';
import { createService, type Service, type ServiceDeps } from '../../src/commands/service.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { CHILD_FILE, createRecorder, type Recorder } from '../supervisor/events.ts';

let recorder: Recorder;
let service: Service | undefined;

beforeEach(() => {
  recorder = createRecorder();
});
afterEach(async () => {
  await service?.stop(0);
  service = undefined;
  recorder.remove();
});

/** Settings with every port 0, unless `env` says otherwise. */
function create(env: Record<string, string>, more: Partial<ServiceDeps> = {}): Service {
  const ports = { BACKWORK_OTLP_GRPC_PORT: '0', BACKWORK_OTLP_HTTP_PORT: '0', BACKWORK_ENGINE_PORT: '0' };
  const { CHILD_MODE = '', ...settings } = env;
  service = createService({
    settings: loadSettings({ ...ports, ...settings }),
    dataDir: recorder.dir,
    env: { PATH: process.env['PATH'], CHILD_MODE, CHILD_EVENTS: recorder.eventsPath },
    files: { engine: CHILD_FILE, store: CHILD_FILE, ingest: CHILD_FILE },
    log: recorder.log,
    random: () => 0,
    workers: 2,
    migrate: async () => undefined,
    onFatal: () => undefined,
    ...more,
  });
  return service;
}

function starts(): string[] {
  return recorder.events().flatMap((event) => /^(.*) start/.exec(event)?.[1] ?? []);
}

test('children start from the store outwards, with the threads, time zone and ports that are theirs', async () => {
  const started = await create({}).start();
  expect(started).toEqual({ ports: { engine: 7001, grpc: 7002, http: 7003 }, storeReady: true });
  expect(starts()).toEqual(['engine', 'store', 'ingest 0', 'ingest 1']);
  const [engine, store, first, second] = recorder.events().filter((event) => event.includes(' start '));
  expect(engine).toMatch(/threads=32 tz=UTC engine=0 /);
  expect(store).toMatch(/engine=7001 /);
  expect(first).toMatch(/threads=16 .* http=0 /);
  expect(second).toMatch(/threads=16 .* http=7003 /);
  for (const start of [engine, store, first, second]) expect(start).toContain(`cache=${recorder.dir}/cache `);
});

test('children stop from the door inwards, each after the one before has ended', async () => {
  const it = create({});
  await it.start();
  await it.stop(10_000);
  const stops = recorder.events().filter((event) => / (stop|end)$/.test(event));
  expect(stops.slice(0, 4).sort()).toEqual(['ingest 0 end', 'ingest 0 stop', 'ingest 1 end', 'ingest 1 stop']);
  expect(stops.slice(4)).toEqual(['store stop', 'store end', 'engine stop', 'engine end']);
});

test('a stop ends all in time although an ingest process does not listen', async () => {
  const it = create({ CHILD_MODE: 'ingest 0=deaf' });
  await it.start();
  await it.stop(2_600);
  expect(recorder.events().slice(-4)).toEqual(['store stop', 'store end', 'engine stop', 'engine end']);
});

test('an engine that is killed comes back on the port that it had', async () => {
  const it = create({});
  await it.start();
  const pid = Number(/pid=(\d+)/.exec((await recorder.seen(/^engine start/))[0] ?? '')?.[1]);
  process.kill(pid, 'SIGKILL');
  const again = await recorder.seen(/^engine start/, 2);
  expect(again[1]).toMatch(/engine=7001 /);
});

test('sealed segments are told to the store', async () => {
  await create({}).start();
  expect(await recorder.seen(/^store sealed 41$/, 2)).toHaveLength(2);
});

test('ready means that at least one worker accepts, and the others are named', async () => {
  const it = create({ CHILD_MODE: 'ingest 1=full' });
  expect(it.readiness().ready).toBe(false);
  await it.start();
  await expect.poll(() => it.readiness()).toEqual({ ready: true, reasons: ['ingest 1: the spool is full'] });
  await it.stop(10_000);
  expect(it.readiness()).toEqual({ ready: false, reasons: ['the service is stopping'] });
});

test('not ready when no worker accepts, or when the one that did has died', async () => {
  const full = create({ CHILD_MODE: 'ingest 0=full' }, { workers: 1 });
  await full.start();
  await expect.poll(() => full.readiness().reasons).toEqual(['ingest 0: the spool is full']);
  expect(full.readiness().ready).toBe(false);
});

test('with a server there is no engine child', async () => {
  const started = await create({ BACKWORK_CLICKHOUSE_URL: 'http://u:p@127.0.0.1:9' }).start();
  expect(started.ports.engine).toBeUndefined();
  expect(starts()).toEqual(['store', 'ingest 0', 'ingest 1']);
});

test('migrating is tried again while the store is on its way, and the store child waits for it', async () => {
  let attempts = 0;
  await create(
    {},
    {
      migrate: async (port) => {
        expect(port).toBe(7001);
        expect(starts()).toEqual(['engine']);
        if (++attempts < 3) throw new BackworkError('store-unreachable', 'not yet');
      },
    },
  ).start();
  expect(attempts).toBe(3);
});

test('ingest starts without a store that stays away, and a fatal answer of it later is reported', async () => {
  const fatal = Promise.withResolvers<unknown>();
  let answer = new BackworkError('store-unreachable', 'away');
  const it = create(
    {},
    {
      migrate: async () => {
        throw answer;
      },
      onFatal: fatal.resolve,
    },
  );
  expect((await it.start()).storeReady).toBe(false);
  expect(starts()).toEqual(['engine', 'ingest 0', 'ingest 1']);
  await expect.poll(() => it.readiness()).toMatchObject({ ready: true, reasons: [expect.stringContaining('store')] });
  expect(recorder.logged()).toContainEqual(
    expect.objectContaining({ level: 'warn', msg: expect.stringMatching(/spool/) }),
  );
  answer = new BackworkError('store-settings', 'otel_logs: fsync_after_insert is 0, must be 1');
  expect(await fatal.promise).toBe(answer);
});

test('settings of the store that do not hold refuse the start', async () => {
  const error = new BackworkError('store-settings', 'otel_logs: fsync_after_insert is 0, must be 1');
  const migrate = async () => {
    throw error;
  };
  await expect(create({}, { migrate }).start()).rejects.toBe(error);
  expect(starts()).toEqual(['engine']);
});

test.each(['engine', 'store', 'ingest 0', 'ingest 1'])('%s saying fatal at start refuses the start', async (name) => {
  await expect(create({ CHILD_MODE: `${name}=fatal` }).start()).rejects.toThrow(`${name}: no restart helps`);
});

test('a stop during the start ends it, and nothing is started afterwards', async () => {
  const it = create({ CHILD_MODE: 'engine=silent' });
  const started = it.start();
  started.catch(() => undefined);
  await recorder.seen(/^engine start/);
  await it.stop(10_000);
  await expect(started).rejects.toMatchObject({ code: 'shutting-down' });
  expect(starts()).toEqual(['engine']);
});
