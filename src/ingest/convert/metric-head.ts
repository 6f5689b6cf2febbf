/**
 * What a Metric says of all its points: name, description, unit, metadata, temporality, monotonicity. Written once as a run
 * of level `metric`; it counts against the bound on what is repeated, together with resource and scope (E11).
 */
import { ATTRIBUTES_PER_LIST_MAX } from '../../base/limits.ts';
import { AttributeList } from './attributes.ts';
import type { Builder } from './builder.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { type Range, readRange } from './protobuf-reader.ts';
import { RangeList } from './range-list.ts';
import { pushText, type RepeatedColumns } from './resource-scope.ts';
import type { ColumnLookup } from './table-buffers.ts';

export interface MetricColumns extends RepeatedColumns {
  readonly metric: {
    readonly name: LowCardinalityColumn;
    readonly description: StringColumn;
    readonly unit: StringColumn;
    readonly metadata: MapColumn;
    readonly metadataTypes: LowCardinalityColumn;
    /** Not in every table. */
    readonly temporality?: FixedColumn;
    readonly monotonic?: FixedColumn;
  };
}

export function bindMetric(columns: ColumnLookup): MetricColumns['metric'] {
  return {
    name: columns.lowCardinality('MetricName'),
    description: columns.string('MetricDescription'),
    unit: columns.string('MetricUnit'),
    metadata: columns.map('MetricMetadata'),
    metadataTypes: columns.lowCardinality('MetricMetadataTypes'),
  };
}

/** The fixed-width columns and prefixes of a metric in one row; rounded up. */
const RUN_FIXED_BYTES = 40;

export class MetricHead {
  /** Metadata attributes that were dropped; counted in each row (reference otlp.md 4.6). */
  dropped = 0;
  /** Bytes that the metric's columns take in one row of a block. */
  rowBytes = 0;
  temporality = 0;
  monotonic = 0;
  /** The member of `data` that counts, the last one: its tag, 0 for none, and its parts (a member sent twice is merged). */
  dataTag = 0;
  readonly data = new RangeList();
  readonly #conversion: Conversion;
  readonly #name: Range = { start: 0, end: 0 };
  readonly #description: Range = { start: 0, end: 0 };
  readonly #unit: Range = { start: 0, end: 0 };
  readonly #list = new AttributeList();
  readonly #skip = new Uint8Array(ATTRIBUTES_PER_LIST_MAX);
  #serial = 0;

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
  }

  /** Reads everything but the points of a Metric, and applies the bound on what is repeated. */
  read(start: number, end: number): void {
    const { reader } = this.#conversion;
    this.#clear();
    reader.pos = start;
    let wireBytes = 0;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) readRange(reader, end, this.#name);
      else if (tag === 0x12) readRange(reader, end, this.#description);
      else if (tag === 0x1a) readRange(reader, end, this.#unit);
      else if (tag === 0x62) {
        const entryEnd = reader.fieldEnd(end);
        wireBytes += entryEnd - reader.pos;
        this.#list.add(reader.pos, entryEnd);
        reader.pos = entryEnd;
      } else if (isData(tag)) {
        if (tag !== this.dataTag) this.data.clear();
        this.dataTag = tag;
        const partEnd = reader.fieldEnd(end);
        this.data.add(reader.pos, partEnd);
        reader.pos = partEnd;
      } else reader.skip(tag, end);
    }
    for (let i = 0; i < this.data.count; i++) this.#readData(this.data.starts[i]!, this.data.ends[i]!);
    const textBytes = bytesOf(this.#name) + bytesOf(this.#description) + bytesOf(this.#unit);
    const { resourceScope } = this.#conversion;
    resourceScope.applyBound({ list: this.#list, skip: this.#skip, textBytes, wireBytes: wireBytes + textBytes });
  }

  /** Fields 2 and 3 of Sum, Histogram and ExponentialHistogram; Gauge and Summary have none there. */
  #readData(start: number, end: number): void {
    const { reader } = this.#conversion;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x10) {
        reader.varint(end);
        this.temporality = reader.low;
      } else if (tag === 0x18) {
        reader.varint(end);
        this.monotonic = (reader.low | reader.high) === 0 ? 0 : 1;
      } else reader.skip(tag, end);
    }
  }

  #clear(): void {
    for (const range of [this.#name, this.#description, this.#unit]) range.start = range.end = 0;
    this.data.clear();
    this.#list.clear();
    this.#skip.fill(0);
    this.#serial++;
    this.dataTag = 0;
    this.temporality = 0;
    this.monotonic = 0;
  }

  /** Writes the metric's run where it is not the builder's open one. */
  write(builder: Builder<MetricColumns>): void {
    if (builder.metricSerial === this.#serial) return;
    const { attributes, notes, reader } = this.#conversion;
    const source = reader.bytes;
    const { metric } = builder.columns;
    const { point } = notes;
    notes.point = -1;
    const valuesBefore = metric.metadata.values.length;
    const entriesBefore = metric.metadata.keys.count;
    pushText(metric.name, source, this.#name.start, this.#name.end, notes, 'name');
    pushText(metric.description, source, this.#description.start, this.#description.end, notes, 'description');
    pushText(metric.unit, source, this.#unit.start, this.#unit.end, notes, 'unit');
    this.dropped = attributes.write(this.#list, metric.metadata, metric.metadataTypes, this.#skip, 'metadata');
    notes.point = point;
    metric.temporality?.push4(this.temporality);
    metric.monotonic?.push1(this.monotonic);
    builder.beginRun('metric');
    builder.metricSerial = this.#serial;
    const mapBytes = metric.metadata.values.length - valuesBefore + 4 * (metric.metadata.keys.count - entriesBefore);
    this.rowBytes = mapBytes + bytesOf(this.#description) + bytesOf(this.#unit) + RUN_FIXED_BYTES;
  }
}

function isData(tag: number): boolean {
  return tag === 0x2a || tag === 0x3a || tag === 0x4a || tag === 0x52 || tag === 0x5a;
}

function bytesOf(range: Range): number {
  return range.end - range.start;
}
