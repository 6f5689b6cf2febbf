/** How OTLP/JSON is read: keys, ids, bytes, integers, enums (reference otlp.md section 2, J1–J11), by the rows it makes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import { CLEAN, rejected, rowsOf, sendBody, warned } from './otlp-client.ts';
import { gaugeText, logsText, postText, spansText } from './otlp-text.ts';

const TRACE = '5b8efff798038103d269b633813fc60c';
const SPAN = 'eee19b7ec3c1b174';
const IDS = `"traceId":"${TRACE}","spanId":"${SPAN}"`;
const RECORD = 'resourceLogs[0].scopeLogs[0].logRecords';
const HEX_HINT = 'not hex digits; ids are hex in OTLP/JSON, not base64';
const ODD_HINT = 'an odd number of hex digits; ids are hex in OTLP/JSON, two digits a byte';
const NOT_NUMBER = 'expected a number or a decimal string';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

/** One record, and the values of these columns of its row. */
async function logRow(record: string, columns: string) {
  const { name, answer } = await postText(service, 'logs', logsText(record));
  expect(answer).toEqual(CLEAN);
  const rows = await rowsOf(service, 'otel_logs', columns, name, 1, '1');
  expect(rows).toHaveLength(1);
  return Object.values(rows[0] ?? {});
}

describe.concurrent('keys', () => {
  it('J1: takes lowerCamelCase and the original names, and no other spelling', async () => {
    const { name, answer } = await postText(
      service,
      'traces',
      (
        name,
      ) => `{"resource_spans":[{"resource":{"attributes":[{"key":"service.name","value":{"string_value":"${name}"}}],
        "dropped_attributes_count":2,"DroppedAttributesCount":9},"scope_spans":[{"schema_url":"s","spans":[
        {"trace_id":"${TRACE}","span_id":"${SPAN}","parent_span_id":"${SPAN}","start_time_unix_nano":1,"end_time_unix_nano":3,
        "dropped_links_count":4,"trace_state":"t","SpanName":"x","Name":"y"}]}]}]}`,
    );
    expect(answer).toEqual(CLEAN);
    const columns =
      'ResourceDroppedAttributesCount, ScopeSchemaUrl, TraceId, SpanId, ParentSpanId, Duration, DroppedLinksCount, TraceState, SpanName';
    const rows = await rowsOf(service, 'otel_traces', columns, name, 1);
    expect(rows.map((row) => Object.values(row))).toEqual([[2, 's', TRACE, SPAN, SPAN, '2', 4, 't', '']]);
  });

  it('J2, T7 (tests): ignores unknown keys at any depth, whatever stands under them, 100,000 levels too', async () => {
    const deep = `${'[{"a":'.repeat(100_000)}1${'}]'.repeat(100_000)}`;
    const others = '"x":[1,-2.5e3,"\\u00e9\\n",true,false,null,{"z":{}},[]],"traceid":5,"1":{}';
    const { name, answer } = await postText(
      service,
      'logs',
      (
        name,
      ) => `{"y":{"y":[1]},"resourceLogs":[{"u":${deep},"resource":{${others},"attributes":[{"key":"service.name",${others},
        "value":{"stringValue":"${name}","other":${deep}}}]},"scopeLogs":[{"scope":{${others}},"logRecords":[{"v":${deep},"eventName":"e",${others}}],${others}}]}]}`,
    );
    expect(answer).toEqual(CLEAN);
    expect(await rowsOf(service, 'otel_logs', 'EventName', name, 1)).toEqual([{ EventName: 'e' }]);
    expect(await sendBody(service, 'logs', 'json', Buffer.from('{"resourceLogs":[],"x":{"y":[1]}}'))).toEqual(
      warned('warning: the body is not empty, but no log record was found in it'),
    );
  });

  it('J3: ignores a schemaUrl inside of resource and keeps the one beside it', async () => {
    const { name, answer } = await postText(
      service,
      'logs',
      (name) => `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"${name}"}}],
        "schemaUrl":"inside"},"schemaUrl":"beside","scopeLogs":[{"scope":{"schemaUrl":"inside"},"logRecords":[{}]}]}]}`,
    );
    expect(answer).toEqual(CLEAN);
    const rows = await rowsOf(service, 'otel_logs', 'ResourceSchemaUrl, ScopeSchemaUrl', name, 1);
    expect(rows).toEqual([{ ResourceSchemaUrl: 'beside', ScopeSchemaUrl: '' }]);
  });
});

