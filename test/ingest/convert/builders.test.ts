import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../src/base/byte-writer.ts';
import { BATCH_BYTES_MAX, REQUEST_ROW_BYTES_MAX } from '../../../src/base/limits.ts';
import { BuilderSet, encodeBuilder } from '../../../src/ingest/convert/builders.ts';
import { BuilderPool } from '../../../src/ingest/convert/builder-pool.ts';
import { ConverterPool, convertInParts, convertNow, convertSliced } from '../../../src/ingest/convert/convert.ts';
import { encodeRecords as encodeSegment, reencodeBatch } from '../../../src/ingest/convert/reconvert.ts';
import type { EncodedBatch, FooterBatch, RecordHeader, RowOrigin, SpoolRecord } from '../../../src/ingest/messages.ts';
import { LOGS } from '../../../src/tables/logs.ts';
import { encodeLogs, encodeRecords, encodeRequest, ORIGIN } from '../../support/log-request.ts';
import { openTableEngine, type TableEngine } from '../../support/table-engine.ts';

const pool = new ConverterPool();
let engine: TableEngine;
let nextId = 0;
const newBatchId = () => (++nextId).toString(16).padStart(16, '0');

beforeAll(async () => {
  engine = openTableEngine();
  await engine.create(LOGS);
});
afterAll(() => engine.close());

const OTHER: RowOrigin = { ...ORIGIN, orgId: 'org_zzzzyyyyxxxxwwww', placement: 'org_zzzzyyyyxxxxwwww' };

function body(name: string, count: number): Buffer {
  return encodeRecords(Array.from({ length: count }, (_, i) => ({ body: { stringValue: `${name} ${i}` } })));
}

/** Copies, because the encoder reuses its memory. */
function batchesOf(set: BuilderSet): EncodedBatch[] {
  const batches: EncodedBatch[] = [];
  for (const batch of set.encode(newBatchId)) batches.push({ ...batch, bytes: Buffer.from(batch.bytes) });
  return batches;
}

function recordOf(origin: RowOrigin, bytes: Buffer, ownBatches = false): SpoolRecord {
  const header: RecordHeader = {
    ...origin,
    tokenId: 'aaaaaaaaaaaa',
    signal: 'logs',
    itemsAccepted: 1,
    itemsRejected: 0,
    bytesReceived: bytes.length,
    fingerprint: Buffer.alloc(16),
    ownBatches,
  };
  return { header, body: bytes };
}

async function* records(...list: SpoolRecord[]): AsyncGenerator<{ index: number; record: SpoolRecord }> {
  for (const [index, record] of list.entries()) yield { index, record };
}

function footerOf({ bytes, ...batch }: EncodedBatch): FooterBatch {
  return { ...batch, offset: 0, length: bytes.length, crc: 0 };
}

