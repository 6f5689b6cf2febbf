/**
 * Builders that were encoded, kept for the next segment: their columns have grown to what a segment needs, and growing
 * again costs copies and garbage. Bounded by count, by what each column keeps when it is cleared, and all together.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { MIB } from '../../base/limits.ts';
import type { Table } from '../../tables/column.ts';
import type { Partition } from '../messages.ts';
import { Builder, type TableBinding } from './builder.ts';

/** Of one table: a segment that is encoded and one that is open need two. */
const BUILDERS_PER_TABLE_MAX = 2;
/** Blocks larger than this give their memory back. */
const BLOCK_BYTES_KEPT_MAX = 8 * MIB;
const KEPT_BYTES_MAX = 64 * MIB;

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
    builder.clear();
    const bytes = builder.capacityBytes;
    if (this.#bytes + bytes > this.#bytesMax) return;
    this.#bytes += bytes;
    free.push({ builder: builder as unknown as Builder<never>, bytes });
  }

  /** Memory for blocks; whoever takes it has it alone until it is given back. */
  takeBlock(): ByteWriter {
    const block = this.#block ?? new ByteWriter(64 * 1024);
    this.#block = undefined;
    return block;
  }

  giveBlock(block: ByteWriter): void {
    block.clear();
    block.shrink(BLOCK_BYTES_KEPT_MAX);
    this.#block = block;
  }
}
