import type { ChildProcess } from 'node:child_process';
import { on } from 'node:events';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { readBatch, readFooter } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import type { InsertFate } from './cutting-proxy.ts';
import { range, sealSegments } from './spool-fixture.ts';
import { A, B, until, useStore } from './store-fixture.ts';
import { forkStore, kill, startStoreProcess, stop } from './store-process-fixture.ts';

const it = useStore();

/** Seeded, so that a failure can be seen again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Each with 20 rows of A and 10 of B. */
const segments = (count: number, textBytes = 0) =>
  range(0, count).map((index) => [
    [
      { table: it.table, partition: A, ids: range(index * 30, 20), textBytes },
      { table: it.table, partition: B, ids: range(index * 30 + 20, 10), textBytes },
    ],
  ]);

describe('an INSERT whose reply is lost', () => {
  test.each<[string, InsertFate]>([
    ['after the engine stored it, is found by its BatchId', 'cutReply'],
    ['before the engine saw it, is sent again', 'cutBefore'],
  ])('%s', async (_what, fate) => {
    await sealSegments(it.spool(), segments(3));
    const proxy = await it.proxy();
    proxy.fate = (insert) => (insert < 2 ? fate : 'pass');
    const store = await it.start({ url: proxy.url });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 90, doubled: [] });
    expect(proxy.inserts()).toBe(fate === 'cutReply' ? 2 : 4);
    expect(await it.left()).toEqual([]);
  });

  test('while the engine works on it, is waited for and not sent again', async () => {
    await slowTable(0.05);
    await sealSegments(it.spool(), [[it.rows(range(0, 20))]]);
    const proxy = await it.proxy();
    proxy.fate = () => 'orphan';
    const store = await it.start({ url: proxy.url });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
    expect(proxy.inserts()).toBe(1);
  });

  test('again and again, in any mixture, ends with every row once', async () => {
    const seed = Number(process.env['STORE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed} (STORE_SEED)`);
    const random = randomOf(seed);
    await sealSegments(it.spool(0), segments(10));
    const proxy = await it.proxy();
    const fates: InsertFate[] = ['cutReply', 'cutBefore', 'pass'];
    proxy.fate = (insert) => (insert < 25 ? fates[Math.floor(random() * 3)]! : 'pass');
    const store = await it.start({ url: proxy.url, segmentsLoadedMax: 3 });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 300, doubled: [] });
  });
});

describe('batches that were sent before', () => {
  test('are asked about, and only the missing ones are inserted', async () => {
    const [first, second] = await sealSegments(it.spool(), segments(2));
    await insertDirectly(first!, 0);
    await insertDirectly(second!, 1);
    const proxy = await it.proxy();
    const store = await it.start({ url: proxy.url });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 60, doubled: [] });
    const sql = `SELECT toUInt32(rows) AS rows FROM system.parts WHERE table = '${it.table}' AND level = 0 ORDER BY rows`;
    expect(await it.engine.clickhouse().query(sql)).toEqual([{ rows: 10 }, { rows: 10 }, { rows: 20 }, { rows: 20 }]);
    expect(proxy.inserts()).toBe(2);
  });

  test('add nothing when an old copy of their segment comes back', async () => {
    await sealSegments(it.spool(), segments(2));
    await cp(it.spool(), `${it.dir}/copy`, { recursive: true });
    const first = await it.start();
    await first.idle();
    await first.stop();
    await cp(`${it.dir}/copy`, it.spool(), { recursive: true });
    const second = await it.start();
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 60, doubled: [] });
    expect(await it.left()).toEqual([]);
  });

  test('are asked about with the journal lost too', async () => {
    const [first] = await sealSegments(it.spool(), segments(2));
    await insertDirectly(first!, 0);
    await writeFile(join(it.dir, 'store.journal'), Buffer.alloc(64));
    const store = await it.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 60, doubled: [] });
  });

  /** What a former store did before it was killed. */
  async function insertDirectly(sequence: number, index: number): Promise<void> {
    const footer = await readFooter(realSpoolFiles, it.spool(), sequence);
    const batch = footer.batches[index]!;
    const bytes = await readBatch(realSpoolFiles, it.spool(), sequence, batch);
    const insert = {
      table: batch.table,
      blocks: [bytes!],
      rowCount: batch.rowCount,
      queryId: 'former',
      timeoutMs: 10_000,
    };
    await it.engine.clickhouse().insertNative(insert);
  }
});