describe('builders', () => {
  it('keep rows of two placements in two batches, each with the requests that it came from', () => {
    const set = new BuilderSet();
    for (const [i, origin] of [ORIGIN, OTHER, ORIGIN].entries()) {
      convertNow(pool, 'logs', body(`r${i}`, 2), origin, set);
      set.assign(i);
    }
    const batches = batchesOf(set);
    expect(batches.map(({ bytes: _, ...batch }) => batch)).toEqual([
      {
        table: 'otel_logs',
        partition: partitionOf(ORIGIN),
        batchId: batches[0]!.batchId,
        firstRequest: 0,
        lastRequest: 2,
        rowFrom: 0,
        rowCount: 4,
      },
      {
        table: 'otel_logs',
        partition: partitionOf(OTHER),
        batchId: batches[1]!.batchId,
        firstRequest: 1,
        lastRequest: 1,
        rowFrom: 0,
        rowCount: 2,
      },
    ]);
    expect(Buffer.from(batches[0]!.bytes).includes(OTHER.orgId)).toBe(false);
    expect(Buffer.from(batches[1]!.bytes).includes(ORIGIN.orgId)).toBe(false);
  });

  it('keep two organizations apart in a shared placement, row by row', async () => {
    const set = new BuilderSet();
    const shared = { placement: 'shared-0', retentionDays: 7, expiresOnDay: 20_900 };
    for (const [i, orgId] of [ORIGIN.orgId, OTHER.orgId, ORIGIN.orgId].entries()) {
      convertNow(pool, 'logs', body(`${orgId} ${i}`, 3), { ...ORIGIN, ...shared, orgId }, set);
      set.assign(i);
    }
    const batches = batchesOf(set);
    expect(batches).toHaveLength(1);
    await engine.insert('otel_logs', batches[0]!.bytes);
    const wrong = await engine.rows(
      "SELECT count() AS n FROM otel_logs WHERE Placement = 'shared-0' AND NOT startsWith(Body, OrgId)",
    );
    const all = await engine.rows(
      "SELECT OrgId, count() AS n FROM otel_logs WHERE Placement = 'shared-0' GROUP BY OrgId ORDER BY OrgId",
    );
    expect(wrong).toEqual([{ n: '0' }]);
    expect(all).toEqual([
      { OrgId: ORIGIN.orgId, n: '6' },
      { OrgId: OTHER.orgId, n: '3' },
    ]);
  });

  it('are full before their block is larger than 32 MiB and one request', () => {
    const set = new BuilderSet();
    const many = encodeRecords(Array.from({ length: 5_000 }, () => ({ body: { stringValue: 'b'.repeat(200) } })));
    let requests = 0;
    for (; !set.full; requests++) convertNow(pool, 'logs', many, ORIGIN, set);
    const [batch] = batchesOf(set);
    expect(batch!.rowCount).toBe(5_000 * requests);
    expect(batch!.bytes.length).toBeLessThan(BATCH_BYTES_MAX + many.length * 2);
    expect(batch!.bytes.length).toBeGreaterThan(BATCH_BYTES_MAX / 2);
  });

  it('give back a body whose rows grow beyond what one go may add, and leave nothing of it', () => {
    const set = new BuilderSet();
    const attributes = [{ key: 'large', value: { stringValue: 'v'.repeat(60_000) } }];
    const growing = encodeRecords(
      Array.from({ length: 400 }, () => ({})),
      { attributes },
    );
    expect(convertNow(pool, 'logs', growing, ORIGIN, set)).toBeUndefined();
    expect(set.bytes).toBe(0);
    expect(batchesOf(set)).toEqual([]);
  });
});

describe('the memory of builders', () => {
  it('counts texts that stand once in a dictionary and in no row', () => {
    const set = new BuilderSet();
    const named = (i: number) => encodeRecords([{ severityText: `${i} ${'s'.repeat(100_000)}` }]);
    for (let i = 0; i < 20; i++) {
      convertNow(pool, 'logs', named(i), ORIGIN, set);
      set.assign(i);
    }
    expect(set.bytes).toBeGreaterThan(2_000_000);
    expect(set.full).toBe(false);
    for (let i = 20; i < 340; i++) {
      convertNow(pool, 'logs', named(i), ORIGIN, set);
      set.assign(i);
    }
    expect(set.full).toBe(true);
  });

  it('is kept for the next segment up to a bound, and given back beyond it', () => {
    for (const [bytesMax, kept] of [
      [64 * 1024 * 1024, true],
      [1_000, false],
    ] as const) {
      const builders = new BuilderPool(bytesMax);
      const set = new BuilderSet({ cutWhenFull: false, pool: builders });
      convertNow(pool, 'logs', body('a', 100), ORIGIN, set);
      const [first] = set.builders;
      batchesOf(set);
      const next = new BuilderSet({ cutWhenFull: false, pool: builders });
      convertNow(pool, 'logs', body('b', 1), ORIGIN, next);
      expect(next.builders[0] === first).toBe(kept);
    }
  });
});

