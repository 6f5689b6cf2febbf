/**
 * Builders that were encoded, kept for the next segment: their columns have grown to what a segment needs, and growing
 * again costs copies and garbage. Bounded by count, by what each column keeps when it is cleared, and all together.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { KIB, MIB } from '../../base/limits.ts';
import type { Table } from '../../tables/column.ts';
import type { Partition } from '../messages.ts';
import { Builder, type TableBinding } from './builder.ts';

/** Of one table: a segment that is encoded and one that is open need two. */
const BUILDERS_PER_TABLE_MAX = 2;
/** The next block of a steady load is about as large as the last: with so much more room it fits as well. */
const BLOCK_ROOM = 1.25;
/** A block that used less than this share of its memory gives it back: the load has become less. */
const BLOCK_USED_MIN = 0.25;
/** Names and types of the columns. */
const BLOCK_HEAD_BYTES = 8 * KIB;
const KEPT_BYTES_MAX = 64 * MIB;
/** Of each column, as long as the builder fits with it: else the large columns are made anew, and the many small ones kept. */
const COLUMN_BYTES_KEPT = [16 * MIB, 4 * MIB, 512 * KIB];

interface Kept {
  readonly builder: Builder<never>;
  readonly bytes: number;
}

export class BuilderPool {
  readonly #free = new Map<Table, Kept[]>();
  readonly #bytesMax: number;
  #bytes = 0;
  #block: ByteWriter | undefined;

  /** `bytesMax`: of all builders that are kept. */
  constructor(bytesMax: number = KEPT_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  take<Columns>(binding: TableBinding<Columns>, partition: Partition): Builder<Columns> {
    const free = this.#free.get(binding.table)?.pop();
    if (free === undefined) return new Builder(binding, partition);
    const { builder, bytes } = free;
    this.#bytes -= bytes;
    builder.partition = partition;
    // A table has one binding, so its builders have that binding's columns.
    return builder as unknown as Builder<Columns>;
  }

  /** The builder's rows are not needed any more. */
  give(builder: Builder): void {
    let free = this.#free.get(builder.table);
    if (free === undefined) {
      free = [];
      this.#free.set(builder.table, free);
    }
    if (free.length >= BUILDERS_PER_TABLE_MAX) return;
    let bytes = 0;
    for (const columnBytes of COLUMN_BYTES_KEPT) {
      builder.clear(columnBytes);
      bytes = builder.capacityBytes;
      if (this.#bytes + bytes <= this.#bytesMax) break;
    }
    if (this.#bytes + bytes > this.#bytesMax) return;
    this.#bytes += bytes;
    free.push({ builder: builder as unknown as Builder<never>, bytes });
  }

  /**
   * Memory for a block whose columns take up to `bytes`; whoever takes it has it alone until it is given back. It is kept: a
   * block a second whose memory was new each time was 40 of the 95 MB a second that started collections of the whole heap.
   */
  takeBlock(bytes: number): ByteWriter {
    const needed = bytes + BLOCK_HEAD_BYTES;
    const block = this.#block;
    this.#block = undefined;
    if (block !== undefined) {
      const capacity = block.bytes.length;
      if (capacity >= needed && needed >= capacity * BLOCK_USED_MIN) return block;
      // Given up before the next one is made, so that there is never memory for two.
      block.shrink(0);
    }
    return new ByteWriter(Math.ceil(needed * BLOCK_ROOM));
  }

  giveBlock(block: ByteWriter): void {
    block.clear();
    if (block.bytes.length <= this.#bytesMax) this.#block = block;
    else block.shrink(0);
  }
}
