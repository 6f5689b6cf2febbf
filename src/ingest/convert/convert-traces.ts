/**
 * ExportTraceServiceRequest → rows of `otel_traces`, and one row a trace and request of `otel_traces_trace_id_ts`
 * (reference otlp.md 4.2, 4.6 and E1, E6, E8, E9).
 *
 * A span is first noted and judged, its events and links included, then written: a rejected span leaves nothing.
 */
import { TRACES } from '../../tables/traces.ts';
import type { ConvertResult, RowOrigin } from '../messages.ts';
import type { ArrayOffsets } from './array-columns.ts';
import { AttributeList } from './attributes.ts';
import type { Builder, TableBinding } from './builder.ts';
import type { BuilderSet } from './builders.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import { Conversion, type ItemConverter, type RowWriter } from './conversion.ts';
import { appendTraceOrSpanId, isValidId, SPAN_ID_BYTES, TRACE_ID_BYTES } from './ids.ts';
import type { PathNames } from './notes.ts';
import { RangeList } from './range-list.ts';
import { bindRepeatedColumns, pushText, type RepeatedColumns } from './resource-scope.ts';
import { type EventColumns, type LinkColumns, SpanChildren } from './span-children.ts';
import type { ColumnLookup } from './table-buffers.ts';
import { TraceTimes } from './trace-times.ts';

const NAMES: PathNames = { resource: 'resourceSpans', scope: 'scopeSpans', item: 'spans', itemNoun: 'span' };

interface SpanColumns extends RepeatedColumns {
  readonly timestamp: FixedColumn;
  readonly endTimestamp: FixedColumn;
  readonly traceId: StringColumn;
  readonly spanId: StringColumn;
  readonly parentSpanId: StringColumn;
  readonly traceState: StringColumn;
  readonly name: LowCardinalityColumn;
  readonly kind: LowCardinalityColumn;
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly droppedAttributes: FixedColumn;
  readonly duration: FixedColumn;
  readonly statusCode: LowCardinalityColumn;
  readonly statusMessage: StringColumn;
  readonly flags: FixedColumn;
  readonly events: EventColumns;
  readonly eventOffsets: ArrayOffsets;
  readonly droppedEvents: FixedColumn;
  readonly links: LinkColumns;
  readonly linkOffsets: ArrayOffsets;
  readonly droppedLinks: FixedColumn;
}

const BINDING: TableBinding<SpanColumns> = {
  table: TRACES,
  bind: (columns: ColumnLookup) => ({
    ...bindRepeatedColumns(columns, 'ScopeDroppedAttributesCount'),
    timestamp: columns.fixed('Timestamp'),
    endTimestamp: columns.fixed('EndTimestamp'),
    traceId: columns.string('TraceId'),
    spanId: columns.string('SpanId'),
    parentSpanId: columns.string('ParentSpanId'),
    traceState: columns.string('TraceState'),
    name: columns.lowCardinality('SpanName'),
    kind: columns.lowCardinality('SpanKind'),
    attributes: columns.map('SpanAttributes'),
    attributesTypes: columns.lowCardinality('SpanAttributesTypes'),
    droppedAttributes: columns.fixed('DroppedAttributesCount'),
    duration: columns.fixed('Duration'),
    statusCode: columns.lowCardinality('StatusCode'),
    statusMessage: columns.string('StatusMessage'),
    flags: columns.fixed('Flags'),
    events: {
      timestamp: columns.fixed('Events.Timestamp'),
      name: columns.lowCardinality('Events.Name'),
      attributes: columns.map('Events.Attributes'),
      attributesTypes: columns.lowCardinality('Events.AttributesTypes'),
      droppedAttributes: columns.fixed('Events.DroppedAttributesCount'),
    },
    eventOffsets: columns.offsets('Events'),
    droppedEvents: columns.fixed('DroppedEventsCount'),
    links: {
      traceId: columns.string('Links.TraceId'),
      spanId: columns.string('Links.SpanId'),
      traceState: columns.string('Links.TraceState'),
      attributes: columns.map('Links.Attributes'),
      attributesTypes: columns.lowCardinality('Links.AttributesTypes'),
      droppedAttributes: columns.fixed('Links.DroppedAttributesCount'),
      flags: columns.fixed('Links.Flags'),
    },
    linkOffsets: columns.offsets('Links'),
    droppedLinks: columns.fixed('DroppedLinksCount'),
  }),
};

/** As the exporter writes them; a number without a name is written as the number (E8). */
const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'];
const STATUS_CODES = ['Unset', 'Ok', 'Error'];

/** The fixed-width columns of a row, tenancy's and the 12 offsets of arrays included. */
const ROW_FIXED_BYTES = 200;

