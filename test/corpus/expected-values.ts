/**
 * What every expected row shares: the plain, slow reading of reference otlp.md 1.5 and 4.6 for ids, times, values,
 * attribute lists, resources and scopes, written without the converter. The oracles of the three signals stand on it.
 *
 * Not judged here, and not generated: invalid UTF-8 (protobufjs refuses it), values above 1 MiB that are arrays or
 * kvlists, requests above 256 MiB of rows. Where E11 leaves open which bytes count towards 64 KiB, a request near that
 * bound makes the oracle throw instead of guessing.
 */
import type { RowOrigin } from '../../src/ingest/messages.ts';

/** A cell: text (64-bit integers and times too), number, boolean, null, MapEntries, or an array of those. */
export type Row = Record<string, unknown>;

/** What one request becomes. */
export interface ExpectedRequest {
  /** Rows by table, in the order of the items. BatchId is not in them: nothing of the request decides it. */
  readonly tables: ReadonlyMap<string, readonly Row[]>;
  /** Items without a row, as `rejected_*` counts them. */
  readonly rejected: number;
}

/** A Map as it is stored: equal keys stay beside each other. */
export class MapEntries {
  readonly entries: readonly (readonly [string, string])[];
  constructor(entries: readonly (readonly [string, string])[]) {
    this.entries = entries;
  }
}

// Plain data as protobufjs gives it: 64-bit integers as text, absent fields absent.
export interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string;
  doubleValue?: number;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
  bytesValue?: Uint8Array;
  stringValueStrindex?: number;
}
export interface KeyValue {
  key?: string;
  value?: AnyValue;
  keyStrindex?: number;
}
interface EntityRef {
  schemaUrl?: string;
  type?: string;
  idKeys?: string[];
  descriptionKeys?: string[];
}
export interface ResourceEnvelope {
  resource?: { attributes?: KeyValue[]; droppedAttributesCount?: number; entityRefs?: EntityRef[] };
  schemaUrl?: string;
}
export interface ScopeEnvelope {
  scope?: { name?: string; version?: string; attributes?: KeyValue[]; droppedAttributesCount?: number };
  schemaUrl?: string;
}

/** E11, all counted in bytes as stored. */
const REPEATED_MAX = 65_536;
const REPEATED_UNSURE = 2_048;
const COUNT_MAX = 2 ** 32 - 1;
const TIME_MAX = 2n ** 63n - 1n;

export function tenancyColumns(origin: RowOrigin): Row {
  return {
    OrgId: origin.orgId,
    Placement: origin.placement,
    RetentionDays: origin.retentionDays,
    ExpiresOn: new Date(origin.expiresOnDay * 86_400_000).toISOString().slice(0, 10),
    ReceivedAt: new Date(origin.receivedAtMs).toISOString().replace('T', ' ').replace('Z', ''),
  };
}

/** The attributes that are kept of one list, and how many were not. */
export class KeptAttributes {
  readonly list: KeyValue[];
  readonly #sentCount: number;

  /** E11: the first 1,024, keys up to 4 KiB, values up to 1 MiB. */
  constructor(sent: readonly KeyValue[] = []) {
    this.#sentCount = sent.length;
    this.list = sent.slice(0, 1_024).filter((attribute) => {
      const value = attribute.value ?? {};
      const valueBytes = Buffer.byteLength(value.stringValue ?? '') + (value.bytesValue?.length ?? 0);
      return Buffer.byteLength(keyText(attribute)) <= 4_096 && valueBytes <= 1_048_576;
    });
  }

  get map(): MapEntries {
    return new MapEntries(this.list.map((attribute) => [keyText(attribute), valueText(attribute.value)] as const));
  }

  get letters(): string {
    return this.list.map((attribute) => valueLetter(attribute.value)).join('');
  }

  /** What the caps took, without what the sender dropped. */
  get capped(): number {
    return this.#sentCount - this.list.length;
  }

  droppedCount(droppedBySender = 0): number {
    return Math.min(COUNT_MAX, droppedBySender + this.capped);
  }

