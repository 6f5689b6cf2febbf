/** Bounds on what is kept of a request, text that is no UTF-8, and durability (reference otlp.md 1.5, E3, E10, E11). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { field, keyValue, nestedArrays } from '../corpus/hand-made-protobuf.ts';
import { startService, type TestService } from '../support/service.ts';
import {
  bodyOf,
  CLEAN,
  gaugeOf,
  logsOf,
  metricsOf,
  newName,
  rejected,
  resourceOf,
  rowsOf,
  sendBody,
  sendEveryWay,
  spansOf,
  strings,
  WAYS,
  warned,
} from './otlp-client.ts';

const IDS = { traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174' };
const RECORD = 'resourceLogs[0].scopeLogs[0].logRecords[0]';
const MIB = 1_048_576;
const CAPS = 'attributes were over a limit (1,024 in a list, key 4,096 bytes, value 1,048,576 bytes) and were dropped';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

describe.concurrent('durability', () => {
  it('E3: a request stands in the spool or in its table when it is answered, and again it gets the same answer', async () => {
    for (const way of WAYS) {
      const name = newName();
      const body = bodyOf('logs', way, logsOf({ timeUnixNano: '1' }, { timeUnixNano: '9223372036854775808' })(name));
      const answer = await sendBody(service, 'logs', way, body);
      const waiting = spoolHolds(service.dataDir, name);
      if (!waiting) expect(await rowsOf(service, 'otel_logs', 'Timestamp', name, 1)).toHaveLength(1);
      const path = 'resourceLogs[0].scopeLogs[0].logRecords[1].timeUnixNano';
      expect(answer).toEqual(rejected(1, `1 log record rejected: a time is above 2^63-1 ns (first: ${path})`));
      expect(await sendBody(service, 'logs', way, body)).toEqual(answer);
      expect((await rowsOf(service, 'otel_logs', 'Timestamp', name, 1)).length).toBeGreaterThan(0);
    }
  });

  function spoolHolds(dataDir: string, text: string): boolean {
    const files = readdirSync(join(dataDir, 'spool'), { recursive: true, encoding: 'utf8' });
    return files
      .filter((file) => file.endsWith('.segment'))
      .some((file) => {
        try {
          return readFileSync(join(dataDir, 'spool', file)).includes(text);
        } catch {
          return false; // stored and removed since it was listed
        }
      });
  }
});

describe.concurrent('text', () => {
  /** `@@` becomes two bytes that are no UTF-8: every length stays as it is. */
  const corrupt = (body: Buffer): Buffer => {
    for (let at = body.indexOf('@@'); at >= 0; at = body.indexOf('@@', at)) body.writeUInt16BE(0xf09f, at);
    return body;
  };
  const REPAIRED = 'strings were not valid UTF-8: U+FFFD stands for each ill-formed part';
  const REPAIRED_JSON = 'strings held invalid UTF-8 or lone surrogates: U+FFFD stands for each ill-formed part';

  it('E10, T9 (tests): puts U+FFFD for each ill-formed part of a string or key, and keeps the item', async () => {
    const record = {
      body: { stringValue: 'a@@b\u0000c' },
      severityText: '@@',
      eventName: 'e@@',
      attributes: [
        ...strings({ 'k@@': '@@v' }),
        { key: 'l', value: { arrayValue: { values: strings({ '': '@@' }).map(({ value }) => value) } } },
      ],
    };
    const columns = 'Body, SeverityText, EventName, LogAttributes';
    for (const { way, name, answer } of await sendEveryWay(service, 'logs', logsOf(record), corrupt)) {
      const rule = way === 'json' ? REPAIRED_JSON : REPAIRED;
      const first = way === 'json' ? `${RECORD}.body.stringValue` : `${RECORD}.severityText`;
      expect(answer).toEqual(warned(`warning, 6 times: ${rule} (first: ${first})`));
      expect(await rowsOf(service, 'otel_logs', columns, name, 1)).toEqual([
        {
          Body: 'a\ufffdb\u0000c',
          SeverityText: '\ufffd',
          EventName: 'e\ufffd',
          LogAttributes: { 'k\ufffd': '\ufffdv', l: '["\ufffd"]' },
        },
      ]);
    }
  });

  it('E10: replaces exactly as TextDecoder does', async () => {
    const parts = ['80', 'c0af', 'eda080', 'f09f98', 'fffe', 'f4908080', 'e282', 'c3', 'f09f9880', 'efbbbf'];
    const bytes = Buffer.from(parts.map((part) => `61${part}`).join(''), 'hex');
    const name = newName();
    const resource = field(1, keyValue(Buffer.from('service.name'), field(1, Buffer.from(name))));
    const record = field(2, field(5, field(1, bytes)));
    const body = field(1, field(1, resource), field(2, record));
    const answer = await sendBody(service, 'logs', 'protobuf', body);
    expect(answer).toEqual(warned(`warning, 1 time: ${REPAIRED} (first: ${RECORD}.body)`));
    const [row] = await rowsOf(service, 'otel_logs', 'Body', name, 1);
    expect(row?.['Body']).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
  });

  it('E10: names the level of the first: resource and scope are not an item', async () => {
    const request = (name: string) => ({
      resourceSpans: [
        {
          resource: resourceOf(name, ...strings({ '@@': '' })),
          schemaUrl: 'u@@',
          scopeSpans: [{ scope: { name: '@@', version: '1' }, spans: [{ ...IDS, name: '@@' }] }],
        },
      ],
    });
    const columns = 'mapKeys(ResourceAttributes)[2] AS k, ResourceSchemaUrl AS u, ScopeName AS s, SpanName AS n';
    for (const { name, answer } of await sendEveryWay(service, 'traces', request, corrupt, ['grpc', 'protobuf'])) {
      expect(answer).toEqual(warned(`warning, 4 times: ${REPAIRED} (first: resourceSpans[0].resource.attributes)`));
      const rows = await rowsOf(service, 'otel_traces', columns, name, 1, 'k');
      expect(rows).toEqual([{ k: '\ufffd', u: 'u\ufffd', s: '\ufffd', n: '\ufffd' }]);
    }
  });
});

