import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { replayEntry } from '../../../src/ingest/quarantine/replay.ts';
import { readFooter } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { openJournal } from '../../../src/ingest/store/journal.ts';
import { settleRefused } from '../../../src/ingest/store/refusals.ts';
import { recordingLog } from '../store/recording-log.ts';
import { partition, range, reencode, sealSegments } from '../store/spool-fixture.ts';
import { READERS } from '../store/store-fixture.ts';
import { quarantineFiles, refusedIn, storeQuarantine } from './quarantine-fixture.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'row-ranges-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** One request of 30 rows in three batches of its own, as one that is larger than a batch has. */
async function refuse(rowFroms: readonly number[]): Promise<void> {
  const spool = join(dir, 'spool', '0');
  const [sequence] = await sealSegments(spool, [
    [[{ table: 'otel_logs', partition: partition('org_a'), ids: range(0, 30) }]],
  ]);
  const { spoolId, batches } = await readFooter(realSpoolFiles, spool, sequence!);
  const name = { spool: '0', spoolId, sequence: sequence! };
  const log = recordingLog();
  const nowMs = () => 5;
  const onFatal = (error: unknown) => {
    throw error;
  };
  const journal = await openJournal({ path: join(dir, 'journal'), files: realSpoolFiles, nowMs, log, onFatal });
  const deps = { files: realSpoolFiles, readers: READERS, reencode, nowMs, log, journal };
  for (const rowFrom of rowFroms) {
    const batch = { ...batches[0]!, batchId: `000000000000000${rowFrom / 10}`, rowFrom, rowCount: 10 };
    const refused = { dir: spool, name, batch, reason: 'refused' };
    const settled = await settleRefused({ ...deps, quarantine: storeQuarantine(dir).store }, refused);
    expect(settled).toEqual({ kind: 'done' });
  }
  await journal.close();
}

test('of a request in batches of its own only the refused row ranges are missing, and only they are put back', async () => {
  await refuse([10, 20]);
  const [entry, ...others] = await refusedIn(dir);
  expect(others).toEqual([]);
  expect(entry!.missing.map(({ rowFrom, rowCount, batchId }) => [rowFrom, rowCount, batchId])).toEqual([
    [10, 10, '0000000000000001'],
    [20, 10, '0000000000000002'],
  ]);
  const asked: unknown[] = [];
  const { complete } = await replayEntry(
    {
      quarantine: quarantineFiles(dir),
      clickhouse: { insertNative: () => Promise.resolve(), running: () => Promise.resolve(new Set<string>()) },
      storedRowCounts: () => Promise.resolve(new Map()),
      reencode: async (records, { firstRequest, rowFrom, rowCount, batchId }) => {
        const indexes = (await Array.fromAsync(records)).map(({ index }) => index);
        asked.push({ indexes, firstRequest, rowFrom, rowCount, batchId });
        return { bytes: new Uint8Array(1), rowCount };
      },
      syncTables: () => Promise.resolve(),
      nowMs: Date.now,
    },
    entry!,
  );
  expect(complete).toBe(true);
  expect(asked).toEqual([
    { indexes: [0], firstRequest: 0, rowFrom: 10, rowCount: 10, batchId: '0000000000000001' },
    { indexes: [0], firstRequest: 0, rowFrom: 20, rowCount: 10, batchId: '0000000000000002' },
  ]);
});
