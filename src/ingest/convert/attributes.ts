/**
 * Attribute lists → a Map column and its type signature. Lists are noted as ranges first and written in one go, so that an
 * item can be judged as a whole before anything of it stands in a column.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { ATTRIBUTE_KEY_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_PER_LIST_MAX } from '../../base/limits.ts';
import type { AnyValueReader } from './any-value.ts';
import type { LowCardinalityColumn, MapColumn } from './column-buffers.ts';
import type { Notes } from './notes.ts';
import type { ProtobufReader } from './protobuf-reader.ts';

/** The KeyValue submessages of one list, as byte ranges of the body. Entries beyond the cap are only counted. */
export class AttributeList {
  readonly starts = new Uint32Array(ATTRIBUTES_PER_LIST_MAX);
  readonly ends = new Uint32Array(ATTRIBUTES_PER_LIST_MAX);
  /** Entries kept, at most ATTRIBUTES_PER_LIST_MAX. */
  count = 0;
  /** Entries beyond that. */
  beyond = 0;

  clear(): void {
    this.count = 0;
    this.beyond = 0;
  }

  add(start: number, end: number): void {
    if (this.count === ATTRIBUTES_PER_LIST_MAX) {
      this.beyond++;
      return;
    }
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }
}

const SORTED_IN_PLACE_MAX = 64;

export class AttributeWriter {
  readonly #reader: ProtobufReader;
  readonly #values: AnyValueReader;
  readonly #notes: Notes;
  readonly #signature = new Uint8Array(ATTRIBUTES_PER_LIST_MAX);
  readonly #scratch = new ByteWriter(1024);
  readonly #keyStarts = new Uint32Array(SORTED_IN_PLACE_MAX);
  readonly #keyEnds = new Uint32Array(SORTED_IN_PLACE_MAX);

  constructor(reader: ProtobufReader, values: AnyValueReader, notes: Notes) {
    this.#reader = reader;
    this.#values = values;
    this.#notes = notes;
  }

  /**
   * Writes the list as one value of `map` and its signature as one of `types`. `skip[i] = 1` leaves entry i out (it was
   * dropped by the caller). Returns how many attributes the caps of E11 dropped, `skip` included.
   */
  write(
    list: AttributeList,
    map: MapColumn,
    types: LowCardinalityColumn,
    skip: Uint8Array | null,
    field: string,
  ): number {
    const guessFrom = map.count === 0 ? -ATTRIBUTES_PER_LIST_MAX : map.previousStart;
    let kept = 0;
    let dropped = list.beyond;
    for (let i = 0; i < list.count; i++) {
      if (skip !== null && skip[i] === 1) {
        dropped++;
        continue;
      }
      const letter = this.#entry(list.starts[i]!, list.ends[i]!, map, guessFrom + kept, field);
      if (letter === 0) dropped++;
      else this.#signature[kept++] = letter;
    }
    map.end();
    types.push(this.#signature, 0, kept);
    const overCap = dropped - (skip === null ? 0 : skipped(skip, list.count));
    if (overCap > 0) this.#notes.warn('dropped', field, overCap);
    return dropped;
  }

  /** Sorts the list by the keys' bytes, equal keys as sent: the form in which a series' attributes are stored. */
  sortByKey(list: AttributeList): void {
    const { starts, ends, count } = list;
    // Insertion sort: lists are short, and mostly sorted already. Longer ones are sorted by a permutation.
    if (count > SORTED_IN_PLACE_MAX) return this.#sortLong(list);
    for (let i = 0; i < count; i++) {
      const start = starts[i]!;
      const end = ends[i]!;
      this.#values.readKeyValue(start, end, '');
      const keyStart = this.#values.keyStart;
      const keyEnd = this.#values.keyEnd;
      let at = i;
      for (; at > 0 && this.#compare(keyStart, keyEnd, this.#keyStarts[at - 1]!, this.#keyEnds[at - 1]!) < 0; at--) {
        starts[at] = starts[at - 1]!;
        ends[at] = ends[at - 1]!;
        this.#keyStarts[at] = this.#keyStarts[at - 1]!;
        this.#keyEnds[at] = this.#keyEnds[at - 1]!;
      }
      starts[at] = start;
      ends[at] = end;
      this.#keyStarts[at] = keyStart;
      this.#keyEnds[at] = keyEnd;
    }
  }

  #sortLong(list: AttributeList): void {
    const keys = Array.from({ length: list.count }, (_, i) => {
      this.#values.readKeyValue(list.starts[i]!, list.ends[i]!, '');
      return {
        start: list.starts[i]!,
        end: list.ends[i]!,
        keyStart: this.#values.keyStart,
        keyEnd: this.#values.keyEnd,
      };
    });
    keys.sort((a, b) => this.#compare(a.keyStart, a.keyEnd, b.keyStart, b.keyEnd));
    keys.forEach(({ start, end }, i) => {
      list.starts[i] = start;
      list.ends[i] = end;
    });
  }

  #compare(startA: number, endA: number, startB: number, endB: number): number {
    const bytes = this.#reader.bytes;
    const length = Math.min(endA - startA, endB - startB);
    for (let i = 0; i < length; i++) {
      const difference = bytes[startA + i]! - bytes[startB + i]!;
      if (difference !== 0) return difference;
    }
    return endA - startA - (endB - startB);
  }

  /** Returns the letter of the value, or 0 when the attribute is over a cap. */
  #entry(start: number, end: number, map: MapColumn, guess: number, field: string): number {
    const values = this.#values;
    values.readKeyValue(start, end, field);
    const keyStart = values.keyStart;
    const keyEnd = values.keyEnd;
    if (keyEnd - keyStart > ATTRIBUTE_KEY_BYTES_MAX) return 0;
    values.readValueOfKey();
    if (values.contentBytes > ATTRIBUTE_VALUE_BYTES_MAX) return 0;
    this.#pushKey(map.keys, keyStart, keyEnd, guess, field);
    return values.appendText(map.values, field);
  }

  /** Records of one scope mostly have the same keys in the same places, so the previous record's key is tried first. */
  #pushKey(keys: LowCardinalityColumn, start: number, end: number, guess: number, field: string): void {
    const source = this.#reader.bytes;
    if (guess >= 0 && guess < keys.count) {
      const index = keys.indexes[guess]!;
      if (keys.dictionary.matches(index, source, start, end)) return keys.pushIndex(index);
    }
    keys.pushIndex(keys.dictionary.lookup(source, start, end));
    if (keys.dictionary.repaired) {
      keys.dictionary.repaired = false;
      this.#notes.warn('utf8', field);
    }
  }

  /** Bytes that entry `index` takes as stored: key and text of the value. Writes nothing. */
  storedBytes(list: AttributeList, index: number): number {
    const values = this.#values;
    values.readKeyValue(list.starts[index]!, list.ends[index]!, '');
    const keyBytes = values.keyEnd - values.keyStart;
    values.readValueOfKey();
    if (keyBytes > ATTRIBUTE_KEY_BYTES_MAX || values.contentBytes > ATTRIBUTE_VALUE_BYTES_MAX) return 0;
    this.#scratch.clear();
    this.#notes.quiet = true;
    values.appendText(this.#scratch, '');
    this.#notes.quiet = false;
    return keyBytes + this.#scratch.length;
  }
}

function skipped(skip: Uint8Array, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += skip[i]!;
  return total;
}
