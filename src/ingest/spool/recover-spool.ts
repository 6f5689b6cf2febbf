/**
 * Recovers a spool directory whose lock the caller holds: gathers facts, asks recover.ts for the plan, carries it out.
 * Afterwards every segment there is sealed. It needs no human and never ends the process for what it finds: what cannot
 * be read is moved to quarantine, logged once and counted. It may be interrupted anywhere and run again.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { BackworkError } from '../../base/errors.ts';
import { createBatchIds } from './batch-id.ts';
import { decodeFooter, FooterRequests } from './footer.ts';
import { fileName, parseFileName, QUARANTINE_NAME, readSegmentHeader, SEGMENT_HEADER_BYTES } from './format.ts';
import { FreeSpace } from './free-space.ts';
import { IDENTITY_NAME, readIdentity } from './identity.ts';
import { quarantineSegment, readRecords } from './reader.ts';
import { type FooterFacts, planRecovery, type RecoveryPlan, type SegmentFacts, type SegmentPlan } from './recover.ts';
import { type ScanStep, scanRecords } from './scan.ts';
import { type SealDeps, writeBatches, writeFooter } from './seal.ts';
import { isSyncFailure, readWhole, type SpoolFile, type SpoolFiles, synced, writeAll } from './spool-files.ts';
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
  /** Pieces of segments that are no record, each copied to quarantine. */
  corruptRecords: number;
  quarantined: { sequence: number; reason: string }[];
}

export type RecoverDeps = Pick<
  SpoolDeps<never>,
  'dir' | 'files' | 'log' | 'encodeRecords' | 'converterVersion' | 'nowMs' | 'onSealed'
>;

interface Recovery {
  readonly deps: RecoverDeps;
  readonly seal: SealDeps;
  readonly report: RecoveryReport;
  readonly newBatchId: () => string;
}

const FACTS_AT_ONCE = 16;
const COPY_BYTES = 1_048_576;

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
  return (await recover(deps, space)).report;
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
  const seal = { files, dir, spoolId, converterVersion, log, space };
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

async function factsOf(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  present: ReadonlySet<string>,
): Promise<SegmentFacts> {
  const segmentName = fileName(sequence, 'segment');
  const footerName = fileName(sequence, 'footer');
  const footer = present.has(footerName) ? await footerFacts(files, join(dir, footerName), sequence) : undefined;
  if (!present.has(segmentName)) return { sequence, segment: undefined, footer };
  const file = await files.open(join(dir, segmentName), 'read');
  try {
    const header = readSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES));
    return { sequence, segment: { bytes: await file.size(), header }, footer };
  } finally {
    await file.close();
  }
}

async function footerFacts(files: SpoolFiles, path: string, sequence: number): Promise<FooterFacts> {
  try {
    const footer = decodeFooter((await readWhole(files, path, Number.MAX_SAFE_INTEGER)) ?? Buffer.alloc(0));
    return footer.sequence === sequence ? { kind: 'whole', spoolId: footer.spoolId } : { kind: 'damaged' };
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'newer-format') return { kind: 'newer' };
    return { kind: 'damaged' };
  }
}

async function carryOut(plan: RecoveryPlan, recovery: Recovery): Promise<void> {
  const { files, dir, log, nowMs } = recovery.deps;
  const { report } = recovery;
  for (const segment of plan.segments) {
    const { sequence, action, reason } = segment;
    await files.remove(join(dir, fileName(sequence, 'footer.tmp')));
    if (action === 'keep') {
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
    await synced(file.datasync(), path);
    await synced(files.syncDirectory(dir), dir);
    if (checked.good > 0) await copyCorrupt(recovery, sequence, file, checked.corrupt, nowMs);
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
    if (isSyncFailure(error)) throw error;
    log.error({ dir, sequence, error }, 'a segment could not be converted');
    return quarantine(recovery, { sequence, reason: 'it could not be converted' });
  }
  recovery.report.sealed.push(sequence);
  onSealed(sequence);
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

async function copyCorrupt(
  recovery: Recovery,
  sequence: number,
  file: SpoolFile,
  corrupt: Checked['corrupt'],
  nowMs: number,
): Promise<void> {
  const { files, dir, log } = recovery.deps;
  const quarantineDir = join(dir, QUARANTINE_NAME);
  for (const { offset, bytes, index, reason } of corrupt) {
    recovery.report.corruptRecords++;
    log.error({ dir, sequence, offset, bytes, index, reason }, 'a corrupt record was passed over');
    try {
      await files.makeDirectory(quarantineDir);
      const path = join(quarantineDir, `${nowMs}-${fileName(sequence, 'segment')}-${offset}`);
      await files.remove(path);
      const copy = await files.create(path);
      try {
        for (let at = 0; at < bytes; at += COPY_BYTES) {
          await writeAll(copy, [await file.read(offset + at, Math.min(COPY_BYTES, bytes - at))], at);
        }
      } finally {
        await copy.close();
      }
    } catch (error) {
      log.error({ dir, sequence, offset, error }, 'a corrupt record could not be copied to quarantine');
    }
  }
}
