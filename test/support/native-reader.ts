/**
 * One ClickHouse Native block → rows, for judging many small blocks: some hundred times faster than asking the engine.
 * It knows the types of src/tables and checks every length; test/fuzz/native-reader.test.ts holds it to the engine.
 *
 * Cells are those of the oracle (test/corpus/expected-values.ts): 64-bit integers and times as text, Maps as MapEntries.
 */
import { MapEntries, type Row } from '../corpus/expected-values.ts';

export interface NativeBlock {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly Row[];
}

/** Throws when the bytes are not exactly one block. */
export function readNativeBlock(bytes: Uint8Array): NativeBlock {
  const reader = new BlockReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const columnCount = reader.varuint();
  const rowCount = reader.varuint();
  const rows: Row[] = Array.from({ length: rowCount }, () => ({}));
  const columns: { name: string; type: string }[] = [];
  for (let i = 0; i < columnCount; i++) {
    const name = reader.text();
    const type = reader.text();
    columns.push({ name, type });
    readPrefix(reader, type);
    const cells = readCells(reader, type, rowCount);
    for (let row = 0; row < rowCount; row++) (rows[row] as Row)[name] = cells[row];
  }
  reader.end();
  return { columns, rows };
}

class BlockReader {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Where `count` bytes begin; RangeError when there are fewer. */
  take(count: number): number {
    const at = this.at;
    if (at + count > this.bytes.length) throw new RangeError(`the block ends at ${this.bytes.length}, in a value`);
    this.at = at + count;
    return at;
  }

  varuint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.take(1)] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  uint64(): number {
    const value = this.bytes.readBigUInt64LE(this.take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`a count of ${value}`);
    return Number(value);
  }

  text(): string {
    const length = this.varuint();
    const at = this.take(length);
    return this.bytes.toString('utf8', at, at + length);
  }

  list<T>(count: number, read: () => T): T[] {
    // A count is believed only as far as there can be bytes for it.
    if (count > this.bytes.length) throw new RangeError(`${count} values in ${this.bytes.length} bytes`);
    const values: T[] = [];
    for (let i = 0; i < count; i++) values.push(read());
    return values;
  }

  end(): void {
    if (this.at !== this.bytes.length) throw new RangeError(`${this.bytes.length - this.at} bytes after the block`);
  }
}

const MAP = 'Map(LowCardinality(String), String)';
const DICTIONARY = 'LowCardinality(String)';
/** Flags of a LowCardinality part: its own keys (bit 9), dictionary updated (bit 10), low byte: size of an index. */
const DICTIONARY_FLAGS = 0x600;

/** LowCardinality, wherever it is nested, writes its version before all data of the column. */
function readPrefix(reader: BlockReader, type: string): void {
  if (!type.includes('LowCardinality')) return;
  const version = reader.uint64();
  if (version !== 1) throw new RangeError(`dictionary version ${version}`);
}

function readCells(reader: BlockReader, type: string, count: number): unknown[] {
  if (type === DICTIONARY) return readDictionary(reader, count);
  if (type === MAP) return readMaps(reader, count);
  if (type.startsWith('Array(')) return readArrays(reader, type.slice(6, -1), count);
  if (type.startsWith('Nullable(')) {
    const nulls = reader.list(count, () => reader.bytes[reader.take(1)] === 1);
    return readCells(reader, type.slice(9, -1), count).map((cell, i) => (nulls[i] ? null : cell));
  }
  const read = SCALARS[type];
  if (read === undefined) throw new RangeError(`no reader of ${type}`);
  return reader.list(count, () => read(reader));
}

const SCALARS: Readonly<Record<string, (reader: BlockReader) => unknown>> = {
  String: (reader) => reader.text(),
  Bool: (reader) => reader.bytes[reader.take(1)] === 1,
  UInt8: (reader) => reader.bytes[reader.take(1)],
  UInt16: (reader) => reader.bytes.readUInt16LE(reader.take(2)),
  UInt32: (reader) => reader.bytes.readUInt32LE(reader.take(4)),
  Int32: (reader) => reader.bytes.readInt32LE(reader.take(4)),
  UInt64: (reader) => String(reader.bytes.readBigUInt64LE(reader.take(8))),
  Int64: (reader) => String(reader.bytes.readBigInt64LE(reader.take(8))),
  Float64: (reader) => reader.bytes.readDoubleLE(reader.take(8)),
  Date: (reader) => dateText(reader.bytes.readUInt16LE(reader.take(2)) * 86_400_000, 10),
  'DateTime64(3)': (reader) => timeText(reader.bytes.readBigInt64LE(reader.take(8)), 1_000n, 3),
  'DateTime64(9)': (reader) => timeText(reader.bytes.readBigInt64LE(reader.take(8)), 1_000_000_000n, 9),
};

function dateText(ms: number, length: number): string {
  return new Date(ms).toISOString().slice(0, length).replace('T', ' ');
}

function timeText(ticks: bigint, ticksPerSecond: bigint, digits: number): string {
  const fraction = String(ticks % ticksPerSecond).padStart(digits, '0');
  return `${dateText(Number(ticks / ticksPerSecond) * 1_000, 19)}.${fraction}`;
}

function readDictionary(reader: BlockReader, count: number): string[] {
  if (count === 0) return [];
  const flags = reader.uint64();
  const indexBytes = 2 ** (flags & 0xff);
  if ((flags & ~0xff) !== DICTIONARY_FLAGS || indexBytes > 4) throw new RangeError(`dictionary flags ${flags}`);
  const keys = reader.list(reader.uint64(), () => reader.text());
  if (new Set(keys).size !== keys.length) throw new RangeError('a key stands twice in a dictionary');
  const rows = reader.uint64();
  if (rows !== count) throw new RangeError(`a dictionary column of ${rows} values, not ${count}`);
  return reader.list(count, () => {
    const key = keys[reader.bytes.readUIntLE(reader.take(indexBytes), indexBytes)];
    if (key === undefined) throw new RangeError(`an index beyond ${keys.length} keys`);
    return key;
  });
}

/** Ends of the parts of `count` arrays or maps; they never go backwards. */
function readEnds(reader: BlockReader, count: number): number[] {
  let last = 0;
  return reader.list(count, () => {
    const end = reader.uint64();
    if (end < last) throw new RangeError('offsets go backwards');
    last = end;
    return end;
  });
}

function readMaps(reader: BlockReader, count: number): MapEntries[] {
  const ends = readEnds(reader, count);
  const total = ends.at(-1) ?? 0;
  const keys = readDictionary(reader, total);
  const values = reader.list(total, () => reader.text());
  return ends.map((end, i) => {
    const entries: [string, string][] = [];
    for (let at = i === 0 ? 0 : (ends[i - 1] as number); at < end; at++) {
      entries.push([keys[at] as string, values[at] as string]);
    }
    return new MapEntries(entries);
  });
}

function readArrays(reader: BlockReader, type: string, count: number): unknown[][] {
  const ends = readEnds(reader, count);
  const cells = readCells(reader, type, ends.at(-1) ?? 0);
  return ends.map((end, i) => cells.slice(i === 0 ? 0 : ends[i - 1], end));
}
