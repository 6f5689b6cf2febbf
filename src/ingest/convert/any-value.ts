/**
 * AnyValue and KeyValue: reading them, and their text (reference otlp.md 4.6). A value's outermost type is one letter:
 * s string, i int, d double, b bool, a array, m kvlist, x bytes, n empty. Nested values are compact JSON.
 *
 * Of members of a oneof the last one counts; a message that is sent in several parts (an array, a kvlist, the AnyValue of
 * a key) is merged, as protobuf merges messages. Its parts stay where they are: the list of them is the slow path.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { VALUE_DEPTH_MAX } from '../../base/limits.ts';
import type { Notes } from './notes.ts';
import type { ProtobufReader } from './protobuf-reader.ts';
import { RangeList } from './range-list.ts';
import { appendBase64, appendDouble, appendInt64, appendJsonString, appendString } from './text.ts';

/** Tags of AnyValue's members (number × 8 + wire type). */
const STRING = 0x0a;
const BOOL = 0x10;
const INT = 0x18;
const DOUBLE = 0x21;
const ARRAY = 0x2a;
const KVLIST = 0x32;
const BYTES = 0x3a;
const STRINDEX = 0x40;

const LETTER = {
  s: 0x73,
  i: 0x69,
  d: 0x64,
  b: 0x62,
  a: 0x61,
  m: 0x6d,
  x: 0x78,
  n: 0x6e,
} as const;

/** No parts before the one that is given. */
const NONE = new RangeList();

const MARKER = `"<nested deeper than ${VALUE_DEPTH_MAX}>"`;

const doubleWords = new Uint32Array(2);
const doubleValue = new Float64Array(doubleWords.buffer);

export function doubleOf(low: number, high: number): number {
  doubleWords[0] = low;
  doubleWords[1] = high;
  return doubleValue[0]!;
}

export class AnyValueReader {
  /** Range of the key of the KeyValue read last. */
  keyStart = 0;
  keyEnd = 0;
  /** Range of its AnyValue, the last one of them; 0 when there is none. The others: #earlierValues. */
  #valueStart = 0;
  #valueEnd = 0;
  readonly #earlierValues = new RangeList();
  /** Content of the last length-delimited member of the AnyValue read last; of an array or kvlist, its last part. */
  #start = 0;
  #end = 0;
  readonly #earlierParts = new RangeList();
  readonly #reader: ProtobufReader;
  readonly #notes: Notes;
  readonly #json = new ByteWriter(1024);
  #kind = 0;
  #low = 0;
  #high = 0;

  constructor(reader: ProtobufReader, notes: Notes) {
    this.#reader = reader;
    this.#notes = notes;
  }

