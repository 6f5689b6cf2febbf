/**
 * ExportLogsServiceRequest → rows of `otel_logs`, in one pass over each record (reference otlp.md 4.1, 4.6 and E1–E11).
 *
 * A record is first noted (where its fields stand) and judged, then written: a rejected record leaves nothing to take
 * back. A malformed body throws, and its rows are rolled back whole by the caller.
 */
import { LOGS } from '../../tables/logs.ts';
import type { ConvertResult, RowOrigin } from '../messages.ts';
import { AttributeList } from './attributes.ts';
import type { Builder, TableBinding } from './builder.ts';
import type { BuilderSet } from './builders.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import { Conversion, type ItemConverter, type RowWriter } from './conversion.ts';
import { appendTraceOrSpanId, SPAN_ID_BYTES, TRACE_ID_BYTES } from './ids.ts';
import type { PathNames } from './notes.ts';
import { RangeList } from './range-list.ts';
import { bindRepeatedColumns, pushText, type RepeatedColumns } from './resource-scope.ts';
import type { ColumnLookup } from './table-buffers.ts';

const NAMES: PathNames = {
  resource: 'resourceLogs',
  scope: 'scopeLogs',
  item: 'logRecords',
  itemNoun: 'log record',
};

interface LogColumns extends RepeatedColumns {
  readonly timestamp: FixedColumn;
  readonly observedTimestamp: FixedColumn;
  readonly traceId: StringColumn;
  readonly spanId: StringColumn;
  readonly traceFlags: FixedColumn;
  readonly flags: FixedColumn;
  readonly severityText: LowCardinalityColumn;
  readonly severityNumber: FixedColumn;
  readonly body: StringColumn;
  readonly bodyType: LowCardinalityColumn;
  readonly attributes: MapColumn;
  readonly attributesTypes: LowCardinalityColumn;
  readonly droppedAttributes: FixedColumn;
  readonly eventName: StringColumn;
}

const BINDING: TableBinding<LogColumns> = {
  table: LOGS,
  bind: (columns: ColumnLookup) => ({
    ...bindRepeatedColumns(columns, 'ScopeDroppedAttributesCount'),
    timestamp: columns.fixed('Timestamp'),
    observedTimestamp: columns.fixed('ObservedTimestamp'),
    traceId: columns.string('TraceId'),
    spanId: columns.string('SpanId'),
    traceFlags: columns.fixed('TraceFlags'),
    flags: columns.fixed('Flags'),
    severityText: columns.lowCardinality('SeverityText'),
    severityNumber: columns.fixed('SeverityNumber'),
    body: columns.string('Body'),
    bodyType: columns.lowCardinality('BodyType'),
    attributes: columns.map('LogAttributes'),
    attributesTypes: columns.lowCardinality('LogAttributesTypes'),
    droppedAttributes: columns.fixed('DroppedAttributesCount'),
    eventName: columns.string('EventName'),
  }),
};

/** The fixed-width columns of a row, tenancy's included, with 4-byte indexes for every LowCardinality. */
const ROW_FIXED_BYTES = 74;

export class LogConverter implements ItemConverter, RowWriter<LogColumns> {
  readonly #conversion = new Conversion(NAMES);
  readonly #reader = this.#conversion.reader;
  readonly #list = new AttributeList();
  readonly #letter = new Uint8Array(1);
  #builder: Builder<LogColumns> | undefined;

  // The record noted last: words of times, ranges of texts.
  #timeLow = 0;
  #timeHigh = 0;
  #observedLow = 0;
  #observedHigh = 0;
  #severityNumber = 0;
  #flags = 0;
  #dropped = 0;
  #severityStart = 0;
  #severityEnd = 0;
  #bodyStart = 0;
  #bodyEnd = 0;
  /** Bodies sent before that one: protobuf merges them. */
  readonly #earlierBodies = new RangeList();
  #traceStart = 0;
  #traceEnd = 0;
  #spanStart = 0;
  #spanEnd = 0;
  #eventStart = 0;
  #eventEnd = 0;

  /** As Conversion.run. */
  convertRequest(body: Uint8Array, origin: RowOrigin, set: BuilderSet): Generator<number, ConvertResult, void> {
    return this.#conversion.run(body, origin, set, this);
  }

  beginScope(): void {
    this.#builder = undefined;
  }

