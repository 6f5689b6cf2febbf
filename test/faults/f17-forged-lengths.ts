/**
 * F17: length fields of 0, 2^31, 2^32-1 and negative numbers, as damage leaves them and with a CRC that fits, in records,
 * footers and the journal. Nothing is allocated for them and nothing hangs: of a segment that one request is lost, a
 * footer is read from its other copy, of the journal only what stands behind is.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { messageOf } from '../../src/base/errors.ts';
import { MIB } from '../../src/base/limits.ts';
import { decodeFooter } from '../../src/ingest/spool/footer.ts';
import { fileName } from '../../src/ingest/spool/format.ts';
import { readFooter, readRecords } from '../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../src/ingest/spool/spool-files.ts';
import { openJournal } from '../../src/ingest/store/journal.ts';
import { encodeNote, JOURNAL_MAGIC } from '../../src/ingest/store/journal-notes.ts';
import { temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { MADE_SEQUENCE, type MadeSegment, makeSpool, sealSpool, SILENT } from './support/made-spool.ts';
import { resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';

const LENGTHS = [0, 2 ** 31, 2 ** 32 - 1, 2 ** 32 - 100];
const MS_MAX = 50;
const RSS_BYTES_MAX = 10 * MIB;
/** Of a record: header, stored body, inflated body (u32); the three texts (u16). */
const RECORD_FIELDS = [16, 24, 32, 88, 90, 92];
const TEXT_FIELDS_FROM = 88;
const REQUESTS = 3;
const DAMAGED = 1;
/** Of all requests; the middle one has all but two. */
const ITEMS = 102;

interface Judged {
  cases: number;
  /** Of the processor: what a disk that others use takes for its syncs is no work for a length. */
  cpuMsMax: number;
  slowestMs: number;
  rssGrowthBytes: number;
  readonly violations: string[];
}

export const f17: Fault = {
  id: 'F17',
  title: 'length fields say 0, 2^31, 2^32-1 and negative numbers',
  async run({ size }: FaultOptions): Promise<FaultReport> {
    const root = temporaryDirectory();
    const judged: Judged = { cases: 0, cpuMsMax: 0, slowestMs: 0, rssGrowthBytes: 0, violations: [] };
    try {
      // What is loaded and compiled at the first use is no allocation for a length.
      await inRecords(join(root, 'first'), { ...judged, violations: [] });
      await inRecords(join(root, 'records'), judged);
      await inFooters(join(root, 'footers'), judged);
      await inJournals(join(root, 'journals'), judged);
    } finally {
      rmSync(root, { recursive: true });
    }
    const { cases, violations } = judged;
    const slowestMs = Math.round(judged.slowestMs);
    const cpuMsMax = Math.round(judged.cpuMsMax);
    if (size === 'full' && cpuMsMax > MS_MAX) violations.push(`a forged length took ${cpuMsMax} ms`);
    if (size === 'full' && judged.rssGrowthBytes > RSS_BYTES_MAX)
      violations.push(`a forged length took ${judged.rssGrowthBytes} bytes of memory`);
    const rssGrowthMib = Number((judged.rssGrowthBytes / MIB).toFixed(1));
    return { figures: { cases, cpuMsMax, slowestMs, rssGrowthMib }, violations };
  },
};

async function inRecords(root: string, judged: Judged): Promise<void> {
  for (const sealed of [false, true]) {
    for (const field of RECORD_FIELDS) {
      for (const value of LENGTHS) {
        for (const fitting of [false, true]) {
          const dir = join(root, String(judged.cases));
          const segment = makeSpool(dir, requests());
          if (sealed) await sealSpool(dir);
          writeFileSync(segment.path, forgedRecord(segment, field, value, fitting));
          const what = `${sealed ? 'sealed' : 'unsealed'} record, field ${field} = ${value}, CRC ${fitting}`;
          await timed(judged, what, async () => {
            if (!sealed) await sealSpool(dir);
            const read: number[] = [];
            for await (const { index } of readRecords(realSpoolFiles, dir, MADE_SEQUENCE)) read.push(index);
            const rows = (await readFooter(realSpoolFiles, dir, MADE_SEQUENCE)).batches[0]?.rowCount;
            // The footer of a sealed one was made before the damage.
            const expected = sealed ? ITEMS : REQUESTS - 1;
            if (read.join() !== '0,2' || rows !== expected) return `read requests ${read}, ${rows} rows`;
            return undefined;
          });
          rmSync(dir, { recursive: true });
        }
      }
    }
  }
}

