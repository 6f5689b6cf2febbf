/** SummaryDataPoint → rows of `otel_metrics_summary`. */
import { METRICS_SUMMARY } from '../../tables/metrics.ts';
import type { ArrayOffsets } from './array-columns.ts';
import type { TableBinding } from './builder.ts';
import type { FixedColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { bindPoint, type PointColumns, type PointConverter, PointState } from './data-points.ts';
import { bindMetric } from './metric-head.ts';
import type { ProtobufReader } from './protobuf-reader.ts';
import { bindRepeatedColumns } from './resource-scope.ts';
import { WordList } from './word-list.ts';

export interface SummaryColumns extends PointColumns {
  readonly count: FixedColumn;
  readonly sum: FixedColumn;
  readonly quantiles: FixedColumn;
  readonly values: FixedColumn;
  readonly quantileOffsets: ArrayOffsets;
}

export const SUMMARY_BINDING: TableBinding<SummaryColumns> = {
  table: METRICS_SUMMARY,
  bind: (columns) => ({
    ...bindRepeatedColumns(columns, 'ScopeDroppedAttrCount'),
    ...bindPoint(columns),
    metric: bindMetric(columns),
    count: columns.fixed('Count'),
    sum: columns.fixed('Sum'),
    quantiles: columns.fixed('ValueAtQuantiles.Quantile'),
    values: columns.fixed('ValueAtQuantiles.Value'),
    quantileOffsets: columns.offsets('ValueAtQuantiles'),
  }),
};

export class SummaryPoints implements PointConverter<SummaryColumns> {
  readonly state: PointState;
  readonly #conversion: Conversion;
  readonly #quantiles = new WordList();
  readonly #values = new WordList();
  /** Words of count and sum. */
  readonly #words = new Uint32Array(4);

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
    this.state = new PointState(conversion);
  }

  note(start: number, end: number): string {
    const { reader } = this.#conversion;
    const state = this.state;
    state.clear();
    this.#quantiles.clear();
    this.#values.clear();
    this.#words.fill(0);
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (state.readTime(tag, reader, end)) continue;
      if (tag === 0x3a) state.readAttribute(reader, end);
      else if (tag === 0x21) this.#readWords(0, end);
      else if (tag === 0x29) this.#readWords(2, end);
      else if (tag === 0x32) this.#readQuantile(reader, end);
      else if (tag === 0x40) {
        reader.varint(end);
        state.flags = reader.low;
      } else reader.skip(tag, end);
    }
    return state.judge();
  }

  #readWords(at: number, end: number): void {
    const { reader } = this.#conversion;
    reader.fixed64(end);
    this.#words[at] = reader.low;
    this.#words[at + 1] = reader.high;
  }

  /** One ValueAtQuantile: both lists get one value each, 0 for what is absent. */
  #readQuantile(reader: ProtobufReader, outerEnd: number): void {
    const end = reader.fieldEnd(outerEnd);
    let quantileLow = 0;
    let quantileHigh = 0;
    let valueLow = 0;
    let valueHigh = 0;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x09) {
        reader.fixed64(end);
        quantileLow = reader.low;
        quantileHigh = reader.high;
      } else if (tag === 0x11) {
        reader.fixed64(end);
        valueLow = reader.low;
        valueHigh = reader.high;
      } else reader.skip(tag, end);
    }
    this.#quantiles.push(quantileLow, quantileHigh);
    this.#values.push(valueLow, valueHigh);
  }

  writeRow(columns: SummaryColumns): number {
    const words = this.#words;
    columns.count.push8(words[0]!, words[1]!);
    columns.sum.push8(words[2]!, words[3]!);
    this.#quantiles.writeTo(columns.quantiles);
    this.#values.writeTo(columns.values);
    columns.quantileOffsets.end(this.#quantiles.count);
    return this.state.write(columns, 0) + 16 * this.#quantiles.count;
  }
}