  sortByKey(): this {
    this.list.sort((a, b) => Buffer.compare(Buffer.from(keyText(a)), Buffer.from(keyText(b))));
    return this;
  }

  get bytes(): number {
    return this.list.reduce((sum, attribute) => sum + attributeBytes(attribute), 0);
  }
}

/**
 * What stands above an item: columns of its resource, its scope, and the caller's own repeated list (a metric's
 * metadata). Undefined: strings alone are over the 64 KiB, so every item beneath is rejected (E11).
 */
export function repeatedColumns(
  resource: ResourceEnvelope,
  scope: ScopeEnvelope,
  names: { scopeDropped: string },
  metric?: { metadata: KeptAttributes; texts: readonly string[] },
): Row | undefined {
  const ofResource = new KeptAttributes(resource.resource?.attributes);
  const ofScope = new KeptAttributes(scope.scope?.attributes);
  const texts = [
    resource.schemaUrl ?? '',
    entityRefsText(resource.resource?.entityRefs ?? []),
    scope.schemaUrl ?? '',
    scope.scope?.name ?? '',
    scope.scope?.version ?? '',
    ...(metric?.texts ?? []),
  ];
  const lists = [ofResource, ofScope, ...(metric === undefined ? [] : [metric.metadata])];
  if (
    !dropLargest(
      lists,
      texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    )
  )
    return undefined;
  const service = ofResource.list.find((attribute) => keyText(attribute) === 'service.name');
  return {
    ServiceName: valueText(service?.value),
    ResourceSchemaUrl: texts[0],
    ResourceAttributes: ofResource.map,
    ResourceAttributesTypes: ofResource.letters,
    ResourceDroppedAttributesCount: ofResource.droppedCount(resource.resource?.droppedAttributesCount),
    ResourceEntityRefs: texts[1],
    ScopeSchemaUrl: texts[2],
    ScopeName: texts[3],
    ScopeVersion: texts[4],
    ScopeAttributes: ofScope.map,
    ScopeAttributesTypes: ofScope.letters,
    [names.scopeDropped]: ofScope.droppedCount(scope.scope?.droppedAttributesCount),
  };
}

/** E11: while what repeats in each row is over 64 KiB, the largest attribute of all lists goes. */
function dropLargest(lists: readonly KeptAttributes[], textBytes: number): boolean {
  for (;;) {
    const bytes = lists.reduce((sum, list) => sum + list.bytes, textBytes);
    if (Math.abs(bytes - REPEATED_MAX) < REPEATED_UNSURE) throw new Error(`${bytes} repeated bytes: too near to judge`);
    if (bytes <= REPEATED_MAX) return true;
    const all = lists.flatMap((list) => list.list.map((attribute) => ({ list, attribute })));
    if (all.length === 0) return false;
    const largest = all.reduce((a, b) => (attributeBytes(b.attribute) > attributeBytes(a.attribute) ? b : a));
    largest.list.list.splice(largest.list.list.indexOf(largest.attribute), 1);
  }
}

function attributeBytes(attribute: KeyValue): number {
  return Buffer.byteLength(keyText(attribute)) + Buffer.byteLength(valueText(attribute.value));
}

/** E4: an index into a profile's dictionary means nothing here; a key that stands beside one is kept. */
function keyText(attribute: KeyValue): string {
  return attribute.key ?? '';
}

/** The letter of a value in a signature (4.6). */
export function valueLetter(value: AnyValue = {}): string {
  if (value.stringValue !== undefined) return 's';
  if (value.boolValue !== undefined) return 'b';
  if (value.intValue !== undefined) return 'i';
  if (value.doubleValue !== undefined) return 'd';
  if (value.arrayValue !== undefined) return 'a';
  if (value.kvlistValue !== undefined) return 'm';
  if (value.bytesValue !== undefined) return 'x';
  return 'n';
}

