/** Values and repeated columns of the obvious way (plain-rows.ts). */
import type { RowOrigin } from '../src/ingest/messages.ts';

// Messages as protobufjs decodes them: their fields are known to nobody but proto/, so they are not typed here.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Decoded = Record<string, any>;
export type Row = Record<string, unknown>;

export function tenancyColumns(origin: RowOrigin): Row {
  return {
    OrgId: origin.orgId,
    Placement: origin.placement,
    RetentionDays: origin.retentionDays,
    ExpiresOn: new Date(origin.expiresOnDay * 86_400_000).toISOString().slice(0, 10),
    ReceivedAt: new Date(origin.receivedAtMs).toISOString().replace('T', ' ').replace('Z', ''),
  };
}

/** Of a ResourceSpans, ResourceLogs or ResourceMetrics. */
export function resourceColumns(of: Decoded): Row {
  const resource = of['resource'] ?? {};
  const attributes = attributeColumns(resource.attributes ?? []);
  return {
    ServiceName: attributes.map['service.name'] ?? '',
    ResourceSchemaUrl: of['schemaUrl'],
    ResourceAttributes: attributes.map,
    ResourceAttributesTypes: attributes.letters,
    ResourceDroppedAttributesCount: resource.droppedAttributesCount ?? 0,
    ResourceEntityRefs: resource.entityRefs?.length > 0 ? JSON.stringify(resource.entityRefs) : '',
  };
}

/** Of a ScopeSpans, ScopeLogs or ScopeMetrics; `dropped` is the one name in which the tables differ. */
export function scopeColumns(of: Decoded, dropped = 'ScopeDroppedAttributesCount'): Row {
  const scope = of['scope'] ?? {};
  const attributes = attributeColumns(scope.attributes ?? []);
  return {
    ScopeSchemaUrl: of['schemaUrl'],
    ScopeName: scope.name ?? '',
    ScopeVersion: scope.version ?? '',
    ScopeAttributes: attributes.map,
    ScopeAttributesTypes: attributes.letters,
    [dropped]: scope.droppedAttributesCount ?? 0,
  };
}

export function attributeColumns(list: Decoded[]): { map: Record<string, string>; letters: string } {
  const map: Record<string, string> = {};
  let letters = '';
  for (const attribute of list) {
    map[attribute['key']] = textOf(attribute['value']);
    letters += letterOf(attribute['value']);
  }
  return { map, letters };
}

/** `value` names the member of its oneof that is set. */
export function letterOf(value: Decoded | null): string {
  switch (value?.['value']) {
    case 'stringValue':
      return 's';
    case 'intValue':
      return 'i';
    case 'doubleValue':
      return 'd';
    case 'boolValue':
      return 'b';
    case 'arrayValue':
      return 'a';
    case 'kvlistValue':
      return 'm';
    case 'bytesValue':
      return 'x';
    default:
      return 'n';
  }
}

export function textOf(value: Decoded | null): string {
  switch (value?.['value']) {
    case 'stringValue':
      return value?.['stringValue'];
    case 'intValue':
    case 'doubleValue':
    case 'boolValue':
      return String(value?.[value['value']]);
    case 'bytesValue':
      return Buffer.from(value?.['bytesValue']).toString('base64');
    case 'arrayValue':
    case 'kvlistValue':
      return JSON.stringify(jsonOf(value));
    default:
      return '';
  }
}

function jsonOf(value: Decoded | null): unknown {
  const kind = value?.['value'];
  if (kind === 'arrayValue') return value?.['arrayValue'].values.map(jsonOf);
  if (kind === 'kvlistValue') {
    return Object.fromEntries(value?.['kvlistValue'].values.map((one: Decoded) => [one['key'], jsonOf(one['value'])]));
  }
  if (kind === 'intValue') return Number(value?.['intValue']);
  return kind === 'boolValue' || kind === 'doubleValue' ? value?.[kind] : textOf(value);
}

export function hexText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined || bytes.length === 0) return '';
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** DateTime64(9) reads seconds with nine decimals. */
export function timeText(time: { toString(): string }): string {
  const text = time.toString().padStart(10, '0');
  return `${text.slice(0, -9)}.${text.slice(-9)}`;
}