function forgedRecord(segment: MadeSegment, field: number, value: number, fitting: boolean): Buffer {
  const bytes = Buffer.from(segment.bytes);
  const { offset, headBytes } = segment.records[DAMAGED]!;
  if (field >= TEXT_FIELDS_FROM) bytes.writeUInt16LE((value >>> 0) % 2 ** 16 || 0xffff, offset + field);
  else bytes.writeUInt32LE(value, offset + field);
  const end = offset + headBytes - 4;
  if (fitting) bytes.writeUInt32LE(crc32(bytes.subarray(offset, end)), end);
  return bytes;
}

/** The payload's length in its header, and the three counts inside it; in one copy, then in both. */
async function inFooters(root: string, judged: Judged): Promise<void> {
  const segment = makeSpool(root, requests());
  await sealSpool(root);
  const path = join(root, fileName(MADE_SEQUENCE, 'footer'));
  const whole = await read(path);
  const expected = JSON.stringify(decodeFooter(whole));
  const half = whole.length / 2;
  for (const field of [12, 20 + 28, ...countsOf(whole)]) {
    for (const value of LENGTHS) {
      for (const copies of [[0], [half], [0, half]]) {
        const bytes = Buffer.from(whole);
        for (const at of copies) forgeFooter(bytes, at, field, value);
        await timed(judged, `footer, field ${field} = ${value}, copies ${copies}`, async () => {
          const found = attempt(() => JSON.stringify(decodeFooter(bytes)));
          // A count of 0 with a fitting CRC is no length that cannot be: it is what the writer is believed to have meant.
          if (copies.length === 1 && field === 12 && found !== expected) return `read as ${found}`;
          return undefined;
        });
      }
    }
  }
  rmSync(segment.path);
}

/** Offsets of the number of requests and of batches, behind the texts. */
function countsOf(footer: Buffer): number[] {
  let at = 20 + 32;
  for (let texts = footer.readUInt32LE(20 + 28); texts > 0; texts--) at += 2 + footer.readUInt16LE(at);
  return [at, at + 4 + REQUESTS * 52];
}

function forgeFooter(bytes: Buffer, copy: number, field: number, value: number): void {
  bytes.writeUInt32LE(value, copy + field);
  if (field === 12) return;
  const payload = bytes.subarray(copy + 20, copy + 20 + bytes.readUInt32LE(copy + 12));
  bytes.writeUInt32LE(crc32(payload, crc32(bytes.subarray(copy, copy + 16))), copy + 16);
}

async function inJournals(root: string, judged: Judged): Promise<void> {
  mkdirSync(root, { recursive: true });
  const path = join(root, 'store.journal');
  const first = encodeNote({ kind: 'run', run: 'first' });
  for (const value of LENGTHS) {
    const second = encodeNote({ kind: 'run', run: 'second' });
    second.writeUInt32LE(value, 0);
    writeFileSync(path, Buffer.concat([JOURNAL_MAGIC, first, second, encodeNote({ kind: 'run', run: 'third' })]));
    await timed(judged, `journal, length ${value}`, async () => {
      const journal = await openJournal({
        path,
        files: realSpoolFiles,
        nowMs: () => 0,
        log: SILENT,
        onFatal: () => {},
      });
      const runs = journal.state.runs();
      await journal.close();
      return runs[0] === 'first' && !runs.includes('second') ? undefined : `runs ${runs}`;
    });
  }
}

/** Every case is told by time and memory; a case that throws or says something is a violation. */
async function timed(judged: Judged, what: string, run: () => Promise<string | undefined>): Promise<void> {
  resetRssPeak([process.pid]);
  const before = rssBytes([process.pid]);
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  let said: string | undefined;
  try {
    said = await run();
  } catch (error) {
    said = messageOf(error);
  }
  const { user, system } = process.cpuUsage(cpu);
  judged.cpuMsMax = Math.max(judged.cpuMsMax, (user + system) / 1_000);
  judged.slowestMs = Math.max(judged.slowestMs, performance.now() - startedMs);
  judged.rssGrowthBytes = Math.max(judged.rssGrowthBytes, rssPeakBytes([process.pid]) - before);
  judged.cases++;
  if (said !== undefined) judged.violations.push(`${what}: ${said}`);
}

function requests() {
  // The second is large enough to be compressed: its inflated length is a length of its own.
  return [['a'], Array.from({ length: 100 }, (_, i) => `b${i}`), ['c']].map((ids) => ({ ids }));
}

async function read(path: string): Promise<Buffer> {
  const file = await realSpoolFiles.open(path, 'read');
  try {
    return await file.read(0, await file.size());
  } finally {
    await file.close();
  }
}

function attempt(what: () => string): string {
  try {
    return what();
  } catch (error) {
    return messageOf(error);
  }
}