describe.concurrent('nesting', () => {
  const MARKER = '<nested deeper than 32>';
  const nested = (levels: number, inner: object = { intValue: '1' }): object =>
    levels === 0 ? inner : { arrayValue: { values: [nested(levels - 1, inner)] } };
  const text = (levels: number, inner: string) => `${'['.repeat(levels)}${inner}${']'.repeat(levels)}`;

  it('E11, T9 (tests): keeps 32 levels inside each other, and marks an array or kvlist deeper than that', async () => {
    const siblings = { arrayValue: { values: [nested(0), nested(1), { kvlistValue: {} }, nested(0)] } };
    const records = [nested(32), nested(33), nested(31, siblings)].map((body) => ({ body }));
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf(...records))) {
      const rule = 'arrays or lists were nested deeper than 32 and were replaced by a marker';
      const path = 'resourceLogs[0].scopeLogs[0].logRecords[1].body';
      expect(answer).toEqual(warned(`warning, 3 times: ${rule} (first: ${path})`));
      const rows = await rowsOf(service, 'otel_logs', 'Body', name, 3);
      expect(rows.map((row) => row['Body'])).toEqual(
        [text(32, `"${MARKER}"`), text(32, '1'), text(32, `1,"${MARKER}","${MARKER}",1`)].toSorted(),
      );
    }
  });

  it('E11, T2 (tests): skips 100,000 levels without a stack, in both encodings', async () => {
    const rule = 'arrays or lists were nested deeper than 32 and were replaced by a marker';
    const deepJson = `${'{"arrayValue":{"values":['.repeat(100_000)}{}${']}}'.repeat(100_000)}`;
    for (const way of WAYS) {
      const name = newName();
      const plain = bodyOf('logs', way, logsOf({ body: { stringValue: 'next' } })(name));
      const records = [field(5, nestedArrays(100_000)), field(5, field(1, Buffer.from('next')))];
      const resource = field(1, keyValue(Buffer.from('service.name'), field(1, Buffer.from(name))));
      const body =
        way === 'json'
          ? Buffer.from(plain.toString().replace('{"body"', `{"body":${deepJson}},{"body"`))
          : field(1, field(1, resource), field(2, ...records.map((record) => field(2, record))));
      const answer = await sendBody(service, 'logs', way, body);
      expect(answer).toEqual(warned(`warning, 1 time: ${rule} (first: ${RECORD}.body)`));
      const rows = await rowsOf(service, 'otel_logs', 'Body', name, 2);
      expect(rows.map((row) => row['Body'])).toEqual([text(32, `"${MARKER}"`), 'next']);
    }
  });
});

