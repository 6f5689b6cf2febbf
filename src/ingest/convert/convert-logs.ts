/**
 * ExportLogsServiceRequest → rows of `otel_logs`, in one pass over each record (reference otlp.md 4.1, 4.6 and E1–E11).
 *
 * A record is first noted (where its fields stand) and judged, then written: a rejected record leaves nothing to take
 * back. A malformed body throws, and its rows are rolled back whole by the caller.
 */
import { REQUEST_ROW_BYTES_MAX, SLICE_BYTES, SLICE_ROW_BYTES } from '../../base/limits.ts';
import { LOGS } from '../../tables/logs.ts';
import type { ConvertResult, RowOrigin } from '../messages.ts';
import { AnyValueReader } from './any-value.ts';
import { AttributeList, AttributeWriter } from './attributes.ts';
import type { Builder, BuilderSet, ColumnLookup, TableBinding } from './builders.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import { appendTraceOrSpanId, SPAN_ID_BYTES, TRACE_ID_BYTES } from './ids.ts';
import { Notes, type PathNames } from './notes.ts';
import { ProtobufReader } from './protobuf-reader.ts';
import { bindRepeatedColumns, pushText, type RepeatedColumns, ResourceScope } from './resource-scope.ts';

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
    ...bindRepeatedColumns(columns),
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
/** No record grows more than this as text (an empty member of a deep list becomes the marker of 26 bytes). */
const GROWTH_MAX = 14;

export class LogConverter {
  readonly #reader = new ProtobufReader(new Uint8Array(0));
  readonly #notes = new Notes(NAMES);
  readonly #values = new AnyValueReader(this.#reader, this.#notes);
  readonly #attributes = new AttributeWriter(this.#reader, this.#values, this.#notes);
  readonly #resourceScope = new ResourceScope(this.#reader, this.#attributes, this.#notes);
  readonly #list = new AttributeList();
  #accepted = 0;
  #rowBytes = 0;
  #requestSerial = 0;
  #origin!: RowOrigin;
  #receivedAtLow = 0;
  #receivedAtHigh = 0;
  #letter = new Uint8Array(1);

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
  #traceStart = 0;
  #traceEnd = 0;
  #spanStart = 0;
  #spanEnd = 0;
  #eventStart = 0;
  #eventEnd = 0;

