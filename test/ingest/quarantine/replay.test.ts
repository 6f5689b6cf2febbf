import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { BackworkError } from '../../../src/base/errors.ts';
import { connectClickHouse } from '../../../src/engine/clickhouse.ts';
import type { RefusedEntry } from '../../../src/ingest/quarantine/entry.ts';
import { type ReplayDeps, replayEntry } from '../../../src/ingest/quarantine/replay.ts';
import { storedRowCounts } from '../../../src/ingest/store/insert-outcome.ts';
import { partition, type Request, range, reencode, sealSegments, TODAY } from '../store/spool-fixture.ts';
import { A, useStore } from '../store/store-fixture.ts';
import { quarantineFiles, refusedIn, storeQuarantine } from './quarantine-fixture.ts';

const it = useStore();
const DAY_MS = 86_400_000;

/** Poison in each of these requests; they are in quarantine afterwards, and the constraint is gone. */
async function quarantined(
  requests: readonly Request[],
  tables: readonly string[] = [it.table],
): Promise<RefusedEntry[]> {
  for (const table of tables) await it.command(`ALTER TABLE ${table} ADD CONSTRAINT no_poison CHECK Id % 1000 != 13`);
  await sealSegments(it.spool(), [requests]);
  const store = await it.start({ quarantine: storeQuarantine(it.dir).store });
  await store.idle();
  await store.stop();
  for (const table of tables) await it.command(`ALTER TABLE ${table} DROP CONSTRAINT no_poison`);
  return refusedIn(it.dir);
}

function depsWith(changes: Partial<ReplayDeps> = {}, url = it.engine.url()): ReplayDeps {
  const clickhouse = connectClickHouse({ url, ...it.engine.login, database: 'default' });
  it.onCleanup(() => clickhouse.close());
  return {
    quarantine: quarantineFiles(it.dir),
    clickhouse,
    storedRowCounts: (where, batchIds) => storedRowCounts(clickhouse, where, batchIds),
    reencode,
    syncTables: async () => {},
    nowMs: Date.now,
    ...changes,
  };
}

