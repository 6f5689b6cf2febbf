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
import { BuilderSet, encodeBuilder, encodeBuilderInSteps } from './builders.ts';
import { ConverterPool, convertInParts, convertNow } from './convert.ts';

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
  const out = new ByteWriter(1024);
  let shared = new BuilderSet();
  for await (const { index, record } of records) {
    const { header, body } = record;
    if (header.ownBatches) {
      for await (const builders of convertInParts(header.signal, body, header)) {
        for (const builder of builders) {
          builder.assign(index);
          if (builder.rowCount > 0) yield* inTurns(encodeBuilderInSteps(out, builder, newBatchId()));
          builder.forgetRows();
        }
      }
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
 * converter, or requests left out (`without`, their indexes), `rowCount` may differ from the footer's.
 */
export async function reencodeBatch(
  records: AsyncIterable<IndexedRecord>,
  batch: FooterBatch,
  without: ReadonlySet<number> = new Set(),
): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const pool = new ConverterPool();
  const shared = new BuilderSet();
  for await (const { index, record } of records) {
    const { header } = record;
    if (index < batch.firstRequest || index > batch.lastRequest || without.has(index)) continue;
    if (header.ownBatches) {
      if (batch.firstRequest !== batch.lastRequest) continue;
      return encodeOwn(record, batch);
    }
    if (!samePartition(header, batch.partition)) continue;
    convertIntoSegment(pool, record, shared);
    await nextTurn();
  }
  return encodeOne(find(shared.builders, batch, 0), batch);
}

async function encodeOwn(record: SpoolRecord, batch: FooterBatch): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const cutAtRows: [from: number, to: number] = [batch.rowFrom, batch.rowFrom + batch.rowCount];
  const options = { cutWhenFull: true, cutAtRows };
  // Rows before those of the batch go as soon as they are cut off, rows behind it are not made.
  for await (const builders of convertInParts(record.header.signal, record.body, record.header, options)) {
    const found = find(builders, batch, batch.rowFrom);
    if (found !== undefined) return encodeOne(found, batch);
    for (const builder of builders) builder.forgetRows();
  }
  return encodeOne(undefined, batch);
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

function find(builders: readonly Builder[], batch: FooterBatch, rowFrom: number): Builder | undefined {
  return builders.find(
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
