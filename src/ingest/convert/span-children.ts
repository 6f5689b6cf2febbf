/** Events and links of a span: elements of the Nested columns of `otel_traces`. */
import { AttributeList } from './attributes.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { appendTraceOrSpanId, SPAN_ID_BYTES, TRACE_ID_BYTES } from './ids.ts';
import { type Range, readRange } from './protobuf-reader.ts';
import type { RangeList } from './range-list.ts';
import { pushText } from './resource-scope.ts';

export interface EventColumns {
  readonly timestamp: FixedColumn;
  readonly name: LowCardinalityColumn;
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly droppedAttributes: FixedColumn;
}

export interface LinkColumns {
  readonly traceId: StringColumn;
  readonly spanId: StringColumn;
  readonly traceState: StringColumn;
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly droppedAttributes: FixedColumn;
  readonly flags: FixedColumn;
}

/** The fixed-width columns and offsets of an element; rounded up. */
const ELEMENT_FIXED_BYTES = 48;

export class SpanChildren {
  readonly #conversion: Conversion;
  readonly #list = new AttributeList();
  readonly #name: Range = { start: 0, end: 0 };
  readonly #state: Range = { start: 0, end: 0 };
  readonly #trace: Range = { start: 0, end: 0 };
  readonly #span: Range = { start: 0, end: 0 };

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
  }

  anyEventTimeTooLarge(events: RangeList): boolean {
    const { reader, notes } = this.#conversion;
    for (let i = 0; i < events.count; i++) {
      const end = events.ends[i]!;
      let high = 0;
      reader.pos = events.starts[i]!;
      while (reader.pos < end) {
        const tag = reader.tag(end);
        if (tag === 0x09) {
          reader.fixed64(end);
          high = reader.high;
        } else reader.skip(tag, end);
      }
      notes.element = i;
      if (high >= 0x8000_0000) return true;
    }
    return false;
  }

  /** Returns the bytes that the elements take in the block. */
  writeEvents(events: RangeList, columns: EventColumns): number {
    const before = columns.attributes.values.length;
    const entriesBefore = columns.attributes.keys.count;
    for (let i = 0; i < events.count; i++) {
      this.#conversion.notes.element = i;
      this.#writeEvent(events.starts[i]!, events.ends[i]!, columns);
    }
    const entries = columns.attributes.keys.count - entriesBefore;
    return columns.attributes.values.length - before + 4 * entries + ELEMENT_FIXED_BYTES * events.count;
  }

  #writeEvent(start: number, end: number, columns: EventColumns): void {
    const { reader, notes, attributes } = this.#conversion;
    let low = 0;
    let high = 0;
    let dropped = 0;
    this.#clear();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x09) {
        reader.fixed64(end);
        low = reader.low;
        high = reader.high;
      } else if (tag === 0x12) readRange(reader, end, this.#name);
      else if (tag === 0x1a) this.#noteAttribute(end);
      else if (tag === 0x20) {
        reader.varint(end);
        dropped = reader.low;
      } else reader.skip(tag, end);
    }
    columns.timestamp.push8(low, high);
    pushText(columns.name, reader.bytes, this.#name.start, this.#name.end, notes, 'events[].name');
    const over = attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, 'events[].attributes');
    columns.droppedAttributes.push4(Math.min(dropped + over, 0xffff_ffff));
  }

  /** Returns the bytes that the elements take in the block. */
  writeLinks(links: RangeList, columns: LinkColumns): number {
    const before = linkBytes(columns);
    const entriesBefore = columns.attributes.keys.count;
    for (let i = 0; i < links.count; i++) {
      this.#conversion.notes.element = i;
      this.#writeLink(links.starts[i]!, links.ends[i]!, columns);
    }
    const entries = columns.attributes.keys.count - entriesBefore;
    return linkBytes(columns) - before + 4 * entries + ELEMENT_FIXED_BYTES * links.count;
  }

  #writeLink(start: number, end: number, columns: LinkColumns): void {
    const { reader, notes, attributes } = this.#conversion;
    const source = reader.bytes;
    let dropped = 0;
    let flags = 0;
    this.#clear();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) readRange(reader, end, this.#trace);
      else if (tag === 0x12) readRange(reader, end, this.#span);
      else if (tag === 0x1a) readRange(reader, end, this.#state);
      else if (tag === 0x22) this.#noteAttribute(end);
      else if (tag === 0x28) {
        reader.varint(end);
        dropped = reader.low;
      } else if (tag === 0x35) flags = reader.fixed32(end);
      else reader.skip(tag, end);
    }
    const { start: traceStart, end: traceEnd } = this.#trace;
    const { start: spanStart, end: spanEnd } = this.#span;
    appendTraceOrSpanId(columns.traceId, source, traceStart, traceEnd, TRACE_ID_BYTES, notes, 'links[].traceId');
    appendTraceOrSpanId(columns.spanId, source, spanStart, spanEnd, SPAN_ID_BYTES, notes, 'links[].spanId');
    pushText(columns.traceState, source, this.#state.start, this.#state.end, notes, 'links[].traceState');
    const over = attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, 'links[].attributes');
    columns.droppedAttributes.push4(Math.min(dropped + over, 0xffff_ffff));
    columns.flags.push4(flags);
  }

  #noteAttribute(end: number): void {
    const { reader } = this.#conversion;
    const entryEnd = reader.fieldEnd(end);
    this.#list.add(reader.pos, entryEnd);
    reader.pos = entryEnd;
  }

  #clear(): void {
    this.#list.clear();
    for (const range of [this.#name, this.#state, this.#trace, this.#span]) {
      range.start = 0;
      range.end = 0;
    }
  }
}

function linkBytes(columns: LinkColumns): number {
  return (
    columns.attributes.values.length +
    columns.traceId.values.length +
    columns.spanId.values.length +
    columns.traceState.values.length
  );
}
