/** OTLP/JSON requests as wholes: wrong values and wrong bodies, and the form of answers (reference otlp.md section 2, J20–J23). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retryLater } from '../../src/base/errors.ts';
import { createHttpServer } from '../../src/ingest/accept/http-server.ts';
import { httpOnce, watchedPath } from '../ingest/accept/peers.ts';
import { startService, type TestService } from '../support/service.ts';
import { CLEAN, newName, noRowsOf, postRaw, rejected, rowsOf, sendBody, warned } from './otlp-client.ts';
import { gaugeText, logsText, metricsText, postText } from './otlp-text.ts';

const RECORDS = 'resourceLogs[0].scopeLogs[0].logRecords';
const JSON_TYPE = { 'content-type': 'application/json' };

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '50' } });
});
afterAll(() => service.stopAndRemove());

/** A body that is refused with 400: the answer's whole body. */
async function refusalOf(text: string): Promise<unknown> {
  const answer = await postRaw(service, 'logs', Buffer.from(text), JSON_TYPE);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/json']);
  return answer.json();
}

function badRequest(message: string, field = ''): object {
  const violation = { field, description: message };
  const detail = { '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [violation] };
  return { code: 3, message, details: [detail] };
}

describe.concurrent('wrong bodies', () => {
  it.each(['1234', '[]', '""', 'null', 'true', '[{}]', ' \n"x"'])(
    'J20, T7 (tests): refuses the body %j: the top level is an object',
    async (text) => {
      expect(await refusalOf(text)).toEqual(badRequest('the top level must be an object'));
    },
  );

  it.each([
    ['{"resourceLogs":[{}]} x', 'not JSON: something follows the end of the request, at byte 22', ''],
    ['{"resourceLogs":[{},]}', 'resourceLogs[0]: not JSON: expected a value, at byte 20', 'resourceLogs[0]'],
    ['{"a":tru}', 'not JSON: expected a value, at byte 5', ''],
    ["{'a':1}", 'not JSON: expected a key, at byte 1', ''],
    ['{"a":01}', 'not JSON: a number is malformed, at byte 5', ''],
  ])('J20: refuses what is no JSON: %s', async (text, message, path) => {
    expect(await refusalOf(text)).toEqual(badRequest(message, path));
  });

  it.each([
    ['{"resourceLogs":{}}', 'resourceLogs', 'expected an array'],
    ['{"resourceLogs":[{},5]}', 'resourceLogs[1]', 'expected an object'],
    ['{"resourceLogs":[{"schemaUrl":1}]}', 'resourceLogs[0].schemaUrl', 'expected a string'],
    [
      '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}],"resource":{"attributes":[{"key":"k","value":{"bytesValue":"!"}}]}}]}',
      'resourceLogs[0].resource.attributes[0].value.bytesValue',
      'not base64: its length is wrong',
    ],
    [
      '{"resourceLogs":[{"scopeLogs":[{"scope":{"droppedAttributesCount":-1}}]}]}',
      'resourceLogs[0].scopeLogs[0].scope.droppedAttributesCount',
      'not an integer in the range of uint32',
    ],
    ['{"resourceLogs":[{"scopeLogs":[{"logRecords":{}}]}]}', RECORDS, 'expected an array'],
  ])(
    'J20: refuses the request for a wrong value outside of items, and keeps none of them: %s',
    async (text, path, rule) => {
      expect(await refusalOf(text)).toEqual(badRequest(`${path}: ${rule}`, path));
    },
  );

  it('J20: a wrong value of a metric refuses the request, one of a data point rejects the point', async () => {
    const name = newName();
    const wrong = metricsText('{"gauge":{"dataPoints":[{"asInt":1,"timeUnixNano":1}]},"name":5}')(name);
    const path = 'resourceMetrics[0].scopeMetrics[0].metrics[0].name';
    expect(await sendBody(service, 'metrics', 'json', Buffer.from(wrong))).toEqual({
      code: 3,
      rejected: 0,
      message: `${path}: expected a string`,
    });
    expect(await noRowsOf(service, 'otel_metrics_gauge', name)).toEqual([]);
    const points = '{"asInt":1,"timeUnixNano":1},{"asInt":"x"},7,null,{"exemplars":[{"spanId":"zz"}]}';
    const { name: other, answer } = await postText(service, 'metrics', gaugeText(points));
    const first = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1].asInt';
    const rule = 'expected a number or a decimal string';
    expect(answer).toEqual(rejected(4, `4 data points rejected: ${rule} (first: ${first})`));
    expect(await rowsOf(service, 'otel_metrics_gauge', 'ValueInt', other, 1)).toEqual([{ ValueInt: '1' }]);
  });

  it('J20, T9 (tests): a wrong value anywhere in an item rejects the item and keeps its neighbours', async () => {
    const list = '{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":1}]}}]}}';
    const bad = `{"eventName":"bad","attributes":[{"key":"k","value":${list}}],"x":[{}]}`;
    const { name, answer } = await postText(
      service,
      'logs',
      logsText(`{"eventName":"a"},${bad},{"eventName":"b"},${bad}`),
    );
    const path = `${RECORDS}[1].attributes[0].value.arrayValue.values[0].kvlistValue.values[0].key`;
    expect(answer).toEqual(rejected(2, `2 log records rejected: expected a string (first: ${path})`));
    expect(await rowsOf(service, 'otel_logs', 'EventName', name, 2)).toEqual([{ EventName: 'a' }, { EventName: 'b' }]);
  });

  it('J20: counts what the reader of JSON and the converter reject together, each with its reason', async () => {
    const records = '{"timeUnixNano":"9223372036854775808"},{"eventName":"kept"},{"flags":true}';
    const { name, answer } = await postText(service, 'logs', logsText(records));
    const first = `1 log record rejected: expected a number or a decimal string (first: ${RECORDS}[2].flags)`;
    const second = `1 log record rejected: a time is above 2^63-1 ns (first: ${RECORDS}[0].timeUnixNano)`;
    expect(answer).toEqual(rejected(2, `${first}; ${second}`));
    expect(await rowsOf(service, 'otel_logs', 'EventName', name, 1)).toEqual([{ EventName: 'kept' }]);
  });

  it.each([
    '{"foo":1}',
    '{"resourceLogs":[]}',
    '{"resourceLogs":null}',
    '{"resourceLogs":[{}]}',
    '{"resourceSpans":[{}]}',
  ])('J20, T9 (tests): accepts %s, which holds no items, and warns', async (text) => {
    const message = 'warning: the body is not empty, but no log record was found in it';
    expect(await sendBody(service, 'logs', 'json', Buffer.from(text))).toEqual(warned(message));
  });

  it('J20: is silent for {}, and warns of protobuf without items', async () => {
    expect(await sendBody(service, 'logs', 'json', Buffer.from(' {} \n'))).toEqual(CLEAN);
    for (const way of ['grpc', 'protobuf'] as const) {
      expect(await sendBody(service, 'traces', way, Buffer.alloc(0))).toEqual(CLEAN);
      // Field 1000 of the request: reserved, unknown.
      const message = 'warning: the body is not empty, but no span was found in it';
      expect(await sendBody(service, 'traces', way, Buffer.from([0xc0, 0x3e, 1]))).toEqual(warned(message));
    }
  });
});