export class TraceConverter implements ItemConverter, RowWriter<SpanColumns> {
  readonly #conversion = new Conversion(NAMES);
  readonly #reader = this.#conversion.reader;
  readonly #list = new AttributeList();
  readonly #events = new RangeList();
  readonly #links = new RangeList();
  readonly #children = new SpanChildren(this.#conversion);
  readonly #times = new TraceTimes(this.#conversion);
  #builder: Builder<SpanColumns> | undefined;

  // The span noted last: words of times, ranges of texts and ids.
  #startLow = 0;
  #startHigh = 0;
  #endLow = 0;
  #endHigh = 0;
  #kind = 0;
  #flags = 0;
  #dropped = 0;
  #droppedEvents = 0;
  #droppedLinks = 0;
  #statusCode = 0;
  /** Starts and ends, by the names below. */
  readonly #ranges = new Uint32Array(2 * RANGE_COUNT);

  /** As Conversion.run. */
  convertRequest(body: Uint8Array, origin: RowOrigin, set: BuilderSet): Generator<number, ConvertResult, void> {
    this.#times.clear();
    return this.#conversion.run(body, origin, set, this);
  }

  beginScope(): void {
    this.#builder = undefined;
  }

  endRequest(): Generator<void, void, void> {
    return this.#times.write();
  }

  convert(start: number, end: number): void {
    this.#note(start, end);
    if (this.#conversion.rejectedOverBound(1) || this.#rejected()) return;
    this.#builder = this.#conversion.openItems(BINDING, this.#builder);
    if (this.#conversion.addRow(this.#builder, this, end - start)) {
      this.#times.add(this.#builder.columns.traceId, this.#startLow, this.#startHigh);
    }
  }

  /** A span without valid ids, or with a time that DateTime64(9) cannot hold, leaves no row (E1, E9). */
  #rejected(): boolean {
    const { notes } = this.#conversion;
    const ranges = this.#ranges;
    const source = this.#reader.bytes;
    if (!isValidId(source, ranges[TRACE]!, ranges[TRACE + 1]!, TRACE_ID_BYTES)) {
      notes.reject('a trace_id is not 16 bytes, or all zero', 'traceId');
    } else if (!isValidId(source, ranges[SPAN]!, ranges[SPAN + 1]!, SPAN_ID_BYTES)) {
      notes.reject('a span_id is not 8 bytes, or all zero', 'spanId');
    } else if (!isParentLength(ranges[PARENT + 1]! - ranges[PARENT]!)) {
      notes.reject('a parent_span_id is neither empty nor 8 bytes', 'parentSpanId');
    } else if (this.#startHigh >= 0x8000_0000) {
      notes.reject('a time is above 2^63-1 ns', 'startTimeUnixNano');
    } else if (this.#endHigh >= 0x8000_0000) {
      notes.reject('a time is above 2^63-1 ns', 'endTimeUnixNano');
    } else if (this.#children.anyEventTimeTooLarge(this.#events)) {
      notes.reject('a time is above 2^63-1 ns', 'events[].timeUnixNano');
    } else return false;
    return true;
  }

