/**
 * Recovers a spool directory whose lock the caller holds: gathers facts, asks recover.ts for the plan, carries it out.
 * Afterwards every segment there is sealed. It needs no human and never ends the process for what it finds: what cannot
 * be read is moved to quarantine, logged once and counted. It may be interrupted anywhere and run again.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { BackworkError } from '../../base/errors.ts';
import { NO_FAULT_POINTS } from '../../base/fault-points.ts';
import { createBatchIds } from './batch-id.ts';
import { decodeFooter, FooterRequests } from './footer.ts';
import { fileName, parseFileName, readSegmentHeader, SEGMENT_HEADER_BYTES } from './format.ts';
import { FreeSpace } from './free-space.ts';
import { IDENTITY_NAME, readIdentity, writeIdentity } from './identity.ts';
import { quarantineSegment, readRecords } from './reader.ts';
import { type FooterFacts, planRecovery, type RecoveryPlan, type SegmentFacts, type SegmentPlan } from './recover.ts';
import { type ScanStep, scanRecords } from './scan.ts';
import { type SealDeps, writeBatches, writeFooter } from './seal.ts';
import {
  isDiskFull,
  isMissing,
  isShortage,
  isSyncFailure,
  readWhole,
  type SpoolFile,
  type SpoolFiles,
  synced,
  writeAll,
} from './spool-files.ts';
import type { SpoolDeps } from './writer.ts';

/** What recovery found and did; each finding is logged as well. */
export interface RecoveryReport {
  /** Segments that a footer was written for. */
  sealed: number[];
  /** Segments that were sealed already. */
  kept: number[];
  /** Of those, the ones of which only the footer is left. */
  missing: number[];
  /** Tails that were cut because a record in them was not whole: never acknowledged. */
  tornTails: number;
  /** Pieces of segments that are no record, each handed to the quarantine. */
  corruptRecords: number;
  quarantined: { sequence: number; reason: string }[];
}

export type RecoverDeps = Pick<
  SpoolDeps<never>,
  'dir' | 'files' | 'log' | 'encodeRecords' | 'converterVersion' | 'nowMs' | 'onSealed' | 'faults' | 'keepPiece'
>;

interface Recovery {
  readonly deps: RecoverDeps;
  readonly seal: SealDeps;
  readonly report: RecoveryReport;
  readonly newBatchId: () => string;
}

const FACTS_AT_ONCE = 16;
const WRITE_AGAIN_BYTES = 1_048_576;

/**
 * Recovers and seals everything and opens nothing. For the store process, which adopts a spool that no ingest process
 * serves any more, after it took `<dir>/spool.lock`. Throws 'newer-format' (nothing was changed) and the failure of a
 * sync (see isSyncFailure).
 */
export async function recoverSpool(deps: RecoverDeps): Promise<RecoveryReport> {
  const monotonicMs = (): number => performance.now();
  const { files, dir, log } = deps;
  const space = new FreeSpace({ files, dir, log, reserveBytes: 0, ballastBytes: 0, monotonicMs });
  await space.measure();
  const { report, spoolId, nextSequence } = await recover(deps, space);
  if (report.sealed.length + report.kept.length > 0) await noteRecovered(deps, spoolId, nextSequence);
  return report;
}

/**
 * All that stood here is sealed: an unsealed segment of a lower number that appears later is an old copy, stored long
 * ago (recover.ts). A disk without room loses the note, and the next start makes it.
 */
async function noteRecovered({ files, dir, log }: RecoverDeps, spoolId: string, nextSequence: number): Promise<void> {
  try {
    const identity = { spoolId, firstSequence: nextSequence, reservedSequence: nextSequence };
    await writeIdentity(files, dir, identity);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    log.warn({ dir, error }, 'no room to note that a spool is recovered');
  }
}

/** As recoverSpool; tells the identity that goes on and the first sequence number that is free. */
export async function recover(
  deps: RecoverDeps,
  space: FreeSpace,
): Promise<{ report: RecoveryReport; spoolId: string; nextSequence: number }> {
  const { files, dir, log, converterVersion, nowMs } = deps;
  const names = await files.list(dir);
  const identity = await readIdentity(files, dir);
  const plan = planRecovery(await gatherFacts(files, dir, names), identity);
  if (plan.newer)
    throw new BackworkError('newer-format', `${dir} holds segments of a newer format; nothing was changed`);
  if (identity === 'damaged')
    log.error({ dir, file: IDENTITY_NAME, spoolId: plan.spoolId }, 'spool identity is damaged');
  const spoolId = plan.spoolId ?? randomBytes(16).toString('hex');
  const report: RecoveryReport = {
    sealed: [],
    kept: [],
    missing: [],
    tornTails: 0,
    corruptRecords: 0,
    quarantined: [],
  };
  const newBatchId = createBatchIds(nowMs, () => randomInt(2 ** 32));
  const seal = { files, dir, spoolId, converterVersion, log, space, faults: deps.faults ?? NO_FAULT_POINTS };
  await carryOut(plan, { deps, seal, report, newBatchId });
  if (report.sealed.length > 0) log.info({ dir, sealed: report.sealed }, 'segments of an earlier run were sealed');
  return { report, spoolId, nextSequence: plan.nextSequence };
}