describe.concurrent('ids and bytes', () => {
  it('J4: reads ids as hex of either case in spans, links, records and exemplars', async () => {
    const mixed = `"traceId":"${TRACE.toUpperCase()}","spanId":"EEe19b7eC3c1B174"`;
    const spans = await postText(
      service,
      'traces',
      spansText(`{${mixed},"parentSpanId":"ABCDEFabcdef0123","links":[{${mixed}}]}`),
    );
    const columns = 'TraceId, SpanId, ParentSpanId, `Links.TraceId`, `Links.SpanId`';
    const [row] = await rowsOf(service, 'otel_traces', columns, spans.name, 1);
    expect(Object.values(row ?? {})).toEqual([TRACE, SPAN, 'abcdefabcdef0123', [TRACE], [SPAN]]);
    expect(await logRow(`{${mixed}}`, 'TraceId, SpanId')).toEqual([TRACE, SPAN]);
    const point = `{"asInt":1,"timeUnixNano":1,"exemplars":[{"asInt":1,${mixed}}]}`;
    const { name, answer } = await postText(service, 'metrics', gaugeText(point));
    expect([spans.answer, answer]).toEqual([CLEAN, CLEAN]);
    const [gauge] = await rowsOf(service, 'otel_metrics_gauge', '`Exemplars.TraceId`, `Exemplars.SpanId`', name, 1);
    expect(Object.values(gauge ?? {})).toEqual([[TRACE], [SPAN]]);
  });

  it('J5: takes an empty id as absent, and warns of hex of another length', async () => {
    const spans = await postText(service, 'traces', spansText(`{${IDS},"parentSpanId":""}`));
    expect(spans.answer).toEqual(CLEAN);
    expect(await rowsOf(service, 'otel_traces', 'ParentSpanId', spans.name, 1)).toEqual([{ ParentSpanId: '' }]);
    expect(await logRow('{"traceId":"","spanId":""}', 'TraceId, SpanId')).toEqual(['', '']);
    const { name, answer } = await postText(service, 'logs', logsText('{"traceId":"abcd"}'));
    const rule = 'ids had a wrong length (trace_id has 16 bytes, span_id 8) and were left empty';
    expect(answer).toEqual(warned(`warning, 1 time: ${rule} (first: ${RECORD}[0].traceId)`));
    expect(await rowsOf(service, 'otel_logs', 'TraceId', name, 1)).toEqual([{ TraceId: '' }]);
  });

  it.each([
    ['base64 of a trace id', 'traceId', '"W47/95gDgQPSabYzgT/GDA=="', HEX_HINT],
    ['base64 of a span id', 'spanId', '"7uGbfsPBsXQ="', HEX_HINT],
    ['an odd number of digits', 'spanId', '"eee19b7ec3c1b17"', ODD_HINT],
    ['a number', 'traceId', '5', 'expected a string of hex digits'],
  ])('J5, T7 (tests): refuses the record whose id is %s, with a hint', async (_, field, id, hint) => {
    const { name, answer } = await postText(
      service,
      'logs',
      logsText(`{"eventName":"kept"},{"${field}":${id}},{"${field}":${id}}`),
    );
    expect(answer).toEqual(rejected(2, `2 log records rejected: ${hint} (first: ${RECORD}[1].${field})`));
    expect(await rowsOf(service, 'otel_logs', 'EventName', name, 1)).toEqual([{ EventName: 'kept' }]);
  });

  it('J5: says the same of spans, links and exemplars', async () => {
    const span = `{${IDS},"name":"kept"},{${IDS},"parentSpanId":"7uGbfsPBsXQ="},{${IDS},"links":[{"spanId":"7uGbfsPBsXQ="}]}`;
    const spans = await postText(service, 'traces', spansText(span));
    const path = 'resourceSpans[0].scopeSpans[0].spans[1].parentSpanId';
    expect(spans.answer).toEqual(rejected(2, `2 spans rejected: ${HEX_HINT} (first: ${path})`));
    expect(await rowsOf(service, 'otel_traces', 'SpanName', spans.name, 1)).toEqual([{ SpanName: 'kept' }]);
    const { answer } = await postText(service, 'metrics', gaugeText('{"exemplars":[{},{"traceId":"x"}]}'));
    const point = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].exemplars[1].traceId';
    expect(answer).toEqual(rejected(1, `1 data point rejected: ${HEX_HINT} (first: ${point})`));
  });

  it.each([
    ['"AQI="', 'AQI='],
    ['"AQI"', 'AQI='],
    ['"+/+/"', '+/+/'],
    ['"-_-_"', '+/+/'],
    ['"_-8"', '/+8='],
    ['"\\u0041A=="', 'AA=='],
    ['""', ''],
  ])('J6: reads bytes of either alphabet, padded or not: %s', async (text, stored) => {
    expect(await logRow(`{"body":{"bytesValue":${text}}}`, 'Body, BodyType')).toEqual([stored, 'x']);
  });

  it.each([
    ['"A"', 'not base64: its length is wrong'],
    ['"AQ="', 'not base64: its length is wrong'],
    ['"AQ!="', 'not base64: a character is outside both alphabets'],
    ['"A Q="', 'not base64: a character is outside both alphabets'],
    ['[1,2]', 'expected a base64 string'],
  ])('J6: anything else is a wrong value: %s', async (text, rule) => {
    const { answer } = await postText(service, 'logs', logsText(`{"body":{"bytesValue":${text}}}`));
    expect(answer).toEqual(rejected(1, `1 log record rejected: ${rule} (first: ${RECORD}[0].body.bytesValue)`));
  });
});

