/** How OTLP/JSON is read: doubles, null, absence, oneofs, nested values, text (reference otlp.md section 2, J12–J19). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import { CLEAN, newName, rejected, rowsOf, sendBody, warned } from './otlp-client.ts';
import { gaugeText, logsText, metricsText, postText, spansText } from './otlp-text.ts';

const IDS = '"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"';
const RECORD = 'resourceLogs[0].scopeLogs[0].logRecords[0]';
const REPAIRED = 'strings held invalid UTF-8 or lone surrogates: U+FFFD stands for each ill-formed part';

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

const bodyOf = (value: string) => logRow(`{"body":${value}}`, 'Body, BodyType');

describe.concurrent('doubles and null', () => {
  it.each([
    ['1.5', '1.5'],
    ['"1.5"', '1.5'],
    ['"-1e-3"', '-0.001'],
    ['"NaN"', 'NaN'],
    ['"Infinity"', 'Infinity'],
    ['"-Infinity"', '-Infinity'],
    ['-0.0', '-0'],
    ['5e-324', '5e-324'],
    ['1.7976931348623157e308', '1.7976931348623157e+308'],
    ['10000000000000001', '10000000000000000'],
  ])('J12: reads the double %s', async (text, stored) => {
    expect(await bodyOf(`{"doubleValue":${text}}`)).toEqual([stored, 'd']);
  });

  it.each([
    ['"nan"', 'expected a number or a decimal string'],
    ['""', 'expected a number or a decimal string'],
    ['" 1"', 'expected a number or a decimal string'],
    ['true', 'expected a number or a decimal string'],
    ['1e309', 'out of range: no double is as large'],
  ])('J12, J20: refuses %s as a double', async (text, rule) => {
    const { answer } = await postText(service, 'logs', logsText(`{"body":{"doubleValue":${text}}}`));
    expect(answer).toEqual(rejected(1, `1 log record rejected: ${rule} (first: ${RECORD}.body.doubleValue)`));
  });

  it('J12: reads the values of points likewise', async () => {
    const points = ['"NaN"', '"Infinity"', '-2.5', '"0.1"'].map(
      (value, i) => `{"timeUnixNano":${i + 1},"asDouble":${value}}`,
    );
    const { name, answer } = await postText(service, 'metrics', gaugeText(points.join(',')));
    expect(answer).toEqual(CLEAN);
    const rows = await rowsOf(service, 'otel_metrics_gauge', 'Value, ValueType', name, 4, 'TimeUnix');
    expect(rows.map((row) => Object.values(row))).toEqual([
      ['nan', 'd'],
      ['inf', 'd'],
      [-2.5, 'd'],
      [0.1, 'd'],
    ]);
  });

  it('J13, T7 (tests): takes null as unset: of a double, an AnyValue, a scalar, a message and a list', async () => {
    expect(await bodyOf('{"doubleValue":null}')).toEqual(['', 'n']);
    expect(await bodyOf('null')).toEqual(['', 'n']);
    expect(await bodyOf('{"arrayValue":{"values":[{"doubleValue":null},null,{"intValue":1}]}}')).toEqual([
      '[null,null,1]',
      'a',
    ]);
    const record =
      '{"eventName":null,"flags":null,"timeUnixNano":"7","observedTimeUnixNano":null,"attributes":null,"traceId":null}';
    const columns = 'EventName, Flags, Timestamp, LogAttributes, TraceId';
    expect(await logRow(record, columns)).toEqual(['', 0, '1970-01-01 00:00:00.000000007', {}, '']);
  });

  it('J13, T7 (tests): a number point whose value is null has none', async () => {
    const points =
      '{"timeUnixNano":1,"asDouble":null},{"timeUnixNano":2,"asDouble":null,"flags":1},{"timeUnixNano":3,"asDouble":2}';
    const { name, answer } = await postText(service, 'metrics', gaugeText(points));
    const path = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].value';
    const rule = 'a number point has no value, and its flags do not say so';
    expect(answer).toEqual(rejected(1, `1 data point rejected: ${rule} (first: ${path})`));
    const rows = await rowsOf(service, 'otel_metrics_gauge', 'Value, ValueType', name, 2, 'TimeUnix');
    expect(rows.map((row) => Object.values(row))).toEqual([
      [0, 'n'],
      [2, 'd'],
    ]);
  });
});

describe.concurrent('absence and presence', () => {
  it('J14: an AnyValue that is {} or missing is empty', async () => {
    const attributes =
      '[{"key":"a","value":{}},{"key":"b"},{"key":"c","value":{"unknown":1}},{"value":{"intValue":1}}]';
    const columns = 'LogAttributes, LogAttributesTypes, Body, BodyType';
    expect(await logRow(`{"attributes":${attributes}}`, columns)).toEqual([
      { a: '', b: '', c: '', '': '1' },
      'nnni',
      '',
      'n',
    ]);
  });

  it('J15: an explicit default is as an absent field, but sum, min and max keep presence', async () => {
    const points = [
      '{"timeUnixNano":1}',
      '{"timeUnixNano":2,"count":"0","sum":0,"min":0,"max":0,"flags":0,"bucketCounts":[],"exemplars":[]}',
    ];
    const { name, answer } = await postText(
      service,
      'metrics',
      metricsText(`{"name":"h","histogram":{"dataPoints":[${points}]}}`),
    );
    expect(answer).toEqual(CLEAN);
    const rows = await rowsOf(
      service,
      'otel_metrics_histogram',
      'Count, Sum, Min, Max, Flags, BucketCounts',
      name,
      2,
      'TimeUnix',
    );
    expect(rows.map((row) => Object.values(row))).toEqual([
      ['0', null, null, null, 0, []],
      ['0', 0, 0, 0, 0, []],
    ]);
    const values =
      '[{"key":"s","value":{"stringValue":""}},{"key":"i","value":{"intValue":"0"}},{"key":"b","value":{"boolValue":false}}]';
    const columns = 'LogAttributes, LogAttributesTypes';
    expect(await logRow(`{"attributes":${values}}`, columns)).toEqual([{ s: '', i: '0', b: 'false' }, 'sib']);
  });

  it.each([
    ['{"stringValue":"a","intValue":1}', '1', 'i'],
    ['{"intValue":1,"stringValue":"a"}', 'a', 's'],
    ['{"stringValue":"a","intValue":null}', 'a', 's'],
    ['{"arrayValue":{"values":[{}]},"boolValue":true,"arrayValue":{"values":[{"intValue":2}]}}', '[2]', 'a'],
    ['{"arrayValue":{"values":[{"intValue":1}]},"array_value":{"values":[{"intValue":2}]}}', '[2]', 'a'],
    ['{"intValue":1,"intValue":2}', '2', 'i'],
    ['{"intValue":1,"intValue":null}', '', 'n'],
  ])('J16, T7 (tests): of two members, or two equal keys, the later counts: %s', async (value, stored, letter) => {
    expect(await bodyOf(value)).toEqual([stored, letter]);
  });

  it('J16: a list or a message that comes twice counts once, with its items and what was wrong in them', async () => {
    const twice = (name: string) =>
      logsText('{"eventName":"first"},{"flags":-1}')(name).replace(
        ']}]}]}',
        '],"logRecords":[{"eventName":"second"}]}]}]}',
      );
    const { name, answer } = await postText(service, 'logs', twice);
    expect(answer).toEqual(CLEAN);
    expect(await rowsOf(service, 'otel_logs', 'EventName', name, 1)).toEqual([{ EventName: 'second' }]);
    const spans = await postText(
      service,
      'traces',
      spansText(`{${IDS},"status":{"code":2,"message":"m"},"status":{"code":1}}`),
    );
    expect(await rowsOf(service, 'otel_traces', 'StatusCode, StatusMessage', spans.name, 1)).toEqual([
      { StatusCode: 'Ok', StatusMessage: '' },
    ]);
  });

  it('J16: equal attribute keys are no equal keys of JSON', async () => {
    const attributes = '[{"key":"k","value":{"intValue":1}},{"key":"k","value":{"intValue":2}}]';
    expect(await logRow(`{"attributes":${attributes}}`, 'mapValues(LogAttributes) AS v')).toEqual([['1', '2']]);
  });
});

describe.concurrent('nested values, buckets, text', () => {
  it('J17: reads kvlists and arrays from their values', async () => {
    const kvlist =
      '{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}},{"key":"l","value":{"kvlistValue":{}}}]}}';
    expect(await bodyOf(kvlist)).toEqual(['{"k":1,"l":{}}', 'm']);
    expect(await bodyOf(`{"arrayValue":{"values":[${kvlist},{"stringValue":"\\""}]}}`)).toEqual([
      '[{"k":1,"l":{}},"\\""]',
      'a',
    ]);
    const { answer } = await postText(service, 'logs', logsText('{"attributes":{"k":"v"}}'));
    expect(answer).toEqual(rejected(1, `1 log record rejected: expected an array (first: ${RECORD}.attributes)`));
  });

  it('J18: reads bucket counts as strings or numbers, and bounds as doubles', async () => {
    const point = '{"timeUnixNano":1,"bucketCounts":["1",1,2.0],"explicitBounds":[0.5,"1.5"]}';
    const { name, answer } = await postText(
      service,
      'metrics',
      metricsText(`{"name":"h","histogram":{"dataPoints":[${point}]}}`),
    );
    expect(answer).toEqual(CLEAN);
    const rows = await rowsOf(service, 'otel_metrics_histogram', 'BucketCounts, ExplicitBounds', name, 1);
    expect(rows).toEqual([{ BucketCounts: ['1', '1', '2'], ExplicitBounds: [0.5, 1.5] }]);
  });

  it.each([
    ['\\ud800x', '\ufffdx'],
    ['x\\udc00', 'x\ufffd'],
    ['\\udc00\\ud800', '\ufffd\ufffd'],
    ['\\ud800\\ud83d\\ude00', '\ufffd😀'],
  ])('J19, T7 (tests): puts U+FFFD for a lone surrogate and warns: %s', async (text, stored) => {
    const { name, answer } = await postText(service, 'logs', logsText(`{"body":{"stringValue":"${text}"}}`));
    expect(answer).toEqual(warned(`warning, 1 time: ${REPAIRED} (first: ${RECORD}.body.stringValue)`));
    expect(await rowsOf(service, 'otel_logs', 'Body', name, 1)).toEqual([{ Body: stored }]);
    expect(stored).toBe((JSON.parse(`"${text}"`) as string).toWellFormed());
  });

  it('J19: keeps pairs, escapes and NUL, and tells of repairs beside rejections', async () => {
    expect(await bodyOf('{"stringValue":"\\ud83d\\ude00\\u0000\\u00e9\\"\\\\\\/\\b\\f\\n\\r\\t"}')).toEqual([
      '😀\0é"\\/\b\f\n\r\t',
      's',
    ]);
    const name = newName();
    const records = '{"attributes":[{"key":"a\\ud800","value":{"stringValue":"#"}}]},{"flags":-1}';
    const body = Buffer.from(logsText(records)(name));
    body[body.indexOf('#')] = 0xff;
    const rule = 'not an integer in the range of fixed32';
    const reject = `1 log record rejected: ${rule} (first: resourceLogs[0].scopeLogs[0].logRecords[1].flags)`;
    const warning = `warning, 2 times: ${REPAIRED} (first: ${RECORD}.attributes[0].key)`;
    expect(await sendBody(service, 'logs', 'json', body)).toEqual(rejected(1, `${reject}; ${warning}`));
    expect(await rowsOf(service, 'otel_logs', 'LogAttributes', name, 1)).toEqual([
      { LogAttributes: { 'a\ufffd': '\ufffd' } },
    ]);
  });
});