async function gatherFacts(files: SpoolFiles, dir: string, names: readonly string[]): Promise<SegmentFacts[]> {
  const sequences = new Set<number>();
  for (const name of names) {
    const parsed = parseFileName(name);
    if (parsed !== undefined) sequences.add(parsed.sequence);
  }
  const present = new Set(names);
  const ascending = [...sequences].sort((a, b) => a - b);
  const facts: SegmentFacts[] = [];
  for (let first = 0; first < ascending.length; first += FACTS_AT_ONCE) {
    const some = ascending.slice(first, first + FACTS_AT_ONCE);
    facts.push(...(await Promise.all(some.map((sequence) => factsOf(files, dir, sequence, present)))));
  }
  return facts;
}

/**
 * The store removes stored segments meanwhile, the footer last and after a sync: what is listed and gone was stored, and
 * is no fact any more.
 */
async function factsOf(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  present: ReadonlySet<string>,
): Promise<SegmentFacts> {
  const segmentName = fileName(sequence, 'segment');
  const footerName = fileName(sequence, 'footer');
  const footer = present.has(footerName) ? await footerFacts(files, join(dir, footerName), sequence) : undefined;
  const segment = present.has(segmentName) ? await segmentFacts(files, join(dir, segmentName)) : undefined;
  return { sequence, segment, footer };
}

async function segmentFacts(files: SpoolFiles, path: string): Promise<SegmentFacts['segment']> {
  let file: SpoolFile;
  try {
    file = await files.open(path, 'read');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const header = readSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES));
    return { bytes: await file.size(), header };
  } finally {
    await file.close();
  }
}

async function footerFacts(files: SpoolFiles, path: string, sequence: number): Promise<FooterFacts | undefined> {
  try {
    const bytes = await readWhole(files, path, Number.MAX_SAFE_INTEGER);
    if (bytes === undefined) return undefined;
    const footer = decodeFooter(bytes);
    return footer.sequence === sequence ? { kind: 'whole', spoolId: footer.spoolId } : { kind: 'damaged' };
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'newer-format') return { kind: 'newer' };
    if (isShortage(error)) throw error;
    return { kind: 'damaged' };
  }
}

async function carryOut(plan: RecoveryPlan, recovery: Recovery): Promise<void> {
  const { files, dir, log, nowMs } = recovery.deps;
  const { report } = recovery;
  for (const segment of plan.segments) {
    const { sequence, action, reason } = segment;
    await files.remove(join(dir, fileName(sequence, 'footer.tmp')));
    if (action === 'keep' && reason === '' && recovery.seal.faults.planted('recompute-footer')) {
      await sealAgain(recovery, sequence, nowMs());
    } else if (action === 'keep') {
      report.kept.push(sequence);
      if (reason === '') continue;
      report.missing.push(sequence);
      log.warn({ dir, sequence, reason }, 'a segment is missing');
    } else if (action === 'quarantine') {
      await quarantine(recovery, segment);
    } else {
      await files.remove(join(dir, fileName(sequence, 'batches')));
      if (action === 'remove') await files.remove(join(dir, fileName(sequence, 'segment')));
      else await sealAgain(recovery, sequence, nowMs());
    }
  }
}

async function quarantine(recovery: Recovery, segment: Pick<SegmentPlan, 'sequence' | 'reason'>): Promise<void> {
  const { files, dir, log, nowMs } = recovery.deps;
  const { sequence, reason } = segment;
  await quarantineSegment(files, dir, sequence, nowMs());
  recovery.report.quarantined.push({ sequence, reason });
  log.error({ dir, sequence, reason }, 'a segment was moved to quarantine');
}

