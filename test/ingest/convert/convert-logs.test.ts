import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuilderSet } from '../../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../../src/ingest/convert/convert.ts';
import type { ConvertResult } from '../../../src/ingest/messages.ts';
import { LOGS } from '../../../src/tables/logs.ts';
import { expectedLogRows, expectedRejectedLogs } from '../../corpus/expected-log-rows.ts';
import { generateLogsRequest } from '../../corpus/generate-logs.ts';
import { scrambleProtobuf } from '../../corpus/scramble-protobuf.ts';
import { seededRandom } from '../../corpus/seeded-random.ts';
import { decodePlain } from '../../proto/load-proto.ts';
import { encodeLogs, encodeRecords, logsRequestType, ORIGIN } from '../../support/log-request.ts';
import { openTableEngine, type TableEngine } from '../../support/table-engine.ts';

let engine: TableEngine;
const pool = new ConverterPool();

beforeAll(async () => {
  engine = openTableEngine();
  await engine.create(LOGS);
});
afterAll(() => engine.close());

/** Converts bodies into one block, inserts it, and reads the rows back in the order in which they were sent. */
async function stored(...bodies: Buffer[]): Promise<{ results: ConvertResult[]; rows: Record<string, unknown>[] }> {
  const set = new BuilderSet();
  const results = bodies.map((body, i) => {
    const result = convertNow(pool, 'logs', body, { ...ORIGIN, receivedAtMs: ORIGIN.receivedAtMs + i }, set);
    if (result === undefined) throw new Error('the body is too large for one go');
    set.assign(i);
    return result;
  });
  for (const batch of set.encode(() => '0123456789abcdef')) {
    // A table without an order of its own keeps the block's: rows come back as they were sent.
    await engine.insert('sent', batch.bytes);
  }
  const rows = await engine.rows('SELECT * FROM sent');
  return { results, rows };
}

