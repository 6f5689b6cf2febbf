import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { tableSync } from '../../../src/ingest/store/sync-tables.ts';
import { range, sealSegments } from './spool-fixture.ts';
import { useStore } from './store-fixture.ts';

const it = useStore();

test("syncs the directory that holds the table's parts, and those above it once", async () => {
  await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
  await (await it.start()).idle();
  const synced: string[] = [];
  const sync = tableSync({
    clickhouse: it.engine.clickhouse(),
    syncDirectory: async (path) => {
      synced.push(path);
    },
  });
  await sync([it.table]);
  const [path] = synced;
  const parts = (await readdir(path!, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  expect(parts.map(({ name }) => name)).toContainEqual(expect.stringMatching(/_1_1_0/));
  expect(synced).toEqual([path, dirname(path!), dirname(dirname(path!))]);
  await sync([it.table]);
  expect(synced.slice(3)).toEqual([path]);
});

test('really syncs directories that are there', async () => {
  await tableSync({ clickhouse: it.engine.clickhouse() })([it.table, 'no_such_table']);
});

test('waits instead where the disk is not ours', async () => {
  const asked: string[] = [];
  const sync = tableSync({
    clickhouse: {
      isDoor: async () => false,
      query: async (sql) => {
        asked.push(sql);
        return [];
      },
    },
    serverWaitMs: 1,
    syncDirectory: async (path) => {
      asked.push(path);
    },
  });
  await sync([it.table]);
  expect(asked).toEqual([]);
});
