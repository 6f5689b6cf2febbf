/**
 * The converter against an oracle that shares nothing with it: the same bytes decoded by protobufjs, turned into rows by
 * the plain reading of the reference, and inserted as JSONEachRow into tables of the same columns, in the real engine.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RowOrigin, Signal } from '../../../src/ingest/messages.ts';
import { TABLES } from '../../../src/tables/all-tables.ts';
import { field, fixed64Field, keyValue, nestedArrays, varintField } from '../../corpus/hand-made-protobuf.ts';
import { generateLogsRequest } from '../../corpus/generate-logs.ts';
import { generateMetricsRequest } from '../../corpus/generate-metrics.ts';
import { generateTracesRequest } from '../../corpus/generate-traces.ts';
import type { CorpusShape } from '../../corpus/random-envelope.ts';
import type { PlainValue } from '../../corpus/random-values.ts';
import { scrambleProtobuf } from '../../corpus/scramble-protobuf.ts';
import { type Random, seededRandom } from '../../corpus/seeded-random.ts';
import { openTableEngine, type TableEngine } from '../../support/table-engine.ts';
import { openTwoWays, type TwoWays } from './two-ways.ts';

const SEED = Number(process.env['BACKWORK_TEST_SEED'] ?? 20_261_123);
const REQUESTS = 2_100;
const ROWS_MIN = 100_000;
const STORE_AT_BYTES = 48 * 1024 * 1024;
const BASE_MS = Date.UTC(2026, 10, 23, 12, 0, 0, 0);

interface Generator {
  readonly signal: Signal;
  readonly generate: (random: Random, shape: CorpusShape) => PlainValue;
  readonly shape: CorpusShape;
}
// A request has 1 to 2 resources with as many scopes on average; a scope has half of itemsMax, a metric too.
const GENERATORS: readonly Generator[] = [
  { signal: 'logs', generate: generateLogsRequest, shape: shapeOf(36) },
  { signal: 'traces', generate: generateTracesRequest, shape: shapeOf(36) },
  { signal: 'metrics', generate: generateMetricsRequest, shape: shapeOf(20) },
];

function shapeOf(itemsMax: number): CorpusShape {
  return { itemsMax, edgeChance: 0.002, hugeChance: 0.0001 };
}

// What an organization is given; each stands for one partition. The last day is far off, so that nothing expires here.
const PARTITIONS = [
  { placement: 'shared-0', retentionDays: 7, expiresOnDay: 40_001 },
  { placement: 'shared-0', retentionDays: 30, expiresOnDay: 40_002 },
  { placement: 'shared-1', retentionDays: 30, expiresOnDay: 40_002 },
  { placement: 'org_own', retentionDays: 365, expiresOnDay: 40_020 },
];

/** One of 50 organizations. No two requests are received in the same millisecond: their rows can be told apart. */
function originOf(request: number, random: Random): RowOrigin {
  const org = random.int(0, 49);
  return { orgId: `org_${org}`, receivedAtMs: BASE_MS + request, ...PARTITIONS[org % PARTITIONS.length]! };
}

let engine: TableEngine;
let ways: TwoWays;

beforeAll(async () => {
  engine = openTableEngine();
  ways = await openTwoWays(engine);
});
afterAll(() => engine.close());

describe(`rows of ${REQUESTS} requests of seed ${SEED}`, () => {
  const wrongCounts: string[] = [];

  beforeAll(async () => {
    console.log(`BACKWORK_TEST_SEED=${SEED} repeats these requests`);
    const random = seededRandom(SEED);
    for (let request = 0; request < REQUESTS; request++) {
      const { signal, generate, shape } = GENERATORS[request % GENERATORS.length]!;
      const type = ways.types[signal];
      const sent = type.encode(type.fromObject(generate(random, shape))).finish();
      const body = random.chance(0.3) ? scrambleProtobuf(type, sent, random) : Buffer.from(sent);
      const { result, expected } = await ways.add(signal, body, originOf(request, random));
      const lookup = expected.tables.get('otel_traces_trace_id_ts')?.length ?? 0;
      const items = [...expected.tables.values()].reduce((sum, rows) => sum + rows.length, -lookup);
      if (result.rejected !== expected.rejected || result.accepted !== items) {
        const counts = `${items} rows and ${expected.rejected} rejected, not ${result.accepted} and ${result.rejected}`;
        wrongCounts.push(`request ${request} (${signal}) has ${counts}: ${result.message}`);
      }
      if (ways.waitingBytes > STORE_AT_BYTES) await ways.store();
    }
    await ways.store();
  }, 180_000);

  it('are as many, and as many items are rejected, as the oracle says of each request', () => {
    expect(wrongCounts, `seed ${SEED}`).toEqual([]);
  });

  it('are the same rows as often as the oracle says, in every table', async () => {
    expect(await ways.differences(), `seed ${SEED}`).toEqual([]);
  }, 180_000);

  it(`are ${ROWS_MIN.toLocaleString('en')} at least, and every column of every table has two values or more`, async () => {
    let total = 0;
    const constant: string[] = [];
    for (const { name, columns } of TABLES) {
      const distinct = columns.map((column) => `uniqExact(toString(\`${column.name}\`)) AS \`${column.name}\``);
      const [counts] = await engine.rows(`SELECT count() AS rows, ${distinct.join(', ')} FROM ${name}`);
      total += Number(counts?.['rows']);
      for (const { name: column } of columns) if (Number(counts?.[column]) < 2) constant.push(`${name}.${column}`);
    }
    expect(constant).toEqual([]);
    expect(total).toBeGreaterThanOrEqual(ROWS_MIN);
  }, 60_000);
});

