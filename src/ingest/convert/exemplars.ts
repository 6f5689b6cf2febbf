/** Exemplars of a data point: elements of the Nested columns that four of the metric tables have. */
import { AttributeList } from './attributes.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { appendTraceOrSpanId, SPAN_ID_BYTES, TRACE_ID_BYTES } from './ids.ts';
import { NumberValue } from './number-value.ts';
import { type Range, readRange } from './protobuf-reader.ts';
import type { RangeList } from './range-list.ts';
import type { ColumnLookup } from './table-buffers.ts';

export interface ExemplarColumns {
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly time: FixedColumn;
  readonly value: FixedColumn;
  readonly valueType: LowCardinalityColumn;
  readonly valueInt: FixedColumn;
  readonly spanId: StringColumn;
  readonly traceId: StringColumn;
}

export function bindExemplars(columns: ColumnLookup): ExemplarColumns {
  return {
    attributes: columns.map('Exemplars.FilteredAttributes'),
    attributesTypes: columns.lowCardinality('Exemplars.FilteredAttributesTypes'),
    time: columns.fixed('Exemplars.TimeUnix'),
    value: columns.fixed('Exemplars.Value'),
    valueType: columns.lowCardinality('Exemplars.ValueType'),
    valueInt: columns.fixed('Exemplars.ValueInt'),
    spanId: columns.string('Exemplars.SpanId'),
    traceId: columns.string('Exemplars.TraceId'),
  };
}

/** The fixed-width columns and offsets of an element, ids included; rounded up. */
const ELEMENT_FIXED_BYTES = 100;

export class Exemplars {
  /** Attributes that the caps dropped, and elements written, by the last call of `write`. */
  dropped = 0;
  written = 0;
  readonly #conversion: Conversion;
  readonly #list = new AttributeList();
  readonly #value = new NumberValue();
  readonly #trace: Range = { start: 0, end: 0 };
  readonly #span: Range = { start: 0, end: 0 };
  #timeLow = 0;
  #timeHigh = 0;

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
  }

  anyTimeTooLarge(exemplars: RangeList): boolean {
    for (let i = 0; i < exemplars.count; i++) {
      this.#read(exemplars.starts[i]!, exemplars.ends[i]!);
      this.#conversion.notes.element = i;
      if (this.#timeHigh >= 0x8000_0000) return true;
    }
    return false;
  }

  /** Writes those that have a value (E2), and returns the bytes that they take in the block. */
  write(exemplars: RangeList, columns: ExemplarColumns): number {
    this.dropped = 0;
    this.written = 0;
    if (exemplars.count === 0) return 0;
    const before = columns.attributes.values.length;
    const entriesBefore = columns.attributes.keys.count;
    for (let i = 0; i < exemplars.count; i++) {
      this.#read(exemplars.starts[i]!, exemplars.ends[i]!);
      this.#conversion.notes.element = i;
      if (this.#value.isNone) this.#conversion.notes.warn('exemplarValue', 'exemplars[]');
      else this.#write(columns);
    }
    const entries = columns.attributes.keys.count - entriesBefore;
    return columns.attributes.values.length - before + 4 * entries + ELEMENT_FIXED_BYTES * this.written;
  }

  #write(columns: ExemplarColumns): void {
    const { reader, notes, attributes } = this.#conversion;
    const source = reader.bytes;
    const field = 'exemplars[].filteredAttributes';
    this.dropped += attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, field);
    columns.time.push8(this.#timeLow, this.#timeHigh);
    this.#value.write(columns.value, columns.valueType, columns.valueInt);
    const { start: spanStart, end: spanEnd } = this.#span;
    const { start: traceStart, end: traceEnd } = this.#trace;
    const spanField = 'exemplars[].spanId';
    const traceField = 'exemplars[].traceId';
    appendTraceOrSpanId(columns.spanId, source, spanStart, spanEnd, SPAN_ID_BYTES, notes, spanField);
    appendTraceOrSpanId(columns.traceId, source, traceStart, traceEnd, TRACE_ID_BYTES, notes, traceField);
    this.written++;
  }

  #read(start: number, end: number): void {
    const { reader } = this.#conversion;
    this.#list.clear();
    this.#value.clear();
    this.#timeLow = this.#timeHigh = 0;
    this.#trace.start = this.#trace.end = this.#span.start = this.#span.end = 0;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x11) {
        reader.fixed64(end);
        this.#timeLow = reader.low;
        this.#timeHigh = reader.high;
      } else if (tag === 0x19) this.#value.readDouble(reader, end);
      else if (tag === 0x31) this.#value.readInt(reader, end);
      else if (tag === 0x22) readRange(reader, end, this.#span);
      else if (tag === 0x2a) readRange(reader, end, this.#trace);
      else if (tag === 0x3a) {
        const entryEnd = reader.fieldEnd(end);
        this.#list.add(reader.pos, entryEnd);
        reader.pos = entryEnd;
      } else reader.skip(tag, end);
    }
  }
}
