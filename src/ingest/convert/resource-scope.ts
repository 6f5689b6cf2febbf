/**
 * Resource and scope: what every row beneath them repeats. Read once, checked against the bound on what is repeated
 * (E11: 64 KiB for resource and scope together), and written as one run to each builder that gets a row.
 */
import { ByteWriter } from '../../base/byte-writer.ts';
import { ATTRIBUTES_PER_LIST_MAX, REPEATED_BYTES_MAX } from '../../base/limits.ts';
import { AttributeList, type AttributeWriter } from './attributes.ts';
import type { Builder } from './builder.ts';
import type { FixedColumn, LowCardinalityColumn, MapColumn, StringColumn } from './column-buffers.ts';
import type { Notes } from './notes.ts';
import { type ProtobufReader, type Range, readRange } from './protobuf-reader.ts';
import type { ColumnLookup } from './table-buffers.ts';
import { EntityRefs } from './entity-refs.ts';
import { appendString } from './text.ts';

/** Below this many bytes of protobuf, nothing that is repeated can reach the bound: no value grows 16-fold as text. */
const UNMEASURED_BYTES_MAX = REPEATED_BYTES_MAX / 16;
const SERVICE_NAME = Buffer.from('service.name');
const DROPPED_COUNT_MAX = 0xffff_ffff;
/** The fixed-width columns and length prefixes of a resource, or of a scope, in one row; rounded up. */
const RUN_FIXED_BYTES = 24;

export interface ResourceColumns {
  readonly serviceName: LowCardinalityColumn;
  readonly schemaUrl: LowCardinalityColumn | StringColumn;
  readonly attributes: MapColumn;
  readonly types: LowCardinalityColumn;
  readonly dropped: FixedColumn;
  readonly entityRefs: StringColumn;
}

export interface ScopeColumns {
  readonly schemaUrl: LowCardinalityColumn | StringColumn;
  readonly name: StringColumn;
  readonly version: LowCardinalityColumn | StringColumn;
  readonly attributes: MapColumn;
  readonly types: LowCardinalityColumn;
  readonly dropped: FixedColumn;
}

/** Request, resource and scope columns of a table of items. */
export interface RepeatedColumns {
  readonly orgId: LowCardinalityColumn;
  readonly receivedAt: FixedColumn;
  readonly resource: ResourceColumns;
  readonly scope: ScopeColumns;
}

/** `scopeDropped`: the one name in which the tables differ. */
export function bindRepeatedColumns(columns: ColumnLookup, scopeDropped: string): RepeatedColumns {
  return {
    orgId: columns.lowCardinality('OrgId'),
    receivedAt: columns.fixed('ReceivedAt'),
    resource: {
      serviceName: columns.lowCardinality('ServiceName'),
      schemaUrl: columns.text('ResourceSchemaUrl'),
      attributes: columns.map('ResourceAttributes'),
      types: columns.lowCardinality('ResourceAttributesTypes'),
      dropped: columns.fixed('ResourceDroppedAttributesCount'),
      entityRefs: columns.string('ResourceEntityRefs'),
    },
    scope: {
      schemaUrl: columns.text('ScopeSchemaUrl'),
      name: columns.string('ScopeName'),
      version: columns.text('ScopeVersion'),
      attributes: columns.map('ScopeAttributes'),
      types: columns.lowCardinality('ScopeAttributesTypes'),
      dropped: columns.fixed(scopeDropped),
    },
  };
}

/** What a metric repeats in each row besides resource and scope: it counts against the same bound. */
export interface RepeatedExtra {
  readonly list: AttributeList;
  /** Set to 1 for each entry that the bound drops. */
  readonly skip: Uint8Array;
  /** Its texts, as stored. */
  readonly textBytes: number;
  /** All of it, as protobuf. */
  readonly wireBytes: number;
}

