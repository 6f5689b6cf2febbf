/**
 * Earliest and latest start of each trace of a request → rows of `otel_traces_trace_id_ts`, one a trace and request. The
 * lookup is written with the spans, so it expires with them and needs no materialized view.
 */
import { TRACE_ID_TS } from '../../tables/traces.ts';
import type { Builder, TableBinding } from './builder.ts';
import type { FixedColumn, StringColumn } from './column-buffers.ts';
import type { Conversion, RequestColumns } from './conversion.ts';
import { Dictionary } from './dictionary.ts';

interface TraceTimesColumns extends RequestColumns {
  readonly traceId: StringColumn;
  readonly start: FixedColumn;
  readonly end: FixedColumn;
}

const BINDING: TableBinding<TraceTimesColumns> = {
  table: TRACE_ID_TS,
  bind: (columns) => ({
    orgId: columns.lowCardinality('OrgId'),
    receivedAt: columns.fixed('ReceivedAt'),
    traceId: columns.string('TraceId'),
    start: columns.fixed('Start'),
    end: columns.fixed('End'),
  }),
};

/** A row of the lookup in the block: 33 of the id, 16 of the times, 25 of tenancy; rounded up. */
const ROW_BYTES = 80;
const HEX_BYTES = 32;
/** 0.1 µs each: 3 ms. */
const ROWS_PER_SLICE = 32_768;
/** Words a trace: low and high of the earliest start, then of the latest. */
const WORDS = 4;

export class TraceTimes {
  readonly #conversion: Conversion;
  /** Hex trace ids of this request; an index is a trace. */
  readonly #traces = new Dictionary();
  #words = new Uint32Array(WORDS * 64);
  #previous = -1;

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
  }

  clear(): void {
    this.#traces.clear();
    this.#previous = -1;
  }

  /** A span that was accepted: its trace id is the last value of the column. */
  add(traceIds: StringColumn, low: number, high: number): void {
    const { bytes, length } = traceIds.values;
    const start = length - HEX_BYTES;
    const known = this.#traces.count;
    const previous = this.#previous;
    // Spans of one trace mostly follow each other.
    const same = previous >= 0 && this.#traces.matches(previous, bytes, start, length);
    const trace = same ? previous : this.#traces.lookup(bytes, start, length);
    this.#previous = trace;
    const at = WORDS * trace;
    if (trace === known) this.#begin(at, low, high);
    else this.#widen(at, low, high);
  }

  #begin(at: number, low: number, high: number): void {
    if (at === this.#words.length) {
      const grown = new Uint32Array(2 * at);
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words.set([low, high, low, high], at);
    this.#conversion.reserveBytes(ROW_BYTES);
  }

  #widen(at: number, low: number, high: number): void {
    const words = this.#words;
    if (isLess(low, high, words[at]!, words[at + 1]!)) {
      words[at] = low;
      words[at + 1] = high;
    }
    if (isLess(words[at + 2]!, words[at + 3]!, low, high)) {
      words[at + 2] = low;
      words[at + 3] = high;
    }
  }

  /** One row for each trace, in the order in which they were first seen. Yields after each slice of them. */
  *write(): Generator<void, void, void> {
    const words = this.#words;
    const keys = this.#traces.keys.bytes;
    let builder: Builder<TraceTimesColumns> | undefined;
    for (let trace = 0; trace < this.#traces.count; trace++) {
      builder = this.#conversion.open(BINDING, builder);
      const { columns } = builder;
      // The dictionary's keys have the column's form: a length prefix of one byte, and 32 digits.
      const at = (1 + HEX_BYTES) * trace;
      columns.traceId.values.append(keys.subarray(at, at + 1 + HEX_BYTES));
      columns.traceId.end();
      columns.start.push8(words[WORDS * trace]!, words[WORDS * trace + 1]!);
      columns.end.push8(words[WORDS * trace + 2]!, words[WORDS * trace + 3]!);
      builder.addRow(ROW_BYTES);
      if (trace % ROWS_PER_SLICE === ROWS_PER_SLICE - 1) yield;
    }
  }
}

function isLess(lowA: number, highA: number, lowB: number, highB: number): boolean {
  return highA < highB || (highA === highB && lowA < lowB);
}
