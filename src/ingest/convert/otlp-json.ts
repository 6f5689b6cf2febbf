/**
 * OTLP/JSON → the protobuf bytes of the same request, so that both encodings take one path from there.
 *
 * Promise: every line of reference otlp.md section 2. Integers are exact, ids are hex, other bytes base64; unknown keys
 * are ignored at any depth; null is an unset field; of two members of a oneof, or the same key twice in one object, the
 * later stands alone. A wrong value inside an item (span, log record, data point) leaves out that item; one outside
 * refuses the request; so does anything that is no JSON. What is said of either is rule and path, never data.
 *
 * Constraints: the body is read once, byte by byte, without JSON.parse and without a JavaScript string for a value
 * (doubles and enum names excepted). Nothing recurses: an object or list that is open is a frame of one fixed array.
 * AnyValues are written two levels deeper than the converter keeps them, so that it sees what to mark; what is deeper
 * is skipped. The output is bounded as an inflated body is.
 *
 *   frames (by depth)              output
 *   {  ExportLogsServiceRequest    tag length …                  A length is one byte that is patched, and what follows
 *     [  resourceLogs                tag length …                moved, when the message ends: most are below 128.
 *       {  ResourceLogs                …
 *
 * Each open object remembers, for each slot (a field, or the members of a oneof), which range of the output it wrote,
 * so that a later value can take the earlier one's place. An item remembers where it began in the input and in the
 * output: to leave it out is to cut the output there and to skip the item as if its key were unknown.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { BackworkError } from '../../base/errors.ts';
import { BODY_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, SLICED_BODY_BYTES, VALUE_DEPTH_MAX } from '../../base/limits.ts';
import type { Signal } from '../messages.ts';
import { noItemsText, rejectedText, warningText } from './notes.ts';
import { HAS_ESCAPE, JsonCursor, JsonSyntaxError } from './otlp-json-cursor.ts';
import { ScalarWriter, wireTypeOf } from './otlp-json-scalars.ts';
import { appendUnescaped } from './otlp-json-text.ts';
import { EXPORT_REQUEST, type Field, type Message, SLOTS_MAX } from './otlp-schema.ts';

export interface JsonConverted {
  readonly protobuf: Buffer;
  /** Items left out for a wrong value inside them. */
  readonly rejected: number;
  /** Rule and path of the first item left out; with `rejected = 0` a warning, or ''. */
  readonly message: string;
}

/**
 * OTLP/JSON body → protobuf bytes of the same Export…Request. Throws BackworkError: 'malformed' with the path as
 * `field`, or 'too-large' when the protobuf would be larger than `bytesMax`. It runs to the end without a pause: 1 MiB
 * holds its thread at most about 12 ms (brackets of unknown values, *measured*); json-reader.ts is for longer ones.
 */
export function jsonToProtobuf(signal: Signal, body: Uint8Array, bytesMax = BODY_BYTES_MAX): JsonConverted {
  const transcoder = new Transcoder(signal, body, bytesMax);
  transcoder.run();
  return transcoder.result();
}

/** Protobuf bytes for one of JSON, at most: `0,` is a packed double. */
export const JSON_GROWTH_MAX = 4;

const ITEM_NOUN: Readonly<Record<Signal, string>> = { logs: 'log record', metrics: 'data point', traces: 'span' };
/** As the converter says of invalid UTF-8 in protobuf. */
const REPAIRED = 'strings held invalid UTF-8 or lone surrogates: U+FFFD stands for each ill-formed part';
/** One level more than the array or kvlist that the converter replaces. */
const CONTAINERS_MAX = VALUE_DEPTH_MAX + 2;
/** From the request down to an exemplar's attribute value, then container, list, KeyValue, AnyValue for each level. */
const FRAMES_MAX = 16 + 4 * CONTAINERS_MAX;

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COMMA = 0x2c;

class Transcoder {
  readonly #signal: Signal;
  readonly #bytesMax: number;
  readonly #cursor: JsonCursor;
  readonly #out: ByteWriter;
  readonly #unescaped = new ByteWriter();
  readonly #scalars: ScalarWriter;