  /**
   * Converts `body` into builders of `set`. Yields the bytes of rows so far whenever a slice's worth of work was done;
   * the caller goes on at once or lets the event loop turn. Throws BackworkError `malformed`.
   */
  *convert(body: Uint8Array, origin: RowOrigin, set: BuilderSet): Generator<number, ConvertResult, void> {
    this.#begin(body, origin);
    const reader = this.#reader;
    const end = body.length;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x0a) {
        reader.skip(tag, end);
        continue;
      }
      const resourceEnd = reader.fieldEnd(end);
      this.#notes.resource++;
      yield* this.#convertResource(reader.pos, resourceEnd, set);
      reader.pos = resourceEnd;
    }
    const rejected = this.#notes.rejected;
    const empty = end > 0 && this.#accepted + rejected === 0;
    return { accepted: this.#accepted, rejected, message: this.#notes.message(empty) };
  }

  #begin(body: Uint8Array, origin: RowOrigin): void {
    this.#reader.bytes = body;
    this.#reader.pos = 0;
    this.#notes.reset();
    this.#accepted = 0;
    this.#rowBytes = 0;
    this.#requestSerial++;
    this.#origin = origin;
    const nanoseconds = BigInt(origin.receivedAtMs) * 1_000_000n;
    this.#receivedAtLow = Number(nanoseconds & 0xffff_ffffn);
    this.#receivedAtHigh = Number(nanoseconds >> 32n);
  }

  *#convertResource(start: number, end: number, set: BuilderSet): Generator<number, void, void> {
    const reader = this.#reader;
    this.#notes.scope = -1;
    this.#resourceScope.readResource(start, end);
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x12) {
        reader.skip(tag, end);
        continue;
      }
      const scopeEnd = reader.fieldEnd(end);
      this.#notes.scope++;
      yield* this.#convertScope(reader.pos, scopeEnd, set);
      reader.pos = scopeEnd;
    }
    this.#notes.scope = -1;
  }

  *#convertScope(start: number, end: number, set: BuilderSet): Generator<number, void, void> {
    const reader = this.#reader;
    this.#notes.item = -1;
    this.#resourceScope.readScope(start, end);
    let builder = this.#openBuilder(set);
    let yieldedAt = start;
    let yieldedRowBytes = this.#rowBytes;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x12) {
        reader.skip(tag, end);
        continue;
      }
      const recordEnd = reader.fieldEnd(end);
      const recordStart = reader.pos;
      this.#notes.item++;
      if (set.cuts && set.mustCut(builder)) builder = this.#openBuilder(set);
      this.#convertRecord(recordStart, recordEnd, builder);
      reader.pos = recordEnd;
      if (recordEnd - yieldedAt > SLICE_BYTES || this.#rowBytes - yieldedRowBytes > SLICE_ROW_BYTES) {
        yieldedAt = recordEnd;
        yieldedRowBytes = this.#rowBytes;
        yield this.#rowBytes;
      }
    }
    this.#notes.item = -1;
  }

  /** The builder for this request's rows, with the runs of request, resource and scope begun. */
  #openBuilder(set: BuilderSet): Builder<LogColumns> {
    const origin = this.#origin;
    const builder = set.builderFor(BINDING, origin);
    if (builder.requestSerial !== this.#requestSerial) {
      builder.columns.orgId.pushText(origin.orgId);
      builder.columns.receivedAt.push8(
        origin.receivedAtMs % 0x1_0000_0000,
        Math.floor(origin.receivedAtMs / 0x1_0000_0000),
      );
      builder.beginRun('request');
      builder.requestSerial = this.#requestSerial;
      builder.resourceSerial = -1;
    }
    if (!this.#resourceScope.overBound) this.#resourceScope.write(builder);
    return builder;
  }

  #convertRecord(start: number, end: number, builder: Builder<LogColumns>): void {
    this.#note(start, end);
    const notes = this.#notes;
    if (this.#resourceScope.overBound) {
      return notes.reject('names and schema URLs of resource and scope are over 65,536 bytes together', '');
    }
    // DateTime64(9) ends at 2^63-1 ns (E9).
    if (this.#timeHigh >= 0x8000_0000) return notes.reject('a time is above 2^63-1 ns', 'timeUnixNano');
    if (this.#observedHigh >= 0x8000_0000) return notes.reject('a time is above 2^63-1 ns', 'observedTimeUnixNano');
    const bytesMax = ROW_FIXED_BYTES + 64 + this.#resourceScope.rowBytes + GROWTH_MAX * (end - start);
    if (this.#rowBytes + bytesMax <= REQUEST_ROW_BYTES_MAX) {
      this.#write(builder);
      this.#accepted++;
    } else this.#writeNearLimit(builder);
  }

  /** The row may go over what a request can grow to: it is written, measured, and taken back if so. */
  #writeNearLimit(builder: Builder<LogColumns>): void {
    const rowBytesBefore = this.#rowBytes;
    builder.save();
    this.#write(builder);
    if (this.#rowBytes <= REQUEST_ROW_BYTES_MAX) {
      this.#accepted++;
      return;
    }
    const { requestSerial, resourceSerial } = builder;
    builder.restore();
    builder.requestSerial = requestSerial;
    builder.resourceSerial = resourceSerial;
    this.#rowBytes = rowBytesBefore;
    this.#notes.reject(`the rows of one request are over ${REQUEST_ROW_BYTES_MAX} bytes`, '');
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
    this.#timeLow = this.#timeHigh = this.#observedLow = this.#observedHigh = 0;
    this.#severityNumber = this.#flags = this.#dropped = 0;
    this.#severityStart = this.#severityEnd = this.#bodyStart = this.#bodyEnd = 0;
    this.#traceStart = this.#traceEnd = this.#spanStart = this.#spanEnd = 0;
    this.#eventStart = this.#eventEnd = 0;
  }

  #write(builder: Builder<LogColumns>): void {
    const columns = builder.columns;
    const source = this.#reader.bytes;
    const notes = this.#notes;
    const bytesBefore = variableBytes(columns);
    const entriesBefore = columns.attributes.keys.count;
    this.#writeTimes(columns);
    appendTraceOrSpanId(columns.traceId, source, this.#traceStart, this.#traceEnd, TRACE_ID_BYTES, notes, 'traceId');
    appendTraceOrSpanId(columns.spanId, source, this.#spanStart, this.#spanEnd, SPAN_ID_BYTES, notes, 'spanId');
    columns.traceFlags.push1(this.#flags & 0xff);
    columns.flags.push4(this.#flags);
    pushText(columns.severityText, source, this.#severityStart, this.#severityEnd, notes, 'severityText');
    columns.severityNumber.push4(this.#severityNumber);
    this.#values.readValue(this.#bodyStart, this.#bodyEnd);
    this.#letter[0] = this.#values.appendText(columns.body.values, 'body');
    columns.body.end();
    columns.bodyType.push(this.#letter, 0, 1);
    const dropped = this.#attributes.write(this.#list, columns.attributes, columns.attributesTypes, null, 'attributes');
    columns.droppedAttributes.push4(Math.min(this.#dropped + dropped, 0xffff_ffff));
    pushText(columns.eventName, source, this.#eventStart, this.#eventEnd, notes, 'eventName');
    const variable = variableBytes(columns) - bytesBefore + 4 * (columns.attributes.keys.count - entriesBefore);
    const bytes = ROW_FIXED_BYTES + this.#resourceScope.rowBytes + variable;
    builder.addRow(bytes);
    this.#rowBytes += bytes;
  }

  /** Timestamp: the record's own time, else the time it was observed, else the time of receipt (E7). */
  #writeTimes(columns: LogColumns): void {
    if ((this.#timeLow | this.#timeHigh) !== 0) columns.timestamp.push8(this.#timeLow, this.#timeHigh);
    else if ((this.#observedLow | this.#observedHigh) !== 0) {
      columns.timestamp.push8(this.#observedLow, this.#observedHigh);
    } else columns.timestamp.push8(this.#receivedAtLow, this.#receivedAtHigh);
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
