/**
 * What the five kinds of data points have in common: attributes (sorted by key, so that a series always looks the same),
 * times, flags, exemplars; and the rules on them (reference otlp.md E2, E9).
 */
import { AttributeList } from './attributes.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn } from './column-buffers.ts';
import type { Conversion, RowWriter } from './conversion.ts';
import { Exemplars } from './exemplars.ts';
import type { MetricColumns } from './metric-head.ts';
import type { ProtobufReader } from './protobuf-reader.ts';
import { RangeList } from './range-list.ts';
import type { ColumnLookup } from './table-buffers.ts';

/** One kind of data points: notes and judges a point, then writes it as a row of its table. */
export interface PointConverter<Columns> extends RowWriter<Columns> {
  /** Notes the point; returns '' or the reason for which it is rejected, and sets `rejectedField`. */
  note(start: number, end: number): string;
  readonly state: PointState;
}

export interface PointColumns extends MetricColumns {
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly droppedAttributes: FixedColumn;
  readonly startTime: FixedColumn;
  readonly time: FixedColumn;
  readonly flags: FixedColumn;
}

export function bindPoint(columns: ColumnLookup): Omit<PointColumns, keyof MetricColumns> {
  return {
    attributes: columns.map('Attributes'),
    attributesTypes: columns.lowCardinality('AttributesTypes'),
    droppedAttributes: columns.fixed('DroppedAttributesCount'),
    startTime: columns.fixed('StartTimeUnix'),
    time: columns.fixed('TimeUnix'),
    flags: columns.fixed('Flags'),
  };
}

/** The fixed-width columns of a point, tenancy's included, and the offsets of 11 arrays; rounded up. */
const ROW_FIXED_BYTES = 260;

export class PointState {
  readonly list = new AttributeList();
  readonly exemplarRanges = new RangeList();
  readonly exemplars: Exemplars;
  flags = 0;
  /** Set with the metric: what each of its rows counts besides its own. */
  metadataDropped = 0;
  /** Where the offender stands, relative to the point. */
  rejectedField = '';
  readonly #conversion: Conversion;
  #startLow = 0;
  #startHigh = 0;
  #timeLow = 0;
  #timeHigh = 0;

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
    this.exemplars = new Exemplars(conversion);
  }

  clear(): void {
    this.list.clear();
    this.exemplarRanges.clear();
    this.flags = 0;
    this.#startLow = this.#startHigh = this.#timeLow = this.#timeHigh = 0;
  }

  /** Fields 2 and 3 of every kind of point. Returns false when the tag is of neither. */
  readTime(tag: number, reader: ProtobufReader, end: number): boolean {
    if (tag === 0x11) {
      reader.fixed64(end);
      this.#startLow = reader.low;
      this.#startHigh = reader.high;
    } else if (tag === 0x19) {
      reader.fixed64(end);
      this.#timeLow = reader.low;
      this.#timeHigh = reader.high;
    } else return false;
    return true;
  }

  readAttribute(reader: ProtobufReader, end: number): void {
    const entryEnd = reader.fieldEnd(end);
    this.list.add(reader.pos, entryEnd);
    reader.pos = entryEnd;
  }

  readExemplar(reader: ProtobufReader, end: number): void {
    const exemplarEnd = reader.fieldEnd(end);
    this.exemplarRanges.add(reader.pos, exemplarEnd);
    reader.pos = exemplarEnd;
  }

  /** The rules that hold for every kind; '' when they do. */
  judge(): string {
    this.rejectedField = 'timeUnixNano';
    if ((this.#timeLow | this.#timeHigh) === 0) return 'a data point has no time';
    if (this.#timeHigh >= 0x8000_0000) return 'a time is above 2^63-1 ns';
    this.rejectedField = 'startTimeUnixNano';
    if (this.#startHigh >= 0x8000_0000) return 'a time is above 2^63-1 ns';
    this.rejectedField = 'exemplars[].timeUnixNano';
    if (this.exemplars.anyTimeTooLarge(this.exemplarRanges)) return 'a time is above 2^63-1 ns';
    return '';
  }

  /** Writes what all kinds have; `exemplarBytes` and dropped counts come from exemplars written before. */
  write(columns: PointColumns, exemplarBytes: number): number {
    const { attributes } = this.#conversion;
    const before = columns.attributes.values.length;
    const entriesBefore = columns.attributes.keys.count;
    attributes.sortByKey(this.list);
    const dropped = attributes.write(this.list, columns.attributes, columns.attributesTypes, null, 'attributes');
    const exemplarsDropped = exemplarBytes === 0 ? 0 : this.exemplars.dropped;
    columns.droppedAttributes.push4(Math.min(dropped + exemplarsDropped + this.metadataDropped, 0xffff_ffff));
    columns.startTime.push8(this.#startLow, this.#startHigh);
    columns.time.push8(this.#timeLow, this.#timeHigh);
    columns.flags.push4(this.flags);
    const entries = columns.attributes.keys.count - entriesBefore;
    return ROW_FIXED_BYTES + columns.attributes.values.length - before + 4 * entries + exemplarBytes;
  }
}
