import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openJournal } from '../../../src/ingest/store/journal.ts';
import {
  encodeNote,
  JOURNAL_MAGIC,
  JournalState,
  type Note,
  readJournal,
  type SegmentName,
} from '../../../src/ingest/store/journal-notes.ts';
import { realSpoolFiles, type SpoolFile, type SpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { recordingLog } from './recording-log.ts';

const NOW_MS = 1_800_000_000_000;
const FIRST: SegmentName = { spool: '0', spoolId: 'aa', sequence: 1 };
const SECOND: SegmentName = { spool: '0', spoolId: 'aa', sequence: 2 };
const OTHER: SegmentName = { spool: '1', spoolId: 'bb', sequence: 1 };
const NOTES: readonly Note[] = [
  { kind: 'run', run: 'r1' },
  { kind: 'found', ...FIRST },
  { kind: 'found', ...SECOND },
  { kind: 'row-count', ...SECOND, batchId: '00000000000000aa', rowCount: 7 },
  { kind: 'found', ...OTHER },
  { kind: 'expired', ...OTHER, batchId: '00000000000000bb', rowCount: 9 },
  { kind: 'removed', ...FIRST, atMs: NOW_MS },
  { kind: 'run-over', run: 'r1' },
  { kind: 'run', run: 'r2' },
  { kind: 'gap', ...SECOND },
];

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'journal-'));
  path = join(dir, 'store.journal');
});
afterEach(() => rm(dir, { recursive: true }));

async function open(options: { files?: SpoolFiles; nowMs?: number; onFatal?: (error: unknown) => void } = {}) {
  const log = recordingLog();
  const onFatal =
    options.onFatal ??
    ((error: unknown) => {
      throw error;
    });
  const journal = await openJournal({
    path,
    files: options.files ?? realSpoolFiles,
    nowMs: () => options.nowMs ?? NOW_MS,
    log,
    onFatal,
  });
  return { journal, log };
}

/** Everything that the state says, to compare. */
function meaningOf(state: JournalState) {
  return {
    runs: state.runs(),
    found: [...state.spools()].flatMap((spool) => state.foundIn(spool)),
    rowCount: state.rowCount(SECOND, '00000000000000aa'),
    expired: state.isExpired(OTHER, '00000000000000bb'),
  };
}

function meaning({ journal }: Awaited<ReturnType<typeof open>>) {
  return meaningOf(journal.state);
}