/** The text of a value (4.6). */
export function valueText(value: AnyValue = {}): string {
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.boolValue !== undefined) return String(value.boolValue);
  if (value.intValue !== undefined) return value.intValue;
  if (value.doubleValue !== undefined) return doubleText(value.doubleValue);
  if (value.bytesValue !== undefined) return Buffer.from(value.bytesValue).toString('base64');
  if (value.arrayValue !== undefined || value.kvlistValue !== undefined) return jsonText(value, 0);
  return '';
}

/** `around` is the number of arrays and kvlists that hold this value. */
function jsonText(value: AnyValue, around: number): string {
  const isContainer = value.arrayValue !== undefined || value.kvlistValue !== undefined;
  if (isContainer && around >= 32) return '"<nested deeper than 32>"';
  if (value.arrayValue !== undefined) {
    return `[${(value.arrayValue.values ?? []).map((inner) => jsonText(inner, around + 1)).join(',')}]`;
  }
  if (value.kvlistValue !== undefined) {
    const members = (value.kvlistValue.values ?? []).map(
      (member) => `${JSON.stringify(keyText(member))}:${jsonText(member.value ?? {}, around + 1)}`,
    );
    return `{${members.join(',')}}`;
  }
  if (value.doubleValue !== undefined && !Number.isFinite(value.doubleValue)) return `"${value.doubleValue}"`;
  if (value.stringValue !== undefined) return JSON.stringify(value.stringValue);
  if (value.bytesValue !== undefined) return JSON.stringify(valueText(value));
  return valueText(value) === '' ? 'null' : valueText(value);
}

function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

function entityRefsText(refs: readonly EntityRef[]): string {
  if (refs.length === 0) return '';
  return JSON.stringify(
    refs.map((ref) => ({
      ...(ref.schemaUrl ? { schemaUrl: ref.schemaUrl } : {}),
      ...(ref.type ? { type: ref.type } : {}),
      ...(ref.idKeys?.length ? { idKeys: ref.idKeys } : {}),
      ...(ref.descriptionKeys?.length ? { descriptionKeys: ref.descriptionKeys } : {}),
    })),
  );
}

/** E1: an id of a wrong length, or all zero, is no id. */
export function idText(id: Uint8Array | undefined, length: number): string {
  if (id === undefined || id.length !== length || id.every((byte) => byte === 0)) return '';
  return Buffer.from(id).toString('hex');
}

/** E9: DateTime64(9) cannot hold it. */
export function isTooLate(time: string | undefined): boolean {
  return BigInt(time ?? '0') > TIME_MAX;
}

/** As ClickHouse prints DateTime64(9) in UTC. */
export function nanosecondText(time: bigint): string {
  const seconds = new Date(Number(time / 1_000_000_000n) * 1_000).toISOString().slice(0, 19).replace('T', ' ');
  return `${seconds}.${String(time % 1_000_000_000n).padStart(9, '0')}`;
}

/** The row as it comes back from ClickHouse's JSONEachRow and JSON.parse: of equal keys in a Map the last one stands. */
export function parsedRow(row: Row): Row {
  return Object.fromEntries(Object.entries(row).map(([column, cell]) => [column, parsedCell(cell)]));
}

function parsedCell(cell: unknown): unknown {
  if (Array.isArray(cell)) return cell.map(parsedCell);
  return cell instanceof MapEntries ? Object.fromEntries(cell.entries) : cell;
}

/** The row as a line of JSONEachRow, equal keys of a Map, -0, NaN and infinities included. */
export function rowText(row: Row): string {
  const members = Object.entries(row).map(([column, cell]) => `${JSON.stringify(column)}:${cellText(cell)}`);
  return `{${members.join(',')}}`;
}

function cellText(cell: unknown): string {
  if (Array.isArray(cell)) return `[${cell.map(cellText).join(',')}]`;
  if (typeof cell === 'number') return Number.isFinite(cell) ? doubleText(cell) : `"${cell}"`;
  if (!(cell instanceof MapEntries)) return JSON.stringify(cell);
  return `{${cell.entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
}
