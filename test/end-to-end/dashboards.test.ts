/**
 * Compatibility: the queries that Grafana's ClickHouse data source and HyperDX (ClickStack) make of these tables, and the
 * example queries of README.md, run on the live service over what `send` has sent. The queries are our own, written from
 * the documentation of both; what they must return is computed from the sample itself, never by another query.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendShop } from '../../src/commands/send.ts';
import { makeShop, pointsOf, type Shop } from '../../src/commands/send-shop.ts';
import type { Order } from '../../src/commands/send-shop-order.ts';
import type { ShopLog, ShopSpan } from '../../src/commands/send-shop-recorder.ts';
import { SERVICE_NAMES } from '../../src/commands/send-shop-services.ts';
import { startService, type TestService } from '../support/service.ts';

/** The README's queries look at the last hour; whole minutes, so that no bucket depends on the second of the run. */
const END_MS = Math.floor(Date.now() / 60_000) * 60_000;
const FROM_MS = END_MS - 300_000;
const ORDERS = 20;

let service: TestService;
let shop: Shop;
let spans: readonly ShopSpan[];
/** Those of orders; each service also says once that it started. */
let logs: readonly ShopLog[];
let login: { user: string; password: string };
let hyperdx: ClickHouseClient;

beforeAll(async () => {
  service = await startService();
  login = JSON.parse(readFileSync(join(service.dataDir, 'engine.json'), 'utf8')) as typeof login;
  shop = makeShop({ orderCount: ORDERS, seed: 7, endMs: END_MS });
  spans = shop.orders.flatMap((order) => order.spans);
  logs = shop.orders.flatMap((order) => order.logs);
  const endpoint = new URL(`http://127.0.0.1:${service.ports.http}`);
  for await (const { rejected, message } of sendShop(shop, { endpoint, protocol: 'http', token: service.token })) {
    expect({ rejected, message }).toEqual({ rejected: 0, message: '' });
  }
  const points = SERVICE_NAMES.flatMap((name) => shop.metrics[name]).flatMap(pointsOf).length;
  const metrics = ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary']
    .map((kind) => `(SELECT count() FROM otel_metrics_${kind})`)
    .join(' + ');
  await service.queryUntil<{ rows: unknown[] }>(
    `SELECT [(SELECT count() FROM otel_traces), (SELECT count() FROM otel_logs), ${metrics}] AS rows`,
    ([row]) => JSON.stringify(row?.rows.map(Number)) === JSON.stringify([spans.length, logs.length + 5, points]),
  );
  hyperdx = createClient({
    url: `http://127.0.0.1:${service.ports.engine}`,
    username: login.user,
    password: login.password,
    clickhouse_settings: {
      date_time_output_format: 'iso',
      wait_end_of_query: 0,
      cancel_http_readonly_queries_on_client_close: 1,
      output_format_json_quote_64bit_integers: 1,
    },
    compression: { response: true },
  });
});
afterAll(async () => {
  await hyperdx?.close();
  await service?.stopAndRemove();
});

type Row = Record<string, unknown>;

/** As the plugin asks over HTTP, but for the format: basic authentication, gzip, a bound on time. */
async function grafana(sql: string): Promise<Row[]> {
  const answer = await postAsGrafana(sql, 'JSONEachRow');
  return answer
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
}