describe('the journal', () => {
  test('remembers its notes after it was closed, and after it was not', async () => {
    const first = await open();
    await first.journal.write(NOTES.slice(0, 7));
    expect(meaning(first)).toEqual({ runs: ['r1'], found: [SECOND, OTHER], rowCount: 7, expired: true });
    const second = await open();
    expect(meaning(second)).toEqual(meaning(first));
    await second.journal.write(NOTES.slice(7));
    await second.journal.close();
    await first.journal.close();
    const third = await open();
    expect(meaning(third)).toEqual({ runs: ['r2'], found: [OTHER], rowCount: undefined, expired: true });
    await third.journal.close();
  });

  test('cut at any byte, it means what the notes before the cut mean', () => {
    const parts = [JOURNAL_MAGIC, ...NOTES.map(encodeNote)];
    const ends = parts.map((_, index) => Buffer.concat(parts.slice(0, index + 1)).length);
    const bytes = Buffer.concat(parts);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const wholeNotes = Math.max(0, ends.filter((end) => end <= cut).length - 1);
      const expected = new JournalState();
      for (const note of NOTES.slice(0, wholeNotes)) expected.apply(note);
      const content = readJournal(bytes.subarray(0, cut));
      expect(meaningOf(content.state), `cut at ${cut}`).toEqual(meaningOf(expected));
      expect(content).toMatchObject({ damagedNotes: 0, wholeBytes: ends.findLast((end) => end <= cut) ?? 0 });
    }
  });

  test('a torn tail is cut off when it is opened, and new notes follow the whole ones', async () => {
    const bytes = Buffer.concat([JOURNAL_MAGIC, ...NOTES.map(encodeNote)]);
    for (const tornBytes of [1, 8, 30, encodeNote(NOTES.at(-1)!).length - 1]) {
      await writeFile(path, bytes.subarray(0, -tornBytes));
      const cut = await open();
      expect(cut.log.messages('warn')).toEqual(['cut the torn tail of the journal']);
      await cut.journal.write([{ kind: 'run', run: 'r3' }]);
      await cut.journal.close();
      const after = await open();
      expect(meaning(after)).toMatchObject({ runs: ['r2', 'r3'], found: [SECOND, OTHER] });
      expect(after.log.lines).toEqual([]);
      await after.journal.close();
    }
  });

  test('with any bit flipped it can be read, and holds no note that was not written', () => {
    const bytes = Buffer.concat([JOURNAL_MAGIC, ...NOTES.slice(0, 6).map(encodeNote)]);
    for (let bit = JOURNAL_MAGIC.length * 8; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const { state, damagedNotes, wholeBytes } = readJournal(flipped);
      for (const run of state.runs()) expect(run).toBe('r1');
      for (const name of meaningOf(state).found) expect([FIRST, SECOND, OTHER]).toContainEqual(name);
      expect(damagedNotes > 0 || wholeBytes < bytes.length, `bit ${bit} was noticed`).toBe(true);
    }
  });

  test('passes over a damaged note between whole ones', async () => {
    const damaged = encodeNote({ kind: 'run', run: 'lost' });
    damaged[damaged.length - 1]! ^= 1;
    await writeFile(path, Buffer.concat([JOURNAL_MAGIC, encodeNote(NOTES[0]!), damaged, encodeNote(NOTES[8]!)]));
    const opened = await open();
    expect(meaning(opened).runs).toEqual(['r1', 'r2']);
    expect(opened.log.messages('error')).toEqual(['skipped damaged notes of the journal']);
    await opened.journal.close();
  });

  test('keeps notes of a kind that it does not know', async () => {
    const payload = Buffer.from('{"later":1}');
    const unknown = Buffer.concat([Buffer.alloc(8), Buffer.from([200]), payload]);
    unknown.writeUInt32LE(payload.length, 0);
    unknown.writeUInt32LE(crc32(unknown.subarray(8)), 4);
    await writeFile(path, Buffer.concat([JOURNAL_MAGIC, unknown, encodeNote(NOTES[0]!)]));
    for (let start = 0; start < 2; start++) {
      const opened = await open();
      expect(meaning(opened).runs).toEqual(['r1']);
      await opened.journal.close();
    }
    expect((await readFile(path)).includes(unknown)).toBe(true);
  });

  test('refuses a journal of a newer version and leaves it as it is', async () => {
    await writeFile(path, 'BWSTORE2 and what it means');
    await expect(open()).rejects.toMatchObject({ code: 'newer-format', message: expect.stringContaining('version 2') });
    expect(await readFile(path, 'utf8')).toBe('BWSTORE2 and what it means');
  });

  test('sets a file aside that is no journal, and begins anew', async () => {
    await writeFile(path, Buffer.alloc(100));
    const { journal, log } = await open();
    await journal.close();
    expect(log.messages('error')).toEqual(['set a damaged journal aside and began a new one']);
    expect((await readdir(dir)).filter((name) => name.startsWith('store.journal.damaged-'))).toHaveLength(1);
  });

  test('forgets removed segments after ten minutes, but none at a start, when a power cut may have brought some back', async () => {
    const first = await open();
    await first.journal.write([{ kind: 'removed', ...FIRST, atMs: NOW_MS }]);
    await first.journal.close();
    const removedAfterGrowthAt = async (nowMs: number) => {
      const { journal } = await open({ nowMs });
      expect(journal.state.isRemoved(FIRST)).toBe(true);
      // As much as makes it rewrite the file.
      await journal.write(Array.from({ length: 30_000 }, (): Note => ({ kind: 'found', ...SECOND })));
      await journal.close();
      return journal.state.isRemoved(FIRST);
    };
    expect(await removedAfterGrowthAt(NOW_MS + 600_000)).toBe(true);
    expect(await removedAfterGrowthAt(NOW_MS + 600_001)).toBe(false);
  });

  test('is rewritten when it has grown', async () => {
    const { journal } = await open();
    const many = Array.from({ length: 5_000 }, (_, sequence): Note => ({ kind: 'found', ...FIRST, sequence }));
    const gone = many.map((note): Note => ({ ...(note as Note & { kind: 'found' }), kind: 'gap' }));
    for (let round = 0; round < 3; round++) {
      await journal.write(many);
      await journal.write(gone);
    }
    expect((await stat(path)).size).toBeLessThan(1_000_000);
    await journal.write([{ kind: 'run', run: 'r9' }]);
    await journal.close();
    const after = await open();
    expect(meaning(after)).toMatchObject({ runs: ['r9'], found: [] });
    await after.journal.close();
  });
});

