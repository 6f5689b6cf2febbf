/** Resource.entity_refs → a compact JSON array under the OTLP/JSON names, empty fields left out (reference otlp.md 4.6). */
import { ByteWriter } from '../../base/byte-writer.ts';
import type { Notes } from './notes.ts';
import { type ProtobufReader, type Range, readRange } from './protobuf-reader.ts';
import { appendJsonString } from './text.ts';

export class EntityRefs {
  /** The array; '' when the resource has no entity_refs. Valid until the next `clear`. */
  readonly json = new ByteWriter(64);
  readonly #reader: ProtobufReader;
  readonly #notes: Notes;

  constructor(reader: ProtobufReader, notes: Notes) {
    this.#reader = reader;
    this.#notes = notes;
  }

  clear(): void {
    this.json.clear();
  }

  /** One EntityRef message. */
  add(start: number, end: number): void {
    const out = this.json;
    out.byte(out.length === 0 ? 0x5b : 0x2c);
    out.byte(0x7b);
    let first = this.#text(0x0a, 'schemaUrl', start, end, true);
    first = this.#text(0x12, 'type', start, end, first);
    first = this.#texts(0x1a, 'idKeys', start, end, first);
    this.#texts(0x22, 'descriptionKeys', start, end, first);
    out.byte(0x7d);
  }

  /** After the last one. */
  end(): void {
    if (this.json.length > 0) this.json.byte(0x5d);
  }

  /** Returns whether the next member is still the first. */
  #text(wanted: number, name: string, start: number, end: number, first: boolean): boolean {
    const range: Range = { start: 0, end: 0 };
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === wanted) readRange(reader, end, range);
      else reader.skip(tag, end);
    }
    if (range.end === range.start) return first;
    this.json.ascii(`${first ? '' : ','}"${name}":`);
    this.#append(range.start, range.end);
    return false;
  }

  #texts(wanted: number, name: string, start: number, end: number, first: boolean): boolean {
    const reader = this.#reader;
    reader.pos = start;
    let count = 0;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag !== wanted) {
        reader.skip(tag, end);
        continue;
      }
      const textEnd = reader.fieldEnd(end);
      const head = `${first ? '' : ','}"${name}":[`;
      this.json.ascii(count++ === 0 ? head : ',');
      this.#append(reader.pos, textEnd);
      reader.pos = textEnd;
    }
    if (count > 0) this.json.byte(0x5d);
    return first && count === 0;
  }

  #append(start: number, end: number): void {
    if (!appendJsonString(this.json, this.#reader.bytes, start, end)) this.#notes.warn('utf8', 'resource.entityRefs');
  }
}
