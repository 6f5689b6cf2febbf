/**
 * What rows of `otel_logs` a request must become: the plain, slow reading of the table's definition, written without the
 * converter and the oracle of its tests. A row is what `FORMAT JSONEachRow` prints with
 * `output_format_json_quote_64bit_integers = 1` and `date_time_output_format = 'simple'` in UTC. BatchId is not here:
 * nothing of the request decides it.
 *
 * Not judged here, and not generated: invalid UTF-8 (protobufjs refuses it), arrays and kvlists above 1 MiB, requests
 * above 256 MiB of rows, and resources or scopes whose size comes near 64 KiB by many small attributes.
 */
import type { RowOrigin } from '../../src/ingest/messages.ts';

export type Row = Record<string, unknown>;

// Plain data as protobufjs gives it: 64-bit integers as text, absent fields absent.
interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string;
  doubleValue?: number;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
  bytesValue?: Uint8Array;
  stringValueStrindex?: number;
}
interface KeyValue {
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
interface Resource {
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  entityRefs?: EntityRef[];
}
interface Scope {
  name?: string;
  version?: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
}
interface LogRecord {
  timeUnixNano?: string;
  observedTimeUnixNano?: string;
  severityNumber?: number;
  severityText?: string;
  body?: AnyValue;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  flags?: number;
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  eventName?: string;
}
interface ScopeLogs {
  scope?: Scope;
  logRecords?: LogRecord[];
  schemaUrl?: string;
}
interface ResourceLogs {
  resource?: Resource;
  scopeLogs?: ScopeLogs[];
  schemaUrl?: string;
}

const TIME_MAX = 2n ** 63n - 1n;
const COUNT_MAX = 2 ** 32 - 1;

/** Rows in the order of the log records; a record that is rejected (E9) has none. `request` is decoded, plain data. */
export function expectedLogRows(request: object, origin: RowOrigin): Row[] {
  const rows: Row[] = [];
  for (const resourceLogs of (request as { resourceLogs?: ResourceLogs[] }).resourceLogs ?? []) {
    for (const scopeLogs of resourceLogs.scopeLogs ?? []) {
      for (const record of scopeLogs.logRecords ?? []) {
        if (isTooLate(record.timeUnixNano) || isTooLate(record.observedTimeUnixNano)) continue;
        rows.push({
          ...tenancyColumns(origin),
          ...recordColumns(record, origin),
          ...resourceColumns(resourceLogs),
          ...scopeColumns(scopeLogs),
        });
      }
    }
  }
  return rows;
}

/** How many log records of the request make no row (E9). */
export function expectedRejectedLogs(request: object): number {
  const records = ((request as { resourceLogs?: ResourceLogs[] }).resourceLogs ?? [])
    .flatMap((resourceLogs) => resourceLogs.scopeLogs ?? [])
    .flatMap((scopeLogs) => scopeLogs.logRecords ?? []);
  return records.filter((record) => isTooLate(record.timeUnixNano) || isTooLate(record.observedTimeUnixNano)).length;
}

function isTooLate(time: string | undefined): boolean {
  return BigInt(time ?? '0') > TIME_MAX;
}

function tenancyColumns(origin: RowOrigin): Row {
  return {
    OrgId: origin.orgId,
    Placement: origin.placement,
    RetentionDays: origin.retentionDays,
    ExpiresOn: new Date(origin.expiresOnDay * 86_400_000).toISOString().slice(0, 10),
    ReceivedAt: new Date(origin.receivedAtMs).toISOString().replace('T', ' ').replace('Z', ''),
  };
}

function recordColumns(record: LogRecord, origin: RowOrigin): Row {
  const observed = BigInt(record.observedTimeUnixNano ?? '0');
  const received = BigInt(origin.receivedAtMs) * 1_000_000n;
  const time = BigInt(record.timeUnixNano ?? '0') || observed || received;
  const attributes = keptAttributes(record.attributes, record.droppedAttributesCount);
  const flags = record.flags ?? 0;
  return {
    Timestamp: nanosecondText(time),
    ObservedTimestamp: nanosecondText(observed),
    TraceId: idText(record.traceId, 16),
    SpanId: idText(record.spanId, 8),
    TraceFlags: flags % 256,
    Flags: flags,
    SeverityText: record.severityText ?? '',
    SeverityNumber: record.severityNumber ?? 0,
    Body: valueText(record.body),
    BodyType: valueLetter(record.body),
    LogAttributes: attributes.map,
    LogAttributesTypes: attributes.letters,
    DroppedAttributesCount: attributes.droppedCount,
    EventName: record.eventName ?? '',
  };
}

function resourceColumns(resourceLogs: ResourceLogs): Row {
  const resource = resourceLogs.resource ?? {};
  const kept = keptAttributes(resource.attributes, resource.droppedAttributesCount, 65_536);
  const service = kept.list.find((attribute) => keyText(attribute) === 'service.name');
  return {
    ServiceName: valueText(service?.value),
    ResourceSchemaUrl: resourceLogs.schemaUrl ?? '',
    ResourceAttributes: kept.map,
    ResourceAttributesTypes: kept.letters,
    ResourceDroppedAttributesCount: kept.droppedCount,
    ResourceEntityRefs: entityRefsText(resource.entityRefs ?? []),
  };
}

function scopeColumns(scopeLogs: ScopeLogs): Row {
  const scope = scopeLogs.scope ?? {};
  const kept = keptAttributes(scope.attributes, scope.droppedAttributesCount, 65_536);
  return {
    ScopeSchemaUrl: scopeLogs.schemaUrl ?? '',
    ScopeName: scope.name ?? '',
    ScopeVersion: scope.version ?? '',
    ScopeAttributes: kept.map,
    ScopeAttributesTypes: kept.letters,
    ScopeDroppedAttributesCount: kept.droppedCount,
  };
}

interface Kept {
  readonly list: KeyValue[];
  /** Of equal keys the last one stands, as in what JSON.parse makes of ClickHouse's text. */
  readonly map: Record<string, string>;
  readonly letters: string;
  readonly droppedCount: number;
}

/** E11: the first 1,024, keys up to 4 KiB, values up to 1 MiB; all together at most `bytesMax`, the largest go first. */
function keptAttributes(sent: KeyValue[] = [], droppedBySender = 0, bytesMax = Number.POSITIVE_INFINITY): Kept {
  const list = sent.slice(0, 1_024).filter((attribute) => {
    const value = attribute.value ?? {};
    const valueBytes = Buffer.byteLength(value.stringValue ?? '') + (value.bytesValue?.length ?? 0);
    return Buffer.byteLength(keyText(attribute)) <= 4_096 && valueBytes <= 1_048_576;
  });
  const size = (attribute: KeyValue) =>
    Buffer.byteLength(keyText(attribute)) + Buffer.byteLength(valueText(attribute.value));
  while (list.reduce((sum, attribute) => sum + size(attribute), 0) > bytesMax) {
    const largest = list.reduce((a, b) => (size(b) > size(a) ? b : a));
    list.splice(list.indexOf(largest), 1);
  }
  const map: Record<string, string> = {};
  for (const attribute of list) map[keyText(attribute)] = valueText(attribute.value);
  return {
    list,
    map,
    letters: list.map((attribute) => valueLetter(attribute.value)).join(''),
    droppedCount: Math.min(COUNT_MAX, droppedBySender + sent.length - list.length),
  };
}

/** E4: an index into a profile's dictionary means nothing here. */
function keyText(attribute: KeyValue): string {
  return attribute.keyStrindex ? '' : (attribute.key ?? '');
}

function valueLetter(value: AnyValue = {}): string {
  if (value.stringValue !== undefined) return 's';
  if (value.boolValue !== undefined) return 'b';
  if (value.intValue !== undefined) return 'i';
  if (value.doubleValue !== undefined) return 'd';
  if (value.arrayValue !== undefined) return 'a';
  if (value.kvlistValue !== undefined) return 'm';
  if (value.bytesValue !== undefined) return 'x';
  return 'n';
}

function valueText(value: AnyValue = {}): string {
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

/** E1: an id of a wrong length, or all zero, is no id. */
function idText(id: Uint8Array | undefined, length: number): string {
  if (id === undefined || id.length !== length || id.every((byte) => byte === 0)) return '';
  return Buffer.from(id).toString('hex');
}

function entityRefsText(refs: EntityRef[]): string {
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

function nanosecondText(time: bigint): string {
  const seconds = new Date(Number(time / 1_000_000_000n) * 1_000).toISOString().slice(0, 19).replace('T', ' ');
  return `${seconds}.${String(time % 1_000_000_000n).padStart(9, '0')}`;
}