  convert(start: number, end: number): void {
    const { notes } = this.#conversion;
    this.#note(start, end);
    if (this.#conversion.rejectedOverBound(1)) return;
    // DateTime64(9) ends at 2^63-1 ns (E9).
    if (this.#timeHigh >= 0x8000_0000) return notes.reject('a time is above 2^63-1 ns', 'timeUnixNano');
    if (this.#observedHigh >= 0x8000_0000) return notes.reject('a time is above 2^63-1 ns', 'observedTimeUnixNano');
    this.#builder = this.#conversion.openItems(BINDING, this.#builder);
    this.#conversion.addRow(this.#builder, this, end - start);
  }

  #note(start: number, end: number): void {
    const reader = this.#reader;
    this.#clearRecord();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      switch (tag) {
        case 0x09:
          reader.fixed64(end);
          this.#timeLow = reader.low;
          this.#timeHigh = reader.high;
          break;
        case 0x59:
          reader.fixed64(end);
          this.#observedLow = reader.low;
          this.#observedHigh = reader.high;
          break;
        case 0x10:
          reader.varint(end);
          this.#severityNumber = reader.low;
          break;
        case 0x45:
          this.#flags = reader.fixed32(end);
          break;
        case 0x38:
          reader.varint(end);
          this.#dropped = reader.low;
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
    reader.pos = fieldEnd;
    switch (tag) {
      case 0x32:
        return this.#list.add(fieldStart, fieldEnd);
      case 0x2a:
        if (this.#bodyEnd !== 0) this.#earlierBodies.add(this.#bodyStart, this.#bodyEnd);
        this.#bodyStart = fieldStart;
        this.#bodyEnd = fieldEnd;
        return;
      case 0x1a:
        this.#severityStart = fieldStart;
        this.#severityEnd = fieldEnd;
        return;
      case 0x4a:
        this.#traceStart = fieldStart;
        this.#traceEnd = fieldEnd;
        return;
      case 0x52:
        this.#spanStart = fieldStart;
        this.#spanEnd = fieldEnd;
        return;
      case 0x62:
        this.#eventStart = fieldStart;
        this.#eventEnd = fieldEnd;
        return;
    }
  }

  #clearRecord(): void {
    this.#list.clear();
    this.#earlierBodies.clear();
    this.#timeLow = this.#timeHigh = this.#observedLow = this.#observedHigh = 0;
    this.#severityNumber = this.#flags = this.#dropped = 0;
    this.#severityStart = this.#severityEnd = this.#bodyStart = this.#bodyEnd = 0;
    this.#traceStart = this.#traceEnd = this.#spanStart = this.#spanEnd = 0;
    this.#eventStart = this.#eventEnd = 0;
  }

  writeRow(columns: LogColumns): number {
    const { notes, values, attributes } = this.#conversion;
    const source = this.#reader.bytes;
    const bytesBefore = variableBytes(columns);
    const entriesBefore = columns.attributes.keys.count;
    this.#writeTimes(columns);
    appendTraceOrSpanId(columns.traceId, source, this.#traceStart, this.#traceEnd, TRACE_ID_BYTES, notes, 'traceId');
    appendTraceOrSpanId(columns.spanId, source, this.#spanStart, this.#spanEnd, SPAN_ID_BYTES, notes, 'spanId');
    columns.traceFlags.push1(this.#flags & 0xff);
    columns.flags.push4(this.#flags);
    pushText(columns.severityText, source, this.#severityStart, this.#severityEnd, notes, 'severityText');
    columns.severityNumber.push4(this.#severityNumber);
    values.readValue(this.#bodyStart, this.#bodyEnd, this.#earlierBodies);
    this.#letter[0] = values.appendText(columns.body.values, 'body');
    columns.body.end();
    columns.bodyType.push(this.#letter, 0, 1);
    const dropped = attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, 'attributes');
    columns.droppedAttributes.push4(Math.min(this.#dropped + dropped, 0xffff_ffff));
    pushText(columns.eventName, source, this.#eventStart, this.#eventEnd, notes, 'eventName');
    const entries = columns.attributes.keys.count - entriesBefore;
    return ROW_FIXED_BYTES + variableBytes(columns) - bytesBefore + 4 * entries;
  }

  /** Timestamp: the record's own time, else the time it was observed, else the time of receipt (E7). */
  #writeTimes(columns: LogColumns): void {
    if ((this.#timeLow | this.#timeHigh) !== 0) columns.timestamp.push8(this.#timeLow, this.#timeHigh);
    else if ((this.#observedLow | this.#observedHigh) !== 0) {
      columns.timestamp.push8(this.#observedLow, this.#observedHigh);
    } else {
      columns.timestamp.push8(this.#conversion.receivedAtLow, this.#conversion.receivedAtHigh);
    }
    columns.observedTimestamp.push8(this.#observedLow, this.#observedHigh);
  }
}

/** What the columns of variable length of level `row` hold. */
function variableBytes(columns: LogColumns): number {
  return (
    columns.body.values.length +
    columns.attributes.values.length +
    columns.eventName.values.length +
    columns.traceId.values.length +
    columns.spanId.values.length
  );
}