describe.concurrent('caps', () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: { intValue: `${i}` } }));

  it('E11, T9 (tests): keeps 1,024 attributes of each list of its own, and counts the rest in its dropped count', async () => {
    const over = { attributes: many(1_025), droppedAttributesCount: 4 };
    const span = { ...IDS, ...over, events: [over, { attributes: many(1_024) }], links: [over] };
    const request = (name: string) => ({
      resourceSpans: [
        {
          resource: { ...(resourceOf(name, ...many(1_024)) as object), droppedAttributesCount: 4_294_967_295 },
          scopeSpans: [{ scope: over, spans: [span] }],
        },
      ],
    });
    const columns = `toUInt32(length(ResourceAttributes)) AS r, ResourceDroppedAttributesCount AS rd, toUInt32(length(ScopeAttributes)) AS s,
      ScopeDroppedAttributesCount AS sd, toUInt32(length(SpanAttributes)) AS a, DroppedAttributesCount AS ad, mapKeys(SpanAttributes)[1024] AS last,
      arrayMap(m -> toUInt32(length(m)), Events.Attributes) AS e, \`Events.DroppedAttributesCount\` AS ed,
      arrayMap(m -> toUInt32(length(m)), Links.Attributes) AS l, \`Links.DroppedAttributesCount\` AS ld`;
    for (const { name, answer } of await sendEveryWay(service, 'traces', request)) {
      expect(answer).toEqual(warned(`warning, 5 times: ${CAPS} (first: resourceSpans[0].resource.attributes)`));
      expect(await rowsOf(service, 'otel_traces', columns, name, 1, 'r')).toEqual([
        {
          ...{ r: 1_024, rd: 4_294_967_295, s: 1_024, sd: 5, a: 1_024, ad: 5, last: 'k1023' },
          ...{ e: [1_024, 1_024], ed: [5, 0], l: [1_024], ld: [5] },
        },
      ]);
    }
  });

  it('E11: counts what a point, its exemplars and its metric lost in the dropped count of the point', async () => {
    const exemplar = { asInt: '1', filteredAttributes: many(1_026) };
    const point = { asInt: '1', timeUnixNano: '1', attributes: many(1_025), exemplars: [exemplar] };
    const metric = { name: 'g', metadata: many(1_025), gauge: { dataPoints: [point] } };
    const columns =
      'DroppedAttributesCount AS d, toUInt32(length(Attributes)) AS a, toUInt32(length(MetricMetadata)) AS m, toUInt32(length(`Exemplars.FilteredAttributes`[1])) AS e';
    for (const { name, answer } of await sendEveryWay(service, 'metrics', metricsOf(metric))) {
      const path = 'resourceMetrics[0].scopeMetrics[0].metrics[0].metadata';
      expect(answer).toEqual(warned(`warning, 4 times: ${CAPS} (first: ${path})`));
      const rows = await rowsOf(service, 'otel_metrics_gauge', columns, name, 1, 'd');
      expect(rows).toEqual([{ d: 4, a: 1_024, m: 1_024, e: 1_024 }]);
    }
  });

  it('E11: keeps a key of 4,096 bytes and a value of 1 MiB, and drops what is a byte longer', async () => {
    const bytes = (count: number) => ({ bytesValue: Buffer.alloc(count, 0xff).toString('base64') });
    // An array of one string: a tag and a length prefix for the AnyValue, and the same for its string.
    const array = (count: number) => ({ arrayValue: { values: [{ stringValue: 'a'.repeat(count - 8) }] } });
    const attributes = [
      ...strings({ ['k'.repeat(4_096)]: 'v', ['l'.repeat(4_097)]: 'v', ['é'.repeat(2_049)]: 'v' }),
      ...strings({ s: 's'.repeat(MIB), t: 't'.repeat(MIB + 1) }),
      { key: 'x', value: bytes(MIB) },
      { key: 'y', value: bytes(MIB + 1) },
      { key: 'a', value: array(MIB) },
      { key: 'b', value: array(MIB + 1) },
    ];
    const columns =
      'arrayMap(k -> left(k, 2), mapKeys(LogAttributes)) AS keys, arrayMap(v -> length(v), mapValues(LogAttributes)) AS lengths, DroppedAttributesCount AS d, LogAttributesTypes AS t';
    for (const { name, answer } of await sendEveryWay(service, 'logs', logsOf({ attributes }))) {
      expect(answer).toEqual(warned(`warning, 5 times: ${CAPS} (first: ${RECORD}.attributes)`));
      expect(await rowsOf(service, 'otel_logs', columns, name, 1, 'd')).toEqual([
        {
          keys: ['kk', 's', 'x', 'a'],
          lengths: ['1', String(MIB), String(4 * Math.ceil(MIB / 3)), String(MIB - 8 + 4)],
          d: 5,
          t: 'ssxa',
        },
      ]);
    }
  });
});

