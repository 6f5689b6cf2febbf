/**
 * F15: files that end too early. An unsealed segment cut at every byte of its last three records, a footer that was being
 * sealed, and the journal: the torn tail is dropped, the rest is read, nothing that was whole is lost, and no process
 * ends for it.
 */
import { copyFileSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FOOTER_PAGE_BYTES } from '../../src/ingest/spool/format.ts';
import { IDENTITY_NAME } from '../../src/ingest/spool/identity.ts';
import { readFooter } from '../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../src/ingest/spool/spool-files.ts';
import { openJournal } from '../../src/ingest/store/journal.ts';
import { encodeNote, JOURNAL_MAGIC, type Note, readJournal } from '../../src/ingest/store/journal-notes.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { startService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { FIRST_ORPHAN, made, makeSpool, MADE_SEQUENCE, sealSpool, segmentFiles, SILENT } from './support/made-spool.ts';
import { judgeStored, linesWith, restarts, TWO_WORKERS } from './support/spool-service.ts';

const REQUESTS = 5;
/** Records before the last three are not touched. */
const FIRST_CUT_RECORD = REQUESTS - 3;

export const f15: Fault = {
  id: 'F15',
  title: 'a segment, a footer and the journal are cut at every byte',
  async run(options: FaultOptions): Promise<FaultReport> {
    const random = seededRandom(options.seed);
    const service = await cutSpoolsUnderService(random, options);
    const footers = await cutFooters(random, options);
    const journals = await cutJournals(random, options);
    return {
      figures: { ...service.figures, footerCuts: footers.cuts, journalCuts: journals.cuts },
      violations: [...service.violations, ...footers.violations, ...journals.violations],
    };
  },
};

/** One orphan spool a cut, all given to one real service: it adopts, recovers and stores each. */
async function cutSpoolsUnderService(random: Random, { size, say }: FaultOptions): Promise<FaultReport> {
  const dataDir = temporaryDirectory();
  const acknowledged = new Set<string>();
  let tornTails = 0;
  const root = join(dataDir, 'spool');
  const probe = makeSpool(join(root, String(FIRST_ORPHAN)), requestsOf(FIRST_ORPHAN));
  rmSync(dirname(probe.path), { recursive: true });
  const from = probe.records[FIRST_CUT_RECORD]!.offset;
  const lengths = Array.from({ length: probe.bytes.length - from + 1 }, (_, i) => from + i);
  const chosen = size === 'full' ? lengths : lengths.filter(() => random.chance(60 / lengths.length));
  for (const [i, length] of chosen.entries()) {
    // Some stand where a worker begins, the rest is adopted by the store.
    const number = i < 2 ? i : FIRST_ORPHAN + i;
    const segment = makeSpool(join(root, String(number)), requestsOf(FIRST_ORPHAN + i));
    truncateSync(segment.path, length);
    const whole = segment.records.filter((record) => record.offset + record.bytes <= length);
    for (const request of requestsOf(FIRST_ORPHAN + i).slice(0, whole.length)) acknowledged.add(request.ids[0]!);
    if (!segment.records.some((record) => record.offset === length) && length < segment.bytes.length) tornTails++;
  }
  const sealedCuts = await makeCutFooters(root, random, acknowledged);
  writeFileSync(join(dataDir, 'store.journal'), tornJournal());
  say(`${chosen.length} cuts of a segment, ${sealedCuts} of a footer, under one service`);
  const service = await startService({ dataDir, env: TWO_WORKERS });
  try {
    const judged = await judgeStored(service, { acknowledged, issued: acknowledged }, { withinMs: 120_000 });
    const ended = restarts(service);
    if (ended.length > 0) judged.violations.push(`${ended.length} processes ended: ${ended[0]}`);
    // The log is kept to its last 200,000 characters: of many cuts only the last ones are in it.
    const logged = linesWith(service, 'the torn tail of a segment was cut').length;
    if (size === 'ci' && logged !== tornTails) judged.violations.push(`${logged} of ${tornTails} torn tails logged`);
    return {
      figures: { segmentCuts: chosen.length, tornTails, restarts: ended.length, ...judged.figures },
      violations: judged.violations,
    };
  } finally {
    await service.stopAndRemove();
  }
}

function requestsOf(number: number) {
  const name = String(number).padStart(5, '0');
  return Array.from({ length: REQUESTS }, (_, index) => ({ ids: [`cut${name}-${index}`] }));
}

/** Sealed segments whose footer is back where a crash left it: under its temporary name, and short. */
async function makeCutFooters(root: string, random: Random, acknowledged: Set<string>): Promise<number> {
  const cuts = 12;
  for (let i = 0; i < cuts; i++) {
    const dir = join(root, String(50_000 + i));
    const requests = requestsOf(50_000 + i);
    const segment = makeSpool(dir, requests);
    await sealSpool(dir);
    renameSync(made(segment, 'footer'), made(segment, 'footer.tmp'));
    truncateSync(made(segment, 'footer.tmp'), random.int(0, 2 * FOOTER_PAGE_BYTES));
    for (const { ids } of requests) acknowledged.add(ids[0]!);
  }
  return cuts;
}