/** Checks every record, cuts a torn tail, converts what is good and writes the footer. */
async function sealAgain(recovery: Recovery, sequence: number, nowMs: number): Promise<void> {
  const { files, dir, encodeRecords, onSealed, log } = recovery.deps;
  const path = join(dir, fileName(sequence, 'segment'));
  const file = await files.open(path, 'write');
  let checked: Checked;
  try {
    checked = await check(file, new FooterRequests());
    if (checked.torn !== undefined) await file.truncate(checked.torn.offset);
    // What a killed process wrote but did not sync must not vanish under a footer that names it.
    await writeAgain(recovery, sequence, file, checked.torn?.offset ?? (await file.size()));
    await synced(file.datasync(), path);
    await synced(files.syncDirectory(dir), dir);
    if (checked.good > 0) await keepCorrupt(recovery, sequence, file, checked.corrupt, nowMs);
  } finally {
    await file.close();
  }
  if (checked.torn !== undefined) {
    recovery.report.tornTails++;
    log.warn({ dir, sequence, ...checked.torn }, 'the torn tail of a segment was cut');
  }
  if (checked.good === 0) {
    if (checked.corrupt.length > 0) return quarantine(recovery, { sequence, reason: 'none of its records is good' });
    return files.remove(path);
  }
  try {
    const records = readRecords(files, dir, sequence);
    const batches = await writeBatches(recovery.seal, sequence, encodeRecords(records, recovery.newBatchId), true);
    const { requests } = checked;
    await writeFooter(recovery.seal, { sequence, requests, requestCount: requests.count }, batches, () => true);
  } catch (error) {
    // The next start may have what this one lacks; only what no start can convert goes to quarantine.
    if (isSyncFailure(error) || isShortage(error)) throw error;
    log.error({ dir, sequence, error }, 'a segment could not be converted');
    return quarantine(recovery, { sequence, reason: 'it could not be converted' });
  }
  recovery.report.sealed.push(sequence);
  onSealed(sequence);
}

/**
 * After a sync that failed the kernel calls clean what it never wrote, and the next sync answers success (R9): only bytes
 * that are written again are sure to go to the disk. The bytes are the same, so a power cut meanwhile changes nothing.
 */
async function writeAgain(recovery: Recovery, sequence: number, file: SpoolFile, end: number): Promise<void> {
  try {
    for (let at = 0; at < end; at += WRITE_AGAIN_BYTES) {
      await writeAll(file, [await file.read(at, Math.min(WRITE_AGAIN_BYTES, end - at))], at);
    }
  } catch (error) {
    // Only where a file system copies on write: nothing is worse then than it was without.
    if (!isDiskFull(error)) throw error;
    recovery.deps.log.warn({ dir: recovery.deps.dir, sequence, error }, 'no room to write a segment again');
  }
}

interface Checked {
  readonly requests: FooterRequests;
  readonly good: number;
  readonly corrupt: readonly Extract<ScanStep, { kind: 'corrupt' }>[];
  readonly torn: { readonly offset: number; readonly bytes: number } | undefined;
}

async function check(file: SpoolFile, requests: FooterRequests): Promise<Checked> {
  const state = readSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES));
  if (state.kind !== 'valid')
    throw new BackworkError('corrupt', 'the header of a segment changed while it was recovered');
  const { mark } = state.header;
  const corrupt: Extract<ScanStep, { kind: 'corrupt' }>[] = [];
  let good = 0;
  let torn: Checked['torn'];
  const range = { mark, from: SEGMENT_HEADER_BYTES, size: await file.size(), wanted: () => true };
  for await (const step of scanRecords(file, range)) {
    if (step.kind === 'torn') {
      torn = { offset: step.offset, bytes: step.bytes };
    } else if (step.kind === 'corrupt') {
      corrupt.push(step);
    } else {
      // A request whose record is corrupt keeps its number, so that the others keep theirs.
      while (requests.count < step.head.index) requests.addCorrupt();
      requests.add(step.head.header);
      good++;
    }
  }
  return { requests, good, corrupt, torn };
}

/** Each piece is counted and handed to the quarantine, which never fails for what is damaged. */
async function keepCorrupt(
  recovery: Recovery,
  sequence: number,
  file: SpoolFile,
  corrupt: Checked['corrupt'],
  nowMs: number,
): Promise<void> {
  const { dir, log, keepPiece } = recovery.deps;
  const read = (offset: number, length: number) => file.read(offset, length);
  for (const { offset, bytes, index, orgId, reason } of corrupt) {
    recovery.report.corruptRecords++;
    const piece = { spoolId: recovery.seal.spoolId, sequence, offset, bytes, orgId, reason, atMs: nowMs };
    if (keepPiece === undefined) log.error({ dir, index, ...piece }, 'a corrupt record was passed over');
    else await keepPiece({ ...piece, read });
  }
}