describe('a disk that fails', () => {
  test('full: the room set aside is used, then the write is refused and nothing half written stays', async () => {
    const disk = failingDisk();
    const { journal, log } = await open({ files: disk.files });
    await journal.write([{ kind: 'run', run: 'r1' }]);
    disk.fullAfterBytes = 5;
    disk.roomWhenRemoved = 100;
    await journal.write([{ kind: 'run', run: 'r2' }]);
    expect(log.messages('warn')).toEqual(['the disk is full: gave up the room set aside for the journal']);
    const bytesBefore = (await stat(path)).size;
    disk.fullAfterBytes = 5;
    await expect(journal.write([{ kind: 'run', run: 'r3' }])).rejects.toMatchObject({
      code: 'store-temporary',
      retryable: true,
    });
    expect((await stat(path)).size).toBe(bytesBefore);
    expect(meaning({ journal, log }).runs).toEqual(['r1', 'r2']);
    disk.fullAfterBytes = Number.POSITIVE_INFINITY;
    await journal.write([{ kind: 'run', run: 'r4' }]);
    await journal.close();
    const after = await open();
    expect(meaning(after).runs).toEqual(['r1', 'r2', 'r4']);
    expect(after.log.messages('error')).toEqual([]);
    await after.journal.close();
  });

  test('full: room that somebody else takes as soon as it is given up is not all there is', async () => {
    const disk = failingDisk();
    const { journal, log } = await open({ files: disk.files });
    disk.fullAfterBytes = 0;
    disk.roomWhenCut = [0, 0, 0, 1_000];
    await journal.write([{ kind: 'run', run: 'r1' }]);
    expect((await stat(`${path}.ballast`)).size).toBe(4 * 1024 * 1024 - 4 * BALLAST_PIECE_BYTES);
    disk.fullAfterBytes = Number.POSITIVE_INFINITY;
    await journal.write([{ kind: 'run', run: 'r2' }]);
    expect((await stat(`${path}.ballast`)).size).toBe(4 * 1024 * 1024);
    expect(log.messages('warn')).toEqual(['the disk is full: gave up the room set aside for the journal']);
    await journal.close();
    const after = await open();
    expect(meaning(after).runs).toEqual(['r1', 'r2']);
    await after.journal.close();
  });

  test('a start on a full disk goes on with the file that is there', async () => {
    await writeFile(path, Buffer.concat([JOURNAL_MAGIC, encodeNote(NOTES[0]!), Buffer.from('torn')]));
    const disk = failingDisk();
    disk.fullAfterBytes = 0;
    const opened = await open({ files: disk.files });
    expect(meaning(opened).runs).toEqual(['r1']);
    disk.fullAfterBytes = Number.POSITIVE_INFINITY;
    await opened.journal.write([{ kind: 'run', run: 'r2' }]);
    await opened.journal.close();
    const after = await open();
    expect(meaning(after).runs).toEqual(['r1', 'r2']);
    await after.journal.close();
  });

  test('a failed sync is fatal, and no later write is believed', async () => {
    const disk = failingDisk();
    const fatal: unknown[] = [];
    const { journal } = await open({ files: disk.files, onFatal: (error) => fatal.push(error) });
    disk.failSyncs = 1;
    await expect(journal.write([{ kind: 'run', run: 'r1' }])).rejects.toThrow('EIO');
    await expect(journal.write([{ kind: 'run', run: 'r2' }])).rejects.toThrow('EIO');
    expect(fatal).toHaveLength(1);
    await journal.close();
  });
});

/** The real disk, with so much room and so many failing syncs. */
/** Of the room set aside, given up at once. */
const BALLAST_PIECE_BYTES = 256 * 1024;

function failingDisk() {
  const disk = {
    fullAfterBytes: Number.POSITIVE_INFINITY,
    roomWhenRemoved: 0,
    /** After each piece of the room set aside; what is not here somebody else has taken. */
    roomWhenCut: [] as number[],
    failSyncs: 0,
    files: {
      ...realSpoolFiles,
      create: async (name: string) => failing(await realSpoolFiles.create(name)),
      open: async (name: string, access: 'read' | 'write') => failing(await realSpoolFiles.open(name, access)),
      remove: async (name: string) => {
        await realSpoolFiles.remove(name);
        disk.fullAfterBytes += disk.roomWhenRemoved;
      },
      freeBytes: async (): Promise<number> => disk.fullAfterBytes,
    } satisfies SpoolFiles,
  };
  function failing(file: SpoolFile): SpoolFile {
    return {
      read: (position, length) => file.read(position, length),
      size: () => file.size(),
      truncate: async (bytes) => {
        const before = await file.size();
        await file.truncate(bytes);
        if (before - bytes >= BALLAST_PIECE_BYTES) disk.fullAfterBytes += disk.roomWhenCut.shift() ?? 0;
      },
      close: () => file.close(),
      // A short write first, as disks do, then the refusal.
      write: async (buffers, position) => {
        if (disk.fullAfterBytes <= 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        const bytes = Buffer.concat(buffers).subarray(0, disk.fullAfterBytes);
        disk.fullAfterBytes -= bytes.length;
        return file.write([bytes], position);
      },
      datasync: async () => {
        if (disk.failSyncs-- > 0) throw new Error('EIO');
        await file.datasync();
      },
    };
  }
  return disk;
}