  #note(start: number, end: number): void {
    const reader = this.#reader;
    this.#clearSpan();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      switch (tag) {
        case 0x39:
          reader.fixed64(end);
          this.#startLow = reader.low;
          this.#startHigh = reader.high;
          break;
        case 0x41:
          reader.fixed64(end);
          this.#endLow = reader.low;
          this.#endHigh = reader.high;
          break;
        case 0x30:
          reader.varint(end);
          this.#kind = reader.low;
          break;
        case 0x50:
          reader.varint(end);
          this.#dropped = reader.low;
          break;
        case 0x60:
          reader.varint(end);
          this.#droppedEvents = reader.low;
          break;
        case 0x70:
          reader.varint(end);
          this.#droppedLinks = reader.low;
          break;
        case 0x85:
          this.#flags = reader.fixed32(end);
          break;
        default:
          this.#noteRange(tag, end);
      }
    }
  }

  /** Length-delimited fields; anything else is unknown and skipped. */
  #noteRange(tag: number, end: number): void {
    const reader = this.#reader;
    if ((tag & 7) !== 2) return reader.skip(tag, end);
    const fieldEnd = reader.fieldEnd(end);
    const fieldStart = reader.pos;
    switch (tag) {
      case 0x4a:
        this.#list.add(fieldStart, fieldEnd);
        break;
      case 0x5a:
        this.#events.add(fieldStart, fieldEnd);
        break;
      case 0x6a:
        this.#links.add(fieldStart, fieldEnd);
        break;
      case 0x7a:
        this.#noteStatus(fieldStart, fieldEnd);
        break;
      default: {
        const range = RANGE_OF_TAG[tag] ?? -1;
        if (range >= 0) {
          this.#ranges[range] = fieldStart;
          this.#ranges[range + 1] = fieldEnd;
        }
      }
    }
    reader.pos = fieldEnd;
  }

  #noteStatus(start: number, end: number): void {
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x12) {
        const messageEnd = reader.fieldEnd(end);
        this.#ranges[STATUS_MESSAGE] = reader.pos;
        this.#ranges[STATUS_MESSAGE + 1] = messageEnd;
        reader.pos = messageEnd;
      } else if (tag === 0x18) {
        reader.varint(end);
        this.#statusCode = reader.low;
      } else reader.skip(tag, end);
    }
  }

  #clearSpan(): void {
    this.#list.clear();
    this.#events.clear();
    this.#links.clear();
    this.#ranges.fill(0);
    this.#startLow = this.#startHigh = this.#endLow = this.#endHigh = 0;
    this.#kind = this.#flags = this.#statusCode = 0;
    this.#dropped = this.#droppedEvents = this.#droppedLinks = 0;
  }

  writeRow(columns: SpanColumns): number {
    const { notes, attributes } = this.#conversion;
    const source = this.#reader.bytes;
    const ranges = this.#ranges;
    const bytesBefore = variableBytes(columns);
    const entriesBefore = columns.attributes.keys.count;
    this.#writeTimes(columns);
    appendTraceOrSpanId(columns.traceId, source, ranges[TRACE]!, ranges[TRACE + 1]!, TRACE_ID_BYTES, notes, 'traceId');
    appendTraceOrSpanId(columns.spanId, source, ranges[SPAN]!, ranges[SPAN + 1]!, SPAN_ID_BYTES, notes, 'spanId');
    // An all-zero parent is no parent.
    const parent = columns.parentSpanId;
    appendTraceOrSpanId(parent, source, ranges[PARENT]!, ranges[PARENT + 1]!, SPAN_ID_BYTES, notes, 'parentSpanId');
    pushText(columns.traceState, source, ranges[STATE]!, ranges[STATE + 1]!, notes, 'traceState');
    pushText(columns.name, source, ranges[NAME]!, ranges[NAME + 1]!, notes, 'name');
    columns.kind.pushName(KINDS, this.#kind);
    columns.statusCode.pushName(STATUS_CODES, this.#statusCode);
    const message = columns.statusMessage;
    pushText(message, source, ranges[STATUS_MESSAGE]!, ranges[STATUS_MESSAGE + 1]!, notes, 'status.message');
    columns.flags.push4(this.#flags);
    const dropped = attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, 'attributes');
    columns.droppedAttributes.push4(Math.min(this.#dropped + dropped, 0xffff_ffff));
    const childBytes = this.#writeChildren(columns);
    const entries = columns.attributes.keys.count - entriesBefore;
    return ROW_FIXED_BYTES + variableBytes(columns) - bytesBefore + 4 * entries + childBytes;
  }

  #writeChildren(columns: SpanColumns): number {
    let bytes = 0;
    if (this.#events.count > 0) bytes += this.#children.writeEvents(this.#events, columns.events);
    if (this.#links.count > 0) bytes += this.#children.writeLinks(this.#links, columns.links);
    columns.eventOffsets.end(this.#events.count);
    columns.linkOffsets.end(this.#links.count);
    columns.droppedEvents.push4(this.#droppedEvents);
    columns.droppedLinks.push4(this.#droppedLinks);
    return bytes;
  }

  /** Duration is never negative: a span that ends before it starts has 0, and keeps its end (E9). */
  #writeTimes(columns: SpanColumns): void {
    const { notes } = this.#conversion;
    columns.timestamp.push8(this.#startLow, this.#startHigh);
    columns.endTimestamp.push8(this.#endLow, this.#endHigh);
    const borrow = this.#endLow < this.#startLow ? 1 : 0;
    const high = this.#endHigh - this.#startHigh - borrow;
    if (high < 0) {
      notes.warn('endBeforeStart', 'endTimeUnixNano');
      columns.duration.push8(0, 0);
    } else columns.duration.push8((this.#endLow - this.#startLow) >>> 0, high);
  }
}

/** Positions in #ranges. */
const TRACE = 0;
const SPAN = 2;
const PARENT = 4;
const STATE = 6;
const NAME = 8;
const STATUS_MESSAGE = 10;
const RANGE_COUNT = 6;
const RANGE_OF_TAG: Readonly<Record<number, number>> = { 10: TRACE, 18: SPAN, 26: STATE, 34: PARENT, 42: NAME };

function isParentLength(bytes: number): boolean {
  return bytes === 0 || bytes === SPAN_ID_BYTES;
}

/** What the columns of variable length of level `row` hold. */
function variableBytes(columns: SpanColumns): number {
  return (
    columns.attributes.values.length +
    columns.traceId.values.length +
    columns.spanId.values.length +
    columns.parentSpanId.values.length +
    columns.traceState.values.length +
    columns.statusMessage.values.length
  );
}
