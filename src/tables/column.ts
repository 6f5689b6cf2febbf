/**
 * A column exists once: its name, its ClickHouse type, how often its value changes, and what buffer holds it. DDL, block
 * headers, INSERTs and tests derive from the lists in this folder.
 */

/**
 * Which buffer of convert/column-buffers.ts holds the values.
 * fixedN: N bytes little-endian a value; lc: LowCardinality(String); map: Map(LowCardinality(String), String);
 * nullableFixed8: Nullable of an 8-byte type; array…: Array of that kind, with offsets of its own.
 */
export type BufferKind =
  | 'fixed1'
  | 'fixed2'
  | 'fixed4'
  | 'fixed8'
  | 'string'
  | 'lc'
  | 'map'
  | 'nullableFixed8'
  | 'arrayFixed4'
  | 'arrayFixed8'
  | 'arrayString'
  | 'arrayLc'
  | 'arrayMap';

/**
 * How often a value changes. `batch`: one value for the block, known when it is encoded. `request`, `resource`, `scope`,
 * `metric`: written once, repeated for every row beneath when the block is encoded. `row`: a value a row.
 */
export type ColumnLevel = 'batch' | 'request' | 'resource' | 'scope' | 'metric' | 'row';

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly kind: BufferKind;
  readonly level: ColumnLevel;
  /** Compression codec of the DDL, e.g. `Delta(8), ZSTD(1)`. */
  readonly codec: string;
}

/** A column that ClickHouse computes; it never stands in a block. */
export interface DerivedColumn {
  readonly name: string;
  readonly type: string;
  /** `MATERIALIZED …` or `ALIAS …`. */
  readonly expression: string;
}

export interface Index {
  readonly name: string;
  readonly expression: string;
  readonly type: string;
}

export interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly derived: readonly DerivedColumn[];
  readonly indexes: readonly Index[];
  readonly orderBy: string;
}

const ZSTD = 'ZSTD(1)';
const TIME = 'Delta(8), ZSTD(1)';
const MAP = 'Map(LowCardinality(String), String)';

type Make = (name: string, level?: ColumnLevel) => Column;

function maker(type: string, kind: BufferKind, codec: string): Make {
  return (name, level = 'row') => ({ name, type, kind, level, codec });
}

export const bool: Make = maker('Bool', 'fixed1', ZSTD);
export const uint8: Make = maker('UInt8', 'fixed1', ZSTD);
export const uint16: Make = maker('UInt16', 'fixed2', ZSTD);
export const uint32: Make = maker('UInt32', 'fixed4', ZSTD);
export const int32: Make = maker('Int32', 'fixed4', ZSTD);
export const uint64: Make = maker('UInt64', 'fixed8', ZSTD);
export const int64: Make = maker('Int64', 'fixed8', ZSTD);
export const float64: Make = maker('Float64', 'fixed8', ZSTD);
export const nullableFloat64: Make = maker('Nullable(Float64)', 'nullableFixed8', ZSTD);
export const date: Make = maker('Date', 'fixed2', ZSTD);
/** Milliseconds since the epoch. */
export const time3: Make = maker('DateTime64(3)', 'fixed8', TIME);
/** Nanoseconds since the epoch, below 2^63. */
export const time9: Make = maker('DateTime64(9)', 'fixed8', TIME);
export const string: Make = maker('String', 'string', ZSTD);
export const lowCardinality: Make = maker('LowCardinality(String)', 'lc', ZSTD);
export const attributes: Make = maker(MAP, 'map', ZSTD);
export const arrayOfUint64: Make = maker('Array(UInt64)', 'arrayFixed8', ZSTD);
export const arrayOfFloat64: Make = maker('Array(Float64)', 'arrayFixed8', ZSTD);

const ARRAY_KIND: Partial<Record<BufferKind, BufferKind>> = {
  fixed4: 'arrayFixed4',
  fixed8: 'arrayFixed8',
  string: 'arrayString',
  lc: 'arrayLc',
  map: 'arrayMap',
};

/**
 * The subcolumns of a Nested column, as the arrays they are stored as (`Events.Name Array(LowCardinality(String))`).
 * A block must hold all of them (code 190 otherwise), so a Nested column is complete from the first schema version on.
 */
export function nested(name: string, columns: readonly Column[]): readonly Column[] {
  return columns.map((column) => {
    const kind = ARRAY_KIND[column.kind];
    if (kind === undefined) throw new Error(`${name}.${column.name}: no array of ${column.kind}`);
    return { name: `${name}.${column.name}`, type: `Array(${column.type})`, kind, level: 'row', codec: ZSTD };
  });
}

/** First in every table: whose row it is, when it goes, and which batch brought it (architecture section 5). */
export const TENANCY: readonly Column[] = [
  lowCardinality('OrgId', 'request'),
  lowCardinality('Placement', 'batch'),
  uint16('RetentionDays', 'batch'),
  date('ExpiresOn', 'batch'),
  time3('ReceivedAt', 'request'),
  uint64('BatchId', 'batch'),
];

/** In every table: R7 asks by BatchId, so asking must not read the partition. */
export const TENANCY_INDEXES: readonly Index[] = [minmax('BatchId')];

export function minmax(column: string): Index {
  return { name: `idx_${snake(column)}`, expression: column, type: 'minmax' };
}

export function bloom(column: string, falsePositives = 0.001): Index {
  return { name: `idx_${snake(column)}`, expression: column, type: `bloom_filter(${falsePositives})` };
}

/** Bloom filters on the keys and on the values of a Map. */
export function bloomMap(column: string): readonly Index[] {
  return [
    { name: `idx_${snake(column)}_keys`, expression: `mapKeys(${column})`, type: 'bloom_filter(0.01)' },
    { name: `idx_${snake(column)}_values`, expression: `mapValues(${column})`, type: 'bloom_filter(0.01)' },
  ];
}

function snake(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toLowerCase();
}
