/**
 * Builders: the column buffers of one (table, partition), for as long as a segment is open or one large request is
 * converted. A block costs the engine the same whatever its size, so rows are collected here until the segment is sealed.
 *
 * Values that repeat for many rows (request, resource, scope, metric) are written once; a builder notes at which row each
 * such run begins, and the block repeats them when it is written.
 *
 *   BuilderSet ──► Builder (otel_logs, partition A)   rows, runs, marks for a roll-back
 *              └─► Builder (otel_logs, partition B)
 */
import assert from 'node:assert';
import { ByteWriter } from '../../base/byte-writer.ts';
import { BATCH_BYTES_MAX, BATCH_ROWS_MAX } from '../../base/limits.ts';
import type { Column, ColumnLevel, Table } from '../../tables/column.ts';
import type { EncodedBatch, Partition, RowOrigin, SegmentRows } from '../messages.ts';
import {
  type ColumnBuffer,
  FixedColumn,
  LowCardinalityColumn,
  MapColumn,
  makeColumnBuffer,
  StringColumn,
} from './column-buffers.ts';
import { writeNativeBlock } from './native-block.ts';

export type RunLevel = Exclude<ColumnLevel, 'batch' | 'row'>;
const RUN_LEVELS: readonly RunLevel[] = ['request', 'resource', 'scope', 'metric'];

/** Typed access to a builder's columns by name; asked once when the builder is made, never for a row. */
export interface ColumnLookup {
  fixed(name: string): FixedColumn;
  string(name: string): StringColumn;
  lowCardinality(name: string): LowCardinalityColumn;
  map(name: string): MapColumn;
}

/** A table and the record of its columns that its converter writes to. */
export interface TableBinding<Columns> {
  readonly table: Table;
  bind(columns: ColumnLookup): Columns;
}

export class Builder<Columns = unknown> {
  readonly table: Table;
  readonly partition: Partition;
  /** One for each column of the table; null for columns of level `batch`. */
  readonly buffers: readonly (ColumnBuffer | null)[];
  readonly columns: Columns;
  rowCount = 0;
  /** Bytes that the block will have: kept by the converter, row by row (`addRow`). */
  blockBytes = 0;
  /** Index, within its request, of the first row: not 0 when a large request was cut (see BuilderSet.cutAt). */
  rowFrom = 0;
  /** Requests whose rows these are; −1 while there are none. */
  firstRequest = -1;
  lastRequest = -1;
  /** Serials of the request and of the resource whose runs are open; −1 when none is. */
  requestSerial = -1;
  resourceSerial = -1;
  #assignedRows = 0;
  readonly #runStarts: Record<RunLevel, number[]> = { request: [], resource: [], scope: [], metric: [] };
  readonly #marks: number[] = [];

  constructor(binding: TableBinding<Columns>, partition: Partition) {
    this.table = binding.table;
    this.partition = partition;
    this.buffers = binding.table.columns.map((column) =>
      column.level === 'batch' ? null : makeColumnBuffer(column.kind, column.level !== 'row'),
    );
    this.columns = binding.bind(lookupIn(binding.table.columns, this.buffers));
  }

  /** The values just written to the columns of `level` hold from the next row on. */
  beginRun(level: RunLevel): void {
    this.#runStarts[level].push(this.rowCount);
  }

  /** A value was written to every column of level `row`. */
  addRow(bytes: number): void {
    this.rowCount++;
    this.blockBytes += bytes;
  }

  /** Rows of each run, for each level. */
  runLengths(): Record<RunLevel, Uint32Array> {
    const lengths = {} as Record<RunLevel, Uint32Array>;
    for (const level of RUN_LEVELS) {
      const starts = this.#runStarts[level];
      lengths[level] = Uint32Array.from(starts, (start, i) => (starts[i + 1] ?? this.rowCount) - start);
    }
    return lengths;
  }

  get full(): boolean {
    return this.blockBytes >= BATCH_BYTES_MAX || this.rowCount >= BATCH_ROWS_MAX;
  }

