/** The buffers of a table's columns, and typed access to them by name for the converter that writes to the table. */
import type { BufferKind, Column } from '../../tables/column.ts';
import { ArrayColumn, ArrayOffsets, NullableFixed8Column } from './array-columns.ts';
import { type ColumnBuffer, FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';

/** Asked once when a builder is made, never for a row. Each throws when the column is of another kind. */
export interface ColumnLookup {
  fixed(name: string): FixedColumn;
  nullable(name: string): NullableFixed8Column;
  string(name: string): StringColumn;
  lowCardinality(name: string): LowCardinalityColumn;
  /** A string column of either kind: tables differ in which texts are LowCardinality. */
  text(name: string): StringColumn | LowCardinalityColumn;
  map(name: string): MapColumn;
  /** Offsets of an Array column, or of all arrays of a Nested one: `Events`, `BucketCounts`. */
  offsets(name: string): ArrayOffsets;
}

/** One for each column; null for columns of level `batch`, which hold one value for the block. */
export function makeTableBuffers(columns: readonly Column[]): readonly (ColumnBuffer | null)[] {
  const shared = new Map<string, ArrayOffsets>();
  return columns.map((column) => {
    if (column.level === 'batch') return null;
    const element = ELEMENT[column.kind];
    if (element === undefined) return makeBuffer(column.kind, column.level !== 'row');
    const nested = nestedName(column.name);
    const offsets = shared.get(nested) ?? new ArrayOffsets();
    shared.set(nested, offsets);
    return new ArrayColumn(makeBuffer(element, false), offsets);
  });
}

const ELEMENT: Partial<Record<BufferKind, BufferKind>> = {
  arrayFixed4: 'fixed4',
  arrayFixed8: 'fixed8',
  arrayString: 'string',
  arrayLc: 'lc',
  arrayMap: 'map',
};

function makeBuffer(kind: BufferKind, repeated: boolean): ColumnBuffer {
  switch (kind) {
    case 'fixed1':
      return new FixedColumn(1);
    case 'fixed4':
      return new FixedColumn(4);
    case 'fixed8':
      return new FixedColumn(8);
    case 'nullableFixed8':
      return new NullableFixed8Column();
    case 'string':
      return new StringColumn(repeated);
    case 'lc':
      return new LowCardinalityColumn();
    case 'map':
      return new MapColumn(repeated);
    default:
      throw new Error(`columns of kind ${kind} have no buffer of their own`);
  }
}

/** `Events` of `Events.Timestamp`; the name itself of an Array column that stands alone. */
function nestedName(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? name : name.slice(0, dot);
}

export function lookupIn(columns: readonly Column[], buffers: readonly (ColumnBuffer | null)[]): ColumnLookup {
  /** The buffer that takes values: of an array, that of its elements. */
  function find<B extends ColumnBuffer>(name: string, type: new (...args: never[]) => B): B {
    const buffer = buffers[columns.findIndex((column) => column.name === name)];
    const values = buffer instanceof ArrayColumn ? buffer.inner : buffer;
    if (values instanceof type) return values;
    throw new Error(`column ${name} is not a ${type.name}`);
  }
  return {
    fixed: (name) => find(name, FixedColumn),
    nullable: (name) => find(name, NullableFixed8Column),
    string: (name) => find(name, StringColumn),
    lowCardinality: (name) => find(name, LowCardinalityColumn),
    text: (name) => {
      const column = columns.find((one) => one.name === name);
      return column?.kind === 'lc' ? find(name, LowCardinalityColumn) : find(name, StringColumn);
    },
    map: (name) => find(name, MapColumn),
    offsets: (name) => {
      const at = columns.findIndex((column) => nestedName(column.name) === name);
      const buffer = buffers[at];
      if (buffer instanceof ArrayColumn) return buffer.offsets;
      throw new Error(`column ${name} is not an Array`);
    },
  };
}
