/**
 * One conversion: what the converters of the three signals share. It walks the request (a list of resources, each a list
 * of scopes, each a list of items, under the same field numbers in all three), hands each item to the signal's
 * converter, and keeps count of rows and bytes.
 *
 *   request ─► resource ─► scope ─► item ─► ItemConverter ─► rows of one or more tables
 */
import { BackworkError } from '../../base/errors.ts';
import { REQUEST_ROW_BYTES_MAX, SLICE_BYTES, SLICE_ITEMS, SLICE_ROW_BYTES } from '../../base/limits.ts';
import type { ConvertResult, RowOrigin } from '../messages.ts';
import { AnyValueReader } from './any-value.ts';
import { AttributeWriter } from './attributes.ts';
import type { Builder, OpenRuns, TableBinding } from './builder.ts';
import type { BuilderSet } from './builders.ts';
import type { FixedColumn, LowCardinalityColumn } from './column-buffers.ts';
import { Notes, type PathNames } from './notes.ts';
import { ProtobufReader } from './protobuf-reader.ts';
import { type RepeatedColumns, ResourceScope } from './resource-scope.ts';

/** What one signal does with its items (log record, span, metric). */
export interface ItemConverter {
  /** Builders opened for an earlier scope are not to be used any more. */
  beginScope(): void;
  /** Converts one item; its rows go through `Conversion.addRow`. */
  convert(start: number, end: number): void;
  /** As `convert`, for items longer than a slice that can be converted in parts. */
  convertInSteps?(start: number, end: number): Generator<void, void, void>;
  /** After the last item: rows that sum up the request, in slices. */
  endRequest?(): Generator<void, void, void>;
}

/** Writes the values of one row to every column of level `row`; returns their bytes in the block. */
export interface RowWriter<Columns> {
  writeRow(columns: Columns): number;
}

/** Every table has them. */
export interface RequestColumns {
  readonly orgId: LowCardinalityColumn;
  readonly receivedAt: FixedColumn;
}

/** No item grows more than this as text (an empty member of a deep list becomes the marker of 26 bytes). */
const GROWTH_MAX = 14;
/** More than the fixed-width columns of any table take in a row. */
const ROW_FIXED_BYTES_MAX = 1_024;

export class Conversion {
  readonly reader = new ProtobufReader(new Uint8Array(0));
  readonly notes: Notes;
  readonly values: AnyValueReader;
  readonly attributes: AttributeWriter;
  readonly resourceScope: ResourceScope;
  /** Time of receipt in nanoseconds, as two words. */
  receivedAtLow = 0;
  receivedAtHigh = 0;
  /** What a row repeats besides its own values; set by whoever opens a builder. */
  repeatedRowBytes = 0;
  #accepted = 0;
  #rowBytes = 0;
  /** The rows have reached their bound: no further item is accepted. */
  #full = false;
  /** Holds rows of items beyond the bound, behind its mark: written to be read through, taken back slice by slice. */
  #discarding: Builder<unknown> | undefined;
  #runsBeforeDiscard: OpenRuns | undefined;
  #requestSerial = 0;
  #origin!: RowOrigin;
  #set!: BuilderSet;

  constructor(names: PathNames) {
    this.notes = new Notes(names);
    this.values = new AnyValueReader(this.reader, this.notes);
    this.attributes = new AttributeWriter(this.reader, this.values, this.notes);
    this.resourceScope = new ResourceScope(this.reader, this.attributes, this.notes);
  }

  /**
   * Converts `body` into builders of `set`. Yields the bytes of rows so far whenever a slice's worth of work was done;
   * the caller goes on at once or lets the event loop turn. Throws BackworkError `malformed`.
   */
  *run(
    body: Uint8Array,
    origin: RowOrigin,
    set: BuilderSet,
    items: ItemConverter,
  ): Generator<number, ConvertResult, void> {
    this.#begin(body, origin, set);
    const end = body.length;
    try {
      yield* this.#runResources(end, items);
    } catch (error) {
      throw this.#located(error);
    }
    this.#discard();
    if (items.endRequest !== undefined) for (const _ of items.endRequest()) yield this.#rowBytes;
    // The last items may have grown by more than a slice.
    yield this.#rowBytes;
    const { rejected } = this.notes;
    const empty = end > 0 && this.#accepted + rejected === 0;
    return { accepted: this.#accepted, rejected, message: this.notes.message(empty) };
  }

  #begin(body: Uint8Array, origin: RowOrigin, set: BuilderSet): void {
    this.reader.bytes = body;
    this.reader.pos = 0;
    this.notes.reset();
    this.#accepted = 0;
    this.#rowBytes = 0;
    this.#full = false;
    this.#discarding = undefined;
    this.#requestSerial++;
    this.#origin = origin;
    this.#set = set;
    const nanoseconds = BigInt(origin.receivedAtMs) * 1_000_000n;
    this.receivedAtLow = Number(nanoseconds & 0xffff_ffffn);
    this.receivedAtHigh = Number(nanoseconds >> 32n);
  }

