/** NumberDataPoint → rows of `otel_metrics_gauge` and `otel_metrics_sum`. */
import type { Table } from '../../tables/column.ts';
import type { ArrayOffsets } from './array-columns.ts';
import type { TableBinding } from './builder.ts';
import type { FixedColumn, LowCardinalityColumn } from './column-buffers.ts';
import type { Conversion } from './conversion.ts';
import { bindPoint, type PointColumns, type PointConverter, PointState } from './data-points.ts';
import { bindExemplars, type ExemplarColumns } from './exemplars.ts';
import { bindMetric } from './metric-head.ts';
import { NumberValue } from './number-value.ts';
import { bindRepeatedColumns } from './resource-scope.ts';

export interface NumberColumns extends PointColumns {
  readonly value: FixedColumn;
  readonly valueType: LowCardinalityColumn;
  readonly valueInt: FixedColumn;
  readonly exemplars: ExemplarColumns;
  readonly exemplarOffsets: ArrayOffsets;
}

/** `isSum`: the table has the columns that only Sum has. */
export function numberBinding(table: Table, isSum: boolean): TableBinding<NumberColumns> {
  return {
    table,
    bind: (columns) => ({
      ...bindRepeatedColumns(columns, 'ScopeDroppedAttrCount'),
      ...bindPoint(columns),
      metric: isSum
        ? {
            ...bindMetric(columns),
            temporality: columns.fixed('AggregationTemporality'),
            monotonic: columns.fixed('IsMonotonic'),
          }
        : bindMetric(columns),
      value: columns.fixed('Value'),
      valueType: columns.lowCardinality('ValueType'),
      valueInt: columns.fixed('ValueInt'),
      exemplars: bindExemplars(columns),
      exemplarOffsets: columns.offsets('Exemplars'),
    }),
  };
}

const NO_RECORDED_VALUE = 1;

export class NumberPoints implements PointConverter<NumberColumns> {
  readonly state: PointState;
  readonly #conversion: Conversion;
  readonly #value = new NumberValue();

  constructor(conversion: Conversion) {
    this.#conversion = conversion;
    this.state = new PointState(conversion);
  }

  note(start: number, end: number): string {
    const { reader } = this.#conversion;
    const state = this.state;
    state.clear();
    this.#value.clear();
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (state.readTime(tag, reader, end)) continue;
      if (tag === 0x3a) state.readAttribute(reader, end);
      else if (tag === 0x21) this.#value.readDouble(reader, end);
      else if (tag === 0x31) this.#value.readInt(reader, end);
      else if (tag === 0x2a) state.readExemplar(reader, end);
      else if (tag === 0x40) {
        reader.varint(end);
        state.flags = reader.low;
      } else reader.skip(tag, end);
    }
    const reason = state.judge();
    if (reason !== '') return reason;
    state.rejectedField = 'value';
    const missing = this.#value.isNone && (state.flags & NO_RECORDED_VALUE) === 0;
    return missing ? 'a number point has no value, and its flags do not say so' : '';
  }

  writeRow(columns: NumberColumns): number {
    const { exemplars, exemplarRanges } = this.state;
    const exemplarBytes = exemplars.write(exemplarRanges, columns.exemplars);
    columns.exemplarOffsets.end(exemplarRanges.count === 0 ? 0 : exemplars.written);
    this.#value.write(columns.value, columns.valueType, columns.valueInt);
    return this.state.write(columns, exemplarBytes);
  }
}