  /** Finds key and value. `field` names the list of KeyValues in warnings; '' when they were given, or will be. */
  readKeyValue(start: number, end: number, field: string): void {
    const reader = this.#reader;
    reader.pos = start;
    this.keyStart = this.keyEnd = 0;
    this.#valueStart = this.#valueEnd = 0;
    this.#earlierValues.clear();
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) {
        this.keyEnd = reader.fieldEnd(end);
        this.keyStart = reader.pos;
        reader.pos = this.keyEnd;
      } else if (tag === 0x12) {
        if (this.#valueEnd !== 0) this.#earlierValues.add(this.#valueStart, this.#valueEnd);
        this.#valueEnd = reader.fieldEnd(end);
        this.#valueStart = reader.pos;
        reader.pos = this.#valueEnd;
      } else {
        reader.skip(tag, end);
        if (tag === 0x18 && field !== '') this.#notes.warn('strindex', `${field}.keyStrindex`);
      }
    }
  }

  /** As `readValue`, of the KeyValue read last. */
  readValueOfKey(): void {
    this.readValue(this.#valueStart, this.#valueEnd, this.#earlierValues);
  }

  /** Finds the member that counts of the AnyValue in this range, whose parts before it are `earlier`. */
  readValue(start: number, end: number, earlier: RangeList): void {
    this.#kind = 0;
    this.#earlierParts.clear();
    for (let i = 0; i < earlier.count; i++) this.#readMembers(earlier.starts[i]!, earlier.ends[i]!);
    this.#readMembers(start, end);
  }

  #readMembers(start: number, end: number): void {
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      switch (tag) {
        case STRING:
        case ARRAY:
        case KVLIST:
        case BYTES:
          if (this.#kind !== 0) this.#anotherMember(tag);
          this.#end = reader.fieldEnd(end);
          this.#start = reader.pos;
          reader.pos = this.#end;
          this.#kind = tag;
          break;
        case BOOL:
        case INT:
        case STRINDEX:
          reader.varint(end);
          this.#low = reader.low;
          this.#high = reader.high;
          this.#kind = tag;
          break;
        case DOUBLE:
          reader.fixed64(end);
          this.#low = reader.low;
          this.#high = reader.high;
          this.#kind = tag;
          break;
        default:
          reader.skip(tag, end);
      }
    }
  }

  /** A member comes after another: it is one more part of the same array or kvlist, or it takes the other's place. */
  #anotherMember(tag: number): void {
    if (this.#kind !== tag) this.#earlierParts.clear();
    else if (tag === ARRAY || tag === KVLIST) this.#earlierParts.add(this.#start, this.#end);
  }

  /** Bytes of the string, bytes, array or kvlist read last, as protobuf; 0 for the other kinds. */
  get contentBytes(): number {
    const kind = this.#kind;
    if (kind !== STRING && kind !== ARRAY && kind !== KVLIST && kind !== BYTES) return 0;
    const parts = this.#earlierParts;
    let bytes = this.#end - this.#start;
    for (let i = 0; i < parts.count; i++) bytes += parts.ends[i]! - parts.starts[i]!;
    return bytes;
  }

  /** Appends the value read last as a ClickHouse String (length prefix, text) and returns its letter. */
  appendText(out: ByteWriter, field: string): number {
    switch (this.#kind) {
      case STRING:
        if (!appendString(out, this.#reader.bytes, this.#start, this.#end)) this.#notes.warn('utf8', field);
        return LETTER.s;
      case INT:
      case DOUBLE:
      case BOOL:
        return this.#appendShort(out);
      case BYTES:
        this.#json.clear();
        appendBase64(this.#json, this.#reader.bytes, this.#start, this.#end);
        this.#flush(out);
        return LETTER.x;
      case ARRAY:
      case KVLIST: {
        const letter = this.#kind === ARRAY ? LETTER.a : LETTER.m;
        this.#json.clear();
        this.#appendJson(0, field);
        this.#flush(out);
        return letter;
      }
      default:
        if (this.#kind === STRINDEX) this.#notes.warn('strindex', field);
        out.byte(0);
        return LETTER.n;
    }
  }

  #flush(out: ByteWriter): void {
    out.varuint(this.#json.length);
    out.append(this.#json.view());
  }

  /** Texts below 128 bytes: the prefix is one byte, set when the length is known. */
  #appendShort(out: ByteWriter): number {
    const at = out.length;
    out.byte(0);
    let letter: number = LETTER.b;
    if (this.#kind === INT) {
      appendInt64(out, this.#low, this.#high);
      letter = LETTER.i;
    } else if (this.#kind === DOUBLE) {
      appendDouble(out, doubleOf(this.#low, this.#high));
      letter = LETTER.d;
    } else out.ascii((this.#low | this.#high) === 0 ? 'false' : 'true');
    out.bytes[at] = out.length - at - 1;
    return letter;
  }

  /** JSON of the value read last; `depth` counts the arrays and kvlists around it, and bounds the recursion. */
  #appendJson(depth: number, field: string): void {
    const out = this.#json;
    switch (this.#kind) {
      case STRING:
        if (!appendJsonString(out, this.#reader.bytes, this.#start, this.#end)) this.#notes.warn('utf8', field);
        return;
      case BOOL:
        return out.ascii((this.#low | this.#high) === 0 ? 'false' : 'true');
      case INT:
        return appendInt64(out, this.#low, this.#high);
      case DOUBLE:
        return appendJsonDouble(out, doubleOf(this.#low, this.#high));
      case BYTES:
        out.byte(0x22);
        appendBase64(out, this.#reader.bytes, this.#start, this.#end);
        return out.byte(0x22);
      case ARRAY:
      case KVLIST:
        if (depth < VALUE_DEPTH_MAX) return this.#appendJsonList(this.#kind === KVLIST, depth, field);
        this.#notes.warn('nested', field);
        return out.ascii(MARKER);
      default:
        if (this.#kind === STRINDEX) this.#notes.warn('strindex', field);
        out.ascii('null');
    }
  }

  #appendJsonList(keyed: boolean, depth: number, field: string): void {
    const out = this.#json;
    const parts = this.#earlierParts;
    const start = this.#start;
    const end = this.#end;
    out.byte(keyed ? 0x7b : 0x5b);
    let first = true;
    if (parts.count > 0) {
      // A copy: the values inside are read into the same list.
      const starts = parts.starts.slice(0, parts.count);
      const ends = parts.ends.slice(0, parts.count);
      for (let i = 0; i < starts.length; i++) {
        first = this.#appendJsonElements(starts[i]!, ends[i]!, keyed, depth, field, first);
      }
    }
    this.#appendJsonElements(start, end, keyed, depth, field, first);
    out.byte(keyed ? 0x7d : 0x5d);
  }

  /** Returns whether the next element is still the first. */
  #appendJsonElements(
    start: number,
    end: number,
    keyed: boolean,
    depth: number,
    field: string,
    isFirst: boolean,
  ): boolean {
    const out = this.#json;
    const reader = this.#reader;
    let next = start;
    let first = isFirst;
    while (next < end) {
      reader.pos = next;
      const tag = reader.tag(end);
      if (tag !== 0x0a) {
        reader.skip(tag, end);
        next = reader.pos;
        continue;
      }
      const itemEnd = reader.fieldEnd(end);
      const itemStart = reader.pos;
      next = itemEnd;
      if (!first) out.byte(0x2c);
      first = false;
      if (keyed) this.#appendJsonMember(itemStart, itemEnd, depth, field);
      else {
        this.readValue(itemStart, itemEnd, NONE);
        this.#appendJson(depth + 1, field);
      }
    }
    return first;
  }

  #appendJsonMember(start: number, end: number, depth: number, field: string): void {
    this.readKeyValue(start, end, field);
    if (!appendJsonString(this.#json, this.#reader.bytes, this.keyStart, this.keyEnd)) this.#notes.warn('utf8', field);
    this.#json.byte(0x3a);
    this.readValueOfKey();
    this.#appendJson(depth + 1, field);
  }
}

function appendJsonDouble(out: ByteWriter, value: number): void {
  if (Number.isFinite(value)) return appendDouble(out, value);
  out.byte(0x22);
  appendDouble(out, value);
  out.byte(0x22);
}