  /** A body that cannot be read on is refused with the path of the last item or list that was begun (reference G18). */
  #located(error: unknown): unknown {
    if (!(error instanceof BackworkError) || error.code !== 'malformed') return error;
    return new BackworkError('malformed', error.message, { field: this.notes.path('') });
  }

  *#runResources(end: number, items: ItemConverter): Generator<number, void, void> {
    const reader = this.reader;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x0a) {
        reader.skip(tag, end);
        continue;
      }
      const resourceEnd = reader.fieldEnd(end);
      this.notes.resource++;
      yield* this.#runResource(reader.pos, resourceEnd, items);
      reader.pos = resourceEnd;
    }
  }

  *#runResource(start: number, end: number, items: ItemConverter): Generator<number, void, void> {
    const reader = this.reader;
    this.notes.scope = -1;
    this.resourceScope.readResource(start, end);
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x12) {
        reader.skip(tag, end);
        continue;
      }
      const scopeEnd = reader.fieldEnd(end);
      this.notes.scope++;
      yield* this.#runScope(reader.pos, scopeEnd, items);
      reader.pos = scopeEnd;
    }
    this.notes.scope = -1;
  }

  *#runScope(start: number, end: number, items: ItemConverter): Generator<number, void, void> {
    const reader = this.reader;
    this.notes.item = -1;
    this.resourceScope.readScope(start, end);
    items.beginScope();
    let yieldedAt = start;
    let yieldedRowBytes = this.#rowBytes;
    let yieldedItem = 0;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x12) {
        reader.skip(tag, end);
        continue;
      }
      const itemEnd = reader.fieldEnd(end);
      this.notes.item++;
      if (itemEnd - reader.pos > SLICE_BYTES && items.convertInSteps !== undefined) {
        for (const _ of items.convertInSteps(reader.pos, itemEnd)) {
          this.#discard();
          yield this.#rowBytes;
        }
      } else items.convert(reader.pos, itemEnd);
      reader.pos = itemEnd;
      if (
        itemEnd - yieldedAt > SLICE_BYTES ||
        this.#rowBytes - yieldedRowBytes > SLICE_ROW_BYTES ||
        this.notes.item - yieldedItem >= SLICE_ITEMS
      ) {
        yieldedAt = itemEnd;
        yieldedRowBytes = this.#rowBytes;
        yieldedItem = this.notes.item;
        this.#discard();
        yield this.#rowBytes;
      }
    }
    this.notes.item = -1;
  }

  /**
   * The builder for this request's rows of a table, its runs begun; `current` is the one that was used last, and stays
   * unless there is none or a large request is cut here. Moves the reader.
   */
  open<Columns extends RequestColumns>(
    binding: TableBinding<Columns>,
    current: Builder<Columns> | undefined,
  ): Builder<Columns> {
    if (current !== undefined && !(this.#set.cuts && this.#set.mustCut(current))) return current;
    const origin = this.#origin;
    const builder = this.#set.builderFor(binding, origin);
    if (builder.requestSerial !== this.#requestSerial) {
      const ms = origin.receivedAtMs;
      builder.columns.orgId.pushText(origin.orgId);
      builder.columns.receivedAt.push8(ms % 0x1_0000_0000, Math.floor(ms / 0x1_0000_0000));
      builder.beginRun('request');
      builder.requestSerial = this.#requestSerial;
      builder.resourceSerial = -1;
      builder.scopeSerial = -1;
    }
    return builder;
  }

  /** As `open`, for tables whose rows repeat resource and scope. */
  openItems<Columns extends RepeatedColumns>(
    binding: TableBinding<Columns>,
    current: Builder<Columns> | undefined,
  ): Builder<Columns> {
    const builder = this.open(binding, current);
    // A metric may repeat less of its scope than the one before it did.
    if (builder.scopeSerial !== this.resourceScope.scopeSerial) this.resourceScope.write(builder);
    this.repeatedRowBytes = this.resourceScope.rowBytes;
    return builder;
  }

  /** True when the item beneath this resource and scope was rejected for what they repeat. */
  rejectedOverBound(itemCount: number): boolean {
    if (!this.resourceScope.overBound) return false;
    this.notes.reject('names and schema URLs that repeat in each row are over 65,536 bytes together', '', itemCount);
    return true;
  }

  /**
   * One row, unless the rows of the request would pass their bound: then the item is rejected and nothing of it stays.
   * `itemBytes`: its protobuf. Returns whether it was accepted.
   */
  addRow<Columns>(builder: Builder<Columns>, writer: RowWriter<Columns>, itemBytes: number): boolean {
    const bytesMax = ROW_FIXED_BYTES_MAX + this.repeatedRowBytes + GROWTH_MAX * itemBytes;
    if (this.#full || this.#rowBytes + bytesMax > REQUEST_ROW_BYTES_MAX) return this.#addRowNearLimit(builder, writer);
    this.#countRow(builder, writer.writeRow(builder.columns));
    return true;
  }

  #countRow(builder: Builder<unknown>, ownBytes: number): void {
    const bytes = ownBytes + this.repeatedRowBytes;
    builder.addRow(bytes);
    this.#rowBytes += bytes;
    this.#accepted++;
  }

  /**
   * The row is written, measured, and taken back if it is too much; so is every one after it, because a malformed item
   * beyond the bound still refuses the request.
   */
  #addRowNearLimit<Columns>(builder: Builder<Columns>, writer: RowWriter<Columns>): boolean {
    if (this.#discarding !== builder) {
      this.#discard();
      this.#runsBeforeDiscard = builder.openRuns();
      builder.save();
    }
    const ownBytes = writer.writeRow(builder.columns);
    if (!this.#full && this.#rowBytes + ownBytes + this.repeatedRowBytes <= REQUEST_ROW_BYTES_MAX) {
      this.#countRow(builder, ownBytes);
      return true;
    }
    this.#full = true;
    this.#discarding = builder;
    this.notes.reject(`the rows of one request are over ${REQUEST_ROW_BYTES_MAX} bytes`, '');
    return false;
  }

  /** Takes back what items beyond the bound have written. */
  #discard(): void {
    const builder = this.#discarding;
    if (builder === undefined) return;
    this.#discarding = undefined;
    builder.restore();
    if (this.#runsBeforeDiscard !== undefined) builder.reopenRuns(this.#runsBeforeDiscard);
  }

  /** Counts bytes that rows at the end of the request will take. */
  reserveBytes(bytes: number): void {
    this.#rowBytes += bytes;
  }
}