/** Rows that protobufjs cannot tell, because it refuses the bytes; and what it never writes. */
describe('rows told by hand', () => {
  beforeAll(async () => {
    for (const { name } of TABLES) await engine.run(`TRUNCATE TABLE ${name}`);
  });

  let orgs = 0;

  /** The rows of one request in one table, under an organization of its own. */
  async function stored(signal: Signal, body: Buffer, table: string) {
    const orgId = `org_by_hand_${orgs++}`;
    const result = await ways.convert(signal, body, { ...originOf(orgs, seededRandom(SEED)), orgId });
    await ways.store();
    const rows = await engine.rows(`SELECT * FROM ${table} WHERE OrgId = '${orgId}'`);
    return { result, rows };
  }

  const bad = Buffer.from([0x61, 0xff, 0x62, 0xe2, 0x82]);
  const good = 'a\ufffdb\ufffd';
  const badText = field(1, bad); // AnyValue 1 string_value, Event and Metric 1 name, ArrayValue 1 values
  const deepText = `${'['.repeat(32)}"<nested deeper than 32>"${']'.repeat(32)}`;
  const traceId = Buffer.alloc(16, 0xab);
  const spanId = Buffer.alloc(8, 0xcd);
  const wrap = (item: Buffer) => field(1, field(2, field(2, item)));
  const span = (...fields: Buffer[]) => wrap(Buffer.concat([field(1, traceId), field(2, spanId), ...fields]));
  const time = fixed64Field(3, 1_700_000_000_000_000_001n);
  const asDouble = fixed64Field(4, 0x3ff8_0000_0000_0000n); // 1.5
  const asInt = fixed64Field(6, -7n);

  it('have U+FFFD for each ill-formed part of any string of a span (E10)', async () => {
    const body = span(
      field(3, bad),
      field(5, bad),
      field(9, keyValue(bad, badText)),
      field(11, field(2, bad), field(3, keyValue(bad, field(5, field(1, badText))))),
      field(13, field(1, traceId), field(3, bad), field(4, keyValue(bad, badText))),
      field(15, field(2, bad)),
    );
    const { result, rows } = await stored('traces', body, 'otel_traces');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      TraceState: good,
      SpanName: good,
      SpanAttributes: { [good]: good },
      SpanAttributesTypes: 's',
      'Events.Name': [good],
      'Events.Attributes': [{ [good]: `["${good}"]` }],
      'Events.AttributesTypes': ['a'],
      'Links.TraceId': ['ab'.repeat(16)],
      'Links.SpanId': [''],
      'Links.TraceState': [good],
      'Links.Attributes': [{ [good]: good }],
      StatusMessage: good,
    });
    expect(result).toMatchObject({ accepted: 1, rejected: 0, message: expect.stringContaining('warning') });
  });

  it('have U+FFFD for each ill-formed part of any string of a metric, its points and exemplars (E10)', async () => {
    const exemplar = field(5, asInt, field(7, keyValue(bad, badText)));
    const gauge = field(5, field(1, time, asDouble, exemplar, field(7, keyValue(bad, badText))));
    const body = wrap(Buffer.concat([badText, field(2, bad), field(3, bad), gauge, field(12, keyValue(bad, badText))]));
    const { result, rows } = await stored('metrics', body, 'otel_metrics_gauge');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      MetricName: good,
      MetricDescription: good,
      MetricUnit: good,
      MetricMetadata: { [good]: good },
      Attributes: { [good]: good },
      AttributesTypes: 's',
      TimeUnix: '2023-11-14 22:13:20.000000001',
      Value: 1.5,
      ValueType: 'd',
      ValueInt: '0',
      'Exemplars.FilteredAttributes': [{ [good]: good }],
      'Exemplars.Value': [-7],
      'Exemplars.ValueType': ['i'],
      'Exemplars.ValueInt': ['-7'],
    });
    expect(result).toMatchObject({ accepted: 1, rejected: 0, message: expect.stringContaining('warning') });
  });

  it('have a marker for what is nested inside 32 others, 100,000 deep or not (E11)', async () => {
    const deep = nestedArrays(100_000);
    const attributes = (number: number) => [
      field(number, keyValue(Buffer.from('deep'), deep)),
      field(number, keyValue(Buffer.from('beside'), varintField(2, 1))),
    ];
    const traces = await stored('traces', span(...attributes(9)), 'otel_traces');
    expect(traces.rows).toHaveLength(1);
    expect(traces.rows[0]).toMatchObject({
      SpanAttributes: { deep: deepText, beside: 'true' },
      SpanAttributesTypes: 'ab',
      DroppedAttributesCount: 0,
    });
    const point = field(1, time, asInt, ...attributes(7));
    const metrics = await stored('metrics', wrap(field(7, point)), 'otel_metrics_sum');
    expect(metrics.rows).toHaveLength(1);
    // Sorted by key, unlike a span's.
    expect(metrics.rows[0]).toMatchObject({
      Attributes: { beside: 'true', deep: deepText },
      AttributesTypes: 'ba',
      DroppedAttributesCount: 0,
      ValueInt: '-7',
    });
    for (const { result } of [traces, metrics]) {
      expect(result).toMatchObject({ accepted: 1, rejected: 0, message: expect.stringContaining('nested') });
    }
  });

  it('lose the largest attribute beneath the metric that makes them too large, and beneath no other (E11)', async () => {
    const large = (key: string, bytes: number) => ({ key, value: { stringValue: 'v'.repeat(bytes) } });
    const dataPoints = [{ timeUnixNano: '1', asInt: '1' }];
    const metrics = [
      { name: 'a', gauge: { dataPoints } },
      { name: 'b', gauge: { dataPoints }, metadata: [large('of metric', 42_000)] },
      { name: 'c', gauge: { dataPoints } },
    ];
    const scope = { attributes: [large('of scope', 45_000)] };
    const type = ways.types.metrics;
    const request = type.fromObject({ resourceMetrics: [{ scopeMetrics: [{ scope, metrics }] }] });
    const { rows } = await stored('metrics', Buffer.from(type.encode(request).finish()), 'otel_metrics_gauge');
    const told = rows.map((row) => [
      row['MetricName'],
      Object.keys(row['ScopeAttributes'] as object).join(),
      row['ScopeDroppedAttrCount'],
      Object.keys(row['MetricMetadata'] as object).join(),
    ]);
    expect(told).toEqual([
      ['a', 'of scope', 0, ''],
      ['b', '', 1, 'of metric'],
      ['c', 'of scope', 0, ''],
    ]);
  });

  it('have the later member of a oneof, in the order in which encoders never write them', async () => {
    const value = Buffer.concat([field(7, Buffer.from([1, 2])), field(5, badText), varintField(3, 9)]);
    const point = field(1, time, asInt, asDouble, field(7, keyValue(Buffer.from('k'), value)));
    const rejectedPoint = field(1, asInt);
    const metric = Buffer.concat([field(7, rejectedPoint, point), field(5, point)]);
    const { result, rows } = await stored('metrics', wrap(metric), 'otel_metrics_gauge');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      Value: 1.5,
      ValueType: 'd',
      ValueInt: '0',
      Attributes: { k: '9' },
      AttributesTypes: 'i',
    });
    expect(result).toMatchObject({ accepted: 1, rejected: 0 });
    expect(await engine.rows(`SELECT * FROM otel_metrics_sum WHERE OrgId = '${rows[0]?.['OrgId']}'`)).toEqual([]);
  });

  it('are all there when a metric sends the points of its kind in two parts, as protobuf merges them', async () => {
    const point = field(1, time, asInt);
    const temporality = varintField(2, 2);
    const { result, rows } = await stored(
      'metrics',
      wrap(Buffer.concat([field(7, point), field(7, point, temporality)])),
      'otel_metrics_sum',
    );
    expect(result).toMatchObject({ accepted: 2, rejected: 0 });
    expect(rows.map((row) => row['AggregationTemporality'])).toEqual([2, 2]);
  });
});