describe('the memory of a block', () => {
  const MIB = 1024 * 1024;

  it('is used again for one that fits, and given back when a block is larger or the load has become less', () => {
    const builders = new BuilderPool(64 * MIB);
    const first = builders.takeBlock(10 * MIB);
    builders.giveBlock(first);
    for (const bytes of [10 * MIB, 11 * MIB, 4 * MIB]) {
      const again = builders.takeBlock(bytes);
      expect(again === first, `${bytes}`).toBe(true);
      builders.giveBlock(again);
    }
    for (const bytes of [20 * MIB, 2 * MIB]) {
      const before = builders.takeBlock(bytes === 20 * MIB ? 10 * MIB : 20 * MIB);
      builders.giveBlock(before);
      const other = builders.takeBlock(bytes);
      expect(other.bytes.length, `${bytes}`).toBeGreaterThanOrEqual(bytes);
      expect(other.bytes.length, `${bytes}`).toBeLessThan(1.3 * bytes);
      expect(before.bytes.length, `${bytes}`).toBe(0);
      builders.giveBlock(other);
    }
  });

  it('is one at a time, and not kept beyond the bound of the pool', () => {
    const builders = new BuilderPool(MIB);
    const one = builders.takeBlock(MIB);
    expect(builders.takeBlock(MIB) === one).toBe(false);
    builders.giveBlock(one);
    expect(one.bytes.length).toBe(0);
  });
});

describe('a large request in parts', () => {
  it('holds no more than a batch of rows at a time, and all rows come out', async () => {
    const large = encodeRecords(
      Array.from({ length: 40_000 }, (_, i) => ({ body: { stringValue: `${i} ${'x'.repeat(200)}` } })),
    );
    const cutAtBytes = 1024 * 1024;
    const parts = convertInParts('logs', large, ORIGIN, { cutWhenFull: true, cutAtBytes });
    let rows = 0;
    let count = 0;
    for (let part = await parts.next(); ; part = await parts.next()) {
      if (part.done === true) {
        expect(part.value.accepted).toBe(40_000);
        break;
      }
      for (const builder of part.value) {
        expect(builder.rowFrom).toBe(rows);
        expect(builder.blockBytes).toBeLessThan(cutAtBytes + 1_000);
        rows += builder.rowCount;
        count++;
        builder.forgetRows();
      }
    }
    expect(rows).toBe(40_000);
    expect(count).toBeGreaterThan(8);
  });

  it('that fills several tables is cut in all of them when together they are more than a batch', async () => {
    const dataPoints = Array.from({ length: 40_000 }, (_, i) => ({ timeUnixNano: '1', asInt: String(i) }));
    const metric = (i: number) =>
      i % 2 === 0 ? { name: 'g', gauge: { dataPoints } } : { name: 's', sum: { dataPoints } };
    const request = {
      resourceMetrics: [{ scopeMetrics: [{ metrics: Array.from({ length: 8 }, (_, i) => metric(i)) }] }],
    };
    const cutAtBytes = 12 * 1024 * 1024;
    const parts = convertInParts('metrics', encodeRequest('metrics', request), ORIGIN, {
      cutWhenFull: true,
      cutAtBytes,
    });
    const rows = new Map<string, number>();
    const batches: EncodedBatch[] = [];
    let cutsBeforeFull = 0;
    for await (const builders of parts) {
      for (const builder of builders) {
        const { name } = builder.table;
        expect(builder.rowFrom).toBe(rows.get(name) ?? 0);
        rows.set(name, builder.rowFrom + builder.rowCount);
        if (builder.isClosed && !builder.isReplaced) cutsBeforeFull++;
        builder.assign(0);
        const batch = encodeBuilder(new ByteWriter(1024), builder, newBatchId());
        batches.push({ ...batch, bytes: Buffer.from(batch.bytes) });
        builder.forgetRows();
      }
    }
    expect(cutsBeforeFull).toBeGreaterThan(0);
    expect(Object.fromEntries(rows)).toEqual({ otel_metrics_gauge: 160_000, otel_metrics_sum: 160_000 });
    const record = recordOf(ORIGIN, encodeRequest('metrics', request), true);
    for (const batch of batches) {
      const { header, body: bytes } = record;
      const again = await reencodeBatch(
        records({ header: { ...header, signal: 'metrics' }, body: bytes }),
        footerOf(batch),
      );
      expect(again.rowCount).toBe(batch.rowCount);
      expect(Buffer.compare(again.bytes, batch.bytes)).toBe(0);
    }
  }, 60_000);
});

