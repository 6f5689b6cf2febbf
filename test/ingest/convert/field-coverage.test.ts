/**
 * No field of OTLP is lost: every leaf field of the three requests, at every message path, is changed alone, and some
 * column of some stored row must change. Paths come from the descriptors, so a field added to proto/ is a case here.
 */
import protobuf from 'protobufjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuilderSet } from '../../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../../src/ingest/convert/convert.ts';
import { SIGNALS, type Signal } from '../../../src/ingest/messages.ts';
import { TABLES } from '../../../src/tables/all-tables.ts';
import { loadProto, requestType } from '../../proto/load-proto.ts';
import { ORIGIN } from '../../support/log-request.ts';
import { openTableEngine, type TableEngine } from '../../support/table-engine.ts';

/** Fields that change nothing, by name; each is checked to change nothing. */
const WITHOUT_COLUMN: Readonly<Record<string, string>> = {
  stringValueStrindex: 'an index into the dictionary of profiles; elsewhere the value is empty whatever the index (E4)',
  keyStrindex: 'an index into the dictionary of profiles; elsewhere the key is empty whatever the index (E4)',
};

/** A leaf at its place in a request; what stands above the data of a metric is a case of every kind of metric. */
interface Leaf {
  readonly name: string;
  readonly signal: Signal;
  /** The fields from the request down to the leaf. Members of a oneof on the way are chosen. */
  readonly path: readonly protobuf.Field[];
  /** Members of a oneof that are chosen where the path does not say. */
  readonly chosen: readonly protobuf.Field[];
}

const root = loadProto();
const LEAVES = SIGNALS.flatMap((signal) =>
  leavesOf(requestType(root, signal), []).flatMap((path) => casesOf(signal, path)),
);

let engine: TableEngine;
/** All rows of a request as text, by the organization under which it was stored. */
const stored = new Map<string, string>();

beforeAll(async () => {
  engine = openTableEngine();
  for (const table of TABLES) await engine.create(table);
  const pool = new ConverterPool();
  const set = new BuilderSet();
  for (const [i, leaf] of LEAVES.entries()) {
    for (const changed of [false, true]) {
      const type = requestType(root, leaf.signal);
      const bytes = type.encode(type.fromObject(fullMessage(type, leaf, leaf.path, changed))).finish();
      const result = convertNow(pool, leaf.signal, bytes, { ...ORIGIN, orgId: orgOf(i, changed) }, set);
      if (result === undefined || result.rejected > 0) throw new Error(`${leaf.name}: ${result?.message}`);
    }
  }
  for (const batch of set.encode(() => '0000000000000001')) await engine.insert(batch.table, batch.bytes);
  for (const { name } of TABLES) {
    for (const { OrgId, ...columns } of await engine.rows(`SELECT * FROM ${name} ORDER BY ALL`)) {
      stored.set(String(OrgId), `${stored.get(String(OrgId)) ?? ''}${name} ${JSON.stringify(columns)}\n`);
    }
  }
}, 120_000);
afterAll(() => engine.close());