describe('an engine that is killed', () => {
  test('during INSERTs, five times, has every row once in the end', async () => {
    // About 1 MiB a batch, so that an INSERT takes a while.
    await sealSegments(it.spool(), segments(12, 40_000));
    const store = await it.start({ segmentsLoadedMax: 3 });
    let killed = 0;
    const killing = (async () => {
      for (; killed < 5; killed++) {
        const ids = (await it.stored()).ids;
        if (ids === 360) break;
        await sleep(Math.random() * 40);
        await it.engine.kill();
        await it.engine.start();
        await until(async () => (await it.stored()).ids > ids);
      }
    })();
    await killing;
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 360, doubled: [] });
    expect(await it.left()).toEqual([]);
    expect(it.log.messages('error')).toEqual([]);
  });

  test('in the middle of one INSERT, gets it again', async () => {
    await slowTable(0.05);
    await sealSegments(it.spool(), segments(1));
    const proxy = await it.proxy();
    const store = await it.start({ url: proxy.url });
    await until(() => proxy.inserts() === 2);
    await sleep(200);
    await it.engine.kill();
    await it.engine.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 30, doubled: [] });
  });

  test('and stays away keeps segments in the spool, until it is back', async () => {
    await it.engine.kill();
    await sealSegments(it.spool(), segments(2));
    const store = await it.start();
    await until(() => it.log.lines.length > 0);
    expect(await it.left()).toHaveLength(6);
    await it.engine.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 60, doubled: [] });
    expect([...it.log.messages('warn'), ...it.log.messages('info')]).toEqual([
      'the telemetry store cannot be reached; the spool takes what comes',
      'the telemetry store answers again',
    ]);
  });
});

describe('a store process that is killed', () => {
  test('while its INSERT runs: the next one waits for it, and does not send it again', async () => {
    await slowTable(0.05);
    await sealSegments(it.spool(), [[it.rows(range(0, 20))]]);
    const proxy = await it.proxy();
    proxy.fate = () => 'detach';
    const first = await startStoreProcess(it, {
      BACKWORK_CLICKHOUSE_URL: '',
      BACKWORK_ENGINE_PORT: new URL(proxy.url).port,
    });
    await until(() => proxy.inserts() === 1);
    await sleep(200);
    await kill(first);
    // The INSERT of 20 rows takes a second, and its table holds nothing of it yet.
    expect(await it.stored()).toEqual({ ids: 0, doubled: [] });
    const second = await it.start({ url: proxy.url });
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
    expect(proxy.inserts()).toBe(1);
  });

  test('at any moment, eight times, leaves every row once in the end', async () => {
    const seed = Number(process.env['STORE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed} (STORE_SEED)`);
    const random = randomOf(seed);
    await sealSegments(it.spool(0), segments(10, 10_000));
    await sealSegments(it.spool(7), segments(12, 10_000).slice(10));
    for (let round = 0; round < 8; round++) {
      const store = await startStoreProcess(it);
      await sleep(random() * 150);
      await kill(store);
    }
    const last = await startStoreProcess(it);
    await until(async () => (await it.left(0)).length + (await it.left(7)).length === 0);
    await stop(last);
    expect(await it.stored()).toEqual({ ids: 360, doubled: [] });
  });

  test('must be dead before the next one begins', async () => {
    const first = await startStoreProcess(it);
    expect(await firstMessage(forkStore(it))).toEqual({
      type: 'fatal',
      message: expect.stringContaining('store.lock is locked'),
    });
    const waiting = firstMessage(forkStore(it));
    await kill(first);
    expect(await waiting).toEqual({ type: 'ready' });
  });
});

/** But for those that only say that it lives. */
async function firstMessage(child: ChildProcess): Promise<unknown> {
  for await (const [message] of on(child, 'message')) if (message.type !== 'storing') return message;
  return undefined;
}

/** Each row of an INSERT takes so long, in the engine. */
async function slowTable(secondsPerRow: number): Promise<void> {
  await it.command(`ALTER TABLE ${it.table} ADD COLUMN Slow UInt8 MATERIALIZED sleepEachRow(${secondsPerRow})`);
}