describe.concurrent('integers', () => {
  it.each([
    ['"10"', '10'],
    ['10', '10'],
    ['-0', '0'],
    ['9007199254740993', '9007199254740993'],
    ['"9007199254740993"', '9007199254740993'],
    ['9223372036854775807', '9223372036854775807'],
    ['-9223372036854775808', '-9223372036854775808'],
    ['"-9223372036854775808"', '-9223372036854775808'],
    ['1e3', '1000'],
    ['"12.50e1"', '125'],
    ['9223372036854775807.0', '9223372036854775807'],
    ['92233720368547758070e-1', '9223372036854775807'],
  ])('J7, J8, J9: keeps every digit of the intValue %s', async (text, stored) => {
    expect(await logRow(`{"body":{"intValue":${text}}}`, 'Body, BodyType')).toEqual([stored, 'i']);
  });

  it.each([
    ['1e+21', '1e+21'],
    ['"1e+21"', '1e+21'],
    ['9223372036854775808', '9223372036854776000'],
    ['-9223372036854775809', '-9223372036854776000'],
    ['1.5', '1.5'],
  ])('J9, T7 (tests): keeps the intValue %s, which is no int64, as a double', async (text, stored) => {
    expect(await logRow(`{"body":{"intValue":${text}}}`, 'Body, BodyType')).toEqual([stored, 'd']);
  });

  it('J7, J8, T7 (tests): keeps the 64 bits of times and counts, as strings and as numbers', async () => {
    const times = '"timeUnixNano":9223372036854775807,"observedTimeUnixNano":"1700000000000000001"';
    expect(await logRow(`{${times}}`, 'Timestamp, ObservedTimestamp')).toEqual([
      '2262-04-11 23:47:16.854775807',
      '2023-11-14 22:13:20.000000001',
    ]);
    const histogram = `{"timeUnixNano":1,"count":18446744073709551615,"bucketCounts":["9007199254740993",9007199254740993],"explicitBounds":[1]}`;
    const { name, answer } = await postText(service, 'metrics', (name) =>
      gaugeText(histogram)(name).replace('"gauge"', '"histogram"'),
    );
    expect(answer).toEqual(CLEAN);
    const [row] = await rowsOf(service, 'otel_metrics_histogram', 'Count, BucketCounts', name, 1);
    expect(Object.values(row ?? {})).toEqual(['18446744073709551615', ['9007199254740993', '9007199254740993']]);
    const points =
      '{"timeUnixNano":"1","asInt":-9223372036854775808},{"timeUnixNano":"2","asInt":"9223372036854775807"}';
    const gauge = await postText(service, 'metrics', gaugeText(points));
    const values = await rowsOf(
      service,
      'otel_metrics_gauge',
      'ValueInt, ValueType, Value / pow(2, 63) AS v',
      gauge.name,
      2,
      'TimeUnix',
    );
    expect(values.map((value) => Object.values(value))).toEqual([
      ['-9223372036854775808', 'i', -1],
      ['9223372036854775807', 'i', 1],
    ]);
  });

  it.each([
    ['timeUnixNano', '18446744073709551616', 'not an integer in the range of fixed64'],
    ['timeUnixNano', '-1', 'not an integer in the range of fixed64'],
    ['timeUnixNano', '1e+21', 'not an integer in the range of fixed64'],
    ['timeUnixNano', '1.5', 'not an integer in the range of fixed64'],
    ['timeUnixNano', '"1 "', NOT_NUMBER],
    ['timeUnixNano', '"0x1"', NOT_NUMBER],
    ['timeUnixNano', 'true', NOT_NUMBER],
    ['droppedAttributesCount', '4294967296', 'not an integer in the range of uint32'],
    ['flags', '-1', 'not an integer in the range of fixed32'],
    ['severityNumber', '2147483648', 'not an integer in the range of enum'],
    ['body.intValue', '1e400', 'out of range: no double is as large'],
    ['body.intValue', '"abc"', NOT_NUMBER],
  ])('J9, J20: any other integer out of its range is a wrong value: %s %s', async (path, value, rule) => {
    const [first, second] = path.split('.');
    const record = second === undefined ? `{"${first}":${value}}` : `{"${first}":{"${second}":${value}}}`;
    const { answer } = await postText(service, 'logs', logsText(record));
    expect(answer).toEqual(rejected(1, `1 log record rejected: ${rule} (first: ${RECORD}[0].${path})`));
  });

  it('J10: reads 32-bit integers from strings too', async () => {
    const columns = 'DroppedAttributesCount, Flags, SeverityNumber';
    const record = '{"droppedAttributesCount":"3","flags":"4294967295","severityNumber":"9"}';
    expect(await logRow(record, columns)).toEqual([3, 4_294_967_295, 9]);
    const { name, answer } = await postText(service, 'metrics', (name) =>
      gaugeText('{"timeUnixNano":1,"scale":"-2147483648","positive":{"offset":"-1","bucketCounts":["1",2]}}')(
        name,
      ).replace('"gauge"', '"exponentialHistogram"'),
    );
    expect(answer).toEqual(CLEAN);
    const [row] = await rowsOf(
      service,
      'otel_metrics_exponential_histogram',
      'Scale, PositiveOffset, PositiveBucketCounts',
      name,
      1,
    );
    expect(Object.values(row ?? {})).toEqual([-2_147_483_648, -1, ['1', '2']]);
  });

  it('J11, T7 (tests): takes enums as integers and by known names, and refuses other names', async () => {
    const good = `{${IDS},"kind":2},{${IDS},"kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR"}},{${IDS},"kind":6}`;
    const bad = `{${IDS},"kind":"SERVER"},{${IDS},"status":{"code":"Error"}}`;
    const { name, answer } = await postText(service, 'traces', spansText(`${good},${bad}`));
    const rule = 'an enum name that is not known; enums are numbers in OTLP/JSON';
    const path = 'resourceSpans[0].scopeSpans[0].spans[3].kind';
    expect(answer).toEqual(rejected(2, `2 spans rejected: ${rule} (first: ${path})`));
    const rows = await rowsOf(service, 'otel_traces', 'SpanKind, StatusCode', name, 3);
    expect(rows.map((row) => Object.values(row))).toEqual([
      ['6', 'Unset'],
      ['Server', 'Error'],
      ['Server', 'Unset'],
    ]);
    expect(await logRow('{"severityNumber":"SEVERITY_NUMBER_FATAL4"}', 'SeverityNumber')).toEqual([24]);
    const sum = await postText(service, 'metrics', (name) =>
      gaugeText('{"timeUnixNano":1,"asInt":1}')(name).replace(
        '"gauge":{',
        '"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA",',
      ),
    );
    expect(await rowsOf(service, 'otel_metrics_sum', 'AggregationTemporality', sum.name, 1)).toEqual([
      { AggregationTemporality: 1 },
    ]);
  });
});