  /** The frame that is open now; -1 before the request and after it. */
  #depth = -1;
  /** An object's message; undefined for a list. */
  readonly #message: (Message | undefined)[] = new Array(FRAMES_MAX).fill(undefined);
  /** A list's field, or the field that is read now in an object. */
  readonly #field: (Field | undefined)[] = new Array(FRAMES_MAX).fill(undefined);
  /** Members or elements read, the one that is read now included. */
  readonly #count = new Int32Array(FRAMES_MAX);
  /** Where the length byte stands that the end of the frame patches; -1 when it has none. */
  readonly #lengthAt = new Int32Array(FRAMES_MAX);
  /** Bit for each slot that has written. Its range, its field's number, and the items it holds follow. */
  readonly #slotsUsed = new Int32Array(FRAMES_MAX);
  readonly #slotStart = new Int32Array(FRAMES_MAX * SLOTS_MAX);
  readonly #slotEnd = new Int32Array(FRAMES_MAX * SLOTS_MAX);
  readonly #slotNumber = new Int32Array(FRAMES_MAX * SLOTS_MAX);
  readonly #slotItems = new Int32Array(FRAMES_MAX * SLOTS_MAX);
  readonly #slotRejected = new Int32Array(FRAMES_MAX * SLOTS_MAX);

  /** Arrays and kvlists that are open. */
  #containers = 0;
  /** Frame of the item that is read now, or -1; and where it began. */
  #itemDepth = -1;
  #itemInputAt = 0;
  #itemOutputAt = 0;
  #items = 0;
  #rejected = 0;
  /** Rule and path of the first item left out. */
  #reason = '';
  /** Path of the first text that was repaired. */
  #repairedPath = '';

  constructor(signal: Signal, body: Uint8Array, bytesMax: number) {
    this.#signal = signal;
    this.#bytesMax = bytesMax;
    this.#cursor = new JsonCursor(body);
    // JSON is about twice as long as its protobuf. Of a large buffer the system gives memory to what is written only, and
    // growing would leave copies behind.
    this.#out = new ByteWriter(1024 + (body.length <= SLICED_BODY_BYTES ? body.length >>> 1 : body.length));
    this.#scalars = new ScalarWriter(this.#cursor, this.#out, this.#unescaped);
  }

