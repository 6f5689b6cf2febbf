/**
 * ExportMetricsServiceRequest → rows of the five metric tables, a row a data point (reference otlp.md 4.3, 4.6 and E2).
 *
 *   Metric ─► MetricHead (a run of level `metric`) ─► points of its kind ─► a row each of that kind's table
 */
import { SLICE_BYTES } from '../../base/limits.ts';
import { METRICS_GAUGE, METRICS_SUM } from '../../tables/metrics.ts';
import type { ConvertResult, RowOrigin } from '../messages.ts';
import type { Builder, TableBinding } from './builder.ts';
import type { BuilderSet } from './builders.ts';
import { Conversion, type ItemConverter } from './conversion.ts';
import type { PointColumns, PointConverter } from './data-points.ts';
import { EXPONENTIAL_HISTOGRAM_BINDING, ExponentialHistogramPoints } from './exponential-histogram-points.ts';
import { HISTOGRAM_BINDING, HistogramPoints } from './histogram-points.ts';
import { MetricHead } from './metric-head.ts';
import type { PathNames } from './notes.ts';
import { NumberPoints, numberBinding } from './number-points.ts';
import { SUMMARY_BINDING, SummaryPoints } from './summary-points.ts';

const NAMES: PathNames = {
  resource: 'resourceMetrics',
  scope: 'scopeMetrics',
  item: 'metrics',
  itemNoun: 'data point',
};

/** One member of Metric.data: where its points go, and the builder that takes them in this scope. */
interface Kind<Columns extends PointColumns> {
  readonly name: string;
  readonly binding: TableBinding<Columns>;
  readonly points: PointConverter<Columns>;
  builder: Builder<Columns> | undefined;
}

export class MetricConverter implements ItemConverter {
  readonly #conversion = new Conversion(NAMES);
  readonly #head = new MetricHead(this.#conversion);
  /** By the tag of the member; each kind's columns are its own, which this list forgets. */
  readonly #kinds: ReadonlyMap<number, Kind<never>>;

  constructor() {
    const conversion = this.#conversion;
    const numbers = new NumberPoints(conversion);
    this.#kinds = new Map<number, Kind<never>>([
      [0x2a, kind('gauge', numberBinding(METRICS_GAUGE, false), numbers)],
      [0x3a, kind('sum', numberBinding(METRICS_SUM, true), numbers)],
      [0x4a, kind('histogram', HISTOGRAM_BINDING, new HistogramPoints(conversion))],
      [0x52, kind('exponentialHistogram', EXPONENTIAL_HISTOGRAM_BINDING, new ExponentialHistogramPoints(conversion))],
      [0x5a, kind('summary', SUMMARY_BINDING, new SummaryPoints(conversion))],
    ]);
  }

  /** As Conversion.run. */
  convertRequest(body: Uint8Array, origin: RowOrigin, set: BuilderSet): Generator<number, ConvertResult, void> {
    return this.#conversion.run(body, origin, set, this);
  }

  beginScope(): void {
    for (const one of this.#kinds.values()) one.builder = undefined;
  }

  convert(start: number, end: number): void {
    for (const _ of this.convertInSteps(start, end)) {
      // Metrics up to a slice are converted in one go.
    }
  }

  /** A metric may hold the points of a whole request: between two slices of them the caller may pause. */
  *convertInSteps(start: number, end: number): Generator<void, void, void> {
    this.#head.read(start, end);
    const found = this.#kinds.get(this.#head.dataTag);
    if (found === undefined) return;
    const { data } = this.#head;
    const { notes } = this.#conversion;
    notes.part = found.name;
    for (let i = 0; i < data.count; i++) yield* this.#convertPoints(found, data.starts[i]!, data.ends[i]!);
    notes.point = -1;
  }

  *#convertPoints(found: Kind<never>, start: number, end: number): Generator<void, void, void> {
    const { reader, notes } = this.#conversion;
    reader.pos = start;
    let pausedAt = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== 0x0a) {
        reader.skip(tag, end);
        continue;
      }
      const pointEnd = reader.fieldEnd(end);
      notes.point++;
      this.#convertPoint(found, reader.pos, pointEnd);
      reader.pos = pointEnd;
      if (pointEnd - pausedAt > SLICE_BYTES) {
        pausedAt = pointEnd;
        yield;
      }
    }
  }

  #convertPoint<Columns extends PointColumns>(found: Kind<Columns>, start: number, end: number): void {
    const { points } = found;
    const reason = points.note(start, end);
    if (this.#conversion.rejectedOverBound(1)) return;
    if (reason !== '') return this.#conversion.notes.reject(reason, points.state.rejectedField);
    found.builder = this.#conversion.openItems(found.binding, found.builder);
    this.#head.write(found.builder);
    this.#conversion.repeatedRowBytes += this.#head.rowBytes;
    points.state.metadataDropped = this.#head.dropped;
    this.#conversion.addRow(found.builder, points, end - start);
  }
}

function kind<Columns extends PointColumns>(
  name: string,
  binding: TableBinding<Columns>,
  points: PointConverter<Columns>,
): Kind<never> {
  const made: Kind<Columns> = { name, binding, points, builder: undefined };
  // Columns are only ever handed from a kind's own builder to its own points.
  return made as unknown as Kind<never>;
}