describe('changing one field alone', () => {
  it('has every message path of the three requests as a case', () => {
    const names = LEAVES.map((leaf) => leaf.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain(
      'resourceSpans.scopeSpans.spans.links.attributes.value.kvlistValue.values.value.doubleValue',
    );
    for (const kind of ['gauge', 'sum', 'histogram', 'exponentialHistogram']) {
      expect(names).toContain(
        `resourceMetrics.scopeMetrics.metrics.${kind}.dataPoints.exemplars.filteredAttributes.key`,
      );
    }
    for (const kind of ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']) {
      expect(names).toContain(`resourceMetrics.resource.attributes.key (${kind})`);
      expect(names).toContain(`resourceMetrics.scopeMetrics.metrics.unit (${kind})`);
    }
    expect(names.length).toBeGreaterThan(900);
  });

  it('changes some column of some row, whatever the field', () => {
    const lost: string[] = [];
    for (const [i, leaf] of LEAVES.entries()) {
      if (hasNoColumn(leaf)) continue;
      const before = stored.get(orgOf(i, false));
      const after = stored.get(orgOf(i, true));
      if (before === undefined || after === undefined || before === after) lost.push(leaf.name);
    }
    expect(lost).toEqual([]);
  });

  it('changes nothing where the list of fields without a column says so', () => {
    const listed = LEAVES.map((leaf, i) => ({ leaf, i })).filter(({ leaf }) => hasNoColumn(leaf));
    for (const { leaf, i } of listed) {
      expect(stored.get(orgOf(i, false)), leaf.name).toBeDefined();
      expect(stored.get(orgOf(i, true)), leaf.name).toBe(stored.get(orgOf(i, false)));
    }
    const met = new Set(listed.map(({ leaf }) => leaf.path.at(-1)?.name));
    expect(Object.keys(WITHOUT_COLUMN).filter((name) => !met.has(name))).toEqual([]);
  });
});

function orgOf(leafIndex: number, changed: boolean): string {
  return `org_${leafIndex}_${changed ? 'changed' : 'as it was'}`;
}

function hasNoColumn(leaf: Leaf): boolean {
  return Object.hasOwn(WITHOUT_COLUMN, leaf.path.at(-1)?.name ?? '');
}

function casesOf(signal: Signal, path: readonly protobuf.Field[]): Leaf[] {
  const name = path.map((field) => field.name).join('.');
  const kinds = root.lookupType('opentelemetry.proto.metrics.v1.Metric').oneofs['data']?.fieldsArray ?? [];
  if (signal !== 'metrics' || path.some((field) => kinds.includes(field))) return [{ name, signal, path, chosen: [] }];
  return kinds.map((kind) => ({ name: `${name} (${kind.name})`, signal, path, chosen: [kind] }));
}

/** An AnyValue inside an AnyValue is a case, a third one is not: it says nothing new. */
function leavesOf(type: protobuf.Type, above: readonly protobuf.Field[]): protobuf.Field[][] {
  const anyValues = above.filter((field) => field.resolvedType?.name === 'AnyValue').length;
  return type.fieldsArray.flatMap((field) => {
    const path = [...above, field];
    if (!(field.resolvedType instanceof protobuf.Type)) return [path];
    const isContainer = field.name === 'arrayValue' || field.name === 'kvlistValue';
    return isContainer && anyValues > 1 ? [] : leavesOf(field.resolvedType, path);
  });
}

/** Every field set, lists with one element; of a oneof the member on `path`, else the one that ends the nesting. */
function fullMessage(
  type: protobuf.Type,
  leaf: Leaf,
  path: readonly protobuf.Field[],
  changed: boolean,
): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const field of type.fieldsArray) {
    const onPath = field === path[0];
    if (!onPath && isLeftOut(field, leaf, path[0])) continue;
    if (field.resolvedType instanceof protobuf.Type) {
      const inner = fullMessage(field.resolvedType, leaf, onPath ? path.slice(1) : [], changed);
      message[field.name] = field.repeated ? [inner] : inner;
    } else {
      const value = leafValue(field, onPath && changed);
      message[field.name] = field.repeated ? [value, ...furtherElements(field)] : value;
    }
  }
  return message;
}

function isLeftOut(field: protobuf.Field, leaf: Leaf, first: protobuf.Field | undefined): boolean {
  // Set, it would hide the key.
  if (field.name === 'keyStrindex') return true;
  const oneof = field.partOf;
  if (oneof === null) return false;
  const chosen = leaf.chosen.find((member) => member.partOf === oneof) ?? oneof.fieldsArray[0];
  return first?.partOf === oneof || chosen !== field;
}

/** A histogram has one bucket more than bounds. */
function furtherElements(field: protobuf.Field): string[] {
  return field.name === 'bucketCounts' && field.parent?.name === 'HistogramDataPoint' ? ['7'] : [];
}

function leafValue(field: protobuf.Field, changed: boolean): unknown {
  if (field.resolvedType instanceof protobuf.Enum) return changed ? 2 : 1;
  switch (field.type) {
    case 'string':
      return changed ? 'changed' : 'as it was';
    case 'bytes': {
      const lengths: Record<string, number> = { traceId: 16, spanId: 8, parentSpanId: 8 };
      return Buffer.alloc(lengths[field.name] ?? 3, changed ? 2 : 1);
    }
    case 'bool':
      return changed;
    case 'double':
      return changed ? 2.5 : 1.5;
    case 'int32':
    case 'sint32':
    case 'uint32':
    case 'fixed32':
      // Bit 0 of a point's flags would say that it has no value.
      return changed ? 4 : 2;
    case 'int64':
    case 'sfixed64':
    case 'uint64':
    case 'fixed64':
      return changed ? '1700000000000000002' : '1700000000000000001';
    default:
      throw new Error(`${field.fullName}: no value for the type ${field.type}`);
  }
}
