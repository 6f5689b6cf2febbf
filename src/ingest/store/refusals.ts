/**
 * A batch that ClickHouse refuses for good, alone, and that the table does not hold: cut into two parts by its requests,
 * or, when it is of one request, moved to quarantine (reference R11; the order of the steps is in quarantine/entry.ts).
 *
 * Each part has the rows of half of the requests that have any, so the request that is the cause is alone after
 * log2(requests) refusals; every part is sent for itself and what is good in it is stored at once. Row counts come from
 * converting the part, because the journal has to know them before the part is sent.
 */
import { BackworkError, messageOf } from '../../base/errors.ts';
import type { FooterBatch, Partition, SpoolRecord } from '../messages.ts';
import type { Kept } from '../quarantine/quarantine.ts';
import type { Journal } from './journal.ts';
import type { SegmentName, SplitPart } from './journal-notes.ts';
import { batchOfPart, partBatchId } from './split-notes.ts';
import type { StoreDeps } from './store-deps.ts';

export type RefusalDeps = Pick<
  StoreDeps,
  'files' | 'readers' | 'reencode' | 'quarantine' | 'nowMs' | 'log' | 'events'
> & {
  readonly journal: Journal;
};

export interface RefusedBatch {
  readonly dir: string;
  readonly name: SegmentName;
  readonly batch: FooterBatch;
  /** What ClickHouse said. */
  readonly reason: string;
}

export type Settled =
  /** These take its place; the journal has them. */
  | { readonly kind: 'parts'; readonly parts: readonly FooterBatch[] }
  /** It is in quarantine, or has no rows any more. */
  | { readonly kind: 'done' }
  /** It stays in its segment, for this reason. */
  | { readonly kind: 'stays'; readonly reason: string };

type Halves =
  | { readonly kind: 'parts'; readonly parts: readonly FooterBatch[] }
  | { readonly kind: 'request'; readonly request: number }
  | { readonly kind: 'no-rows' };

/** Throws only what must end the process: a failed sync. */
export async function settleRefused(deps: RefusalDeps, refused: RefusedBatch): Promise<Settled> {
  const { name, batch, reason } = refused;
  if (deps.quarantine === undefined) return { kind: 'stays', reason };
  try {
    const halves = await cut(deps, refused);
    if (halves.kind === 'request') return await quarantine(deps, refused, halves.request);
    if (halves.kind === 'no-rows') {
      await deps.journal.write([{ kind: 'row-count', ...name, batchId: batch.batchId, rowCount: 0 }]);
      return { kind: 'done' };
    }
    await deps.journal.write([{ kind: 'split', ...name, batchId: batch.batchId, parts: halves.parts.map(splitPart) }]);
    return halves;
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
    return { kind: 'stays', reason: `${reason}; it could not be moved to quarantine: ${messageOf(error)}` };
  }
}

/**
 * What the journal says of a segment that is loaded again is said to the quarantine again: a crash may have come between.
 * Throws what the quarantine throws.
 */
export async function decideAgain(
  deps: { readonly journal: Journal; readonly quarantine: StoreDeps['quarantine'] },
  name: SegmentName,
): Promise<void> {
  for (const { spoolId, sequence, request, orgId, batchId } of deps.journal.state.refused.quarantined(name)) {
    await deps.quarantine?.decide({ orgId, spoolId, sequence, request }, batchId);
  }
}

/** Two parts with rows, or the one request that has all of them. */
async function cut(deps: RefusalDeps, { dir, name, batch }: RefusedBatch): Promise<Halves> {
  if (batch.firstRequest === batch.lastRequest) return { kind: 'request', request: batch.firstRequest };
  let requests = await requestsOf(deps, dir, name, batch);
  while (requests.length > 1) {
    const middle = requests.length >> 1;
    const halves = [requests.slice(0, middle), requests.slice(middle)];
    const parts: FooterBatch[] = [];
    let withRows: readonly number[] = [];
    for (const half of halves) {
      const part = await convertPart(deps, dir, name, batch, half);
      if (part.rowCount === 0) continue;
      parts.push(part);
      withRows = half;
    }
    if (parts.length === 2) return { kind: 'parts', parts };
    requests = withRows;
  }
  return requests[0] === undefined ? { kind: 'no-rows' } : { kind: 'request', request: requests[0] };
}

