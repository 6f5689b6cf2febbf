/**
 * Reads sealed segments: their footers, records and batches; removes them. Plain functions over SpoolFiles, because the
 * store reads spools that ingest processes write: a segment whose footer has its final name never changes any more.
 */
import { join } from 'node:path';
import { BackworkError } from '../../base/errors.ts';
import type { FooterBatch, SegmentFooter, SpoolRecord } from '../messages.ts';
import { crc32InSlices, inflateBody } from './body.ts';
import { decodeFooter } from './footer.ts';
import {
  fileName,
  parseFileName,
  QUARANTINE_NAME,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
  SEGMENT_RECORDS_MAX,
} from './format.ts';
import { scanRecords } from './scan.ts';
import { isMissing, readWhole, type SpoolFile, type SpoolFiles, synced } from './spool-files.ts';

/** Two copies of 65,536 requests and as many batches are 14 MiB; the rest is texts. */
const FOOTER_BYTES_MAX = 64 * 1_048_576;

/** Bytes of a segment that are no record, as `readRecords` met them. */
export interface CorruptRecord {
  readonly sequence: number;
  readonly offset: number;
  readonly bytes: number;
  /** Known when the header was whole. */
  readonly index: number | undefined;
  /** '' when it is not known. */
  readonly orgId: string;
  readonly reason: string;
}

/** Damaged bytes of a segment, for the quarantine. */
export interface DamagedPiece {
  /** '' when the bytes do not say. */
  readonly orgId: string;
  readonly spoolId: string;
  readonly sequence: number;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
  readonly atMs: number;
  /** Bytes of the segment, from this offset of it. */
  readonly read: (offset: number, length: number) => Promise<Buffer>;
}

/** Sequence numbers of the sealed segments of a spool, ascending. None when there is no such directory. */
export async function listSealed(files: SpoolFiles, dir: string): Promise<number[]> {
  const sequences: number[] = [];
  for (const name of await files.list(dir)) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'footer') sequences.push(parsed.sequence);
  }
  return sequences.sort((a, b) => a - b);
}

/** Sequence numbers of the segments that have records and no footer yet. None when there is no such directory. */
export async function listUnsealed(files: SpoolFiles, dir: string): Promise<number[]> {
  const open = new Set<number>();
  const sealed = new Set<number>();
  for (const name of await files.list(dir)) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'segment') open.add(parsed.sequence);
    else if (parsed?.kind === 'footer') sealed.add(parsed.sequence);
  }
  return [...open].filter((sequence) => !sealed.has(sequence));
}

/** Throws 'corrupt' (both copies damaged, or the footer of another number), 'newer-format', 'not-found'. */
export async function readFooter(files: SpoolFiles, dir: string, sequence: number): Promise<SegmentFooter> {
  const path = join(dir, fileName(sequence, 'footer'));
  const bytes = await readWhole(files, path, FOOTER_BYTES_MAX);
  if (bytes === undefined) throw new BackworkError('not-found', `no footer ${path}`);
  const footer = decodeFooter(bytes);
  if (footer.sequence !== sequence)
    throw new BackworkError('corrupt', `${path} is the footer of segment ${footer.sequence}`);
  return footer;
}

/**
 * The good records of a segment in order, or those from `first` to `last`. What is corrupt is told to `onCorrupt` and
 * passed over; `index` counts the requests of the footer, so those behind it keep their numbers. Throws 'not-found',
 * 'corrupt' when both copies of the segment's header are damaged, 'newer-format'.
 */
export async function* readRecords(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  range: { readonly first: number; readonly last: number } = { first: 0, last: SEGMENT_RECORDS_MAX },
  onCorrupt: (found: CorruptRecord) => void = () => {},
): AsyncGenerator<{ index: number; record: SpoolRecord }, void, void> {
  const file = await openSegment(files, dir, sequence);
  try {
    const mark = await readMark(file, join(dir, fileName(sequence, 'segment')));
    const wanted = (index: number): boolean => index >= range.first && index <= range.last;
    const size = await file.size();
    for await (const step of scanRecords(file, { mark, from: SEGMENT_HEADER_BYTES, size, wanted })) {
      if (step.kind === 'torn') return;
      if (step.kind === 'corrupt') {
        onCorrupt({ sequence, ...step });
        continue;
      }
      const { index } = step.head;
      if (index > range.last) return;
      if (step.stored === undefined) continue;
      const body = await inflateBody(step.head, step.stored);
      if (body !== undefined) yield { index, record: { header: step.head.header, body } };
      else
        onCorrupt({
          sequence,
          offset: step.offset,
          bytes: step.head.bodyBytes,
          index,
          orgId: step.head.header.orgId,
          reason: 'body does not inflate',
        });
    }
  } finally {
    await file.close();
  }
}

/** The batch's bytes as they were encoded; undefined when they are not there whole: convert again from the records. */
export async function readBatch(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  batch: FooterBatch,
): Promise<Buffer | undefined> {
  if (batch.length === 0) return undefined;
  let file: SpoolFile;
  try {
    file = await files.open(join(dir, fileName(sequence, 'batches')), 'read');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    if ((await file.size()) < batch.offset + batch.length) return undefined;
    const bytes = await file.read(batch.offset, batch.length);
    return bytes.length === batch.length && (await crc32InSlices(bytes)) === batch.crc ? bytes : undefined;
  } finally {
    await file.close();
  }
}

/**
 * Removes a segment that is stored. The footer goes last, and only when the others are durably gone: a segment that a
 * power cut brought back without its footer would be converted anew, under new BatchIds, and stored twice.
 */
export async function removeSegment(files: SpoolFiles, dir: string, sequence: number): Promise<void> {
  await files.remove(join(dir, fileName(sequence, 'batches')));
  await files.remove(join(dir, fileName(sequence, 'segment')));
  await synced(files.syncDirectory(dir), dir);
  await files.remove(join(dir, fileName(sequence, 'footer')));
  await synced(files.syncDirectory(dir), dir);
}

/** Moves all files of a segment to `<dir>/quarantine/<nowMs>-<name>`, the footer last, as removeSegment does. */
export async function quarantineSegment(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  nowMs: number,
): Promise<void> {
  const quarantine = join(dir, QUARANTINE_NAME);
  await files.makeDirectory(quarantine);
  for (const kind of ['batches', 'segment', 'footer'] as const) {
    const name = fileName(sequence, kind);
    try {
      await files.rename(join(dir, name), join(quarantine, `${nowMs}-${name}`));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    await synced(files.syncDirectory(quarantine), quarantine);
    await synced(files.syncDirectory(dir), dir);
  }
}

async function openSegment(files: SpoolFiles, dir: string, sequence: number): Promise<SpoolFile> {
  const path = join(dir, fileName(sequence, 'segment'));
  try {
    return await files.open(path, 'read');
  } catch (error) {
    if (isMissing(error)) throw new BackworkError('not-found', `no segment ${path}`);
    throw error;
  }
}

async function readMark(file: SpoolFile, path: string): Promise<Buffer> {
  const state = readSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES));
  if (state.kind === 'valid') return state.header.mark;
  if (state.kind === 'newer') throw new BackworkError('newer-format', `${path} has format ${state.version}`);
  throw new BackworkError('corrupt', `${path}: both copies of the header are damaged`);
}