describe('a replay', () => {
  test('adds exactly the missing rows, under the BatchId they are missing from, and the entry is gone', async () => {
    const entries = await quarantined([it.rows([1, 2]), it.rows([3, 13, 4]), it.rows([5]), it.rows([1_013])]);
    expect((await it.stored()).ids).toBe(3);
    for (const entry of entries) {
      const { batches, complete } = await replayEntry(depsWith(), entry);
      expect(complete).toBe(true);
      expect(batches.map(({ outcome }) => outcome.kind)).toEqual(['inserted']);
    }
    expect(await it.stored()).toEqual({ ids: 7, doubled: [] });
    expect(await refusedIn(it.dir)).toEqual([]);
    const ids = await it.engine
      .clickhouse()
      .query<{ id: string }>(
        `SELECT lower(leftPad(hex(BatchId), 16, '0')) AS id FROM ${it.table} WHERE Id % 1000 = 13`,
      );
    expect(ids.map(({ id }) => id).sort()).toEqual(entries.map(({ missing }) => missing[0]!.batchId).sort());
  });

  test('of a request that is stored in one table adds it to the other alone', async () => {
    const other = `${it.table}_other`;
    await it.engine.createTable(other);
    const [entry] = await quarantined([[...it.rows([1, 2]), ...it.rows([13], A, other)], it.rows([5])], [other]);
    expect(entry!.missing.map(({ table }) => table)).toEqual([other]);
    await replayEntry(depsWith(), entry!);
    expect(await it.stored()).toEqual({ ids: 3, doubled: [] });
    expect(await it.stored(other)).toEqual({ ids: 1, doubled: [] });
  });

  test('that is still refused leaves the entry as it is', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13])]);
    await it.command(`ALTER TABLE ${it.table} ADD CONSTRAINT again CHECK Id != 13`);
    const { batches, complete } = await replayEntry(depsWith(), entry!);
    expect(complete).toBe(false);
    expect(batches[0]!.outcome).toEqual({
      kind: 'refused',
      reason: 'INSERT refused: ClickHouse error 469 (VIOLATED_CONSTRAINT)',
    });
    expect(await refusedIn(it.dir)).toEqual([entry]);
  });

  test('whose answer is lost asks the table before it inserts again', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows(range(13, 1))]);
    const proxy = await it.proxy();
    proxy.fate = (insert) => (insert === 0 ? 'cutReply' : 'pass');
    const { batches } = await replayEntry(depsWith({}, proxy.url), entry!);
    expect(batches.map(({ outcome }) => outcome)).toEqual([{ kind: 'found', rows: 1 }]);
    expect(proxy.inserts()).toBe(1);
    expect(await it.stored()).toEqual({ ids: 2, doubled: [] });
  });

  test('that is killed after its INSERT, before its table is synced: the next one inserts nothing', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13])]);
    const killed = depsWith({ syncTables: () => Promise.reject(new Error('killed')) });
    await expect(replayEntry(killed, entry!)).rejects.toThrow('killed');
    expect(await refusedIn(it.dir)).toEqual([entry]);
    const { batches, complete } = await replayEntry(depsWith(), entry!);
    expect([batches[0]!.outcome.kind, complete]).toEqual(['found', true]);
    expect(await it.stored()).toEqual({ ids: 2, doubled: [] });
  });

  test('while the INSERT of a killed one still runs waits for it', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13, ...range(2_000, 20)])]);
    await it.command(`ALTER TABLE ${it.table} ADD COLUMN Slow UInt8 MATERIALIZED sleepEachRow(0.05)`);
    const proxy = await it.proxy();
    proxy.fate = () => 'orphan';
    const cut = depsWith({ storedRowCounts: () => Promise.resolve(new Map()) }, proxy.url);
    // Its INSERT goes on in the engine; the replay itself is gone.
    const insertNative: typeof cut.clickhouse.insertNative = (insert) => cut.clickhouse.insertNative(insert);
    void replayEntry({ ...cut, clickhouse: { insertNative, running: neverEnds(cut) } }, entry!);
    while (proxy.inserts() === 0) await sleep(20);
    const { batches } = await replayEntry(depsWith(), entry!);
    expect(batches[0]!.outcome).toEqual({ kind: 'found', rows: 21 });
    expect(await it.stored()).toEqual({ ids: 22, doubled: [] });
  });

  test('syncs the tables before the entry goes', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13])]);
    const steps: string[] = [];
    const syncTables = async (tables: readonly string[]) => {
      steps.push(`${tables.join()}: ${(await it.stored()).ids} stored, ${(await refusedIn(it.dir)).length} entries`);
    };
    await replayEntry(depsWith({ syncTables }), entry!);
    expect(steps).toEqual([`${it.table}: 2 stored, 1 entries`]);
  });

  test('leaves alone what the store has not decided, and what has expired', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13])]);
    const undecided = { ...entry!, missing: entry!.missing.map((rows) => ({ ...rows, decided: false })) };
    expect((await replayEntry(depsWith(), undecided)).batches[0]!.outcome.kind).toBe('undecided');
    const later = () => Date.now() + 31 * DAY_MS;
    expect((await replayEntry(depsWith({ nowMs: later }), entry!)).batches[0]!.outcome.kind).toBe('expired');
    expect(await it.stored()).toEqual({ ids: 1, doubled: [] });
    expect((await refusedIn(it.dir)).length).toBe(1);
  });

  test('without an engine throws, and the entry stays', async () => {
    const [entry] = await quarantined([it.rows([1]), it.rows([13])]);
    const away = new BackworkError('store-unreachable', 'away');
    const deps = depsWith({ storedRowCounts: () => Promise.reject(away) });
    await expect(replayEntry(deps, entry!)).rejects.toBe(away);
    expect((await refusedIn(it.dir)).length).toBe(1);
  });
});

test('rows whose day has come leave the quarantine by themselves, and are counted', async () => {
  const soon = partition('org_a', { expiresOnDay: TODAY + 1 });
  const [entry] = await quarantined([[...it.rows([13]), ...it.rows([1_013], soon)], it.rows([2])]);
  expect(entry!.missing.length).toBe(2);
  const tomorrow = () => Date.now() + DAY_MS;
  await storeQuarantine(it.dir, { nowMs: tomorrow, log: it.log }).expire();
  const [left] = await refusedIn(it.dir);
  expect(left!.missing.map(({ partition: where }) => where.expiresOnDay)).toEqual([TODAY + 30]);
  expect(it.log.lines.filter(({ message }) => message === 'rows expired in quarantine').length).toBe(1);
});

/** The first question is answered, so that the INSERT goes out; later ones never. */
function neverEnds(deps: ReplayDeps): ReplayDeps['clickhouse']['running'] {
  let asked = 0;
  return (ids) => (asked++ === 0 ? deps.clickhouse.running(ids) : new Promise(() => {}));
}