async function postAsGrafana(sql: string, format: string): Promise<Buffer> {
  const query = `database=default&default_format=${format}&client_protocol_version=54460&max_execution_time=60`;
  const answer = await fetch(`http://127.0.0.1:${service.ports.engine}/?${query}`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`,
      'accept-encoding': 'gzip',
    },
    body: sql,
  });
  const body = Buffer.from(await answer.arrayBuffer());
  expect(answer.status, body.toString()).toBe(200);
  return body;
}

async function ask(query: string, query_params: Record<string, unknown> = {}): Promise<Row[]> {
  const result = await hyperdx.query({ query, query_params, format: 'JSON' });
  return (await result.json<Row>()).data;
}

const TIME_RANGE = `>= fromUnixTimestamp64Milli(${FROM_MS}) AND Timestamp <= fromUnixTimestamp64Milli(${END_MS})`;
const IN_RANGE = `Timestamp ${TIME_RANGE}`;

/** As ClickHouse writes a DateTime64(9) in UTC. */
function timeText(atUs: number): string {
  const micros = BigInt(END_MS) * 1_000n + BigInt(atUs);
  const text = new Date(Number(micros / 1_000n)).toISOString().slice(0, 23).replace('T', ' ');
  return `${text}${String(micros % 1_000n).padStart(3, '0')}000`;
}

function minuteOf(atUs: number): string {
  const ms = END_MS + atUs / 1_000;
  return new Date(Math.floor(ms / 60_000) * 60_000).toISOString().slice(0, 19).replace('T', ' ');
}

/** How many items have each key, in the keys' order. */
function countBy<Item>(items: readonly Item[], key: (item: Item) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function declinedOrder(): Order {
  const order = shop.orders.find(({ outcome }) => outcome === 'declined');
  if (order === undefined) throw new Error('the sample has no declined order');
  return order;
}

function startLogs(): { severity: string; atUs: number; service: string }[] {
  return SERVICE_NAMES.map((name) => ({ severity: 'INFO', atUs: -300_000_000, service: name }));
}

function seconds(span: ShopSpan): number {
  return (span.endUs - span.startUs) / 1_000_000;
}

/** Milliseconds, as the plugin shows durations. */
function ms(span: ShopSpan): number {
  return (span.endUs - span.startUs) / 1_000;
}

function textOf(value: unknown): string {
  return typeof value === 'object' && value !== null && 'double' in value ? String(value.double) : String(value);
}

describe("Grafana's ClickHouse data source", () => {
  it('finds the tables and their columns', async () => {
    expect(await grafana('SHOW TABLES FROM `default`')).toContainEqual({ name: 'otel_traces_trace_id_ts' });
    const columns = await grafana('DESCRIBE TABLE "default"."otel_logs"');
    const types = Object.fromEntries(columns.map((column) => [column['name'], column['type']]));
    expect(types).toMatchObject({
      Timestamp: 'DateTime64(9)',
      TimestampTime: 'DateTime',
      Body: 'String',
      SeverityText: 'LowCardinality(String)',
      LogAttributes: 'Map(LowCardinality(String), String)',
    });
  });

  it('draws the log volume by level', async () => {
    const level = (name: string, words: string[]) =>
      `countIf(lower(SeverityText) IN (${words.map((word) => `'${word}'`).join(', ')})) AS ${name}`;
    const rows = await grafana(
      `SELECT toStartOfInterval(toDateTime(Timestamp), INTERVAL 60 second) AS time,
         ${level('error', ['error', 'err', 'e'])}, ${level('warning', ['warn', 'warning', 'w'])},
         ${level('info', ['info', 'information', 'i'])}, ${level('debug', ['debug', 'dbg', 'd'])}
       FROM "default"."otel_logs" WHERE ${IN_RANGE} GROUP BY time ORDER BY time`,
    );
    const all = [...startLogs(), ...logs];
    const minutes = [...new Set(all.map((log) => minuteOf(log.atUs)))].sort();
    expect(minutes).toHaveLength(5);
    const count = (time: string, severity: string) =>
      all.filter((log) => minuteOf(log.atUs) === time && log.severity === severity).length;
    expect(rows).toEqual(
      minutes.map((time) => ({
        time,
        error: count(time, 'ERROR'),
        warning: count(time, 'WARN'),
        info: count(time, 'INFO'),
        debug: count(time, 'DEBUG'),
      })),
    );
  });

  it('searches logs by time, level, text and a key of a Map', async () => {
    const search = (filters: string) =>
      grafana(
        `SELECT Timestamp AS "timestamp", Body AS "body", SeverityText AS "level", LogAttributes AS "labels", TraceId AS "traceID"
         FROM "default"."otel_logs"
         WHERE ( timestamp ${TIME_RANGE} ) ${filters} ORDER BY timestamp DESC LIMIT 1000`,
      );
    const newestFirst = (found: readonly ShopLog[]) => [...found].sort((a, b) => b.atUs - a.atUs);
    const troubled = newestFirst(logs.filter(({ severity }) => severity === 'ERROR' || severity === 'WARN'));
    const byLevel = await search(`AND ( level IN ('ERROR', 'WARN') )`);
    expect(troubled.length).toBeGreaterThan(5);
    expect(byLevel).toEqual(
      troubled.map((log) => ({
        timestamp: timeText(log.atUs),
        body: log.body,
        level: log.severity,
        labels: Object.fromEntries(Object.entries(log.attributes).map(([key, value]) => [key, textOf(value)])),
        traceID: log.traceId,
      })),
    );
    const byText = await search(`AND (body LIKE '%timed out%')`);
    expect(byText.map((row) => row['traceID'])).toEqual(
      newestFirst(logs.filter(({ body }) => String(body).includes('timed out'))).map((log) => log.traceId),
    );
    const { id } = declinedOrder();
    const byKey = await search(`AND ( LogAttributes['shop.order.id'] = '${id}' )`);
    expect(byKey.map((row) => row['body'])).toEqual([`Card declined for order ${id}: insufficient funds`]);
  });

  it('filters logs by the coarse time column that older dashboards name', async () => {
    const range = `TimestampTime >= toDateTime(${FROM_MS / 1_000}) AND TimestampTime <= toDateTime(${END_MS / 1_000})`;
    expect(await grafana(`SELECT count() AS n FROM otel_logs WHERE ${range}`)).toEqual([{ n: logs.length + 5 }]);
  });

  it('searches traces', async () => {
    const rows = await grafana(
      `SELECT "TraceId" AS traceID, "ServiceName" AS serviceName, "SpanName" AS operationName,
         "Timestamp" AS startTime, multiply("Duration", 0.000001) AS duration
       FROM "default"."otel_traces"
       WHERE ( ${IN_RANGE} ) AND ( ParentSpanId = '' ) AND ( Duration > 0 ) AND ( ServiceName = 'frontend' )
       ORDER BY Timestamp DESC, Duration DESC LIMIT 1000`,
    );
    const roots = spans.filter((span) => span.parentSpanId === '' && span.service === 'frontend');
    expect(roots).toHaveLength(ORDERS);
    expect(rows.map(({ duration: _, ...row }) => row)).toEqual(
      [...roots]
        .sort((a, b) => b.startUs - a.startUs)
        .map((span) => ({
          traceID: span.traceId,
          serviceName: 'frontend',
          operationName: 'POST /api/checkout',
          startTime: timeText(span.startUs),
        })),
    );
    for (const row of rows) {
      const span = roots.find(({ traceId }) => traceId === row['traceID']);
      expect(row['duration']).toBeCloseTo(span === undefined ? -1 : ms(span), 6);
    }
  });

  it('shows a trace by its id, through the table of trace times', async () => {
    const { traceId, spans: ofOrder } = declinedOrder();
    const pairs = (map: string) => `arrayMap(key -> map('key', key, 'value', ${map}[key]), mapKeys(${map}))`;
    const rows = await grafana(
      `WITH '${traceId}' AS trace_id,
         (SELECT min(Start) FROM "default"."otel_traces_trace_id_ts" WHERE TraceId = trace_id) AS trace_start,
         (SELECT max(End) + 1 FROM "default"."otel_traces_trace_id_ts" WHERE TraceId = trace_id) AS trace_end
       SELECT "TraceId" AS traceID, "SpanId" AS spanID, "ParentSpanId" AS parentSpanID, "ServiceName" AS serviceName,
         "SpanName" AS operationName, "Timestamp" AS startTime, multiply("Duration", 0.000001) AS duration,
         ${pairs('"SpanAttributes"')} AS tags, ${pairs('"ResourceAttributes"')} AS serviceTags,
         if("StatusCode" IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) AS statusCode,
         "StatusMessage" AS statusMessage, "SpanKind" AS kind,
         arrayMap((name, time, attributes) -> tuple(name, toString(toUnixTimestamp64Milli(time)), ${pairs('attributes')}),
           "Events"."Name", "Events"."Timestamp", "Events"."Attributes") AS logs
       FROM "default"."otel_traces"
       WHERE traceID = trace_id AND "Timestamp" >= trace_start AND "Timestamp" <= trace_end
       LIMIT 1000`,
    );
    const plain = (attributes: ShopSpan['attributes']) =>
      Object.entries(attributes).map(([key, value]) => ({ key, value: textOf(value) }));
    const byId = (a: { spanID?: unknown }, b: { spanID?: unknown }) => (String(a.spanID) < String(b.spanID) ? -1 : 1);
    expect(rows.map(({ duration: _, serviceTags: __, ...row }) => row).sort(byId)).toEqual(
      ofOrder
        .map((span) => ({
          traceID: traceId,
          spanID: span.spanId,
          parentSpanID: span.parentSpanId,
          serviceName: span.service,
          operationName: span.name,
          startTime: timeText(span.startUs),
          tags: plain(span.attributes),
          statusCode: span.status === 'error' ? 2 : 0,
          statusMessage: span.statusMessage,
          kind: `${span.kind[0]?.toUpperCase()}${span.kind.slice(1)}`,
          logs: span.events.map(({ name, atUs, attributes }) => [
            name,
            String(Math.floor(END_MS + atUs / 1_000)),
            plain(attributes),
          ]),
        }))
        .sort(byId),
    );
    const tags = rows.find((row) => row['serviceName'] === 'payment')?.['serviceTags'];
    expect(tags).toContainEqual({ key: 'service.version', value: '1.19.7' });
    expect(tags).toContainEqual({ key: 'process.command_args', value: '["/app/payment","--port","8080"]' });
    expect(tags).toContainEqual({ key: 'k8s.pod.name', value: shop.services.payment.attributes['k8s.pod.name'] });
  });

  it('narrows a trace to its own span of time, to the nanosecond', async () => {
    const { traceId, spans: ofOrder } = declinedOrder();
    const rows = await grafana(
      `SELECT min(Start) AS start, max(End) AS end FROM otel_traces_trace_id_ts WHERE TraceId = '${traceId}'`,
    );
    const starts = ofOrder.map((span) => span.startUs);
    expect(rows).toEqual([{ start: timeText(Math.min(...starts)), end: timeText(Math.max(...starts)) }]);
  });

  it('follows links between traces', async () => {
    const rows = await grafana(
      `SELECT TraceId AS traceID, arrayMap((t, s, a) -> tuple(t, s, a), Links.TraceId, Links.SpanId, Links.Attributes) AS links
       FROM otel_traces WHERE notEmpty(Links.TraceId) ORDER BY Timestamp`,
    );
    const consumers = [...spans.filter((span) => span.links.length > 0)].sort((a, b) => a.startUs - b.startUs);
    expect(consumers).toHaveLength(ORDERS - shop.orders.filter(({ outcome }) => outcome === 'declined').length);
    expect(rows).toEqual(
      consumers.map((span) => ({
        traceID: span.traceId,
        links: span.links.map((link) => [link.traceId, link.spanId, link.attributes]),
      })),
    );
  });

  it('fills the lists of services, operations, keys and values', async () => {
    const list = async (sql: string) => (await grafana(sql)).map((row) => Object.values(row)[0]).sort();
    const distinct = (values: readonly string[]) => [...new Set(values)].sort();
    expect(await list('SELECT DISTINCT ServiceName FROM "default"."otel_traces" LIMIT 1000')).toEqual(
      [...SERVICE_NAMES].sort(),
    );
    expect(
      await list(`SELECT DISTINCT SpanName FROM "default"."otel_traces" WHERE ServiceName = 'payment' LIMIT 1000`),
    ).toEqual(distinct(spans.filter((span) => span.service === 'payment').map((span) => span.name)));
    expect(
      await list('SELECT DISTINCT arrayJoin(mapKeys(SpanAttributes)) AS keys FROM otel_traces LIMIT 1000'),
    ).toEqual(distinct(spans.flatMap((span) => Object.keys(span.attributes))));
    expect(
      await list(`SELECT DISTINCT SpanAttributes['db.collection.name'] AS v FROM otel_traces WHERE v != '' LIMIT 1000`),
    ).toEqual(['orders', 'shipments']);
  });

  it('applies ad hoc filters on keys of a Map', async () => {
    const filter = ` SpanAttributes['http.route'] = '/carts/{id}' AND ServiceName LIKE '%art%' `.replaceAll("'", "\\'");
    const rows = await grafana(
      `SELECT ServiceName, count() AS n FROM default.otel_traces WHERE ${IN_RANGE} GROUP BY ServiceName
       SETTINGS additional_table_filters = {'default.otel_traces' : '${filter}'}`,
    );
    expect(rows).toEqual([{ ServiceName: 'cart', n: ORDERS }]);
  });

  it('draws a time series of each group', async () => {
    const rows = await grafana(
      `SELECT toStartOfInterval(toDateTime(Timestamp), INTERVAL 60 second) AS "time", ServiceName, count() AS n, max(Duration) AS slowest
       FROM "default"."otel_traces" WHERE ( ${IN_RANGE} ) AND ( SpanKind = 'Server' )
       GROUP BY ServiceName, time ORDER BY time ASC, ServiceName ASC LIMIT 1000`,
    );
    const served = spans.filter((span) => span.kind === 'server');
    const counts = countBy(served, (span) => `${minuteOf(span.startUs)} ${span.service}`);
    expect(Object.keys(counts)).toHaveLength(5 * 4);
    expect(rows).toEqual(
      Object.entries(counts).map(([key, n]) => ({
        time: key.slice(0, 19),
        ServiceName: key.slice(20),
        n,
        slowest:
          1_000 *
          Math.max(
            ...served
              .filter((span) => `${minuteOf(span.startUs)} ${span.service}` === key)
              .map((span) => span.endUs - span.startUs),
          ),
      })),
    );
  });

  it('gets Native, compressed', async () => {
    // fetch inflates by itself: that the answer says gzip is what counts.
    const body = await postAsGrafana('SELECT toUInt8(7) AS n', 'Native');
    expect(body.toString('latin1')).toContain('\x01n\x05UInt8\x07');
    const raw = await rawGzip('SELECT toUInt8(7) AS n FORMAT TSV');
    expect(raw.toString()).toBe('7\n');
  });

  // The driver of the plugin (clickhouse-go from 2.38 on) reads the answer to its greeting as of the revision it names: with
  // a block's info in front and a byte of serialization behind each type. What the engine's port writes else is revision 0.
  it('greets a server in the revision of the Native format that its driver names', async () => {
    const body = await postAsGrafana('SELECT displayName(), version(), revision(), timezone()', 'Native');
    const info = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);
    expect(body.subarray(0, info.length)).toEqual(info);
    expect(body.subarray(info.length, info.length + 2)).toEqual(Buffer.from([4, 1]));
    expect(body.toString('latin1')).toContain('\x0arevision()\x06UInt32\0\0\0\0\0\x0atimezone()\x06String\0\x03UTC');
  });
});

async function rawGzip(sql: string): Promise<Buffer> {
  const { request } = await import('node:http');
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const sent = request(
    {
      host: '127.0.0.1',
      port: service.ports.engine,
      path: '/?enable_http_compression=1',
      method: 'POST',
      headers: {
        'accept-encoding': 'gzip',
        'x-clickhouse-user': login.user,
        'x-clickhouse-key': login.password,
      },
    },
    (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () => {
        if (answer.headers['content-encoding'] !== 'gzip') reject(new Error('not compressed'));
        else resolve(gunzipSync(Buffer.concat(parts)));
      });
    },
  );
  sent.on('error', reject);
  sent.end(sql);
  return promise;
}

describe('HyperDX', () => {
  const range = (column: string) =>
    `(${column} >= fromUnixTimestamp64Milli(${FROM_MS}) AND ${column} <= fromUnixTimestamp64Milli(${END_MS}))`;

  it('learns columns, keys and indexes', async () => {
    const columns = await ask('DESCRIBE {db:Identifier}.{table:Identifier}', { db: 'default', table: 'otel_logs' });
    const lifted = columns.find((column) => column['name'] === '__otel_materialized_k8s.pod.name');
    expect(lifted).toMatchObject({
      default_type: 'MATERIALIZED',
      default_expression: "ResourceAttributes['k8s.pod.name']",
    });
    const [keys] = await ask(
      `SELECT groupUniqArrayArray({n:Int32})(mapKeys(LogAttributes)) AS keys FROM (SELECT LogAttributes FROM default.otel_logs LIMIT 10000)`,
      { n: 1_000 },
    );
    expect((keys?.['keys'] as string[] | undefined)?.sort()).toEqual(
      [...new Set([...logs.flatMap((log) => Object.keys(log.attributes)), 'server.port'])].sort(),
    );
    const indexes = await ask(
      `SELECT name, expr, type FROM system.data_skipping_indices WHERE database = {db:String} AND table = {table:String}`,
      { db: 'default', table: 'otel_logs' },
    );
    expect(indexes).toContainEqual({ name: 'idx_lower_body', expr: 'lower(Body)', type: 'text' });
    const [table] = await ask(`SELECT * FROM system.tables WHERE database = 'default' AND name = 'otel_traces'`);
    expect(table).toMatchObject({ engine: 'MergeTree', total_rows: String(spans.length) });
  });

  it.each(['hasToken(lower(Body), lower({word:String}))', 'hasAllTokens(lower(Body), lower({word:String}))'])(
    'searches the text of logs by %s, through the index',
    async (condition) => {
      const from = `FROM default.otel_logs WHERE ${range('TimestampTime')} AND (${condition})`;
      const rows = await ask(
        `SELECT Timestamp, ServiceName, SeverityText, Body ${from} ORDER BY (TimestampTime, Timestamp) DESC LIMIT 200 OFFSET 0`,
        { word: 'Declined' },
      );
      const declined = shop.orders.filter(({ outcome }) => outcome === 'declined').reverse();
      expect(declined.length).toBeGreaterThan(1);
      expect(rows.map((row) => row['Body'])).toEqual(
        declined.map(({ id }) => `Card declined for order ${id}: insufficient funds`),
      );
      const [log] = logs.filter(({ body }) => body === rows[0]?.['Body']);
      expect(rows[0]).toMatchObject({
        Timestamp: `${timeText(log?.atUs ?? 0).replace(' ', 'T')}Z`,
        ServiceName: 'payment',
        SeverityText: 'ERROR',
      });
      const plan = await ask(`EXPLAIN indexes = 1 SELECT Body ${from}`, { word: 'Declined' });
      expect(JSON.stringify(plan)).toContain('idx_lower_body');
    },
  );

  it('draws the histogram above a search, empty buckets included', async () => {
    const bucket = 'toStartOfInterval(toDateTime(TimestampTime), INTERVAL 1 minute)';
    const bound = (at: number) =>
      `toUnixTimestamp(toStartOfInterval(fromUnixTimestamp64Milli(${at}), INTERVAL 1 minute))`;
    const rows = await ask(
      `SELECT count() AS n, SeverityText, ${bucket} AS \`__hdx_time_bucket\` FROM default.otel_logs
       WHERE ${range('TimestampTime')} AND SeverityText = 'ERROR' GROUP BY SeverityText, ${bucket} AS \`__hdx_time_bucket\`
       ORDER BY ${bucket} AS \`__hdx_time_bucket\` WITH FILL FROM ${bound(FROM_MS)} TO ${bound(END_MS)} STEP 60`,
    );
    const errors = countBy(
      logs.filter((log) => log.severity === 'ERROR'),
      (log) => `${minuteOf(log.atUs).replace(' ', 'T')}Z`,
    );
    expect(rows).toHaveLength(5);
    const drawn = rows.filter((row) => row['n'] !== '0');
    expect(Object.fromEntries(drawn.map((row) => [row['__hdx_time_bucket'], Number(row['n'])]))).toEqual(errors);
  });

  it('compares the attributes of slow spans with those of the rest', async () => {
    const sample = (condition: string) =>
      ask(
        `WITH PartIds AS (
           SELECT tuple(_part, _part_offset) FROM default.otel_traces
           WHERE ${range('Timestamp')} AND (ServiceName = 'payment' AND SpanKind = 'Server') AND (${condition})
           ORDER BY rand() DESC LIMIT 1000)
         SELECT * FROM default.otel_traces WHERE ${range('Timestamp')} AND (${condition})
           AND indexHint((_part, _part_offset) IN PartIds) AND tuple(_part, _part_offset) IN PartIds
         ORDER BY rand() DESC LIMIT 1000`,
      );
    const slow = await sample('Duration / 1e6 >= 1000');
    const others = await sample('NOT (Duration / 1e6 >= 1000)');
    const ids = (rows: Row[]) => rows.map((row) => (row['SpanAttributes'] as Row)['shop.order.id']).sort();
    const retried = shop.orders.filter(({ outcome }) => outcome === 'retried');
    expect(retried.length).toBeGreaterThan(1);
    expect(ids(slow)).toEqual(retried.map(({ id }) => id).sort());
    expect(others).toHaveLength(ORDERS - retried.length);
    for (const row of slow) expect(row['Events.Name']).toEqual(['retry']);
  });

  it('draws the heat map of durations', async () => {
    const rows = await ask(
      `WITH toFloat64OrNull(toString(Duration / 1e6)) AS value
       SELECT widthBucket(value, 0, 10000, 10) AS y, count() AS n FROM default.otel_traces
       WHERE ${range('Timestamp')} AND SpanKind = 'Server' AND ServiceName = 'frontend' GROUP BY y ORDER BY y`,
    );
    const roots = spans.filter((span) => span.kind === 'server' && span.service === 'frontend');
    const expected = countBy(roots, (span) => String(1 + Math.floor(ms(span) / 1_000)));
    expect(Object.fromEntries(rows.map((row) => [String(row['y']), Number(row['n'])]))).toEqual(expected);
  });

  it('draws the map of services from parents and children', async () => {
    const side = (kinds: string) =>
      `SELECT TraceId AS traceId, SpanId AS spanId, ServiceName AS serviceName, ParentSpanId AS parentSpanId, StatusCode AS statusCode
       FROM default.otel_traces WHERE ${range('Timestamp')} AND (cityHash64(TraceId) % 1 = 0) AND (SpanKind IN (${kinds}))`;
    const rows = await ask(
      `WITH server AS (${side("'Server', 'Consumer', 'SPAN_KIND_SERVER'")}),
            client AS (${side("'Client', 'Producer', 'SPAN_KIND_CLIENT'")})
       SELECT server.serviceName AS callee, server.statusCode AS status, client.serviceName AS caller, count() AS requests
       FROM server LEFT JOIN client ON server.traceId = client.traceId AND server.parentSpanId = client.spanId
       WHERE client.serviceName = '' OR server.serviceName != client.serviceName
       GROUP BY callee, status, caller ORDER BY callee, status, caller`,
    );
    const declined = shop.orders.filter(({ outcome }) => outcome === 'declined').length;
    const edge = (callee: string, status: string, caller: string, requests: number) => ({
      callee,
      status,
      caller,
      requests: String(requests),
    });
    expect(rows).toEqual([
      edge('cart', 'Unset', 'frontend', ORDERS),
      edge('checkout', 'Error', 'frontend', declined),
      edge('checkout', 'Unset', 'frontend', ORDERS - declined),
      edge('frontend', 'Unset', '', ORDERS),
      edge('payment', 'Error', 'checkout', declined),
      edge('payment', 'Unset', 'checkout', ORDERS - declined),
      edge('shipping', 'Ok', '', ORDERS - declined),
    ]);
  });

  it('finds the logs of a pod by the column lifted out of the Map', async () => {
    const pod = shop.services.cart.attributes['k8s.pod.name'];
    const rows = await ask(
      'SELECT count() AS n, any(ServiceName) AS name FROM default.otel_logs WHERE `__otel_materialized_k8s.pod.name` = {pod:String}',
      { pod },
    );
    expect(rows).toEqual([{ n: String(ORDERS + 1), name: 'cart' }]);
  });

  it('draws a gauge: the last value of each series in each bucket', async () => {
    const rows = await ask(
      `WITH Bucketed AS (
         SELECT toStartOfInterval(toDateTime(TimeUnix), INTERVAL 1 minute) AS bucket,
           cityHash64(mapConcat(ScopeAttributes, ResourceAttributes, Attributes)) AS series, last_value(Value) AS last
         FROM (SELECT * FROM default.otel_metrics_gauge WHERE ${range('TimeUnix')} AND (MetricName = 'shop.queue.depth') ORDER BY TimeUnix)
         GROUP BY series, bucket)
       SELECT avg(toFloat64OrNull(toString(last))) AS value, bucket FROM Bucketed GROUP BY bucket ORDER BY bucket`,
    );
    const depth = (atUs: number) =>
      shop.orders.filter(({ queued }) => queued && queued.fromUs <= atUs && queued.toUs > atUs).length;
    // Read every 30 s: the last reading of a minute is the one half a minute into it, of the last one the end itself.
    const readings = [-270, -210, -150, -90, -30, 0].map((seconds) => depth(seconds * 1_000_000));
    expect(rows.map((row) => Number(row['value']))).toEqual(readings);
    expect(Math.max(...readings)).toBeGreaterThan(0);
  });

  it('draws the rate of a cumulative sum', async () => {
    const rows = await ask(
      `WITH Source AS (
         SELECT *, cityHash64(mapConcat(ScopeAttributes, ResourceAttributes, Attributes)) AS AttributesHash,
           lagInFrame(Value, 1, 0) OVER (PARTITION BY AttributesHash ORDER BY TimeUnix) AS Before,
           if(AggregationTemporality = 1 OR Value < Before, Value, Value - Before) AS Rate
         FROM default.otel_metrics_sum
         WHERE MetricName = 'http.server.requests' AND ServiceName = 'frontend')
       SELECT toStartOfInterval(toDateTime(TimeUnix) - 1, INTERVAL 1 minute) AS bucket, sum(Rate) AS value,
         any(IsMonotonic) AS monotonic FROM Source GROUP BY bucket ORDER BY bucket`,
    );
    const roots = spans.filter((span) => span.kind === 'server' && span.service === 'frontend');
    const served = countBy(roots, (span) => minuteOf(span.endUs));
    expect(rows.map((row) => [String(row['bucket']), Number(row['value'])])).toEqual(
      Object.entries(served).map(([minute, n]) => [`${minute.replace(' ', 'T')}Z`, n]),
    );
    expect(rows[0]?.['monotonic']).toBe(true);
  });

  it('estimates quantiles of histograms', async () => {
    const rows = await ask(
      `WITH Total AS (
         SELECT argMax(BucketCounts, TimeUnix) AS counts, argMax(ExplicitBounds, TimeUnix) AS bounds, Attributes
         FROM default.otel_metrics_histogram
         WHERE ${range('TimeUnix')} AND (MetricName = 'http.server.request.duration') AND ServiceName = 'frontend'
         GROUP BY Attributes),
       Merged AS (SELECT sumForEach(counts) AS counts, any(bounds) AS bounds FROM Total)
       SELECT arrayCumSum(counts) AS below, {q:Float64} * arrayElement(below, -1) AS rank,
         arrayFirstIndex(n -> n >= rank, below) AS i, arrayElement(bounds, i - 1) AS low, arrayElement(bounds, i) AS high FROM Merged`,
      { q: 0.5 },
    );
    const durations = spans
      .filter((span) => span.kind === 'server' && span.service === 'frontend')
      .map(seconds)
      .sort((a, b) => a - b);
    const median = durations[ORDERS / 2 - 1] ?? 0;
    expect(rows[0]).toMatchObject({ rank: ORDERS / 2 });
    expect(Number(rows[0]?.['low'])).toBeLessThan(median);
    expect(Number(rows[0]?.['high'])).toBeGreaterThanOrEqual(median);
  });

  it('reads exponential histograms and summaries', async () => {
    const calls = spans.filter((span) => span.kind === 'server' && span.service === 'payment');
    const [exponential] = await ask(
      `SELECT sum(Count) AS n, round(sum(Sum), 3) AS total, min(Min) AS least, max(Max) AS most,
         sum(arraySum(PositiveBucketCounts)) AS counted, groupUniqArray(Scale) AS scales
       FROM default.otel_metrics_exponential_histogram WHERE MetricName = 'rpc.server.duration' AND ServiceName = 'payment'`,
    );
    expect(exponential).toEqual({
      n: String(calls.length),
      total: Number(calls.reduce((sum, span) => sum + ms(span), 0).toFixed(3)),
      least: Math.min(...calls.map(ms)),
      most: Math.max(...calls.map(ms)),
      counted: String(calls.length),
      scales: [3],
    });
    const [summary] = await ask(
      `SELECT Count, ValueAtQuantiles.Quantile AS q, ValueAtQuantiles.Value AS v FROM default.otel_metrics_summary
       WHERE MetricName = 'payment.gateway.duration' ORDER BY TimeUnix DESC LIMIT 1`,
    );
    const gateway = spans.filter((span) => span.kind === 'client' && span.service === 'payment');
    expect(summary).toMatchObject({ Count: String(gateway.length), q: [0.5, 0.9, 0.99, 1] });
    expect((summary?.['v'] as number[] | undefined)?.[3]).toBe(Math.max(...gateway.map(seconds)));
  });
});

