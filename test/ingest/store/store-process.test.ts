import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { migrate } from '../../../src/engine/migrate.ts';
import { leaveUnsealed, range, sealSegments } from './spool-fixture.ts';
import { until, useStore } from './store-fixture.ts';
import { forkStore, startStoreProcess, stop } from './store-process-fixture.ts';

const it = useStore();

/** ExportLogsServiceRequest of one log record with a body. */
function logsRequest(body: string): Buffer {
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const record = field(5, field(1, Buffer.from(body)));
  return field(1, field(2, field(2, record)));
}

describe('the store process', () => {
  test('is ready while the engine is away, and stores what it is told of when the engine is back', async () => {
    await it.engine.kill();
    const store = await startStoreProcess(it);
    const [sequence] = await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
    store.send({ type: 'sealed', spoolDir: it.spool(), sequence });
    await it.engine.start();
    await until(async () => (await it.left()).length === 0);
    expect(await it.stored()).toEqual({ ids: 10, doubled: [] });
    await stop(store);
  });

  test('stops in order while the engine is away', async () => {
    await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
    const store = await startStoreProcess(it, { BACKWORK_ENGINE_PORT: '9' });
    await stop(store);
  });

  test('leaves signals to its supervisor, whose process group it shares', async () => {
    const store = await startStoreProcess(it);
    store.kill('SIGTERM');
    store.kill('SIGINT');
    await stop(store);
  });

  test('ends when its supervisor is gone', async () => {
    const store = await startStoreProcess(it);
    const ended = once(store, 'exit');
    store.disconnect();
    expect(await ended).toEqual([1, null]);
  });

  test('says why it cannot start, and never that it is ready', async () => {
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${it.dir}/store.journal`, 'BWSTORE9');
    const store = forkStore(it, {});
    const [message] = await once(store, 'message');
    expect(message).toEqual({ type: 'fatal', message: expect.stringContaining('version 9') });
    expect(await once(store, 'exit')).toEqual([1, null]);
  });

  test('seals and stores what a worker left that is there no more', async () => {
    await migrate(it.engine.clickhouse(), { embedded: true });
    await leaveUnsealed(it.spool(3), logsRequest('left by a former worker'));
    expect(await it.left(3)).toEqual([expect.stringContaining('.segment')]);
    const store = await startStoreProcess(it, { BACKWORK_WORKERS: '3' });
    await until(async () => (await it.left(3)).length === 0);
    const rows = await it.engine.clickhouse().query('SELECT Body, Placement FROM otel_logs');
    expect(rows).toEqual([{ Body: 'left by a former worker', Placement: 'org_a' }]);
    await stop(store);
  });

  test('leaves alone what a worker may still write', async () => {
    await leaveUnsealed(it.spool(2), logsRequest('of a worker'));
    await sealSegments(it.spool(0), [[it.rows(range(0, 10))]]);
    const store = await startStoreProcess(it, { BACKWORK_WORKERS: '3' });
    await until(async () => (await it.left(0)).length === 0);
    expect(await it.left(2)).toEqual([expect.stringContaining('.segment')]);
    await stop(store);
  });
});
