/**
 * Protobuf that no encoder of ours writes (line T2 of the interop plan): fields in any order, unknown fields, packed and
 * unpacked numbers, messages in parts, bodies cut off. What must come of it is what protobufjs makes of the same bytes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { field, fixed64Field, keyValue, nestedArrays, varintField } from '../corpus/hand-made-protobuf.ts';
import { scrambleProtobuf } from '../corpus/scramble-protobuf.ts';
import { seededRandom } from '../corpus/seeded-random.ts';
import { loadProto, requestType } from '../proto/load-proto.ts';
import { startService, type TestService } from '../support/service.ts';
import { bodyOf, CLEAN, logsOf, metricsOf, newName, noRowsOf, rowsOf, sendBody, warned } from './otlp-client.ts';

const WIRE_WAYS = ['grpc', 'protobuf'] as const;
const root = loadProto();
const text = (value: string) => Buffer.from(value);

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

const resourceOf = (name: string) => field(1, keyValue(text('service.name'), field(1, text(name))));

/** A request with one resource, one scope and these items; the same field numbers for every signal. */
const requestOf = (name: string, ...items: readonly Buffer[]) =>
  field(1, field(1, resourceOf(name)), field(2, ...items.map((item) => field(2, item))));

describe.concurrent('the wire corpus', () => {
  it('T2 (tests): fields in any order, in parts, between unknown ones: the same row', async () => {
    const record = {
      ...{ timeUnixNano: '1', severityNumber: 9, severityText: 'x', flags: 3, eventName: 'e' },
      body: {
        kvlistValue: {
          values: [
            { key: 'k', value: { intValue: '1' } },
            { key: 'l', value: { boolValue: true } },
          ],
        },
      },
      attributes: [{ key: 'a', value: { arrayValue: { values: [{ stringValue: 'b' }, { doubleValue: 0.5 }] } } }],
    };
    const type = requestType(root, 'logs');
    const columns = 'Timestamp, SeverityNumber, SeverityText, Flags, EventName, Body, LogAttributes';
    for (let seed = 1; seed <= 20; seed++) {
      const name = newName();
      const body = scrambleProtobuf(type, bodyOf('logs', 'protobuf', logsOf(record)(name)), seededRandom(seed));
      expect(await sendBody(service, 'logs', WIRE_WAYS[seed % 2] ?? 'grpc', body), `seed ${seed}`).toEqual(CLEAN);
      const [row] = await rowsOf(service, 'otel_logs', columns, name, 1);
      expect(Object.values(row ?? {}), `seed ${seed}`).toEqual([
        ...['1970-01-01 00:00:00.000000001', 9, 'x', 3, 'e', '{"k":1,"l":true}', { a: '["b",0.5]' }],
      ]);
    }
  });

  it('T2 (tests): an array, a kvlist, a value and a body that come in parts are merged, as protobuf merges messages', async () => {
    const string = (value: string) => field(1, text(value));
    const array = (...values: readonly Buffer[]) => field(5, ...values.map((value) => field(1, value)));
    const kvlist = (key: string, value: Buffer) => field(6, field(1, keyValue(text(key), value)));
    const parts = (number: number, ...values: readonly Buffer[]) => values.map((value) => field(number, value));
    const attribute = (...values: readonly Buffer[]) => field(6, field(1, text('k')), ...parts(2, ...values));
    const records = [
      // One AnyValue that holds the array twice; a string between makes the first one void.
      attribute(Buffer.concat([array(string('a')), array(string('b'))])),
      attribute(Buffer.concat([array(string('a')), string('s'), array(string('b'))])),
      // The AnyValue itself in parts, the last of them empty, and a member of another kind in the last.
      attribute(array(string('a')), array(string('b'), array(string('c'))), Buffer.alloc(0)),
      attribute(array(string('a')), string('s')),
      attribute(kvlist('x', string('1')), kvlist('y', Buffer.concat([array(string('2')), array(string('3'))]))),
    ];
    for (const way of WIRE_WAYS) {
      const name = newName();
      const bodies = parts(5, array(string('a')), array(string('b')));
      const times = records.map((record, i) => Buffer.concat([fixed64Field(1, BigInt(i + 1)), ...bodies, record]));
      const body = requestOf(name, ...times);
      expect(await sendBody(service, 'logs', way, body)).toEqual(CLEAN);
      const rows = await rowsOf(
        service,
        'otel_logs',
        "Body, LogAttributes['k'] AS k, LogAttributesTypes",
        name,
        5,
        'Timestamp',
      );
      expect(rows.map((row) => Object.values(row))).toEqual([
        ['["a","b"]', '["a","b"]', 'a'],
        ['["a","b"]', '["b"]', 'a'],
        ['["a","b"]', '["a","b",["c"]]', 'a'],
        ['["a","b"]', 's', 's'],
        ['["a","b"]', '{"x":"1","y":["2","3"]}', 'm'],
      ]);
      // The same bytes as protobufjs reads them.
      const type = requestType(root, 'logs');
      const decoded = JSON.stringify(type.toObject(type.decode(body), { longs: String }));
      expect(decoded).toContain('"value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}');
    }
  });

  it('T2 (tests): numbers packed, unpacked and in pieces are one list', async () => {
    const words = (...values: readonly bigint[]) => Buffer.concat(values.map((value) => fixed64Field(6, value)));
    const packed = (...values: readonly bigint[]) =>
      field(6, ...values.map((value) => fixed64Field(0, value).subarray(1)));
    const bounds = Buffer.alloc(16);
    bounds.writeDoubleLE(0.5, 0);
    bounds.writeDoubleLE(1.5, 8);
    const bound = Buffer.concat([Buffer.from([0x39]), Buffer.from(new Float64Array([2.5]).buffer)]);
    const point = field(
      1,
      fixed64Field(3, 1n),
      words(1n),
      field(7, bounds),
      packed(2n, 3n),
      packed(),
      bound,
      words(4n),
    );
    for (const way of WIRE_WAYS) {
      const name = newName();
      const metric = Buffer.concat([field(1, text('h')), field(9, point)]);
      expect(await sendBody(service, 'metrics', way, requestOf(name, metric))).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_metrics_histogram', 'BucketCounts, ExplicitBounds', name, 1)).toEqual([
        { BucketCounts: ['1', '2', '3', '4'], ExplicitBounds: [0.5, 1.5, 2.5] },
      ]);
    }
  });

  it('T2 (tests): skips field 1000, other unknown fields, known numbers of another wire type, and groups', async () => {
    const group = Buffer.from([0xf3, 0x03, 0xfb, 0x03, 0x08, 0x01, 0xfc, 0x03, 0xf4, 0x03]);
    const unknown = [
      field(1_000, text('reserved')),
      varintField(500, 300),
      varintField(5, 1),
      fixed64Field(12, 7n),
      group,
    ];
    const record = Buffer.concat([...unknown, field(5, field(1, text('kept'))), ...unknown]);
    for (const way of WIRE_WAYS) {
      const name = newName();
      const body = field(
        1,
        ...unknown.slice(0, 2),
        field(1, resourceOf(name)),
        group,
        field(2, group, field(2, record)),
      );
      expect(await sendBody(service, 'logs', way, Buffer.concat([group, body, field(1_000)]))).toEqual(CLEAN);
      expect(await rowsOf(service, 'otel_logs', 'Body, EventName', name, 1)).toEqual([{ Body: 'kept', EventName: '' }]);
    }
  });

  it('T2 (tests): an empty body is a full success, and 10,000 levels of AnyValue are cut', async () => {
    for (const way of WIRE_WAYS) {
      expect(await sendBody(service, 'metrics', way, Buffer.alloc(0))).toEqual(CLEAN);
      const name = newName();
      const rule = 'arrays or lists were nested deeper than 32 and were replaced by a marker';
      const path = 'resourceLogs[0].scopeLogs[0].logRecords[0].body';
      const answer = await sendBody(service, 'logs', way, requestOf(name, field(5, nestedArrays(10_000))));
      expect(answer).toEqual(warned(`warning, 1 time: ${rule} (first: ${path})`));
      expect(await rowsOf(service, 'otel_logs', 'length(Body) AS n', name, 1)).toEqual([{ n: String(64 + 25) }]);
    }
  });

  it('T2 (tests): a body that is cut off anywhere is refused where protobufjs refuses it, and leaves no rows', async () => {
    const type = requestType(root, 'metrics');
    const point = { timeUnixNano: '1', asInt: '5', attributes: [{ key: 'k', value: { stringValue: 'v' } }] };
    const name = newName();
    const body = bodyOf('metrics', 'protobuf', metricsOf({ name: 'm', gauge: { dataPoints: [point] } })(name));
    const taken: number[] = [];
    const expected: number[] = [];
    for (let length = 0; length < body.length; length++) {
      const cut = body.subarray(0, length);
      const { code } = await sendBody(service, 'metrics', 'protobuf', cut);
      expect([0, 3]).toContain(code);
      if (code === 0) taken.push(length);
      if (decodes(cut)) expected.push(length);
    }
    expect(taken).toEqual(expected);
    expect(await noRowsOf(service, 'otel_metrics_gauge', name)).toEqual([]);

    function decodes(bytes: Buffer): boolean {
      try {
        type.decode(bytes);
        return true;
      } catch {
        return false;
      }
    }
  });
});
