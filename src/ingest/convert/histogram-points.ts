/** HistogramDataPoint → rows of `otel_metrics_histogram`. */
import { METRICS_HISTOGRAM } from '../../tables/metrics.ts';
import type { ArrayOffsets, NullableFixed8Column } from './array-columns.ts';
import type { TableBinding } from './builder.ts';
import type { FixedColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { bindPoint, type PointColumns, type PointConverter, PointState } from './data-points.ts';
import { bindExemplars, type ExemplarColumns } from './exemplars.ts';
import { bindMetric } from './metric-head.ts';
import { OptionalDouble } from './optional-double.ts';
import { bindRepeatedColumns } from './resource-scope.ts';
import { WordList } from './word-list.ts';

export interface HistogramColumns extends PointColumns {
  readonly count: FixedColumn;
  readonly sum: NullableFixed8Column;
  readonly bucketCounts: FixedColumn;
  readonly bucketOffsets: ArrayOffsets;
  readonly bounds: FixedColumn;
  readonly boundOffsets: ArrayOffsets;
  readonly exemplars: ExemplarColumns;
  readonly exemplarOffsets: ArrayOffsets;
  readonly min: NullableFixed8Column;
  readonly max: NullableFixed8Column;
}

export const HISTOGRAM_BINDING: TableBinding<HistogramColumns> = {
  table: METRICS_HISTOGRAM,
  bind: (columns) => ({
    ...bindRepeatedColumns(columns, 'ScopeDroppedAttrCount'),
    ...bindPoint(columns),
    metric: { ...bindMetric(columns), temporality: columns.fixed('AggregationTemporality') },
    count: columns.fixed('Count'),
    sum: columns.nullable('Sum'),
    bucketCounts: columns.fixed('BucketCounts'),
    bucketOffsets: columns.offsets('BucketCounts'),
    bounds: columns.fixed('ExplicitBounds'),
    boundOffsets: columns.offsets('ExplicitBounds'),
    exemplars: bindExemplars(columns),
    exemplarOffsets: columns.offsets('Exemplars'),
    min: columns.nullable('Min'),
    max: columns.nullable('Max'),
  }),
};

export class HistogramPoints implements PointConverter<HistogramColumns> {
  readonly state: PointState;
  readonly #conversion: Conversion;
  readonly #sum = new OptionalDouble();
  readonly #min = new OptionalDouble();
  readonly #max = new OptionalDouble();
  readonly #counts = new WordList();
  readonly #bounds = new WordList();
  #countLow = 0;
  #countHigh = 0;

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
    this.state = new PointState(conversion);
  }

  note(start: number, end: number): string {
    const { reader } = this.#conversion;
    this.#clear();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (!this.state.readTime(tag, reader, end)) this.#noteField(tag, end);
    }
    const reason = this.state.judge();
    if (reason !== '') return reason;
    this.state.rejectedField = 'bucketCounts';
    const counts = this.#counts.count;
    const bounds = this.#bounds.count;
    if (counts !== bounds + 1 && counts + bounds !== 0) {
      return `a histogram has ${counts} bucket counts and ${bounds} bounds (counts must be bounds + 1, or both 0)`;
    }
    this.state.rejectedField = 'explicitBounds';
    return this.#bounds.strictlyIncreasing ? '' : 'the bounds of a histogram are not strictly increasing';
  }

  #noteField(tag: number, end: number): void {
    const { reader } = this.#conversion;
    switch (tag) {
      case 0x21:
        reader.fixed64(end);
        this.#countLow = reader.low;
        this.#countHigh = reader.high;
        return;
      case 0x29:
        return this.#sum.read(reader, end);
      case 0x31:
        return this.#counts.readFixed64(reader, end);
      case 0x32:
        return this.#counts.readPackedFixed64(reader, end);
      case 0x39:
        return this.#bounds.readFixed64(reader, end);
      case 0x3a:
        return this.#bounds.readPackedFixed64(reader, end);
      case 0x42:
        return this.state.readExemplar(reader, end);
      case 0x4a:
        return this.state.readAttribute(reader, end);
      case 0x50:
        reader.varint(end);
        this.state.flags = reader.low;
        return;
      case 0x59:
        return this.#min.read(reader, end);
      case 0x61:
        return this.#max.read(reader, end);
      default:
        reader.skip(tag, end);
    }
  }

  #clear(): void {
    this.state.clear();
    this.#sum.clear();
    this.#min.clear();
    this.#max.clear();
    this.#counts.clear();
    this.#bounds.clear();
    this.#countLow = this.#countHigh = 0;
  }

  writeRow(columns: HistogramColumns): number {
    const { exemplars, exemplarRanges } = this.state;
    columns.count.push8(this.#countLow, this.#countHigh);
    this.#sum.write(columns.sum);
    this.#min.write(columns.min);
    this.#max.write(columns.max);
    this.#counts.writeTo(columns.bucketCounts);
    columns.bucketOffsets.end(this.#counts.count);
    this.#bounds.writeTo(columns.bounds);
    columns.boundOffsets.end(this.#bounds.count);
    const exemplarBytes = exemplars.write(exemplarRanges, columns.exemplars);
    columns.exemplarOffsets.end(exemplarRanges.count === 0 ? 0 : exemplars.written);
    return this.state.write(columns, exemplarBytes) + 8 * (this.#counts.count + this.#bounds.count);
  }
}
