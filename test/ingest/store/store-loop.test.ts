import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BackworkError } from '../../../src/base/errors.ts';
import { readFooter } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { partition, range, sealSegments, TODAY } from './spool-fixture.ts';
import { A, B, READERS, until, useStore } from './store-fixture.ts';

const it = useStore();

describe('sealed segments', () => {
  test('become rows, once, and are removed', async () => {
    await sealSegments(it.spool(0), [
      [it.rows(range(0, 100)), it.rows(range(100, 100), B)],
      [it.rows(range(200, 100))],
    ]);
    await sealSegments(it.spool(1), [[it.rows(range(300, 100))]]);
    const store = await it.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 400, doubled: [] });
    expect([...(await it.left(0)), ...(await it.left(1))]).toEqual([]);
    expect(it.log.messages('error')).toEqual([]);
  });

  test('of one partition share an INSERT, and partitions never do', async () => {
    await sealSegments(it.spool(), [[it.rows([1]), it.rows([2], B)], [it.rows([3]), it.rows([4], B)], [it.rows([5])]]);
    const store = await it.start();
    await store.idle();
    const sql = `SELECT toUInt32(rows) AS rows FROM system.parts WHERE table = '${it.table}' AND level = 0 ORDER BY rows`;
    expect(await it.engine.clickhouse().query(sql)).toEqual([{ rows: 2 }, { rows: 3 }]);
  });

  test('that are announced while it runs are stored', async () => {
    const store = await it.start();
    await store.idle();
    for (let round = 0; round < 2; round++) {
      const [sequence] = await sealSegments(it.spool(), [[it.rows(range(round * 10, 10))]]);
      store.sealed(it.spool(), sequence!);
      await until(async () => (await it.left()).length === 0);
    }
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
  });

  test('whose batch file is gone are converted again', async () => {
    await sealSegments(it.spool(), [[it.rows(range(0, 50)), it.rows(range(50, 50))], [it.rows(range(100, 50), B)]]);
    for (const name of await it.left()) if (name.endsWith('.batches')) await rm(join(it.spool(), name));
    const store = await it.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 150, doubled: [] });
    expect(await it.left()).toEqual([]);
  });

  test('of which nothing can be read any more are set aside, and others go on', async () => {
    const [gone] = await sealSegments(it.spool(), [[it.rows(range(0, 10))], [it.rows(range(10, 10))]]);
    for (const name of await it.left()) {
      if (Number.parseInt(name, 10) === gone && !name.endsWith('.footer')) await rm(join(it.spool(), name));
    }
    const store = await it.start();
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 10, doubled: [] });
    expect(await it.left()).toEqual([expect.stringContaining('.footer')]);
    expect(it.log.messages('error')).toEqual(['set a segment aside; it stays in the spool and is tried again']);
  });

  test('of more than fit into memory are all stored', async () => {
    await sealSegments(
      it.spool(),
      range(0, 12).map((id) => [it.rows([id], id % 2 === 0 ? A : B)]),
    );
    const store = await it.start({ segmentsLoadedMax: 2 });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 12, doubled: [] });
  });
});

describe('a batch that has expired', () => {
  test('is not inserted but counted, in the journal before its segment goes', async () => {
    const expired = partition('org_a', { expiresOnDay: TODAY });
    const [sequence] = await sealSegments(it.spool(), [[it.rows(range(0, 30), expired), it.rows(range(30, 10), B)]]);
    const { spoolId, batches } = await readFooter(realSpoolFiles, it.spool(), sequence!);
    const { batchId } = batches.find((batch) => batch.partition.placement === 'org_a')!;
    const name = { spool: '0', spoolId, sequence: sequence! };
    const proxy = await it.proxy();
    let expiredWhenRemoved: boolean | undefined;
    const readers = {
      ...READERS,
      removeSegment: async (...args: Parameters<typeof READERS.removeSegment>) => {
        // The notes of a removed segment are over; those before the last one are not.
        const bytes = await realSpoolFiles.open(join(it.dir, 'store.journal'), 'read');
        expiredWhenRemoved = (await bytes.read(0, await bytes.size())).includes(`"batchId":"${batchId}"`);
        await bytes.close();
        await READERS.removeSegment(...args);
      },
    };
    const store = await it.start({ url: proxy.url, readers });
    await store.idle();
    expect(proxy.inserts()).toBe(1);
    expect(await it.stored()).toEqual({ ids: 10, doubled: [] });
    expect(expiredWhenRemoved).toBe(true);
    expect(it.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', fields: expect.objectContaining({ rows: 30, placement: 'org_a' }) }),
    );
    expect((await it.journal()).foundIn(name.spool)).toEqual([]);
    expect(await it.left()).toEqual([]);
  });
});