/** Requests of the batch's range whose rows may be in it: same partition, not left out, not in batches of their own. */
async function requestsOf(
  deps: RefusalDeps,
  dir: string,
  name: SegmentName,
  batch: FooterBatch,
): Promise<readonly number[]> {
  const requests: number[] = [];
  const leftOut = deps.journal.state.leftOut(name);
  const range = { first: batch.firstRequest, last: batch.lastRequest };
  for await (const { index, record } of deps.readers.readRecords(deps.files, dir, name.sequence, range)) {
    if (leftOut.has(index) || record.header.ownBatches) continue;
    if (samePartition(record.header, batch.partition)) requests.push(index);
  }
  return requests;
}

async function convertPart(
  deps: RefusalDeps,
  dir: string,
  name: SegmentName,
  batch: FooterBatch,
  requests: readonly number[],
): Promise<FooterBatch> {
  const first = requests[0]!;
  const last = requests.at(-1)!;
  const batchId = partBatchId(batch.batchId, first, last);
  const part = batchOfPart(batch, { batchId, firstRequest: first, lastRequest: last, rowCount: 0 });
  const records = deps.readers.readRecords(deps.files, dir, name.sequence, { first, last });
  const { rowCount } = await deps.reencode(records, part, deps.journal.state.leftOut(name));
  return { ...part, rowCount };
}

async function quarantine(deps: RefusalDeps, refused: RefusedBatch, request: number): Promise<Settled> {
  const { dir, name, batch, reason } = refused;
  const { table, partition, batchId, rowFrom, rowCount } = batch;
  const record = await recordOf(deps, dir, name.sequence, request);
  if (record === undefined) return { kind: 'stays', reason: `${reason}; its record cannot be read` };
  const { orgId } = record.header;
  const where = { orgId, spoolId: name.spoolId, sequence: name.sequence, request };
  const missing = { table, partition, batchId, rowFrom, rowCount, reason, atMs: deps.nowMs() };
  const kept: Kept = await deps.quarantine!.keep({ ...where, record }, missing);
  if (kept.kind === 'full') {
    const { bytesHeld, bytesNeeded } = kept;
    const held = `the quarantine of ${orgId} holds ${bytesHeld} bytes and has no room for ${bytesNeeded} more`;
    return { kind: 'stays', reason: `${reason}; ${held}` };
  }
  await deps.journal.write([{ kind: 'quarantined', ...name, batchId, request, orgId, rowCount }]);
  await deps.quarantine!.decide(where, batchId);
  const bytes = kept.kind === 'kept' ? kept.bytes : 0;
  if (kept.kind === 'kept') deps.events?.quarantined({ orgId, reason: 'refused', bytes });
  deps.log.error(
    { id: kept.id, orgId, table, rows: rowCount, request, sequence: name.sequence, reason },
    'a refused request was moved to quarantine',
  );
  return { kind: 'done' };
}

async function recordOf(
  deps: RefusalDeps,
  dir: string,
  sequence: number,
  request: number,
): Promise<SpoolRecord | undefined> {
  const range = { first: request, last: request };
  for await (const { record } of deps.readers.readRecords(deps.files, dir, sequence, range)) return record;
  return undefined;
}

function splitPart({ batchId, firstRequest, lastRequest, rowCount }: FooterBatch): SplitPart {
  return { batchId, firstRequest, lastRequest, rowCount };
}

function samePartition(one: Partition, other: Partition): boolean {
  return (
    one.placement === other.placement &&
    one.retentionDays === other.retentionDays &&
    one.expiresOnDay === other.expiresOnDay
  );
}
