import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FooterBatch } from '../../../src/ingest/messages.ts';
import { readIdentity } from '../../../src/ingest/spool/identity.ts';
import { listSealed, readBatch, readFooter, readRecords, removeSegment } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { batchBytes } from '../../../src/ingest/store/batch-source.ts';
import { type Journal, openJournal } from '../../../src/ingest/store/journal.ts';
import { recordingLog } from './recording-log.ts';
import { nativeBlock, partition, range, reencode, sealSegments } from './spool-fixture.ts';

const PARTITION = partition('org_a');
const IDS = range(0, 100);
const readers = { listSealed, readFooter, readRecords, readBatch, removeSegment, readIdentity };

let dir: string;
const journals: Journal[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'batch-source-'));
});
afterEach(async () => {
  for (const journal of journals.splice(0)) await journal.close();
  await rm(dir, { recursive: true });
});

/** One segment of one batch, and what converts it again; counts how often it is asked to. */
async function oneSegment() {
  const [sequence] = await sealSegments(dir, [[[{ table: 't', partition: PARTITION, ids: IDS }]]]);
  const footer = await readFooter(realSpoolFiles, dir, sequence!);
  const name = { spool: basename(dir), spoolId: footer.spoolId, sequence: sequence! };
  return { name, batch: footer.batches[0]! };
}

async function source(convert = reencode) {
  const journal = await openJournal({
    path: join(dir, 'journal'),
    files: realSpoolFiles,
    nowMs: Date.now,
    log: recordingLog(),
    onFatal: () => {},
  });
  journals.push(journal);
  let conversions = 0;
  const deps = {
    files: realSpoolFiles,
    readers,
    journal,
    reencode: (...args: Parameters<typeof reencode>) => {
      conversions++;
      return convert(...args);
    },
  };
  return { deps, conversions: () => conversions };
}

const batchFile = async () => join(dir, (await readdir(dir)).find((name) => name.endsWith('.batches'))!);

describe("a batch's bytes", () => {
  test('come from the batch file while it is whole', async () => {
    const { name, batch } = await oneSegment();
    const { deps, conversions } = await source();
    const { bytes, rowCount } = await batchBytes(deps, dir, name, batch);
    expect(Buffer.from(bytes).includes(nativeBlock(PARTITION, batch.batchId, IDS).subarray(-100))).toBe(true);
    expect({ rowCount, conversions: conversions() }).toEqual({ rowCount: 100, conversions: 0 });
  });

  test.each([
    ['is gone', (path: string) => rm(path)],
    ['is cut', (path: string) => truncate(path, 50)],
    ['is damaged', (path: string) => writeFile(path, Buffer.alloc(1), { flag: 'r+' })],
  ])('are converted again from the records when the batch file %s', async (_what, damage) => {
    const { name, batch } = await oneSegment();
    await damage(await batchFile());
    const { deps, conversions } = await source();
    const { bytes, rowCount } = await batchBytes(deps, dir, name, batch);
    expect(rowCount).toBe(100);
    expect(conversions()).toBe(1);
    expect(bytes.length).toBe(nativeBlock(PARTITION, batch.batchId, IDS).length);
    expect(deps.journal.state.rowCount(name, batch.batchId)).toBeUndefined();
  });

  test('have a new row count in the journal before they are handed out, and keep it', async () => {
    const { name, batch } = await oneSegment();
    const path = await batchFile();
    await rm(path);
    const newer = async (_records: unknown, { batchId }: FooterBatch) => ({
      bytes: nativeBlock(PARTITION, batchId, [1, 2, 3]),
      rowCount: 3,
    });
    const first = await source(newer);
    expect((await batchBytes(first.deps, dir, name, batch)).rowCount).toBe(3);
    await first.deps.journal.close();
    journals.length = 0;
    // After a restart, and even with the old batch file back, the decision is the same.
    await writeFile(path, nativeBlock(PARTITION, batch.batchId, IDS));
    const second = await source(newer);
    expect(second.deps.journal.state.rowCount(name, batch.batchId)).toBe(3);
    expect((await batchBytes(second.deps, dir, name, batch)).rowCount).toBe(3);
    expect(second.conversions()).toBe(1);
  });

  test('cannot be made when the segment is gone too', async () => {
    const { name, batch } = await oneSegment();
    for (const file of await readdir(dir)) if (/batches|segment/.test(file)) await rm(join(dir, file));
    const { deps } = await source();
    await expect(batchBytes(deps, dir, name, batch)).rejects.toMatchObject({ code: 'not-found' });
  });
});
