/**
 * Columns → one ClickHouse Native block (architecture section 4):
 *
 *   varuint columns, varuint rows, then for each column: name, type (both varuint length + bytes), data
 *
 * Columns of level `batch` hold no data until here: placement, retention, expiry and BatchId are the same in every row.
 */
import { SLICE_BLOCK_BYTES } from '../../base/limits.ts';
import type { ByteWriter } from '../../base/byte-writer.ts';
import type { Column, Table } from '../../tables/column.ts';
import type { Partition } from '../messages.ts';
import type { Builder } from './builder.ts';

/**
 * Writes the block of all rows of `builder` to `out`. `batchId`: 16 hex digits. Yields between columns whenever
 * SLICE_BLOCK_BYTES were written: 32 MiB in one go, most of them memory touched for the first time, took 129 ms.
 */
export function* writeNativeBlock(
  out: ByteWriter,
  builder: Builder,
  partition: Partition,
  batchId: string,
): Generator<void, void, void> {
  const table = builder.table;
  const rowCount = builder.rowCount;
  out.reserve(builder.blockBytes + 4096);
  out.varuint(table.columns.length);
  out.varuint(rowCount);
  const runs = builder.runLengths();
  let pausedAt = 0;
  for (let i = 0; i < table.columns.length; i++) {
    const column = table.columns[i]!;
    out.append(columnHead(table, i));
    if (column.level === 'batch') writeConstant(out, column, rowCount, partition, batchId);
    else {
      const buffer = builder.buffers[i]!;
      buffer.writePrefix(out);
      buffer.writeData(out, rowCount, column.level === 'row' ? null : runs[column.level]);
    }
    if (out.length - pausedAt > SLICE_BLOCK_BYTES) {
      pausedAt = out.length;
      yield;
    }
  }
}

const heads = new WeakMap<Table, readonly Uint8Array[]>();

/** Name and type of column `index`, as they stand in every block of the table. */
function columnHead(table: Table, index: number): Uint8Array {
  let list = heads.get(table);
  if (list === undefined) {
    list = table.columns.map((column) => Buffer.concat([lengthPrefixed(column.name), lengthPrefixed(column.type)]));
    heads.set(table, list);
  }
  return list[index]!;
}

/** Names and types are shorter than 128 bytes. */
function lengthPrefixed(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
}

function writeConstant(out: ByteWriter, column: Column, rowCount: number, partition: Partition, batchId: string): void {
  switch (column.name) {
    case 'Placement':
      out.uint64(1, 0);
      out.uint64(0x600, 0);
      out.uint64(1, 0);
      out.text(partition.placement);
      out.uint64(rowCount, 0);
      return fill(out, rowCount, Buffer.from([0]));
    case 'RetentionDays':
      return fill(out, rowCount, uint16(partition.retentionDays));
    case 'ExpiresOn':
      return fill(out, rowCount, uint16(partition.expiresOnDay));
    case 'BatchId':
      return fill(out, rowCount, Buffer.from(batchId, 'hex').reverse());
    default:
      throw new Error(`${column.name}: no value for a column of level batch`);
  }
}

function uint16(value: number): Buffer {
  return Buffer.from([value & 0xff, value >>> 8]);
}

function fill(out: ByteWriter, rowCount: number, value: Buffer): void {
  const bytes = rowCount * value.length;
  out.reserve(bytes);
  out.bytes.fill(value, out.length, out.length + bytes);
  out.length += bytes;
}