describe.concurrent('what repeats in each row', () => {
  const RULE =
    'attributes that repeat in each row (of resource, scope and metric) were dropped, largest first: together they may hold 65,536 bytes';
  /** Stored: key, value, and the value's length prefix. */
  const attribute = (key: string, bytes: number) =>
    strings({ [key]: 'v'.repeat(bytes - key.length - lengthBytes(bytes)) });
  const lengthBytes = (bytes: number) => (bytes > 16_384 ? 3 : 2);
  const requestOf = (name: string, scopeBytes: number, resourceBytes = 30_000) => ({
    resourceLogs: [
      {
        resource: resourceOf(name, ...attribute('large', resourceBytes)),
        scopeLogs: [{ scope: { attributes: attribute('scope', scopeBytes) }, logRecords: [{}, {}] }],
      },
    ],
  });
  const columns =
    'mapKeys(ResourceAttributes) AS r, ResourceDroppedAttributesCount AS rd, mapKeys(ScopeAttributes) AS s, ScopeDroppedAttributesCount AS sd';

  it('E11: keeps 64 KiB, and of a byte more the largest attribute not', async () => {
    // What is left beside the 30,000 bytes, the key service.name and the prefix and text of its value.
    const left = (name: string) => 65_536 - 30_000 - 'service.name'.length - 1 - name.length;
    for (const { name, answer } of await sendEveryWay(service, 'logs', (name) => requestOf(name, left(name)))) {
      expect(answer).toEqual(CLEAN);
      const row = { r: ['service.name', 'large'], rd: 0, s: ['scope'], sd: 0 };
      expect(await rowsOf(service, 'otel_logs', columns, name, 2, 'rd')).toEqual([row, row]);
    }
    for (const { name, answer } of await sendEveryWay(service, 'logs', (name) => requestOf(name, left(name) + 1))) {
      const path = 'resourceLogs[0].scopeLogs[0].scope.attributes[0]';
      expect(answer).toEqual(warned(`warning, 1 time: ${RULE} (first: ${path})`));
      const row = { r: ['service.name', 'large'], rd: 0, s: [], sd: 1 };
      expect(await rowsOf(service, 'otel_logs', columns, name, 2, 'rd')).toEqual([row, row]);
    }
    for (const { name, answer } of await sendEveryWay(service, 'logs', (name) => requestOf(name, 20_000, 60_000))) {
      expect(answer).toEqual(warned(`warning, 1 time: ${RULE} (first: resourceLogs[0].resource.attributes[1])`));
      const row = { r: ['service.name'], rd: 1, s: ['scope'], sd: 0 };
      expect(await rowsOf(service, 'otel_logs', columns, name, 2, 'rd')).toEqual([row, row]);
    }
  });

  it('E11: rejects the items beneath when names and URLs alone are over', async () => {
    const points = [
      { asInt: '1', timeUnixNano: '1' },
      { asInt: '2', timeUnixNano: '1' },
    ];
    const metric = (bytes: number) => ({ name: 'm', description: 'd'.repeat(bytes), gauge: { dataPoints: points } });
    const small = { name: 'n', gauge: { dataPoints: points.slice(0, 1) } };
    const request = metricsOf(metric(65_537), small);
    for (const { name, answer } of await sendEveryWay(service, 'metrics', request)) {
      const rule = 'names and schema URLs that repeat in each row are over 65,536 bytes together';
      const path = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0]';
      expect(answer).toEqual(rejected(2, `2 data points rejected: ${rule} (first: ${path})`));
      expect(await rowsOf(service, 'otel_metrics_gauge', 'MetricName', name, 1)).toEqual([{ MetricName: 'n' }]);
    }
  });
});

describe('the rows of one request', () => {
  it('E11, T9 (tests): rejects the items beyond 256 MiB of rows, and stores those before them', async () => {
    const name = newName();
    const value = 60_000;
    const sent = 5_000;
    const request = {
      resourceLogs: [
        {
          resource: resourceOf(name, ...strings({ large: 'v'.repeat(value) })),
          scopeLogs: [{ logRecords: Array.from({ length: sent }, () => ({})) }],
        },
      ],
    };
    const answer = await sendBody(service, 'logs', 'protobuf', bodyOf('logs', 'protobuf', request));
    const accepted = sent - answer.rejected;
    const path = `resourceLogs[0].scopeLogs[0].logRecords[${accepted}]`;
    const rule = `the rows of one request are over ${256 * MIB} bytes`;
    const others = `${answer.rejected} log records rejected: ${rule} (first: ${path})`;
    expect(answer).toEqual(rejected(answer.rejected, others));
    // A row has the value and less than 400 bytes besides.
    expect(accepted * value).toBeLessThanOrEqual(256 * MIB);
    expect((accepted + 1) * (value + 400)).toBeGreaterThan(256 * MIB);
    const sql = `SELECT count() AS n FROM otel_logs WHERE ServiceName = '${name}'`;
    const rows = await service.queryUntil<{ n: number }>(sql, ([row]) => Number(row?.n) >= accepted, 60_000);
    expect(rows.map(({ n }) => Number(n))).toEqual([accepted]);
  }, 90_000);

  it('E11: is not told of by a request beneath its bounds', async () => {
    for (const { answer } of await sendEveryWay(service, 'metrics', gaugeOf({ asInt: '1', timeUnixNano: '1' }))) {
      expect(answer).toEqual(CLEAN);
    }
    for (const { answer } of await sendEveryWay(service, 'traces', spansOf(IDS))) expect(answer).toEqual(CLEAN);
  });
});
