/**
 * Requests of a simulation and their rows: what a row holds follows from its request's id, so that the oracle can tell
 * what is missing, doubled or damaged from the rows alone. They stand in for the converter, which is pure.
 *
 *   body  id u32 | rows u8 | tables u8 | filler, a function of the id
 *   row   BatchId u64 | id u32 | number of the row in its request u16 | check u16
 */
import type { EncodedBatch, FooterBatch, Partition, SegmentRows, SpoolRecord } from '../../src/ingest/messages.ts';

export const ROW_BYTES = 16;
export const TABLES = ['otel_logs', 'otel_traces'] as const;
/** Rows of one batch of a large request: it is cut into several by row range. */
const OWN_BATCH_ROWS = 3;

export interface SimulatedRequest {
  readonly id: number;
  readonly rows: number;
  /** Over how many tables its rows are spread. */
  readonly tables: number;
  readonly bytes: number;
  readonly own: boolean;
  readonly partition: Partition;
}

export function bodyOf({ id, rows, tables, bytes }: SimulatedRequest): Buffer {
  const body = Buffer.alloc(Math.max(6, bytes));
  body.writeUInt32LE(id, 0);
  body[4] = rows;
  body[5] = tables;
  // Every other one is worth compressing.
  for (let at = 6; at < body.length; at++) body[at] = id % 2 === 0 ? Math.imul(at, id + 40_503) >>> 7 : id;
  return body;
}

/** Rows that are not sealed yet: the builders of a segment, or those of one large request. */
export class SimulatedRows implements SegmentRows {
  bytes = 0;
  full = false;
  private readonly cut: boolean;
  private pending: { id: number; row: number; table: string; partition: Partition }[] = [];
  private readonly builders = new Map<string, Builder>();

  constructor(cut = false) {
    this.cut = cut;
  }

  convert(body: Buffer, partition: Partition): void {
    const id = body.readUInt32LE(0);
    for (let row = 0; row < body[4]!; row++) {
      this.pending.push({ id, row, table: TABLES[(id + row) % body[5]!]!, partition });
      this.bytes += ROW_BYTES;
    }
  }

  assign(requestIndex: number): void {
    for (const { id, row, table, partition } of this.pending) {
      const key = `${table} ${partition.placement} ${partition.retentionDays} ${partition.expiresOnDay}`;
      let builder = this.builders.get(key);
      if (builder === undefined) {
        builder = { table, partition, rows: [] };
        this.builders.set(key, builder);
      }
      builder.rows.push({ index: requestIndex, id, row });
    }
    this.pending = [];
  }

  *encodeInSteps(newBatchId: () => string): Generator<EncodedBatch | undefined, void, void> {
    for (const builder of this.builders.values()) {
      const step = this.cut ? OWN_BATCH_ROWS : builder.rows.length;
      for (let from = 0; from < builder.rows.length; from += step) {
        yield undefined;
        yield encode(builder, from, builder.rows.slice(from, from + step), newBatchId());
      }
    }
  }

  /** The rows of one batch, as bytes; as `encodeInSteps` made them before. */
  bytesOf(batch: FooterBatch): { bytes: Uint8Array; rowCount: number } {
    for (const builder of this.builders.values()) {
      if (builder.table !== batch.table || !samePartition(builder.partition, batch.partition)) continue;
      const rows = this.cut ? builder.rows.slice(batch.rowFrom, batch.rowFrom + batch.rowCount) : builder.rows;
      return { bytes: encode(builder, 0, rows, batch.batchId).bytes, rowCount: rows.length };
    }
    return { bytes: new Uint8Array(0), rowCount: 0 };
  }
}

interface Builder {
  readonly table: string;
  readonly partition: Partition;
  readonly rows: { readonly index: number; readonly id: number; readonly row: number }[];
}

function encode(builder: Builder, rowFrom: number, rows: Builder['rows'], batchId: string): EncodedBatch {
  const bytes = Buffer.alloc(rows.length * ROW_BYTES);
  for (const [at, { id, row }] of rows.entries()) {
    bytes.write(batchId, at * ROW_BYTES, 'hex');
    bytes.writeUInt32LE(id, at * ROW_BYTES + 8);
    bytes.writeUInt16LE(row, at * ROW_BYTES + 12);
    bytes.writeUInt16LE(checkOf(id, row), at * ROW_BYTES + 14);
  }
  const { table, partition } = builder;
  const [first, last] = [rows[0]?.index ?? 0, rows.at(-1)?.index ?? 0];
  return { table, partition, batchId, firstRequest: first, lastRequest: last, rowFrom, rowCount: rows.length, bytes };
}

export interface StoredRow {
  readonly batchId: string;
  readonly id: number;
  readonly row: number;
}

/** The rows of a block as the engine reads it. Throws for a row that nobody made. */
export function readRows(bytes: Buffer): StoredRow[] {
  const rows: StoredRow[] = [];
  for (let at = 0; at < bytes.length; at += ROW_BYTES) {
    const id = bytes.readUInt32LE(at + 8);
    const row = bytes.readUInt16LE(at + 12);
    if (bytes.readUInt16LE(at + 14) !== checkOf(id, row)) throw new Error(`row ${row} of request ${id} is damaged`);
    rows.push({ batchId: bytes.toString('hex', at, at + 8), id, row });
  }
  return rows;
}

type Records = AsyncIterable<{ index: number; record: SpoolRecord }>;

/** All batches of a segment from its records. */
export async function* encodeRecords(records: Records, newBatchId: () => string): AsyncGenerator<EncodedBatch> {
  const shared = new SimulatedRows();
  for await (const { index, record } of records) {
    const rows = record.header.ownBatches ? new SimulatedRows(true) : shared;
    rows.convert(record.body, record.header);
    rows.assign(index);
    if (rows !== shared) yield* steps(rows, newBatchId);
  }
  yield* steps(shared, newBatchId);
}

function* steps(rows: SimulatedRows, newBatchId: () => string): Generator<EncodedBatch> {
  for (const step of rows.encodeInSteps(newBatchId)) if (step !== undefined) yield step;
}

/** One batch from its records, without the requests that are left out. */
export async function reencode(
  records: Records,
  batch: FooterBatch,
  without: ReadonlySet<number> = new Set(),
): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const shared = new SimulatedRows();
  for await (const { index, record } of records) {
    if (index < batch.firstRequest || index > batch.lastRequest || without.has(index)) continue;
    if (record.header.ownBatches && batch.firstRequest !== batch.lastRequest) continue;
    const rows = record.header.ownBatches ? new SimulatedRows(true) : shared;
    rows.convert(record.body, record.header);
    rows.assign(index);
    if (rows !== shared) return rows.bytesOf(batch);
  }
  return shared.bytesOf(batch);
}

function samePartition(one: Partition, other: Partition): boolean {
  return (
    one.placement === other.placement &&
    one.retentionDays === other.retentionDays &&
    one.expiresOnDay === other.expiresOnDay
  );
}

function checkOf(id: number, row: number): number {
  return (Math.imul(id + 1, 40_503) ^ Math.imul(row + 1, 31_337)) & 0xffff;
}
