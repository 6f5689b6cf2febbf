/**
 * The column buffers of one (table, partition): rows of level `row` as they come, values that repeat for many rows (request,
 * resource, scope, metric) once, with the row at which each such run begins. The block repeats them when it is written.
 */
import assert from 'node:assert';
import type { ColumnLevel, Table } from '../../tables/column.ts';
import { BATCH_BYTES_MAX, BATCH_ROWS_MAX } from '../../base/limits.ts';
import type { Partition } from '../messages.ts';
import type { ColumnBuffer } from './column-buffers.ts';
import type { Dictionary } from './dictionary.ts';
import { type ColumnLookup, lookupIn, makeTableBuffers } from './table-buffers.ts';

export type RunLevel = Exclude<ColumnLevel, 'batch' | 'row'>;
const RUN_LEVELS: readonly RunLevel[] = ['request', 'resource', 'scope', 'metric'];

/** A table and the record of its columns that its converter writes to. */
export interface TableBinding<Columns> {
  readonly table: Table;
  bind(columns: ColumnLookup): Columns;
}

export interface OpenRuns {
  readonly requestSerial: number;
  readonly resourceSerial: number;
  readonly scopeSerial: number;
  readonly metricSerial: number;
}

export class Builder<Columns = unknown> {
  readonly table: Table;
  partition: Partition;
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
  /** Serials of the request, resource, scope and metric whose runs are open; −1 when none is. */
  requestSerial = -1;
  resourceSerial = -1;
  scopeSerial = -1;
  metricSerial = -1;
  #assignedRows = 0;
  readonly #runStarts: Record<RunLevel, number[]> = { request: [], resource: [], scope: [], metric: [] };
  readonly #marks: number[] = [];
  readonly #dictionaries: readonly Dictionary[];
  /** What they held when they were measured last. */
  #dictionaryBytes = 0;
  /** No row is added any more: further ones of its partition go to a builder of their own. */
  isClosed = false;
  /** That builder is there, so that nobody holds this one to write to it. */
  isReplaced = false;

  constructor(binding: TableBinding<Columns>, partition: Partition) {
    this.table = binding.table;
    this.partition = partition;
    this.buffers = makeTableBuffers(binding.table.columns);
    this.columns = binding.bind(lookupIn(binding.table.columns, this.buffers));
    this.#dictionaries = this.buffers.flatMap((buffer) => buffer?.dictionaries ?? []);
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

  /** Serials of the open runs, to be given back after a `restore` that left those runs in place. */
  openRuns(): OpenRuns {
    const { requestSerial, resourceSerial, scopeSerial, metricSerial } = this;
    return { requestSerial, resourceSerial, scopeSerial, metricSerial };
  }

  reopenRuns(runs: OpenRuns): void {
    Object.assign(this, runs);
  }

  /** Its rows are encoded: lets go of them. Where it ended, and that it did, stays known. */
  forgetRows(keptBytesMax = 0): void {
    for (const level of RUN_LEVELS) this.#runStarts[level].length = 0;
    for (const buffer of this.buffers) buffer?.clear(keptBytesMax);
  }

  /** Empties it for rows of another segment; a column keeps memory of up to `keptBytesMax`. */
  clear(keptBytesMax: number): void {
    this.rowCount = 0;
    this.blockBytes = 0;
    this.rowFrom = 0;
    this.firstRequest = -1;
    this.lastRequest = -1;
    this.isClosed = false;
    this.isReplaced = false;
    this.#dictionaryBytes = 0;
    this.#assignedRows = 0;
    this.reopenRuns({ requestSerial: -1, resourceSerial: -1, scopeSerial: -1, metricSerial: -1 });
    this.forgetRows(keptBytesMax);
  }

  get full(): boolean {
    return this.isOver(BATCH_BYTES_MAX);
  }

  isOver(bytes: number): boolean {
    return this.bytes >= bytes || this.rowCount >= BATCH_ROWS_MAX;
  }

  /** Of column data and dictionaries; the latter as last measured. */
  get bytes(): number {
    return this.blockBytes + this.#dictionaryBytes;
  }

  /** Dictionaries grow by what no row counts: looked at once a request, or once a slice of a large one. */
  measure(): void {
    let bytes = 0;
    for (const dictionary of this.#dictionaries) bytes += dictionary.memoryBytes;
    this.#dictionaryBytes = bytes;
  }

  /** What the builder keeps allocated, filled or not. */
  get capacityBytes(): number {
    let bytes = 0;
    for (const buffer of this.buffers) if (buffer !== null) bytes += buffer.capacityBytes;
    return bytes;
  }

  assign(requestIndex: number): void {
    if (this.rowCount === this.#assignedRows) return;
    if (this.firstRequest < 0) this.firstRequest = requestIndex;
    this.lastRequest = requestIndex;
    this.#assignedRows = this.rowCount;
    this.measure();
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
    this.scopeSerial = -1;
    this.metricSerial = -1;
    let at = 2;
    for (const level of RUN_LEVELS) this.#runStarts[level].length = marks[at++]!;
    for (const buffer of this.buffers) if (buffer !== null) at = buffer.restore(marks, at);
    assert(at === marks.length, 'each column reads the marks it wrote');
  }
}
