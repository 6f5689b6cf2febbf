/** proto/ against the field inventory, and against the table that drives the JSON reader. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { OTLP_MESSAGES } from '../../src/ingest/convert/otlp-schema.ts';
import { ENUMS, INVENTORY } from './inventory.ts';
import { decodePlain, loadProto, PROTO_DIR, protoFiles, requestType } from './load-proto.ts';

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Every message of a namespace, nested ones under their own name, as lines in the inventory's notation. */
function describeMessages(namespace: protobuf.NamespaceBase): string[] {
  return namespace.nestedArray.flatMap((child) => {
    if (!(child instanceof protobuf.Type)) return [];
    const fields = child.fieldsArray
      .toSorted((a, b) => a.id - b.id)
      .map((field) => {
        const mark = field.repeated
          ? ' rep'
          : field.options?.['proto3_optional']
            ? ' opt'
            : field.partOf
              ? ` {${field.partOf.name}}`
              : '';
        return `${field.id} ${snake(field.name)} ${field.type.split('.').at(-1)}${mark}`;
      });
    const reserved = (child.reserved ?? []).flat().filter((value, index, all) => all.indexOf(value) === index);
    if (reserved.length > 0) fields.push(`reserved ${reserved.join(', ')}`);
    return [`${child.name}: ${fields.join('; ')}`, ...describeMessages(child)];
  });
}

function enumsOf(namespace: protobuf.NamespaceBase): [string, string][] {
  return namespace.nestedArray.flatMap((child): [string, string][] => {
    if (child instanceof protobuf.Enum) {
      return [
        [
          child.name,
          Object.entries(child.values)
            .map((entry) => entry.join(' '))
            .join(', '),
        ],
      ];
    }
    return child instanceof protobuf.Namespace ? enumsOf(child) : [];
  });
}

describe('proto/', () => {
  const root = loadProto();

  it.each(Object.keys(INVENTORY))('holds exactly the messages and fields of the inventory in %s', (name) => {
    const found = describeMessages(root.lookup(name) as protobuf.Namespace).sort();
    expect(found).toEqual(INVENTORY[name]?.trim().split('\n').sort());
  });

  it('has no package but those of the inventory', () => {
    const packages = protoFiles().map(
      (file) => /^package (.+);$/m.exec(readFileSync(join(PROTO_DIR, file), 'utf8'))?.[1],
    );
    expect([...new Set(packages)].sort()).toEqual(Object.keys(INVENTORY).sort());
  });

  it('has the enums with their numbers', () => {
    expect(Object.fromEntries(enumsOf(root))).toEqual(ENUMS);
  });

  it('is loaded whole by proto-loader, which finds the three services under their standard paths', () => {
    const loaded = loadSync(protoFiles(), { includeDirs: [PROTO_DIR], longs: String });
    const paths = ['trace.v1.TraceService', 'metrics.v1.MetricsService', 'logs.v1.LogsService'].map((name) => {
      const service = loaded[`opentelemetry.proto.collector.${name}`] as Record<string, { path: string }>;
      return service['Export']?.path;
    });
    expect(paths).toEqual([
      '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
      '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    ]);
  });

  it('makes the bytes that the protocol says, written here by hand', () => {
    const type = requestType(root, 'logs');
    const request = {
      resourceLogs: [
        {
          scopeLogs: [
            {
              logRecords: [
                { timeUnixNano: 1, severityNumber: 9, body: { intValue: -1 }, flags: 1, traceId: [7], eventName: 'e' },
              ],
            },
          ],
        },
      ],
    };
    const record = [
      ...['09', '0100000000000000', '10', '09', '2a', '0b', '18', 'ffffffffffffffffff01'],
      ...['45', '01000000', '4a', '01', '07', '62', '01', '65'],
    ].join('');
    const length = (hex: string) => (hex.length / 2).toString(16).padStart(2, '0');
    const scope = `12${length(record)}${record}`;
    const resource = `12${length(scope)}${scope}`;
    const bytes = type.encode(type.fromObject(request)).finish();
    expect(Buffer.from(bytes).toString('hex')).toBe(`0a${length(resource)}${resource}`);
  });

  it('round-trips a message of each kind through protobufjs', () => {
    const point = { timeUnixNano: '18446744073709551615', attributes: [{ key: 'k', value: { boolValue: true } }] };
    const metrics = {
      resourceMetrics: [
        {
          scopeMetrics: [
            {
              metrics: [
                { name: 'g', gauge: { dataPoints: [{ ...point, asInt: '-9223372036854775808' }] } },
                {
                  name: 's',
                  sum: { dataPoints: [{ ...point, asDouble: 1.5 }], aggregationTemporality: 2, isMonotonic: true },
                },
                {
                  name: 'h',
                  histogram: { dataPoints: [{ ...point, bucketCounts: ['1', '2'], explicitBounds: [0.5], sum: 0 }] },
                },
                {
                  name: 'e',
                  exponentialHistogram: {
                    dataPoints: [{ ...point, scale: -3, positive: { offset: -1, bucketCounts: ['7'] } }],
                  },
                },
                { name: 'q', summary: { dataPoints: [{ ...point, quantileValues: [{ quantile: 0.5, value: 2 }] }] } },
              ],
            },
          ],
        },
      ],
    };
    const type = requestType(root, 'metrics');
    expect(decodePlain(type, type.encode(type.fromObject(metrics)).finish())).toEqual(metrics);
  });
});

describe('otlp-schema.ts', () => {
  it('is the same table as the inventory, with ids told from other bytes', () => {
    const inventory = new Map(
      Object.entries(INVENTORY)
        .filter(([name]) => name.startsWith('opentelemetry'))
        .flatMap(([, text]) => text.trim().split('\n'))
        .map((line) => line.split(': ') as [string, string]),
    );
    const isId = /(trace|span)_id$/;
    for (const [name, message] of OTLP_MESSAGES) {
      const rows = message.fields.map((field) => {
        const mark = field.repeated ? ' rep' : field.optional ? ' opt' : field.oneof ? ` {${field.oneof}}` : '';
        const enumName = () =>
          Object.keys(ENUMS).find(
            (key) => [...(field.enumNumbers ?? [])].map((pair) => pair.join(' ')).join(', ') === ENUMS[key],
          );
        expect(field.type === 'id').toBe(isId.test(field.name));
        const type = field.message?.name ?? (field.type === 'enum' ? enumName() : field.type.replace(/^id$/, 'bytes'));
        return `${field.number} ${field.name} ${type}${mark}`;
      });
      expect(`${name}: ${rows.join('; ')}`).toBe(`${name}: ${inventory.get(name)?.replace(/; reserved .*/, '')}`);
    }
    const storageForms = ['TracesData', 'LogsData', 'MetricsData'];
    const answers = [...inventory.keys()].filter((name) => /Response$|PartialSuccess$/.test(name));
    expect([...OTLP_MESSAGES.keys()].sort()).toEqual(
      [...inventory.keys()].filter((name) => !storageForms.includes(name) && !answers.includes(name)).sort(),
    );
  });
});