export class ResourceScope {
  readonly #reader: ProtobufReader;
  readonly #attributes: AttributeWriter;
  readonly #notes: Notes;
  readonly #resourceList = new AttributeList();
  readonly #scopeList = new AttributeList();
  readonly #resourceUrl: Range = { start: 0, end: 0 };
  readonly #scopeUrl: Range = { start: 0, end: 0 };
  readonly #scopeName: Range = { start: 0, end: 0 };
  readonly #scopeVersion: Range = { start: 0, end: 0 };
  readonly #entityRefs: EntityRefs;
  readonly #serviceName = new ByteWriter(64);
  /** Marks entries that the bound on what is repeated drops; used only when that is measured. */
  readonly #resourceSkip = new Uint8Array(ATTRIBUTES_PER_LIST_MAX);
  readonly #scopeSkip = new Uint8Array(ATTRIBUTES_PER_LIST_MAX);
  /** The skip marks are not all 0. */
  #dropping = false;
  #resourceDropped = 0;
  #scopeDropped = 0;
  #resourceWireBytes = 0;
  #scopeWireBytes = 0;
  /** Change whenever what would be written changes; builders compare. */
  #resourceSerial = 0;
  scopeSerial = 0;
  /** Serial of the resource and scope that were written to some builder: warnings were given then. */
  #warnedSerial = -1;
  #resourceRowBytes = 0;
  #scopeRowBytes = 0;
  /** Bytes that resource and scope take in one row of a block. */
  rowBytes = 0;
  /** The strings alone are over the bound: every item beneath is rejected. */
  overBound = false;

  constructor(reader: ProtobufReader, attributes: AttributeWriter, notes: Notes) {
    this.#reader = reader;
    this.#attributes = attributes;
    this.#notes = notes;
    this.#entityRefs = new EntityRefs(reader, notes);
  }

  /** Reads everything but the scopes of a ResourceLogs, ResourceSpans or ResourceMetrics: fields 1 and 3 of all three. */
  readResource(start: number, end: number): void {
    this.#resourceList.clear();
    this.#entityRefs.clear();
    this.#resourceDropped = 0;
    this.#resourceWireBytes = 0;
    this.#resourceSerial++;
    clear(this.#resourceUrl);
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) {
        const messageEnd = reader.fieldEnd(end);
        this.#resourceWireBytes += messageEnd - reader.pos;
        this.#readResourceMessage(reader.pos, messageEnd);
        reader.pos = messageEnd;
      } else if (tag === 0x1a) readRange(reader, end, this.#resourceUrl);
      else reader.skip(tag, end);
    }
    this.#entityRefs.end();
    this.#resourceWireBytes += this.#resourceUrl.end - this.#resourceUrl.start;
  }

