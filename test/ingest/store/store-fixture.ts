/** A store in this process against the real embedded engine, with a table and directories of its own for each test. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { connectClickHouse } from '../../../src/engine/clickhouse.ts';
import type { Partition } from '../../../src/ingest/messages.ts';
import { readIdentity } from '../../../src/ingest/spool/identity.ts';
import { listSealed, readBatch, readFooter, readRecords, removeSegment } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { type JournalState, readJournal } from '../../../src/ingest/store/journal-notes.ts';
import type { Store, StoreDeps } from '../../../src/ingest/store/store-deps.ts';
import { startStore } from '../../../src/ingest/store/store-loop.ts';
import { tableSync } from '../../../src/ingest/store/sync-tables.ts';
import { type CuttingProxy, startProxy } from './cutting-proxy.ts';
import { type Engine, startEngine } from './engine-fixture.ts';
import { recordingLog } from './recording-log.ts';
import { partition, type Request, reencode } from './spool-fixture.ts';

export const READERS = { listSealed, readFooter, readRecords, readBatch, removeSegment, readIdentity };
export const A: Partition = partition('org_a');
export const B: Partition = partition('org_b');

export type StoreChanges = Partial<StoreDeps> & { readonly url?: string };

export class StoreFixture {
  engine!: Engine;
  /** The data directory of the test: spool/, store.journal. */
  dir = '';
  table = '';
  log = recordingLog();
  private tables = 0;
  private readonly cleanups: (() => Promise<void>)[] = [];

  spool(number = 0): string {
    return join(this.dir, 'spool', String(number));
  }

  rows(ids: readonly number[], where: Partition = A, table = this.table): Request {
    return [{ table, partition: where, ids }];
  }

  async start(changes: StoreChanges = {}): Promise<Store> {
    const { url = this.engine.url(), ...deps } = changes;
    const clickhouse = connectClickHouse({ url, ...this.engine.login, database: 'default' });
    const store = await startStore({
      clickhouse,
      spoolDirs: () => this.spoolDirs(),
      files: realSpoolFiles,
      readers: READERS,
      reencode,
      journalPath: join(this.dir, 'store.journal'),
      embedded: true,
      nowMs: Date.now,
      log: this.log,
      syncTables: tableSync({ clickhouse }),
      onFatal: (error) => {
        throw error;
      },
      ...deps,
    });
    this.onCleanup(async () => {
      await store.stop();
      await clickhouse.close();
    });
    return store;
  }

  async proxy(): Promise<CuttingProxy> {
    const proxy = await startProxy(this.engine.port);
    this.onCleanup(() => proxy.close());
    return proxy;
  }

  /** Done after the test, the last one first. */
  onCleanup(cleanup: () => Promise<void>): void {
    this.cleanups.unshift(cleanup);
  }

  /** How many ids are stored, and which of them more than once. */
  async stored(table = this.table): Promise<{ ids: number; doubled: string[] }> {
    const sql = `SELECT toString(Id) AS id, toUInt32(count()) AS times FROM ${table} GROUP BY Id`;
    const found = await this.engine.clickhouse().query<{ id: string; times: number }>(sql);
    return { ids: found.length, doubled: found.filter(({ times }) => times !== 1).map(({ id }) => id) };
  }

  /** Files of segments that are still there. */
  async left(number = 0): Promise<string[]> {
    return (await readdir(this.spool(number))).filter((name) => /^\d/.test(name));
  }

  async journal(): Promise<JournalState> {
    const file = await realSpoolFiles.open(join(this.dir, 'store.journal'), 'read');
    try {
      return readJournal(await file.read(0, await file.size())).state;
    } finally {
      await file.close();
    }
  }

  async command(sql: string): Promise<void> {
    await this.engine.clickhouse().command(sql);
  }

  async begin(): Promise<void> {
    this.dir = await mkdtemp(join(tmpdir(), 'store-'));
    this.table = `stored_${this.tables++}`;
    this.log = recordingLog();
    await this.engine.createTable(this.table);
  }

  async end(): Promise<void> {
    for (const cleanup of this.cleanups.splice(0)) await cleanup();
    await rm(this.dir, { recursive: true });
  }

  private async spoolDirs(): Promise<string[]> {
    const root = join(this.dir, 'spool');
    const names = await readdir(root).catch(() => []);
    return names.sort().map((name) => join(root, name));
  }
}

/** One engine for the file; hooks are registered here. */
export function useStore(): StoreFixture {
  const fixture = new StoreFixture();
  let engineDir = '';
  beforeAll(async () => {
    engineDir = await mkdtemp(join(tmpdir(), 'store-engine-'));
    fixture.engine = await startEngine(engineDir);
  });
  afterAll(async () => {
    await fixture.engine.close();
    await rm(engineDir, { recursive: true });
  });
  beforeEach(() => fixture.begin());
  afterEach(() => fixture.end());
  return fixture;
}

/** Below the time limit of a test, so that nothing goes on asking after a test that failed. */
const UNTIL_MS_MAX = 25_000;

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + UNTIL_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${UNTIL_MS_MAX} ms for ${condition}`);
    await sleep(20);
  }
}