  assign(requestIndex: number): void {
    if (this.rowCount === this.#assignedRows) return;
    if (this.firstRequest < 0) this.firstRequest = requestIndex;
    this.lastRequest = requestIndex;
    this.#assignedRows = this.rowCount;
  }

  /** Notes where everything stands; a later `restore` comes back to here. */
  save(): void {
    const marks = this.#marks;
    marks.length = 0;
    marks.push(this.rowCount, this.blockBytes);
    for (const level of RUN_LEVELS) marks.push(this.#runStarts[level].length);
    for (const buffer of this.buffers) buffer?.save(marks);
  }

  restore(): void {
    const marks = this.#marks;
    this.rowCount = marks[0]!;
    this.blockBytes = marks[1]!;
    this.requestSerial = -1;
    this.resourceSerial = -1;
    let at = 2;
    for (const level of RUN_LEVELS) this.#runStarts[level].length = marks[at++]!;
    for (const buffer of this.buffers) if (buffer !== null) at = buffer.restore(marks, at);
    assert(at === marks.length, 'each column reads the marks it wrote');
  }
}

function lookupIn(columns: readonly Column[], buffers: readonly (ColumnBuffer | null)[]): ColumnLookup {
  function find<B extends ColumnBuffer>(name: string, type: new (...args: never[]) => B): B {
    const buffer = buffers[columns.findIndex((column) => column.name === name)];
    if (buffer instanceof type) return buffer;
    throw new Error(`column ${name} is not a ${type.name}`);
  }
  return {
    fixed: (name) => find(name, FixedColumn),
    string: (name) => find(name, StringColumn),
    lowCardinality: (name) => find(name, LowCardinalityColumn),
    map: (name) => find(name, MapColumn),
  };
}

export interface BuilderSetOptions {
  /**
   * When a builder is full, go on in a new one: for a request that is larger than a batch alone. The cuts are a pure
   * function of the rows, so the same request is cut the same way again.
   */
  readonly cutWhenFull: boolean;
  /** Cut at these rows instead (a batch is encoded again, and its rows are known from the footer). */
  readonly cutAtRows?: readonly number[];
}

export class BuilderSet implements SegmentRows {
  readonly #options: BuilderSetOptions;
  /** All builders, in the order in which they were made: the order of the batches. */
  readonly #builders: Builder[] = [];
  /** The builder that takes rows, for each table and partition. */
  readonly #open = new Map<Table, Map<string, Builder>>();
  /** Builders that the current request has written to. */
  readonly #touched: Builder[] = [];

  constructor(options: BuilderSetOptions = { cutWhenFull: false }) {
    this.#options = options;
  }

  /** Before the first row of a request. */
  beginRequest(): void {
    this.#touched.length = 0;
  }

  /** The builder for rows of `origin`; its state is noted when the request comes to it first. */
  builderFor<Columns>(binding: TableBinding<Columns>, origin: RowOrigin): Builder<Columns> {
    let byPartition = this.#open.get(binding.table);
    if (byPartition === undefined) {
      byPartition = new Map();
      this.#open.set(binding.table, byPartition);
    }
    const key = `${origin.placement}/${origin.retentionDays}/${origin.expiresOnDay}`;
    const open = byPartition.get(key) as Builder<Columns> | undefined;
    if (open !== undefined && !this.mustCut(open)) return this.#touch(open);
    const builder = new Builder(binding, origin);
    if (open !== undefined) builder.rowFrom = open.rowFrom + open.rowCount;
    this.#builders.push(builder);
    byPartition.set(key, builder);
    return this.#touch(builder);
  }

  /** True when a full builder is followed by another one within a request; `mustCut` says where. */
  get cuts(): boolean {
    return this.#options.cutWhenFull || this.#options.cutAtRows !== undefined;
  }

  /** The next row belongs to another batch: ask `builderFor` again. */
  mustCut(open: Builder): boolean {
    const { cutWhenFull, cutAtRows } = this.#options;
    if (cutAtRows !== undefined) return open.rowCount > 0 && cutAtRows.includes(open.rowFrom + open.rowCount);
    return cutWhenFull && open.full;
  }

  #touch<Columns>(builder: Builder<Columns>): Builder<Columns> {
    if (!this.#touched.includes(builder)) {
      builder.save();
      this.#touched.push(builder);
    }
    return builder;
  }

  /** Takes back every row since `beginRequest`. Never called once the request's record was appended. */
  rollBack(): void {
    for (const builder of this.#touched) builder.restore();
    this.#touched.length = 0;
  }

  get builders(): readonly Builder[] {
    return this.#builders;
  }

  get bytes(): number {
    let total = 0;
    for (const builder of this.#builders) total += builder.blockBytes;
    return total;
  }

  get full(): boolean {
    for (const builder of this.#builders) if (builder.full) return true;
    return false;
  }

  assign(requestIndex: number): void {
    for (const builder of this.#builders) builder.assign(requestIndex);
  }

  *encode(newBatchId: () => string): Generator<EncodedBatch, void, void> {
    const out = new ByteWriter(64 * 1024);
    for (const builder of this.#builders) {
      if (builder.rowCount > 0) yield encodeBuilder(out, builder, newBatchId());
    }
  }
}

/** The block of one builder. `bytes` is valid until `out` is used again. */
export function encodeBuilder(out: ByteWriter, builder: Builder, batchId: string): EncodedBatch {
  const { table, partition, rowFrom, rowCount, firstRequest, lastRequest } = builder;
  out.clear();
  writeNativeBlock(out, builder, partition, batchId);
  const { placement, retentionDays, expiresOnDay } = partition;
  return {
    table: table.name,
    partition: { placement, retentionDays, expiresOnDay },
    batchId,
    firstRequest,
    lastRequest,
    rowFrom,
    rowCount,
    bytes: out.view(),
  };
}
