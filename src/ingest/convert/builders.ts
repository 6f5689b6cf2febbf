/**
 * The builders of a segment, or of one large request. A block costs the engine the same whatever its size, so rows are
 * collected here until the segment is sealed.
 *
 *   BuilderSet ──► Builder (otel_logs, partition A)   rows, runs, marks for a roll-back
 *              └─► Builder (otel_logs, partition B)
 */
import assert from 'node:assert';
import type { ByteWriter } from '../../base/byte-writer.ts';
import type { Table } from '../../tables/column.ts';
import { BATCH_BYTES_MAX } from '../../base/limits.ts';
import type { EncodedBatch, RowOrigin, SegmentRows } from '../messages.ts';
import type { Builder, TableBinding } from './builder.ts';
import { BuilderPool } from './builder-pool.ts';
import { writeNativeBlock } from './native-block.ts';

export interface BuilderSetOptions {
  /**
   * When a builder is full, go on in a new one: for a request that is larger than a batch alone. The cuts are a pure
   * function of the rows, so the same request is cut the same way again.
   */
  readonly cutWhenFull: boolean;
  /** With cutWhenFull: full is this much; by default BATCH_BYTES_MAX. */
  readonly cutAtBytes?: number;
  /** Cut at these two rows, and not between them: a batch is encoded again, and its rows are known from the footer. */
  readonly cutAtRows?: readonly [from: number, to: number];
  /** Where builders come from, and go to when they were encoded. */
  readonly pool?: BuilderPool;
}

export class BuilderSet implements SegmentRows {
  readonly #options: BuilderSetOptions;
  readonly #pool: BuilderPool;
  #encoded = false;
  /** All builders, in the order in which they were made: the order of the batches. */
  readonly #builders: Builder[] = [];
  /** The builder that takes rows, for each table and partition. */
  readonly #open = new Map<Table, Map<string, Builder>>();
  /** Builders that the current request has written to. */
  readonly #touched: Builder[] = [];

  constructor(options: BuilderSetOptions = { cutWhenFull: false }) {
    this.#options = options;
    this.#pool = options.pool ?? new BuilderPool();
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
    const builder = this.#pool.take(binding, origin);
    if (open !== undefined) {
      builder.rowFrom = open.rowFrom + open.rowCount;
      open.isClosed = true;
      open.isReplaced = true;
    }
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
    if (open.isClosed) return true;
    if (cutAtRows !== undefined) {
      const next = open.rowFrom + open.rowCount;
      if (open.rowCount > 0 && cutAtRows.includes(next)) return true;
      if (this.#isWanted(open)) return false;
    }
    return cutWhenFull && open.isOver(this.#options.cutAtBytes ?? BATCH_BYTES_MAX);
  }

  /**
   * Takes out the builders that get no more rows. Of a request that fills several tables none may be full and all
   * together more than a batch: then all are closed. To be called between two slices; there is no roll-back after it.
   */
  takeClosed(): Builder[] {
    for (const builder of this.#builders) builder.measure();
    if (this.#open.size > 1 && this.bytes > (this.#options.cutAtBytes ?? BATCH_BYTES_MAX)) {
      for (const builder of this.#builders) if (!this.#isWanted(builder)) builder.isClosed = true;
    }
    if (!this.#builders.some((builder) => builder.isClosed)) return [];
    const taken = this.#builders.filter((builder) => builder.isClosed);
    this.#keepOnly(this.#builders.filter((builder) => !builder.isClosed));
    return taken;
  }

  /** Holds rows that are one batch whatever their size (cutAtRows). */
  #isWanted({ rowFrom, rowCount }: Builder): boolean {
    const { cutAtRows } = this.#options;
    return cutAtRows !== undefined && rowFrom + rowCount >= cutAtRows[0] && rowFrom < cutAtRows[1];
  }

  /** Takes all out; nothing is written to this set any more. */
  takeAll(): Builder[] {
    this.#encoded = true;
    this.#open.clear();
    return this.#builders.splice(0);
  }

  #keepOnly(builders: readonly Builder[]): void {
    this.#builders.splice(0, this.#builders.length, ...builders);
    this.#touched.splice(0, this.#touched.length, ...builders);
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
    for (const builder of this.#builders) total += builder.bytes;
    return total;
  }

  get full(): boolean {
    for (const builder of this.#builders) if (builder.full) return true;
    return false;
  }

  assign(requestIndex: number): void {
    for (const builder of this.#builders) builder.assign(requestIndex);
  }

  /** Can be called once: each builder goes back to the pool when its block was taken. */
  *encodeInSteps(newBatchId: () => string): Generator<EncodedBatch | undefined, void, void> {
    assert(!this.#encoded, 'a segment is encoded once');
    this.#encoded = true;
    let blockBytes = 0;
    for (const builder of this.#builders) blockBytes = Math.max(blockBytes, builder.blockBytes);
    const out = this.#pool.takeBlock(blockBytes);
    for (const builder of this.#builders) {
      if (builder.rowCount > 0) yield* encodeBuilderInSteps(out, builder, newBatchId());
      this.#pool.give(builder);
    }
    this.#builders.length = 0;
    this.#pool.giveBlock(out);
  }

  /** As `encodeInSteps`, without the steps in between. */
  *encode(newBatchId: () => string): Generator<EncodedBatch, void, void> {
    for (const step of this.encodeInSteps(newBatchId)) if (step !== undefined) yield step;
  }
}

/** The block of one builder, without a pause. `bytes` is valid until `out` is used again. */
export function encodeBuilder(out: ByteWriter, builder: Builder, batchId: string): EncodedBatch {
  let encoded: EncodedBatch | undefined;
  for (const step of encodeBuilderInSteps(out, builder, batchId)) encoded = step;
  assert(encoded !== undefined, 'the last step is the batch');
  return encoded;
}

/** The last step is the batch; its bytes are valid until `out` is used again. */
export function* encodeBuilderInSteps(
  out: ByteWriter,
  builder: Builder,
  batchId: string,
): Generator<EncodedBatch | undefined, void, void> {
  const { table, partition, rowFrom, rowCount, firstRequest, lastRequest } = builder;
  out.clear();
  for (const _ of writeNativeBlock(out, builder, partition, batchId)) yield undefined;
  const { placement, retentionDays, expiresOnDay } = partition;
  yield {
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