describe.concurrent('the form of answers', () => {
  it.each([
    [
      'logs',
      'rejectedLogRecords',
      logsText('{"flags":-1},{"flags":-1}'),
      'log records',
      `${RECORDS}[0].flags`,
      'fixed32',
    ],
    [
      'metrics',
      'rejectedDataPoints',
      gaugeText('{"flags":-1},{"flags":-1}'),
      'data points',
      'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].flags',
      'uint32',
    ],
  ] as const)('J21: an int64 is a string in the answer to %s', async (signal, field, body, noun, path, type) => {
    const answer = await postRaw(service, signal, Buffer.from(body(newName())), JSON_TYPE);
    const errorMessage = `2 ${noun} rejected: not an integer in the range of ${type} (first: ${path})`;
    expect([answer.status, await answer.text()]).toEqual([
      200,
      JSON.stringify({ partialSuccess: { [field]: '2', errorMessage } }),
    ]);
  });

  it('J21: partialSuccess is left out of a clean answer', async () => {
    const answer = await postRaw(service, 'logs', Buffer.from(logsText('{}')(newName())), JSON_TYPE);
    expect([answer.status, await answer.text()]).toEqual([200, '{}']);
  });

  it('J22: an error is a Status in JSON: a RetryInfo by its type, its Duration as text', async () => {
    const { deps } = watchedPath({
      open: () => {
        throw retryLater('overloaded', 'busy', 2_500);
      },
    });
    const server = createHttpServer(deps);
    const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
    const answer = await httpOnce(port, { headers: JSON_TYPE, body: '{}' });
    await server.drain();
    expect(answer.status).toBe(503);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(JSON.parse(answer.body.toString())).toEqual({
      code: 14,
      message: 'busy',
      details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '3s' }],
    });
  });

  it.each(['application/x-ndjson', 'application/jsonl', 'application/json-seq'])(
    'J23: answers %s with 415',
    async (type) => {
      const line = logsText('{}')(newName());
      const answer = await postRaw(service, 'logs', Buffer.from(`${line}\n${line}\n`), { 'content-type': type });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([415, 'application/json']);
      expect(await answer.json()).toMatchObject({ code: 12 });
    },
  );
});
