import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readIdentity } from '../../../src/ingest/spool/identity.ts';
import { listSealed, readBatch, readFooter, readRecords, removeSegment } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles, type SpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { type Journal, openJournal } from '../../../src/ingest/store/journal.ts';
import { SegmentFinder } from '../../../src/ingest/store/segment-finder.ts';
import { recordingLog } from './recording-log.ts';
import { partition, sealSegments } from './spool-fixture.ts';

const readers = { listSealed, readFooter, readRecords, readBatch, removeSegment, readIdentity };
const REQUEST = [{ table: 't', partition: partition('org_a'), ids: [1] }];

let root: string;
const journals: Journal[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'finder-'));
});
afterEach(async () => {
  for (const journal of journals.splice(0)) await journal.close();
  await rm(root, { recursive: true });
});

const spoolDir = (number: number) => join(root, 'spool', String(number));
const segments = (count: number) => Array.from({ length: count }, () => [REQUEST]);

async function open(files: SpoolFiles = realSpoolFiles) {
  const log = recordingLog();
  const journal = await openJournal({
    path: join(root, 'journal'),
    files: realSpoolFiles,
    nowMs: Date.now,
    log,
    onFatal: () => {},
  });
  journals.push(journal);
  const clock = { nowMs: 0 };
  const finder = new SegmentFinder({
    spoolDirs: async () => (await readdir(join(root, 'spool'))).sort().map((name) => join(root, 'spool', name)),
    files,
    readers,
    log,
    journal,
    nowMs: Date.now,
    monotonicMs: () => clock.nowMs,
    random: () => 0,
  });
  const all = async () => {
    const found = [];
    for (let next = await finder.next(); next !== undefined; next = await finder.next()) found.push(next);
    return found.map(({ name, fresh }) => `${name.spool}/${name.sequence} ${fresh ? 'fresh' : 'asked about'}`);
  };
  return { finder, journal, log, clock, all };
}

async function removeFiles(dir: string, sequence: number, kinds = /./): Promise<void> {
  const names = (await readdir(dir)).filter((name) => Number.parseInt(name, 10) === sequence && kinds.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) await rm(join(dir, name));
}

describe('sealed segments', () => {
  test('are found oldest first, each spool in its turn; those of the first look are asked about', async () => {
    const [a, b] = await sealSegments(spoolDir(0), segments(2));
    const [c] = await sealSegments(spoolDir(1), segments(1));
    const { finder, all } = await open();
    await finder.scan();
    expect(await all()).toEqual([`0/${a} asked about`, `1/${c} asked about`, `0/${b} asked about`]);
    const [d] = await sealSegments(spoolDir(0), segments(1));
    await finder.scan();
    expect(await all()).toEqual([`0/${d} fresh`]);
    await finder.scan();
    expect(await all()).toEqual([]);
  });

  test('that nobody announced are handed out when their names are synced, and one failed sync is final', async () => {
    const synced: string[] = [];
    let broken = false;
    const syncDirectory = async (dir: string) => {
      if (broken) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' });
      synced.push(dir);
    };
    await sealSegments(spoolDir(0), segments(1));
    const { finder, all } = await open({ ...realSpoolFiles, syncDirectory });
    await finder.scan();
    expect(synced).toEqual([spoolDir(0)]);
    const [announced] = await sealSegments(spoolDir(0), segments(1));
    finder.sealed(spoolDir(0), announced as number);
    await finder.scan();
    expect(synced).toHaveLength(1);
    expect(await all()).toHaveLength(2);
    await sealSegments(spoolDir(0), segments(1));
    broken = true;
    await expect(finder.scan()).rejects.toMatchObject({ code: 'spool-failed', retryable: false });
    expect(await all()).toEqual([]);
  });

  test('are found at once when they are announced, and not twice', async () => {
    await sealSegments(spoolDir(0), segments(1));
    const { finder, all } = await open();
    expect(finder.sealed(spoolDir(0), 5)).toBe(false);
    await finder.scan();
    await all();
    const [sequence] = await sealSegments(spoolDir(0), segments(1));
    expect(finder.sealed(spoolDir(0), sequence!)).toBe(true);
    finder.sealed(spoolDir(0), sequence!);
    await finder.scan();
    expect(await all()).toEqual([`0/${sequence} fresh`]);
  });

  test('of another spool are refused', async () => {
    const [theirs] = await sealSegments(spoolDir(1), segments(1));
    const [ours] = await sealSegments(spoolDir(0), segments(1));
    // Its number must be another one than ours.
    const [second] = await sealSegments(spoolDir(1), segments(1));
    for (const name of await readdir(spoolDir(1))) {
      if (Number.parseInt(name, 10) === second) await cp(join(spoolDir(1), name), join(spoolDir(0), name));
    }
    const { finder, all, log } = await open();
    await finder.scan();
    expect(await all()).toEqual([`0/${ours} asked about`, `1/${theirs} asked about`, `1/${second} asked about`]);
    expect(log.lines.find(({ level }) => level === 'error')?.fields).toMatchObject({
      sequence: second,
      reason: expect.stringContaining('belongs to spool'),
    });
  });

  test('whose footer is damaged are set aside, logged once and tried again; others go on', async () => {
    const [bad, good] = await sealSegments(spoolDir(0), segments(2));
    const footer = join(spoolDir(0), `${String(bad).padStart(16, '0')}.footer`);
    await writeFile(footer, 'nothing of it is left');
    const { finder, all, log, clock } = await open();
    await finder.scan();
    expect(await all()).toEqual([`0/${good} asked about`]);
    clock.nowMs = 179_999;
    expect(await all()).toEqual([]);
    clock.nowMs = 180_000;
    expect(await all()).toEqual([]);
    expect(log.messages('error')).toEqual(['set a segment aside; it stays in the spool and is tried again']);
  });
});

describe('a segment that is missing', () => {
  test('is reported once at the next start when nothing says that it was removed', async () => {
    const [lost, removed, kept] = await sealSegments(spoolDir(0), segments(3));
    const first = await open();
    await first.finder.scan();
    const loaded = [await first.finder.next(), await first.finder.next(), await first.finder.next()];
    await first.journal.write([{ kind: 'removed', ...loaded[1]!.name, atMs: Date.now() }]);
    await removeFiles(spoolDir(0), lost!);
    await removeFiles(spoolDir(0), removed!);

    const second = await open();
    await second.finder.scan();
    await second.finder.scan();
    expect(second.log.lines).toEqual([
      expect.objectContaining({ level: 'warn', fields: expect.objectContaining({ sequence: lost }) }),
    ]);
    expect(await second.all()).toEqual([`0/${kept} asked about`]);
    const third = await open();
    await third.finder.scan();
    expect(third.log.lines).toEqual([]);
  });

  test('is reported with its whole directory', async () => {
    await sealSegments(spoolDir(0), segments(2));
    const first = await open();
    await first.finder.scan();
    await first.all();
    await rm(spoolDir(0), { recursive: true });
    await mkdir(spoolDir(1));
    const second = await open();
    await second.finder.scan();
    expect(second.log.messages('warn')).toHaveLength(2);
  });

  test('is reported while it waits in the queue', async () => {
    const [lost, kept] = await sealSegments(spoolDir(0), segments(2));
    const { finder, all, log } = await open();
    await finder.scan();
    await removeFiles(spoolDir(0), lost!);
    await finder.scan();
    expect(await all()).toEqual([`0/${kept} asked about`]);
    expect(log.messages('warn')).toEqual(['a segment is missing and was not stored']);
  });
});