describe('the order of a removal', () => {
  test("is: the tables' directories are synced, that is noted, the files go", async () => {
    const [sequence] = await sealSegments(it.spool(), [[it.rows([1])]]);
    const steps: string[] = [];
    const noted = async () => ((await it.journal()).foundIn('0').length === 0 ? 'noted' : 'not noted');
    const store = await it.start({
      syncTables: async (tables) => {
        steps.push(
          `sync ${tables.join()}: ${(await it.stored()).ids} stored, ${await noted()}, ${(await it.left()).length} files`,
        );
      },
      readers: {
        ...READERS,
        removeSegment: async (files, dir, removed) => {
          steps.push(`remove ${removed}: ${await noted()}`);
          await READERS.removeSegment(files, dir, removed);
        },
      },
    });
    await store.idle();
    expect(steps).toEqual([`sync ${it.table}: 1 stored, not noted, 3 files`, `remove ${sequence}: noted`]);
  });

  test('waits until the tables can be synced', async () => {
    await sealSegments(it.spool(), [[it.rows([1])]]);
    let refusals = 2;
    const store = await it.start({
      syncTables: async () => {
        if (refusals-- > 0) throw new BackworkError('store-unreachable', 'away', { retryable: true });
      },
    });
    await store.idle();
    expect(await it.left()).toEqual([]);
    expect(it.log.messages('warn')).toEqual(['stored segments cannot be removed yet']);
  });

  test('a sync that failed is fatal: nothing is removed', async () => {
    await sealSegments(it.spool(), [[it.rows([1])]]);
    const fatal: unknown[] = [];
    await it.start({
      syncTables: async () => {
        throw new BackworkError('spool-failed', 'EIO');
      },
      onFatal: (error) => fatal.push(error),
    });
    await until(() => fatal.length > 0);
    expect(fatal).toEqual([expect.objectContaining({ code: 'spool-failed' })]);
    expect(await it.left()).toHaveLength(3);
  });

  test.each(['batches', 'segment', 'footer'])(
    'after a crash before the %s goes, the next start ends it',
    async (kind) => {
      await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
      let crashed = false;
      const first = await it.start({
        readers: {
          ...READERS,
          removeSegment: async (files, dir, sequence) => {
            const names = ['batches', 'segment', 'footer'];
            for (const gone of names.slice(0, names.indexOf(kind))) {
              await rm(join(dir, `${String(sequence).padStart(16, '0')}.${gone}`));
            }
            crashed = true;
            await new Promise(() => {});
            await READERS.removeSegment(files, dir, sequence);
          },
        },
      });
      await until(() => crashed);
      await first.stop();
      const second = await it.start();
      await second.idle();
      expect(await it.stored()).toEqual({ ids: 10, doubled: [] });
      expect(await it.left()).toEqual([]);
      expect(it.log.messages('error')).toEqual([]);
    },
  );
});

describe('what ClickHouse refuses for good', () => {
  test('stays in the spool, delays nobody, and is stored once when the reason is gone', async () => {
    await it.command(`ALTER TABLE ${it.table} ADD CONSTRAINT no_thirteen CHECK Id != 13`);
    // 13 stands among its neighbours: in an INSERT with other segments, and in a segment with another partition.
    const segments = range(0, 8).map((index) => [it.rows(range(index * 10, 10)), it.rows([1_000 + index], B)]);
    const sequences = await sealSegments(it.spool(), segments);
    const clock = { aheadMs: 0 };
    const proxy = await it.proxy();
    const store = await it.start({ url: proxy.url, monotonicMs: () => performance.now() + clock.aheadMs });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 78, doubled: [] });
    expect([...new Set((await it.left()).map((name) => Number.parseInt(name, 10)))]).toEqual([sequences[1]]);
    const errors = it.log.lines.filter(({ level }) => level === 'error');
    expect(errors).toEqual([
      expect.objectContaining({
        fields: expect.objectContaining({ sequence: sequences[1], reason: expect.stringContaining('469') }),
      }),
    ]);

    // Tried again and refused again: the same state is not logged twice.
    const insertsBefore = proxy.inserts();
    clock.aheadMs += 300_000;
    await store.idle();
    expect(proxy.inserts()).toBe(insertsBefore + 1);
    expect(it.log.messages('error')).toHaveLength(1);

    await it.command(`ALTER TABLE ${it.table} DROP CONSTRAINT no_thirteen`);
    clock.aheadMs += 300_000;
    await until(async () => (await it.left()).length === 0);
    expect(await it.stored()).toEqual({ ids: 88, doubled: [] });
    expect(it.log.messages('info')).toContain('a segment that was set aside is stored');
  });
});

describe('a table that is not there', () => {
  test('is waited for', async () => {
    await sealSegments(it.spool(), [[it.rows(range(0, 10), A, 'made_later')]]);
    const store = await it.start();
    await until(() => it.log.messages('warn').includes('batches wait'));
    expect(await it.left()).toHaveLength(3);
    await it.engine.createTable('made_later');
    await store.idle();
    expect(await it.stored('made_later')).toEqual({ ids: 10, doubled: [] });
  });

  test('does not keep segments of other tables out, however many wait for it', async () => {
    const waiting = range(0, 4).map((id) => [it.rows([id], A, 'made_last')]);
    await sealSegments(it.spool(), [...waiting, [it.rows(range(0, 10))]]);
    // Every wait is over at once, so that the attempts that make a lane stuck take no time.
    let aheadMs = 0;
    const monotonicMs = () => {
      aheadMs += 1_000;
      return performance.now() + aheadMs;
    };
    const store = await it.start({ segmentsLoadedMax: 2, monotonicMs });
    await until(async () => (await it.stored()).ids === 10);
    await it.engine.createTable('made_last');
    await until(async () => (await it.left()).length === 0);
    expect(await it.stored('made_last')).toEqual({ ids: 4, doubled: [] });
    await store.stop();
  });
});

describe('a stop', () => {
  test('waits for the INSERT that runs, and the next start has nothing to insert', async () => {
    await it.command(`ALTER TABLE ${it.table} ADD COLUMN Slow UInt8 MATERIALIZED sleepEachRow(0.05)`);
    await sealSegments(it.spool(), [[it.rows(range(0, 20))]]);
    const proxy = await it.proxy();
    const first = await it.start({ url: proxy.url });
    await until(() => proxy.inserts() === 1);
    await first.stop();
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
    const second = await it.start({ url: proxy.url });
    await second.idle();
    expect(proxy.inserts()).toBe(1);
    expect(await it.left()).toEqual([]);
  });
});
