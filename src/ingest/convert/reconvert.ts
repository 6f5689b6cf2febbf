/**
 * Records → batches once more: after a crash, a failed append, a damaged batch file, a long backlog. Records are the truth,
 * builders and batch files a cache of them (architecture section 3).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ByteWriter } from '../../base/byte-writer.ts';
import { BackworkError } from '../../base/errors.ts';
import { SLICED_BODY_BYTES } from '../../base/limits.ts';
import type { EncodedBatch, FooterBatch, Partition, SpoolRecord } from '../messages.ts';
import type { Builder } from './builder.ts';
import { BuilderSet, encodeBuilder } from './builders.ts';
import { ConverterPool, convertNow, convertSliced } from './convert.ts';

type IndexedRecord = { readonly index: number; readonly record: SpoolRecord };

/**
 * All batches of a segment, as sealing would have made them. BatchIds are new: nothing of the segment was sent, or its
 * footer would be there. `bytes` of a batch is valid until the next one is asked for.
 */
export async function* encodeRecords(
  records: AsyncIterable<IndexedRecord>,
  newBatchId: () => string,
): AsyncGenerator<EncodedBatch, void, void> {
  const pool = new ConverterPool();
  let shared = new BuilderSet();
  for await (const { index, record } of records) {
    const { header, body } = record;
    if (header.ownBatches) {
      const { rows } = await convertSliced(header.signal, body, header);
      rows.assign(index);
      yield* inTurns(rows.encodeInSteps(newBatchId));
      continue;
    }
    convertIntoSegment(pool, record, shared);
    shared.assign(index);
    if (shared.full) {
      yield* inTurns(shared.encodeInSteps(newBatchId));
      shared = new BuilderSet();
    }
    await nextTurn();
  }
  yield* inTurns(shared.encodeInSteps(newBatchId));
}

async function* inTurns(steps: Iterable<EncodedBatch | undefined>): AsyncGenerator<EncodedBatch, void, void> {
  for (const step of steps) {
    if (step === undefined) await nextTurn();
    else yield step;
  }
}

/**
 * The same batch again, from the records of its range of requests: same BatchId, same (table, partition). With a newer
 * converter `rowCount` may differ from the footer's.
 */
export async function reencodeBatch(
  records: AsyncIterable<IndexedRecord>,
  batch: FooterBatch,
): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const pool = new ConverterPool();
  const shared = new BuilderSet();
  for await (const { index, record } of records) {
    const { header } = record;
    if (index < batch.firstRequest || index > batch.lastRequest) continue;
    if (header.ownBatches) {
      if (batch.firstRequest !== batch.lastRequest) continue;
      return encodeOwn(record, batch);
    }
    if (!samePartition(header, batch.partition)) continue;
    convertIntoSegment(pool, record, shared);
    await nextTurn();
  }
  return encodeOne(find(shared, batch, 0), batch);
}

async function encodeOwn(record: SpoolRecord, batch: FooterBatch): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const cutAtRows = [batch.rowFrom, batch.rowFrom + batch.rowCount];
  const options = { cutWhenFull: false, cutAtRows };
  const { rows } = await convertSliced(record.header.signal, record.body, record.header, options);
  return encodeOne(find(rows, batch, batch.rowFrom), batch);
}

function convertIntoSegment(pool: ConverterPool, record: SpoolRecord, set: BuilderSet): void {
  const { header, body } = record;
  if (convertNow(pool, header.signal, body, header, set) === undefined) {
    // Only a request with ownBatches grows so large, and such a record is not brought here.
    throw new BackworkError(
      'internal',
      `a request of ${body.length} bytes (limit ${SLICED_BODY_BYTES}) has no own batches`,
    );
  }
}

function find(set: BuilderSet, batch: FooterBatch, rowFrom: number): Builder | undefined {
  return set.builders.find(
    (builder) =>
      builder.table.name === batch.table &&
      builder.rowFrom === rowFrom &&
      builder.rowCount > 0 &&
      samePartition(builder.partition, batch.partition),
  );
}

function encodeOne(builder: Builder | undefined, batch: FooterBatch): { bytes: Uint8Array; rowCount: number } {
  if (builder === undefined) return { bytes: new Uint8Array(0), rowCount: 0 };
  const { bytes, rowCount } = encodeBuilder(new ByteWriter(1024), builder, batch.batchId);
  return { bytes, rowCount };
}

function samePartition(a: Partition, b: Partition): boolean {
  return a.placement === b.placement && a.retentionDays === b.retentionDays && a.expiresOnDay === b.expiresOnDay;
}