  /** To the end of the request. */
  run(): void {
    const cursor = this.#cursor;
    try {
      this.#openRequest();
      while (this.#depth >= 0) {
        if (this.#message[this.#depth] === undefined) this.#element();
        else this.#member();
        if (this.#out.length > this.#bytesMax) throw tooLarge(this.#bytesMax);
      }
      if (cursor.ahead() !== -1) cursor.fail('something follows the end of the request');
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      throw this.#malformed(`not JSON: ${error.message}`);
    }
  }

  result(): JsonConverted {
    const parts: string[] = [];
    const rejected = this.#rejected;
    const noun = ITEM_NOUN[this.#signal];
    if (rejected > 0) parts.push(rejectedText(rejected, noun, this.#reason));
    // Of a request with any byte of protobuf the converter itself says that it holds no items.
    else if (this.#out.length === 0 && (this.#count[0] ?? 0) > 0) parts.push(noItemsText(noun));
    const { repaired } = this.#scalars;
    if (repaired > 0) parts.push(warningText(repaired, REPAIRED, this.#repairedPath));
    return { protobuf: this.#out.view(), rejected, message: parts.join('; ').slice(0, ERROR_MESSAGE_BYTES_MAX) };
  }

  #openRequest(): void {
    const byte = this.#cursor.ahead();
    if (byte === -1) throw this.#malformed('the body is empty');
    if (byte !== OPEN_OBJECT) throw this.#malformed('the top level must be an object');
    this.#cursor.position++;
    this.#push(EXPORT_REQUEST[this.#signal], undefined, -1);
  }

  /** One member of the object that is open, or its end. */
  #member(): void {
    const cursor = this.#cursor;
    const depth = this.#depth;
    const byte = cursor.ahead();
    this.#field[depth] = undefined;
    if (byte === CLOSE_OBJECT) return void this.#close();
    if (this.#count[depth]! > 0) {
      if (byte !== COMMA) cursor.fail('expected a comma or the end of an object');
      cursor.position++;
    }
    this.#count[depth]!++;
    cursor.key();
    const field = this.#fieldOfKey(this.#message[depth]!);
    if (field === undefined) return void cursor.skipValue();
    this.#field[depth] = field;
    this.#value(field);
  }

  #fieldOfKey(message: Message): Field | undefined {
    const cursor = this.#cursor;
    let bytes = cursor.bytes;
    let start = cursor.tokenStart;
    let length = cursor.tokenEnd - start;
    if ((cursor.flags & HAS_ESCAPE) !== 0) {
      this.#unescaped.clear();
      appendUnescaped(this.#unescaped, bytes, start, cursor.tokenEnd);
      bytes = this.#unescaped.bytes;
      start = 0;
      length = this.#unescaped.length;
    }
    for (const key of message.keysByLength[length] ?? []) {
      let same = 0;
      while (same < length && key.bytes[same] === bytes[start + same]) same++;
      if (same === length) return key.field;
    }
    return undefined;
  }

  /** The value of a known key. */
  #value(field: Field): void {
    const depth = this.#depth;
    const slot = depth * SLOTS_MAX + field.slot;
    const used = (this.#slotsUsed[depth]! & (1 << field.slot)) !== 0;
    if (this.#cursor.null()) {
      // null after a value of the same key unsets it; another member of its oneof stays.
      if (used && this.#slotNumber[slot] === field.number) this.#removeSlot(depth, field.slot);
      return;
    }
    if (used) this.#removeSlot(depth, field.slot);
    this.#slotsUsed[depth]! |= 1 << field.slot;
    this.#slotStart[slot] = this.#out.length;
    this.#slotNumber[slot] = field.number;
    this.#slotItems[slot] = this.#items;
    this.#slotRejected[slot] = this.#rejected;
    if (field.repeated) return void this.#openList(field);
    if (field.message !== undefined) return void this.#openMessage(field, field.message);
    if (this.#scalar(field, false)) this.#endSlot(depth, field.slot);
  }

  /** One element of the list that is open, or its end. */
  #element(): void {
    const cursor = this.#cursor;
    const depth = this.#depth;
    const field = this.#field[depth]!;
    let byte = cursor.ahead();
    const count = this.#count[depth]!;
    if (byte === CLOSE_LIST) return void this.#close();
    if (count > 0) {
      if (byte !== COMMA) cursor.fail('expected a comma or the end of a list');
      cursor.position++;
      byte = cursor.ahead();
      if (byte === CLOSE_LIST) cursor.fail('expected a value');
    }
    this.#count[depth] = count + 1;
    const message = field.message;
    if (message === undefined) {
      this.#scalar(field, this.#lengthAt[depth]! >= 0);
      return;
    }
    if (message.isItem) {
      this.#items++;
      this.#itemDepth = depth + 1;
      this.#itemInputAt = cursor.position;
      this.#itemOutputAt = this.#out.length;
    }
    // A null among values is the empty value, as a null inside one is (J13).
    if (message.name === 'AnyValue' && cursor.null()) return void this.#emptyMessage(field);
    this.#openMessage(field, message);
  }

  /** Writes a scalar; false when its value was wrong. */
  #scalar(field: Field, packed: boolean): boolean {
    const reason = this.#scalars.write(field, packed);
    if (reason !== undefined) {
      this.#wrong(reason);
      return false;
    }
    if (this.#scalars.repaired > 0 && this.#repairedPath === '') this.#repairedPath = this.#path();
    return true;
  }

  #openList(field: Field): void {
    if (this.#cursor.ahead() !== OPEN_LIST) return void this.#wrong('expected an array');
    this.#cursor.position++;
    // Numbers are packed into one length-delimited run.
    if (wireTypeOf(field) === 2) return void this.#push(undefined, field, -1);
    this.#out.varuint(field.number * 8 + 2);
    this.#out.byte(0);
    this.#push(undefined, field, this.#out.length - 1);
  }

  #openMessage(field: Field, message: Message): void {
    if (this.#cursor.ahead() !== OPEN_OBJECT) return void this.#wrong('expected an object');
    if (message.isContainer && this.#containers >= CONTAINERS_MAX) {
      this.#cursor.skipValue();
      this.#emptyMessage(field);
      return void this.#endSlot(this.#depth, field.slot);
    }
    this.#cursor.position++;
    if (message.isContainer) this.#containers++;
    this.#out.varuint(field.number * 8 + 2);
    this.#out.byte(0);
    this.#push(message, undefined, this.#out.length - 1);
  }

  #emptyMessage(field: Field): void {
    this.#out.varuint(field.number * 8 + 2);
    this.#out.byte(0);
  }

  #push(message: Message | undefined, field: Field | undefined, lengthAt: number): void {
    const depth = ++this.#depth;
    this.#message[depth] = message;
    this.#field[depth] = field;
    this.#count[depth] = 0;
    this.#lengthAt[depth] = lengthAt;
    this.#slotsUsed[depth] = 0;
  }

  /** The object or list that is open ends with the byte ahead. */
  #close(): void {
    this.#cursor.position++;
    const depth = this.#depth--;
    if (this.#message[depth]?.isContainer) this.#containers--;
    if (depth === this.#itemDepth) this.#itemDepth = -1;
    const lengthAt = this.#lengthAt[depth]!;
    if (lengthAt >= 0) this.#patchLength(lengthAt);
    if (depth === 0 || this.#message[depth - 1] === undefined) return;
    this.#endSlot(depth - 1, this.#field[depth - 1]!.slot);
  }

  /** Everything behind the length byte is the message: its length takes the byte's place. */
  #patchLength(lengthAt: number): void {
    const out = this.#out;
    const start = lengthAt + 1;
    const end = out.length;
    const length = end - start;
    if (length < 0x80) {
      out.bytes[lengthAt] = length;
      return;
    }
    const extra = length < 0x4000 ? 1 : length < 0x20_0000 ? 2 : length < 0x1000_0000 ? 3 : 4;
    out.reserve(extra);
    out.bytes.copyWithin(start + extra, start, end);
    out.length = lengthAt;
    out.varuint(length);
    out.length = end + extra;
  }

  #endSlot(depth: number, fieldSlot: number): void {
    const slot = depth * SLOTS_MAX + fieldSlot;
    this.#slotEnd[slot] = this.#out.length;
    this.#slotItems[slot] = this.#items - this.#slotItems[slot]!;
    this.#slotRejected[slot] = this.#rejected - this.#slotRejected[slot]!;
  }

  /** Takes what a slot of the innermost object wrote out of the output. */
  #removeSlot(depth: number, fieldSlot: number): void {
    const slot = depth * SLOTS_MAX + fieldSlot;
    const start = this.#slotStart[slot]!;
    const end = this.#slotEnd[slot]!;
    this.#out.bytes.copyWithin(start, end, this.#out.length);
    this.#out.length -= end - start;
    this.#items -= this.#slotItems[slot]!;
    this.#rejected -= this.#slotRejected[slot]!;
    this.#slotsUsed[depth]! &= ~(1 << fieldSlot);
    for (let other = depth * SLOTS_MAX; other < (depth + 1) * SLOTS_MAX; other++) {
      if (this.#slotStart[other]! < end) continue;
      this.#slotStart[other]! -= end - start;
      this.#slotEnd[other]! -= end - start;
    }
  }

  /** The value that was read is none of its field: the item that holds it is left out, or the request is refused. */
  #wrong(reason: string): void {
    if (this.#itemDepth < 0) throw this.#malformed(reason);
    if (this.#rejected === 0) this.#reason = `${reason} (first: ${this.#path()})`;
    this.#rejected++;
    this.#cursor.position = this.#itemInputAt;
    this.#cursor.skipValue();
    this.#out.length = this.#itemOutputAt;
    this.#depth = this.#itemDepth - 1;
    this.#itemDepth = -1;
    this.#containers = 0;
  }

  #malformed(reason: string): BackworkError {
    const path = this.#path();
    const message = path === '' ? reason : `${path}: ${reason}`;
    return new BackworkError(
      'malformed',
      message.slice(0, ERROR_MESSAGE_BYTES_MAX),
      path === '' ? {} : { field: path },
    );
  }

  /** `resourceLogs[0].scopeLogs[1].logRecords[5].timeUnixNano`: names from our own table, never from the body. */
  #path(): string {
    let path = '';
    for (let depth = 0; depth <= this.#depth; depth++) {
      const field = this.#field[depth];
      if (this.#message[depth] === undefined) path += `[${this.#count[depth]! - 1}]`;
      else if (field !== undefined) path += path === '' ? field.jsonName : `.${field.jsonName}`;
    }
    return path;
  }
}

function tooLarge(bytesMax: number): BackworkError {
  const message = `the request is larger as protobuf than the limit of ${bytesMax} bytes`;
  return new BackworkError('too-large', message);
}