describe('log records in the table', () => {
  beforeAll(async () => {
    await engine.create({ ...LOGS, name: 'sent', orderBy: 'tuple()', indexes: [] });
  });

  async function only(record: object, resource?: object, scope?: object) {
    await truncate();
    const { results, rows } = await stored(encodeRecords([record], resource, scope));
    return { result: results[0]!, row: rows[0] ?? {}, rows };
  }

  async function truncate() {
    await engine.run('TRUNCATE TABLE sent');
  }

  it('equal the oracle for seeded requests, fields in any order, unknown fields between them, several to a block', async () => {
    const seed = Number(process.env['BACKWORK_TEST_SEED'] ?? 20_261_123);
    const random = seededRandom(seed);
    for (let round = 0; round < 25; round++) {
      await truncate();
      const requests = Array.from({ length: 8 }, () => {
        const message = logsRequestType().fromObject(generateLogsRequest(random));
        return scrambleProtobuf(logsRequestType(), logsRequestType().encode(message).finish(), random);
      });
      const { results, rows } = await stored(...requests);
      const plain = requests.map((bytes) => decodePlain(logsRequestType(), bytes));
      const expected = plain.flatMap((request, i) =>
        expectedLogRows(request, { ...ORIGIN, receivedAtMs: ORIGIN.receivedAtMs + i }),
      );
      const got = rows.map(({ BatchId, ...row }) => {
        expect(BatchId).toBe('81985529216486895');
        return row;
      });
      expect(got, `seed ${seed}, round ${round}`).toEqual(expected);
      for (const [i, request] of plain.entries()) {
        expect(results[i]!.rejected, `seed ${seed}, round ${round}`).toBe(expectedRejectedLogs(request));
      }
    }
  }, 120_000);

  it('take the time they were observed, then the time of receipt, when they have none of their own (E7)', async () => {
    expect((await only({ timeUnixNano: '5', observedTimeUnixNano: '7' })).row).toMatchObject({
      Timestamp: '1970-01-01 00:00:00.000000005',
      ObservedTimestamp: '1970-01-01 00:00:00.000000007',
    });
    expect((await only({ observedTimeUnixNano: '7' })).row['Timestamp']).toBe('1970-01-01 00:00:00.000000007');
    expect((await only({})).row).toMatchObject({
      Timestamp: '2026-11-23 12:00:00.123000000',
      ReceivedAt: '2026-11-23 12:00:00.123',
      ObservedTimestamp: '1970-01-01 00:00:00.000000000',
    });
  });

  it('are rejected alone when a time is above 2^63-1 ns, and the reason names rule and path (E9)', async () => {
    await truncate();
    const last = '9223372036854775807';
    const { results, rows } = await stored(
      encodeRecords([
        { timeUnixNano: last },
        { timeUnixNano: '9223372036854775808' },
        { observedTimeUnixNano: '18446744073709551615' },
      ]),
    );
    expect(rows.map((row) => row['Timestamp'])).toEqual(['2262-04-11 23:47:16.854775807']);
    expect(results[0]).toEqual({
      accepted: 1,
      rejected: 2,
      message:
        '2 log records rejected: a time is above 2^63-1 ns (first: resourceLogs[0].scopeLogs[0].logRecords[1].timeUnixNano)',
    });
  });

  it('store an invalid id as empty, and warn of a wrong length (E1)', async () => {
    const zero = await only({ traceId: Buffer.alloc(16), spanId: Buffer.alloc(8) });
    expect(zero.row).toMatchObject({ TraceId: '', SpanId: '' });
    expect(zero.result.message).toBe('');
    const wrong = await only({ traceId: Buffer.alloc(15, 1), spanId: Buffer.alloc(9, 1) });
    expect(wrong.row).toMatchObject({ TraceId: '', SpanId: '' });
    expect(wrong.result).toMatchObject({
      rejected: 0,
      message: expect.stringContaining('warning, 2 times: ids had a wrong length'),
    });
    const right = await only({ traceId: Buffer.alloc(16, 0xab), spanId: Buffer.alloc(8, 0xcd) });
    expect(right.row).toMatchObject({ TraceId: 'ab'.repeat(16), SpanId: 'cd'.repeat(8) });
  });

  it('keep every type of value, told by a letter (4.6)', async () => {
    const values = [
      { stringValue: '1' },
      { intValue: '1' },
      { doubleValue: 1.5 },
      { boolValue: true },
      { arrayValue: { values: [{ intValue: '1' }, { stringValue: 'x' }] } },
      { kvlistValue: { values: [{ key: 'k', value: { intValue: '1' } }] } },
      { bytesValue: Buffer.from([1, 2]) },
      {},
    ];
    const attributes = values.map((value, i) => ({ key: 'abcdefgh'[i], value }));
    const { row } = await only({ attributes });
    expect(row['LogAttributes']).toEqual({
      a: '1',
      b: '1',
      c: '1.5',
      d: 'true',
      e: '[1,"x"]',
      f: '{"k":1}',
      g: 'AQI=',
      h: '',
    });
    expect(row['LogAttributesTypes']).toBe('sidbamxn');
    for (const [i, body] of values.entries()) {
      expect((await only({ body })).row['BodyType']).toBe('sidbamxn'[i]);
    }
  });

  it('replace what is nested inside 32 others by a marker, and keep its siblings (E11)', async () => {
    const nested = (levels: number): object =>
      levels === 0 ? { stringValue: 'x' } : { arrayValue: { values: [nested(levels - 1), { intValue: '7' }] } };
    const whole = await only({ body: nested(32) });
    expect(whole.row['Body']).toBe(`${'['.repeat(32)}"x"${',7]'.repeat(32)}`);
    expect(whole.result.message).toBe('');
    await truncate();
    const { results, rows } = await stored(wrapRecord(message(0x2a, nestedArrays(100_000))));
    expect(rows[0]?.['Body']).toBe(`${'['.repeat(32)}"<nested deeper than 32>"${']'.repeat(32)}`);
    expect(results[0]?.message).toContain('nested deeper than 32');
  });

  it('put U+FFFD for invalid UTF-8 in every string, and keep the record (E10)', async () => {
    const bad = Buffer.from([0x61, 0xff, 0x62]);
    const attribute = message(0x32, Buffer.concat([message(0x0a, bad), message(0x12, message(0x0a, bad))]));
    const fields = [message(0x1a, bad), message(0x2a, message(0x0a, bad)), attribute, message(0x62, bad)];
    await truncate();
    const { results, rows } = await stored(wrapRecord(Buffer.concat(fields)));
    const text = 'a\ufffdb';
    expect(rows[0]).toMatchObject({ SeverityText: text, Body: text, EventName: text, LogAttributes: { [text]: text } });
    expect(results[0]).toMatchObject({
      accepted: 1,
      rejected: 0,
      message: expect.stringContaining('warning, 5 times'),
    });
  });

  it('drop attributes over a cap whole, and count them (E11)', async () => {
    const attributes = [
      { key: 'k'.repeat(4_097), value: { stringValue: 'x' } },
      { key: 'k'.repeat(4_096), value: { stringValue: 'x' } },
      { key: 'big', value: { stringValue: 'v'.repeat(1_048_577) } },
      { key: 'fits', value: { stringValue: 'v'.repeat(1_048_576) } },
    ];
    const { row, result } = await only({ attributes, droppedAttributesCount: 5 });
    expect(Object.keys(row['LogAttributes'] as object)).toEqual(['k'.repeat(4_096), 'fits']);
    expect(row).toMatchObject({ DroppedAttributesCount: 7, LogAttributesTypes: 'ss' });
    expect(result.message).toContain('warning, 2 times: attributes were over a limit');
    const many = await only({ attributes: Array.from({ length: 1_030 }, (_, i) => ({ key: `k${i}`, value: {} })) });
    expect(many.row['DroppedAttributesCount']).toBe(6);
    expect(String(many.row['LogAttributesTypes']).length).toBe(1_024);
  });

  it('drop the largest attributes of resource and scope while what repeats in each row is over 64 KiB (E11)', async () => {
    const value = (bytes: number) => ({ stringValue: 'v'.repeat(bytes) });
    const resource = {
      attributes: [
        { key: 'small', value: value(10) },
        { key: 'large', value: value(50_000) },
      ],
    };
    const scope = { attributes: [{ key: 'larger', value: value(60_000) }] };
    const { row, result } = await only({}, resource, scope);
    expect(Object.keys(row['ResourceAttributes'] as object)).toEqual(['small', 'large']);
    expect(row).toMatchObject({
      ScopeAttributes: {},
      ScopeDroppedAttributesCount: 1,
      ResourceDroppedAttributesCount: 0,
    });
    expect(result.message).toContain('65,536 bytes');
    const rejected = await only({}, { attributes: [] }, { name: 'n'.repeat(70_000) });
    expect(rejected.rows).toEqual([]);
    expect(rejected.result).toMatchObject({ accepted: 0, rejected: 1 });
  });

  it('give a scope that lost nothing its whole resource again', async () => {
    await truncate();
    const large = [{ key: 'large', value: { stringValue: 'v'.repeat(60_000) } }];
    const scopeLogs = [
      { scope: { name: 'n'.repeat(40_000) }, logRecords: [{}] },
      { scope: { name: 'n' }, logRecords: [{}] },
    ];
    const { rows } = await stored(encodeLogs({ resourceLogs: [{ resource: { attributes: large }, scopeLogs }] }));
    expect(rows.map((row) => Object.keys(row['ResourceAttributes'] as object))).toEqual([[], ['large']]);
    expect(rows.map((row) => row['ResourceDroppedAttributesCount'])).toEqual([1, 0]);
  });

  it('warn of a body in which nothing was found, and of none that is empty (J20, H16)', async () => {
    await truncate();
    const unknown = Buffer.from([0x7a, 0x01, 0x00]);
    const { results, rows } = await stored(Buffer.alloc(0), unknown, encodeLogs({ resourceLogs: [{}] }));
    expect(rows).toEqual([]);
    expect(results.map((result) => result.message !== '')).toEqual([false, true, true]);
  });

  it('leave no row of a malformed body, and none of its dictionary entries', async () => {
    await truncate();
    const good = encodeRecords([{ body: { stringValue: 'kept' }, severityText: 'INFO' }]);
    const bad = encodeRecords([{ body: { stringValue: 'canary-of-another-org' }, severityText: 'canary-severity' }]);
    const cut = Buffer.concat([bad, Buffer.from([0x0a, 0x7f, 0x01])]);
    const set = new BuilderSet();
    convertNow(pool, 'logs', good, ORIGIN, set);
    expect(() => convertNow(pool, 'logs', cut, ORIGIN, set)).toThrow('longer than its message');
    convertNow(pool, 'logs', good, ORIGIN, set);
    const [batch] = [...set.encode(() => '0123456789abcdef')];
    expect(batch!.rowCount).toBe(2);
    expect(Buffer.from(batch!.bytes).includes('canary')).toBe(false);
    await engine.insert('sent', batch!.bytes);
    expect((await engine.rows('SELECT Body FROM sent')).map((row) => row['Body'])).toEqual(['kept', 'kept']);
  });
});

/** A length-delimited field: tag, length, content. */
function message(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([head(tag, content.length), content]);
}

function head(tag: number, contentBytes: number): Buffer {
  const bytes = [tag];
  let length = contentBytes;
  for (; length >= 0x80; length = Math.floor(length / 0x80)) bytes.push((length % 0x80) | 0x80);
  return Buffer.from([...bytes, length]);
}

/** A request that holds one record of these bytes. */
function wrapRecord(record: Buffer): Buffer {
  return message(0x0a, message(0x12, message(0x12, record)));
}

/** An AnyValue of arrays nested this deep; lengths are computed from the inside out, because protobufjs cannot. */
function nestedArrays(levels: number): Buffer {
  const heads: Buffer[] = [];
  let length = 0;
  for (let level = 0; level < levels; level++) {
    for (const tag of [0x0a, 0x2a]) {
      const next = head(tag, length);
      heads.push(next);
      length += next.length;
    }
  }
  return Buffer.concat(heads.reverse());
}