/** Recovery alone, at every byte of the footer that was being sealed. */
async function cutFooters(random: Random, { size }: FaultOptions): Promise<{ cuts: number; violations: string[] }> {
  const root = temporaryDirectory();
  const violations: string[] = [];
  const footerBytes = 2 * FOOTER_PAGE_BYTES;
  const step = size === 'full' ? 1 : 400;
  let cuts = 0;
  const sealedDir = join(root, 'sealed');
  const sealed = makeSpool(sealedDir, requestsOf(1));
  await sealSpool(sealedDir);
  for (let bytes = size === 'full' ? 0 : random.int(0, step - 1); bytes <= footerBytes; bytes += step, cuts++) {
    const dir = join(root, String(bytes));
    const segment = makeSpool(dir, requestsOf(1));
    copyFileSync(sealed.path, segment.path);
    copyFileSync(made(sealed, 'footer'), made(segment, 'footer.tmp'));
    copyFileSync(join(sealedDir, IDENTITY_NAME), join(dir, IDENTITY_NAME));
    truncateSync(made(segment, 'footer.tmp'), bytes);
    const report = await sealSpool(dir);
    const footer = await readFooter(realSpoolFiles, dir, MADE_SEQUENCE);
    const rows = footer.batches.reduce((sum, batch) => sum + batch.rowCount, 0);
    const left = segmentFiles(dir).filter((name) => name.endsWith('.tmp'));
    if (report.sealed.length !== 1 || rows !== REQUESTS || left.length > 0)
      violations.push(`a footer cut at ${bytes} bytes: ${report.sealed.length} sealed, ${rows} rows, ${left}`);
    rmSync(dir, { recursive: true });
  }
  rmSync(root, { recursive: true });
  return { cuts, violations };
}

/** The journal opened at every length: the notes that are whole hold, and the next one is found again. */
async function cutJournals(random: Random, { size }: FaultOptions): Promise<{ cuts: number; violations: string[] }> {
  const root = temporaryDirectory();
  mkdirSync(root, { recursive: true });
  const path = join(root, 'store.journal');
  const notes = notesOfAllKinds();
  const ends: number[] = [];
  let whole = JOURNAL_MAGIC;
  for (const note of notes) {
    whole = Buffer.concat([whole, encodeNote(note)]);
    ends.push(whole.length);
  }
  const violations: string[] = [];
  const step = size === 'full' ? 1 : 23;
  let cuts = 0;
  for (let bytes = size === 'full' ? 0 : random.int(0, step - 1); bytes <= whole.length; bytes += step, cuts++) {
    writeFileSync(path, whole.subarray(0, bytes));
    const kept = notes.slice(0, ends.filter((end) => end <= bytes).length);
    const expected = stateOf([...kept, NEXT]);
    const journal = await openJournal({ path, files: realSpoolFiles, nowMs: () => 0, log: SILENT, onFatal: () => {} });
    await journal.write([NEXT]);
    await journal.close();
    const found = readJournal(await realBytes(path));
    if (!found.state.encode(0).equals(expected)) violations.push(`a journal cut at ${bytes} bytes forgot a note`);
  }
  rmSync(root, { recursive: true });
  return { cuts, violations };
}

const NAME = { spool: '0', spoolId: '5b'.repeat(16), sequence: 1 };
const NEXT: Note = { kind: 'found', ...NAME, sequence: 99 };

function notesOfAllKinds(): Note[] {
  return [
    { kind: 'run', run: 'a1' },
    { kind: 'found', ...NAME },
    { kind: 'found', ...NAME, sequence: 2 },
    { kind: 'row-count', ...NAME, batchId: '00000001000000aa', rowCount: 7 },
    { kind: 'expired', ...NAME, sequence: 2, batchId: '00000001000000ab', rowCount: 3 },
    { kind: 'run-over', run: 'a1' },
    { kind: 'removed', ...NAME, atMs: 0 },
    { kind: 'gap', ...NAME, sequence: 2 },
    { kind: 'run', run: 'b2' },
    { kind: 'found', ...NAME, sequence: 3 },
  ];
}

function stateOf(notes: readonly Note[]): Buffer {
  return readJournal(Buffer.concat([JOURNAL_MAGIC, ...notes.map(encodeNote)])).state.encode(0);
}

/** Cut inside its last note. */
function tornJournal(): Buffer {
  return Buffer.concat([JOURNAL_MAGIC, encodeNote({ kind: 'run', run: 'a1' }), encodeNote(NEXT).subarray(0, 30)]);
}

async function realBytes(path: string): Promise<Buffer> {
  const file = await realSpoolFiles.open(path, 'read');
  try {
    return await file.read(0, await file.size());
  } finally {
    await file.close();
  }
}
