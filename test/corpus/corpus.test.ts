/** The generators and the oracle of the converter's tests, held against values written by hand. */
import { describe, expect, it } from 'vitest';
import { decodePlain, loadProto, requestType } from '../proto/load-proto.ts';
import { expectedLogRows, expectedRejectedLogs } from './expected-log-rows.ts';
import { generateLogsRequest } from './generate-logs.ts';
import { nestedValue } from './random-values.ts';
import { scrambleProtobuf } from './scramble-protobuf.ts';
import { seededRandom } from './seeded-random.ts';

const type = requestType(loadProto(), 'logs');
const origin = {
  orgId: 'org_a',
  receivedAtMs: 1_763_856_000_123,
  placement: 'shared-0',
  retentionDays: 30,
  expiresOnDay: 20_446,
};
const rowsOf = (request: object) =>
  expectedLogRows(decodePlain(type, type.encode(type.fromObject(request)).finish()), origin);

describe('the corpus', () => {
  it('makes the same request from the same seed, and another from another', () => {
    expect(generateLogsRequest(seededRandom(1))).toEqual(generateLogsRequest(seededRandom(1)));
    expect(generateLogsRequest(seededRandom(2))).not.toEqual(generateLogsRequest(seededRandom(1)));
  });

  it('meets every kind of value, rejected records, caps and missing parts within 200 seeds', () => {
    const letters = new Set<string>();
    const seen = { rejected: 0, dropped: 0, marker: 0, noResource: 0, rows: 0 };
    for (let seed = 0; seed < 200; seed++) {
      const request = decodePlain(type, type.encode(type.fromObject(generateLogsRequest(seededRandom(seed)))).finish());
      seen.rejected += expectedRejectedLogs(request);
      for (const row of expectedLogRows(request, origin)) {
        seen.rows++;
        for (const letter of `${row['LogAttributesTypes']}${row['BodyType']}`) letters.add(letter);
        if (String(row['Body']).includes('<nested deeper than 32>')) seen.marker++;
        if (Number(row['DroppedAttributesCount']) > 0) seen.dropped++;
        if (row['ResourceAttributesTypes'] === '') seen.noResource++;
      }
    }
    expect([...letters].sort().join('')).toBe('abdimnsx');
    for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(0);
  });

  it('scrambles bytes without changing what they say', () => {
    const random = seededRandom(3);
    let changed = 0;
    for (let round = 0; round < 20; round++) {
      const bytes = type.encode(type.fromObject(generateLogsRequest(random))).finish();
      const scrambled = scrambleProtobuf(type, bytes, random);
      if (!scrambled.equals(bytes)) changed++;
      expect(decodePlain(type, scrambled)).toEqual(decodePlain(type, bytes));
    }
    expect(changed).toBeGreaterThan(10);
  });

  it('expects the row that the table is defined to hold', () => {
    const attributes = [
      { key: 'a', value: { stringValue: '1' } },
      { key: 'b', value: { intValue: '1' } },
      { key: 'c', value: { doubleValue: 1.5 } },
      { key: 'd', value: { boolValue: true } },
      { key: 'e', value: { arrayValue: { values: [{ intValue: '1' }, { stringValue: 'x' }] } } },
      { key: 'f', value: { kvlistValue: { values: [{ key: 'k', value: { intValue: '1' } }] } } },
      { key: 'g', value: { bytesValue: Buffer.from([1, 2]) } },
      { key: 'h', value: {} },
    ];
    const record = {
      timeUnixNano: '1700000000000000001',
      severityNumber: 9,
      flags: 0x1ff,
      attributes,
      body: { doubleValue: -0 },
      traceId: Buffer.alloc(16, 0xab),
      spanId: Buffer.alloc(7, 1),
      eventName: 'e',
    };
    const resource = {
      attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }],
      entityRefs: [{ type: 'service', idKeys: ['service.name'] }],
    };
    expect(rowsOf({ resourceLogs: [{ resource, scopeLogs: [{ logRecords: [record] }] }] })).toEqual([
      {
        OrgId: 'org_a',
        Placement: 'shared-0',
        RetentionDays: 30,
        ExpiresOn: '2025-12-24',
        ReceivedAt: '2025-11-23 00:00:00.123',
        Timestamp: '2023-11-14 22:13:20.000000001',
        ObservedTimestamp: '1970-01-01 00:00:00.000000000',
        TraceId: 'ab'.repeat(16),
        SpanId: '',
        TraceFlags: 255,
        Flags: 511,
        SeverityText: '',
        SeverityNumber: 9,
        ServiceName: 'shop',
        Body: '-0',
        BodyType: 'd',
        ResourceSchemaUrl: '',
        ResourceAttributes: { 'service.name': 'shop' },
        ResourceAttributesTypes: 's',
        ResourceDroppedAttributesCount: 0,
        ResourceEntityRefs: '[{"type":"service","idKeys":["service.name"]}]',
        ScopeSchemaUrl: '',
        ScopeName: '',
        ScopeVersion: '',
        ScopeAttributes: {},
        ScopeAttributesTypes: '',
        ScopeDroppedAttributesCount: 0,
        LogAttributes: { a: '1', b: '1', c: '1.5', d: 'true', e: '[1,"x"]', f: '{"k":1}', g: 'AQI=', h: '' },
        LogAttributesTypes: 'sidbamxn',
        DroppedAttributesCount: 0,
        EventName: 'e',
      },
    ]);
  });

  it('expects caps, markers and times as the rules say', () => {
    const body = (value: object) => rowsOf({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: value }] }] }] })[0];
    expect(body(nestedValue(seededRandom(1), 32))?.['Body']).not.toContain('deeper');
    expect(body(nestedValue(seededRandom(1), 33))?.['Body']).toContain('"<nested deeper than 32>"');
    const received = body({})?.['Timestamp'];
    expect(received).toBe('2025-11-23 00:00:00.123000000');
    const many = Array.from({ length: 1_026 }, () => ({ key: 'k', value: { boolValue: false } }));
    const records = [
      { attributes: many, droppedAttributesCount: 5 },
      { attributes: [{ key: 'k'.repeat(4_097) }], droppedAttributesCount: 4_294_967_295 },
      { observedTimeUnixNano: '9223372036854775807' },
      { timeUnixNano: '9223372036854775808' },
    ];
    const rows = rowsOf({ resourceLogs: [{ scopeLogs: [{ logRecords: records }] }] });
    expect(rows.map((row) => row['DroppedAttributesCount'])).toEqual([7, 4_294_967_295, 0]);
    expect(rows[2]?.['Timestamp']).toBe('2262-04-11 23:47:16.854775807');
  });
});