describe('a large request', () => {
  const large = () => encodeRecords(Array.from({ length: 300_000 }, (_, i) => ({ flags: i })));

  it('is cut into batches by row range, and each is encoded again byte for byte', async () => {
    const bytes = large();
    const { result, rows } = await convertSliced('logs', bytes, ORIGIN);
    rows.assign(0);
    const batches = batchesOf(rows);
    expect(result.accepted).toBe(300_000);
    expect(batches.length).toBeGreaterThan(1);
    let next = 0;
    for (const batch of batches) {
      expect(batch.rowFrom).toBe(next);
      next += batch.rowCount;
      const again = await reencodeBatch(records(recordOf(ORIGIN, bytes, true)), footerOf(batch));
      expect(again.rowCount).toBe(batch.rowCount);
      expect(Buffer.compare(again.bytes, batch.bytes)).toBe(0);
    }
    expect(next).toBe(300_000);
  }, 60_000);

  it('rejects the items beyond 256 MiB of rows, and stores the others (F28)', async () => {
    const attributes = Array.from({ length: 8 }, (_, i) => ({
      key: `k${i}`,
      value: { stringValue: 'v'.repeat(131_072) },
    }));
    attributes.push({ key: 'rest', value: { stringValue: 'r'.repeat(60_000) } });
    const bytes = encodeRecords(
      Array.from({ length: 30_000 }, () => ({})),
      { attributes },
    );
    const { result, rows } = await convertSliced('logs', bytes, ORIGIN);
    expect(result.accepted + result.rejected).toBe(30_000);
    expect(result.accepted).toBeGreaterThan(3_000);
    expect(result.message).toContain(`over ${REQUEST_ROW_BYTES_MAX} bytes`);
    let total = 0;
    let stored = 0;
    for (const batch of rows.encode(newBatchId)) {
      total += batch.bytes.length;
      stored += batch.rowCount;
    }
    expect(stored).toBe(result.accepted);
    expect(total).toBeLessThanOrEqual(REQUEST_ROW_BYTES_MAX);
    expect(total).toBeGreaterThan(REQUEST_ROW_BYTES_MAX * 0.95);
  }, 60_000);
});

describe('records converted again', () => {
  it('make the same batches as the builders of the segment did', async () => {
    const bodies = [body('a', 3), body('b', 2), encodeLogs({}), body('c', 1)];
    const origins = [ORIGIN, OTHER, ORIGIN, ORIGIN];
    const set = new BuilderSet();
    bodies.forEach((bytes, i) => {
      convertNow(pool, 'logs', bytes, origins[i]!, set);
      set.assign(i);
    });
    const expected = batchesOf(set);
    nextId = Number.parseInt(expected[0]!.batchId, 16) - 1;
    const list = bodies.map((bytes, i) => recordOf(origins[i]!, bytes));
    const again: EncodedBatch[] = [];
    for await (const batch of encodeSegment(records(...list), newBatchId))
      again.push({ ...batch, bytes: Buffer.from(batch.bytes) });
    expect(again).toEqual(expected);
    for (const batch of again) {
      const one = await reencodeBatch(records(...list), footerOf(batch));
      expect(Buffer.compare(one.bytes, batch.bytes)).toBe(0);
      expect(one.rowCount).toBe(batch.rowCount);
    }
  });
});

function partitionOf({ placement, retentionDays, expiresOnDay }: RowOrigin) {
  return { placement, retentionDays, expiresOnDay };
}