describe("README.md's example queries", () => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  const queries = [...readme.matchAll(/\n([^\n]*):\n\n```sql\n([\s\S]*?)```/g)].map(([, title = '', sql = '']) => ({
    title,
    sql,
  }));
  const seen = new Set<string>();

  /** The query under the title that begins so, as people paste it: between double quotation marks of a shell. */
  async function example(title: string): Promise<Row[]> {
    const found = queries.find((query) => query.title.startsWith(title));
    if (found === undefined) throw new Error(`README.md has no query under "${title}"`);
    expect(found.sql).not.toMatch(/["$`\\!]/);
    seen.add(found.title);
    return grafana(found.sql);
  }

  const newestWith = (outcome: (order: Order) => boolean) => {
    const order = shop.orders.findLast(outcome);
    if (order === undefined) throw new Error('the sample has no such order');
    return order;
  };

  it('count logs', async () => {
    const expected = countBy([...logs, ...startLogs()], (log) => `${log.service} ${log.severity}`);
    const rows = await example('Logs of each service');
    expect(
      Object.fromEntries(rows.map((row) => [`${row['ServiceName']} ${row['SeverityText']}`, Number(row['Logs'])])),
    ).toEqual(expected);
  });

  it('find the error logs of a trace', async () => {
    const order = newestWith(({ outcome }) => outcome === 'declined');
    const [log] = order.logs.filter(({ severity }) => severity === 'ERROR');
    expect(await example('The error logs of a trace')).toEqual([
      { Timestamp: timeText(log?.atUs ?? 0), ServiceName: 'payment', SpanId: log?.spanId, Body: log?.body },
    ]);
  });

  it('find the slowest spans', async () => {
    const rows = await example('The slowest spans');
    const slowest = spans
      .filter((span) => span.parentSpanId === '')
      .sort((a, b) => ms(b) - ms(a))
      .slice(0, 5);
    expect(rows.map((row) => row['TraceId'])).toEqual(slowest.map((span) => span.traceId));
    expect(rows.map((row) => row['Ms'])).toEqual(slowest.map(ms));
  });

  it('show a trace as a tree', async () => {
    const rows = await example('The spans of a trace as a tree');
    const failed = (order: Order) => order.spans.some((span) => span.status === 'error');
    const order = newestWith(failed);
    const ofTrace = order.spans.filter((span) => span.traceId === order.traceId);
    const depth = (span: ShopSpan | undefined): number =>
      span === undefined || span.parentSpanId === ''
        ? 0
        : 1 + depth(ofTrace.find(({ spanId }) => spanId === span.parentSpanId));
    // Recorded in the order in which they began, which is the order of a walk through the tree.
    expect(rows).toEqual(
      ofTrace.map((span) => ({
        Span: `${'  '.repeat(depth(span))}${span.service} ${span.name}`,
        Ms: ms(span),
        StatusCode: span.status === 'error' ? 'Error' : 'Unset',
      })),
    );
  });

  it('tell rate, errors and duration', async () => {
    const rows = await example('Rate, errors and duration');
    const served = (name: string) =>
      spans.filter((span) => span.service === name && (span.kind === 'server' || span.kind === 'consumer'));
    expect(rows.map((row) => row['ServiceName'])).toEqual([...SERVICE_NAMES].sort());
    for (const row of rows) {
      const own = served(String(row['ServiceName']));
      expect(row['RequestsPerSecond']).toBeCloseTo(own.length / 300, 9);
      expect(row['Errors']).toBeCloseTo(own.filter((span) => span.status === 'error').length / own.length, 9);
      // The value below which 95 % of the values lie, counted from 0.
      const sorted = own.map(ms).sort((a, b) => a - b);
      expect(row['P95Ms']).toBeCloseTo(sorted[Math.floor(0.95 * sorted.length)] ?? -1, 6);
    }
  });

  it('tell the rate of a counter', async () => {
    const rows = await example('The rate of a cumulative counter');
    expect(rows).toHaveLength(3 * 10);
    const declined = rows.filter((row) => row['Status'] === '402').map((row) => row['PerSecond']);
    const roots = spans.filter(
      (span) => span.service === 'frontend' && span.attributes['http.response.status_code'] === 402,
    );
    const inReading = (reading: number) =>
      roots.filter((span) => span.kind === 'server' && Math.ceil((span.endUs + 300_000_000) / 30_000_000) === reading)
        .length;
    expect(declined).toEqual(Array.from({ length: 10 }, (_, index) => inReading(index + 1) / 30));
    expect(declined.filter((rate) => rate !== 0).length).toBeGreaterThan(1);
  });

  it('estimate a quantile', async () => {
    const rows = await example('An estimate of a quantile');
    const bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    const sorted = spans
      .filter((span) => span.service === 'frontend' && span.kind === 'server')
      .map(seconds)
      .sort((a, b) => a - b);
    const rank = 0.95 * ORDERS;
    const index = bounds.findIndex((bound) => sorted.filter((value) => value <= bound).length >= rank);
    const below = (bound: number) => sorted.filter((value) => value <= bound).length;
    const [low = 0, high = 0] = [bounds[index - 1], bounds[index]];
    const estimate = low + ((high - low) * (rank - below(low))) / (below(high) - below(low));
    expect(rows.find((row) => row['ServiceName'] === 'frontend')?.['P95']).toBeCloseTo(estimate, 9);
    // All of the cart's requests lie in the first bucket, which begins at 0.
    expect(rows.find((row) => row['ServiceName'] === 'cart')?.['P95']).toBeCloseTo(0.95 * 0.005, 9);
  });

  it('list the series of a gauge', async () => {
    const rows = await example('The series of a gauge');
    expect(rows).toEqual(
      [...SERVICE_NAMES].sort().map((name) => ({
        ServiceName: name,
        Node: shop.services[name].attributes['k8s.node.name'],
        Mode: 'user',
        Points: 10,
        Last: shop.metrics[name]
          .filter((metric) => metric.name.startsWith('process.'))
          .flatMap(pointsOf)
          .at(-1)?.['asDouble'],
      })),
    );
  });

  it('lead from a metric to a trace', async () => {
    const rows = await example('From a slow request');
    const slowest = spans
      .filter((span) => span.kind === 'server' && span.service === 'frontend')
      .sort((a, b) => ms(b) - ms(a))[0];
    expect(rows).toHaveLength(5);
    expect(rows[0]).toEqual({
      ServiceName: 'frontend',
      MetricName: 'http.server.request.duration',
      ExemplarValue: slowest && seconds(slowest),
      ExemplarTrace: slowest?.traceId,
    });
  });

  it('are all of them run here', () => {
    expect(queries).toHaveLength(9);
    expect([...seen].sort()).toEqual(queries.map(({ title }) => title).sort());
  });

  it('stand beside a Grafana data source that names what is there', async () => {
    const yaml = /```yaml\n(apiVersion: 1[\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const value = (key: string) => [...yaml.matchAll(new RegExp(`^ +${key}: (.+)$`, 'gm'))].map((match) => match[1]);
    expect(value('username')).toEqual([login.user]);
    expect(value('protocol')).toEqual(['http']);
    expect(value('port')).toEqual(['8123']);
    for (const table of value('defaultTable')) {
      expect(await grafana(`EXISTS TABLE default.${table}`)).toEqual([{ result: 1 }]);
    }
    expect(value('defaultTable')).toHaveLength(2);
  });
});