  #readResourceMessage(start: number, end: number): void {
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) {
        const entryEnd = reader.fieldEnd(end);
        this.#resourceList.add(reader.pos, entryEnd);
        reader.pos = entryEnd;
      } else if (tag === 0x10) {
        reader.varint(end);
        this.#resourceDropped = reader.low;
      } else if (tag === 0x1a) {
        const refEnd = reader.fieldEnd(end);
        this.#entityRefs.add(reader.pos, refEnd);
        reader.pos = refEnd;
      } else reader.skip(tag, end);
    }
  }

  /** Reads everything but the items of a ScopeLogs, ScopeSpans or ScopeMetrics, and applies the bound. */
  readScope(start: number, end: number): void {
    this.#scopeList.clear();
    this.#scopeDropped = 0;
    this.#scopeWireBytes = 0;
    this.scopeSerial++;
    clear(this.#scopeUrl);
    clear(this.#scopeName);
    clear(this.#scopeVersion);
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) {
        const messageEnd = reader.fieldEnd(end);
        this.#scopeWireBytes += messageEnd - reader.pos;
        this.#readScopeMessage(reader.pos, messageEnd);
        reader.pos = messageEnd;
      } else if (tag === 0x1a) readRange(reader, end, this.#scopeUrl);
      else reader.skip(tag, end);
    }
    this.#scopeWireBytes += this.#scopeUrl.end - this.#scopeUrl.start;
    this.applyBound(null);
  }

  #readScopeMessage(start: number, end: number): void {
    const reader = this.#reader;
    reader.pos = start;
    while (reader.pos < end) {
      const tag = reader.tag(end);
      if (tag === 0x0a) readRange(reader, end, this.#scopeName);
      else if (tag === 0x12) readRange(reader, end, this.#scopeVersion);
      else if (tag === 0x1a) {
        const entryEnd = reader.fieldEnd(end);
        this.#scopeList.add(reader.pos, entryEnd);
        reader.pos = entryEnd;
      } else if (tag === 0x20) {
        reader.varint(end);
        this.#scopeDropped = reader.low;
      } else reader.skip(tag, end);
    }
  }

  /**
   * Decides which attributes the bound drops (largest first) for rows of this scope, and of the metric `extra`. What
   * another scope or metric lost is back here.
   */
  applyBound(extra: RepeatedExtra | null): void {
    this.overBound = false;
    const wasDropping = this.#dropping;
    this.#dropping = false;
    const wireBytes = this.#resourceWireBytes + this.#scopeWireBytes + (extra?.wireBytes ?? 0);
    if (wireBytes > UNMEASURED_BYTES_MAX) this.#measure(extra);
    if (!wasDropping && !this.#dropping) return;
    this.#resourceSerial++;
    this.scopeSerial++;
  }

  #measure(extra: RepeatedExtra | null): void {
    this.#resourceSkip.fill(0);
    this.#scopeSkip.fill(0);
    extra?.skip.fill(0);
    let total = this.#stringBytes() + (extra?.textBytes ?? 0);
    // Then nothing beneath is written, and no attribute need go.
    this.overBound = total > REPEATED_BYTES_MAX;
    if (this.overBound) return;
    const sizes: AttributeSize[] = [];
    this.#addSizes(sizes, this.#resourceList, this.#resourceSkip);
    this.#addSizes(sizes, this.#scopeList, this.#scopeSkip);
    if (extra !== null) this.#addSizes(sizes, extra.list, extra.skip);
    for (const entry of sizes) total += entry.bytes;
    for (const entry of sizes.sort((a, b) => b.bytes - a.bytes)) {
      if (total <= REPEATED_BYTES_MAX) break;
      entry.skip[entry.index] = 1;
      total -= entry.bytes;
      this.#dropping = true;
      this.#warnOfDropped(entry);
    }
  }

  #warnOfDropped({ skip, index }: AttributeSize): void {
    const notes = this.#notes;
    if (skip === this.#resourceSkip) {
      notes.above('resource', () => notes.warn('repeatedDropped', `resource.attributes[${index}]`));
    } else if (skip === this.#scopeSkip) {
      notes.above('scope', () => notes.warn('repeatedDropped', `scope.attributes[${index}]`));
    } else notes.warn('repeatedDropped', `metadata[${index}]`);
  }

  /** Stored size of every attribute of a list; a rare path, so objects are fine. */
  #addSizes(sizes: AttributeSize[], list: AttributeList, skip: Uint8Array): void {
    for (let index = 0; index < list.count; index++) {
      const bytes = this.#attributes.storedBytes(list, index);
      if (bytes > 0) sizes.push({ bytes, index, skip });
    }
  }

  #stringBytes(): number {
    let total = this.#entityRefs.json.length;
    for (const range of [this.#resourceUrl, this.#scopeUrl, this.#scopeName, this.#scopeVersion]) {
      total += range.end - range.start;
    }
    return total;
  }

  /** Writes the runs of resource and scope that are not the builder's open ones. */
  write(builder: Builder<RepeatedColumns>): void {
    // The same resource goes to several tables, but is warned of once.
    this.#notes.quiet = this.#warnedSerial === this.scopeSerial;
    if (builder.resourceSerial !== this.#resourceSerial) {
      this.#notes.above('resource', () => this.#writeResource(builder.columns.resource));
      builder.beginRun('resource');
      builder.resourceSerial = this.#resourceSerial;
    }
    if (builder.scopeSerial !== this.scopeSerial) {
      this.#notes.above('scope', () => this.#writeScope(builder.columns.scope));
      builder.beginRun('scope');
      builder.scopeSerial = this.scopeSerial;
    }
    this.#notes.quiet = false;
    this.#warnedSerial = this.scopeSerial;
    this.rowBytes = this.#resourceRowBytes + this.#scopeRowBytes;
  }

  #writeResource(columns: ResourceColumns): void {
    const firstEntry = columns.attributes.keys.count;
    const firstByte = columns.attributes.values.length;
    const skip = this.#dropping ? this.#resourceSkip : null;
    const field = 'resource.attributes';
    const dropped = this.#attributes.write(this.#resourceList, columns.attributes, columns.types, skip, field);
    columns.dropped.push4(Math.min(this.#resourceDropped + dropped, DROPPED_COUNT_MAX));
    this.#findServiceName(columns.attributes, firstEntry, firstByte);
    columns.serviceName.push(this.#serviceName.bytes, 0, this.#serviceName.length);
    this.#pushText(columns.schemaUrl, this.#resourceUrl, 'schemaUrl');
    columns.entityRefs.values.varuint(this.#entityRefs.json.length);
    columns.entityRefs.values.append(this.#entityRefs.json.view());
    columns.entityRefs.end();
    this.#resourceRowBytes =
      mapBytes(columns.attributes, firstEntry, firstByte) +
      this.#entityRefs.json.length +
      (this.#resourceUrl.end - this.#resourceUrl.start) +
      RUN_FIXED_BYTES;
  }

  /** Text of the first `service.name` among the attributes just written. */
  #findServiceName(map: MapColumn, firstEntry: number, firstByte: number): void {
    this.#serviceName.clear();
    const { bytes } = map.values;
    let at = firstByte;
    for (let entry = firstEntry; entry < map.keys.count; entry++) {
      let length = 0;
      for (let shift = 1; ; shift *= 0x80) {
        const byte = bytes[at++]!;
        length += (byte & 0x7f) * shift;
        if (byte < 0x80) break;
      }
      if (map.keys.dictionary.matches(map.keys.indexes[entry]!, SERVICE_NAME, 0, SERVICE_NAME.length)) {
        this.#serviceName.append(bytes.subarray(at, at + length));
        return;
      }
      at += length;
    }
  }

  #writeScope(columns: ScopeColumns): void {
    const firstEntry = columns.attributes.keys.count;
    const firstByte = columns.attributes.values.length;
    const skip = this.#dropping ? this.#scopeSkip : null;
    const dropped = this.#attributes.write(
      this.#scopeList,
      columns.attributes,
      columns.types,
      skip,
      'scope.attributes',
    );
    columns.dropped.push4(Math.min(this.#scopeDropped + dropped, DROPPED_COUNT_MAX));
    this.#pushText(columns.schemaUrl, this.#scopeUrl, 'schemaUrl');
    this.#pushText(columns.name, this.#scopeName, 'scope.name');
    this.#pushText(columns.version, this.#scopeVersion, 'scope.version');
    this.#scopeRowBytes = mapBytes(columns.attributes, firstEntry, firstByte) + RUN_FIXED_BYTES;
    for (const range of [this.#scopeUrl, this.#scopeName, this.#scopeVersion]) {
      this.#scopeRowBytes += range.end - range.start;
    }
  }

  #pushText(column: LowCardinalityColumn | StringColumn, range: Range, field: string): void {
    pushText(column, this.#reader.bytes, range.start, range.end, this.#notes, field);
  }
}

interface AttributeSize {
  readonly bytes: number;
  readonly index: number;
  /** Marks of the list that it is in. */
  readonly skip: Uint8Array;
}

/** A string field into a column of either kind; warns when invalid UTF-8 was replaced. */
export function pushText(
  column: LowCardinalityColumn | StringColumn,
  source: Uint8Array,
  start: number,
  end: number,
  notes: Notes,
  field: string,
): void {
  if ('values' in column) {
    if (!appendString(column.values, source, start, end)) notes.warn('utf8', field);
    column.end();
    return;
  }
  column.push(source, start, end);
  if (column.dictionary.repaired) {
    column.dictionary.repaired = false;
    notes.warn('utf8', field);
  }
}

/** Bytes of one value of a map: indexes of its keys, its values, its offset. */
function mapBytes(map: MapColumn, firstEntry: number, firstByte: number): number {
  return 4 * (map.keys.count - firstEntry) + (map.values.length - firstByte) + 8;
}

function clear(range: Range): void {
  range.start = 0;
  range.end = 0;
}
