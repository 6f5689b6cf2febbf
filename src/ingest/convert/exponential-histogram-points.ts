/** ExponentialHistogramDataPoint → rows of `otel_metrics_exponential_histogram`. */
import { METRICS_EXPONENTIAL_HISTOGRAM } from '../../tables/metrics.ts';
import type { ArrayOffsets, NullableFixed8Column } from './array-columns.ts';
import type { TableBinding } from './builder.ts';
import type { FixedColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { bindPoint, type PointColumns, type PointConverter, PointState } from './data-points.ts';
import { bindExemplars, type ExemplarColumns } from './exemplars.ts';
import { bindMetric } from './metric-head.ts';
import { OptionalDouble } from './optional-double.ts';
import type { ProtobufReader } from './protobuf-reader.ts';
import { bindRepeatedColumns } from './resource-scope.ts';
import { WordList } from './word-list.ts';

export interface ExponentialHistogramColumns extends PointColumns {
  readonly count: FixedColumn;
  readonly sum: NullableFixed8Column;
  readonly scale: FixedColumn;
  readonly zeroCount: FixedColumn;
  readonly zeroThreshold: FixedColumn;
  readonly positiveOffset: FixedColumn;
  readonly positiveCounts: FixedColumn;
  readonly positiveOffsets: ArrayOffsets;
  readonly negativeOffset: FixedColumn;
  readonly negativeCounts: FixedColumn;
  readonly negativeOffsets: ArrayOffsets;
  readonly exemplars: ExemplarColumns;
  readonly exemplarOffsets: ArrayOffsets;
  readonly min: NullableFixed8Column;
  readonly max: NullableFixed8Column;
}

export const EXPONENTIAL_HISTOGRAM_BINDING: TableBinding<ExponentialHistogramColumns> = {
  table: METRICS_EXPONENTIAL_HISTOGRAM,
  bind: (columns) => ({
    ...bindRepeatedColumns(columns, 'ScopeDroppedAttrCount'),
    ...bindPoint(columns),
    metric: { ...bindMetric(columns), temporality: columns.fixed('AggregationTemporality') },
    count: columns.fixed('Count'),
    sum: columns.nullable('Sum'),
    scale: columns.fixed('Scale'),
    zeroCount: columns.fixed('ZeroCount'),
    zeroThreshold: columns.fixed('ZeroThreshold'),
    positiveOffset: columns.fixed('PositiveOffset'),
    positiveCounts: columns.fixed('PositiveBucketCounts'),
    positiveOffsets: columns.offsets('PositiveBucketCounts'),
    negativeOffset: columns.fixed('NegativeOffset'),
    negativeCounts: columns.fixed('NegativeBucketCounts'),
    negativeOffsets: columns.offsets('NegativeBucketCounts'),
    exemplars: bindExemplars(columns),
    exemplarOffsets: columns.offsets('Exemplars'),
    min: columns.nullable('Min'),
    max: columns.nullable('Max'),
  }),
};

export class ExponentialHistogramPoints implements PointConverter<ExponentialHistogramColumns> {
  readonly state: PointState;
  readonly #conversion: Conversion;
  readonly #sum = new OptionalDouble();
  readonly #min = new OptionalDouble();
  readonly #max = new OptionalDouble();
  readonly #positive = new Buckets();
  readonly #negative = new Buckets();
  #scale = 0;
  /** Words of count, zero_count and zero_threshold. */
  readonly #words = new Uint32Array(6);

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
    return this.state.judge();
  }

  #noteField(tag: number, end: number): void {
    const { reader } = this.#conversion;
    switch (tag) {
      case 0x0a:
        return this.state.readAttribute(reader, end);
      case 0x21:
        return this.#readWords(COUNT, end);
      case 0x29:
        return this.#sum.read(reader, end);
      case 0x30:
        reader.varint(end);
        this.#scale = zigzag(reader.low);
        return;
      case 0x39:
        return this.#readWords(ZERO_COUNT, end);
      case 0x42:
        return this.#positive.read(reader, end);
      case 0x4a:
        return this.#negative.read(reader, end);
      case 0x50:
        reader.varint(end);
        this.state.flags = reader.low;
        return;
      case 0x5a:
        return this.state.readExemplar(reader, end);
      case 0x61:
        return this.#min.read(reader, end);
      case 0x69:
        return this.#max.read(reader, end);
      case 0x71:
        return this.#readWords(ZERO_THRESHOLD, end);
      default:
        reader.skip(tag, end);
    }
  }

  #readWords(at: number, end: number): void {
    const { reader } = this.#conversion;
    reader.fixed64(end);
    this.#words[at] = reader.low;
    this.#words[at + 1] = reader.high;
  }

  #clear(): void {
    this.state.clear();
    this.#sum.clear();
    this.#min.clear();
    this.#max.clear();
    this.#positive.clear();
    this.#negative.clear();
    this.#words.fill(0);
    this.#scale = 0;
  }

  writeRow(columns: ExponentialHistogramColumns): number {
    const { exemplars, exemplarRanges } = this.state;
    const words = this.#words;
    columns.count.push8(words[COUNT]!, words[COUNT + 1]!);
    this.#sum.write(columns.sum);
    this.#min.write(columns.min);
    this.#max.write(columns.max);
    columns.scale.push4(this.#scale);
    columns.zeroCount.push8(words[ZERO_COUNT]!, words[ZERO_COUNT + 1]!);
    columns.zeroThreshold.push8(words[ZERO_THRESHOLD]!, words[ZERO_THRESHOLD + 1]!);
    this.#positive.write(columns.positiveOffset, columns.positiveCounts, columns.positiveOffsets);
    this.#negative.write(columns.negativeOffset, columns.negativeCounts, columns.negativeOffsets);
    const exemplarBytes = exemplars.write(exemplarRanges, columns.exemplars);
    columns.exemplarOffsets.end(exemplarRanges.count === 0 ? 0 : exemplars.written);
    const buckets = this.#positive.counts.count + this.#negative.counts.count;
    return this.state.write(columns, exemplarBytes) + 8 * buckets;
  }
}

/** Positions in #words. */
const COUNT = 0;
const ZERO_COUNT = 2;
const ZERO_THRESHOLD = 4;

class Buckets {
  readonly counts = new WordList();
  #offset = 0;

  clear(): void {
    this.counts.clear();
    this.#offset = 0;
  }

  read(reader: ProtobufReader, outerEnd: number): void {
    const end = reader.fieldEnd(outerEnd);
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x08) {
        reader.varint(end);
        this.#offset = zigzag(reader.low);
      } else if (tag === 0x10) this.counts.readVarint(reader, end);
      else if (tag === 0x12) this.counts.readPackedVarint(reader, end);
      else reader.skip(tag, end);
    }
  }

  write(offset: FixedColumn, counts: FixedColumn, offsets: ArrayOffsets): void {
    offset.push4(this.#offset);
    this.counts.writeTo(counts);
    offsets.end(this.counts.count);
  }
}

/** sint32. */
function zigzag(word: number): number {
  return (word >>> 1) ^ -(word & 1);
}
