/** OTLP/JSON as a whole: keys, wrong values, wrong bodies, bounds and golden inputs, by the lines of reference otlp.md section 2. */
import { describe, expect, it } from 'vitest';
import { clean, gauge, items, logItems, logs, metrics, read, refusal, spans } from './read-otlp-json.ts';

describe('OTLP/JSON keys and unknown members', () => {
  it('J1: takes lowerCamelCase keys, and the original snake_case ones', () => {
    const expected = {
      resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'n', startTimeUnixNano: '1', endTimeUnixNano: '2' }] }] }],
    };
    expect(read('traces', spans('{"name":"n","startTimeUnixNano":"1","endTimeUnixNano":"2"}')).request).toEqual(
      expected,
    );
    const snake =
      '{"resource_spans":[{"scope_spans":[{"spans":[{"name":"n","start_time_unix_nano":1,"end_time_unix_nano":2}]}]}]}';
    expect(read('traces', snake).request).toEqual(expected);
    expect(read('traces', '{"ResourceSpans":[{}]}').request).toEqual({});
    expect(read('logs', '{"resource\\u004cogs":[{"schemaUrl":"s"}]}').request).toEqual({
      resourceLogs: [{ schemaUrl: 's' }],
    });
  });

  it('J2: ignores unknown keys at any depth, of any type, however deep their values nest', () => {
    const deep = `${'[{"a":'.repeat(100_000)}1${'}]'.repeat(100_000)}`;
    const json = logs(`{"x":${deep},"eventName":"e","y":[1,-2.5e3,"s\\n",true,false,null,{"z":{}},[]]}`);
    expect(items('logs', json)).toEqual({ items: [{ eventName: 'e' }], ...clean });
    expect(read('logs', '{"resourceLogs":[],"x":{"y":[1]}}').request).toEqual({});
  });

  it('J3: ignores schemaUrl inside a resource and keeps the one beside it', () => {
    const json = '{"resourceLogs":[{"resource":{"attributes":[],"schemaUrl":"inside"},"schemaUrl":"beside"}]}';
    expect(read('logs', json).request).toEqual({ resourceLogs: [{ resource: {}, schemaUrl: 'beside' }] });
  });
});

describe('OTLP/JSON wrong values and wrong bodies', () => {
  it.each(['1234', '[]', '""', 'null', 'true', '[{}]', ''])(
    'J20: refuses the body %j: the top level is an object',
    (text) => {
      expect(refusal('logs', text)).toEqual({
        code: 'malformed',
        message: text === '' ? 'the body is empty' : 'the top level must be an object',
        field: undefined,
      });
    },
  );

  it.each([
    ['{"resourceLogs":{}}', 'resourceLogs', 'expected an array'],
    ['{"resourceLogs":[5]}', 'resourceLogs[0]', 'expected an object'],
    ['{"resourceLogs":[{},{"scopeLogs":"x"}]}', 'resourceLogs[1].scopeLogs', 'expected an array'],
    ['{"resourceLogs":[{"resource":[]}]}', 'resourceLogs[0].resource', 'expected an object'],
    ['{"resourceLogs":[{"schemaUrl":1}]}', 'resourceLogs[0].schemaUrl', 'expected a string'],
    [
      '{"resourceLogs":[{"resource":{"attributes":[{},{"value":{"boolValue":"true"}}]}}]}',
      'resourceLogs[0].resource.attributes[1].value.boolValue',
      'expected true or false',
    ],
    [
      '{"resourceLogs":[{"scopeLogs":[{"scope":{"name":{}}}]}]}',
      'resourceLogs[0].scopeLogs[0].scope.name',
      'expected a string',
    ],
    [
      '{"resourceLogs":[{"scopeLogs":[{"logRecords":{}}]}]}',
      'resourceLogs[0].scopeLogs[0].logRecords',
      'expected an array',
    ],
  ])('J20: a wrong value outside an item refuses the request: %s', (json, field, rule) => {
    expect(refusal('logs', json)).toEqual({ code: 'malformed', message: `${field}: ${rule}`, field });
  });

  it('J20: a wrong value of a metric refuses the request, one of a data point leaves out that point', () => {
    expect(refusal('metrics', metrics('{"name":5}')).field).toBe('resourceMetrics[0].scopeMetrics[0].metrics[0].name');
    expect(refusal('metrics', metrics('{"sum":{"isMonotonic":1}}')).field).toBe(
      'resourceMetrics[0].scopeMetrics[0].metrics[0].sum.isMonotonic',
    );
    expect(
      items('metrics', gauge('{"asInt":1},{"asInt":"x"},7,null,{"exemplars":[{"spanId":"zz"}]},{"asInt":2}')),
    ).toEqual({
      items: [{ name: 'm', gauge: { dataPoints: [{ asInt: '1' }, { asInt: '2' }] } }],
      rejected: 4,
      message:
        '4 data points rejected: expected a number or a decimal string (first: resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1].asInt)',
    });
  });

  it('J20: leaves out the item whole, however deep in it the wrong value stands, and keeps its neighbours', () => {
    const bad =
      '{"eventName":"bad","attributes":[{"key":"k","value":{"arrayValue":{"values":[{"kvlistValue":{"values":[{"key":1}]}}]}}}],"x":[{}]}';
    const result = items('logs', logs(`{"eventName":"a"},${bad},{"eventName":"b"},${bad}`));
    expect(result.items).toEqual([{ eventName: 'a' }, { eventName: 'b' }]);
    expect(result.rejected).toBe(2);
    expect(result.message).toBe(
      '2 log records rejected: expected a string (first: resourceLogs[0].scopeLogs[0].logRecords[1].attributes[0].value.arrayValue.values[0].kvlistValue.values[0].key)',
    );
  });

  it('J20: a wrong value behind a list of items is not one of the last item', () => {
    const scope = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"flags":1}],"schemaUrl":5}]}]}';
    expect(refusal('logs', scope).field).toBe('resourceLogs[0].scopeLogs[0].schemaUrl');
    const metric = metrics('{"gauge":{"dataPoints":[{"asInt":1}]},"unit":5}');
    expect(refusal('metrics', metric).field).toBe('resourceMetrics[0].scopeMetrics[0].metrics[0].unit');
  });

  it('J20: what is no JSON refuses the request, in an item that is left out too', () => {
    for (const text of [
      '{"flags":-1,"x":}',
      '{"flags":-1,"x":[1,]}',
      '{"flags":-1 "x":1}',
      '{,}',
      '{"flags":1,}',
      '{"a":tru}',
      '{"a":nul',
    ]) {
      expect(refusal('logs', logs(text)).code).toBe('malformed');
    }
    expect(refusal('logs', '{"resourceLogs":[{}]} x').message).toBe(
      'not JSON: something follows the end of the request, at byte 22',
    );
    expect(refusal('logs', '{"resourceLogs":[{"scopeLogs":[').field).toBe('resourceLogs[0].scopeLogs[0]');
    expect(refusal('logs', '{"resourceLogs":[{},]}').code).toBe('malformed');
  });

  it('J20: warns of a request without items, and is silent for {}', () => {
    expect(read('logs', '{"foo":1}')).toEqual({
      request: {},
      rejected: 0,
      message: 'warning: the body is not empty, but no log record was found in it',
    });
    expect(read('metrics', '{"resourceMetrics":[]}').message).toBe(
      'warning: the body is not empty, but no data point was found in it',
    );
    expect(read('traces', ' {} \n')).toEqual({ request: {}, ...clean });
  });

  it('says no data of the client in what it refuses', () => {
    const secret = 's3cret-value';
    const { message } = items('logs', logs(`{"traceId":"${secret}","${secret}":1}`));
    expect(message).not.toContain(secret);
    expect(refusal('logs', `{"${secret}":"${secret}","resourceLogs":"${secret}"}`).message).not.toContain(secret);
    expect(refusal('logs', `{"${secret}":${secret}}`).message).not.toContain(secret);
  });
});

describe('OTLP/JSON golden inputs', () => {
  const resource = '{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]}';
  const scope =
    '{"name":"my.library","version":"1.0.0","attributes":[{"key":"my.scope.attribute","value":{"stringValue":"some scope attribute"}}]}';
  const expectedResource = { attributes: [{ key: 'service.name', value: { stringValue: 'my.service' } }] };
  const expectedScope = {
    name: 'my.library',
    version: '1.0.0',
    attributes: [{ key: 'my.scope.attribute', value: { stringValue: 'some scope attribute' } }],
  };

  it('J24: a trace', () => {
    const span = `{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173",
      "name":"I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
      "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}],"status":{}}`;
    const json = `{"resourceSpans":[{"resource":${resource},"scopeSpans":[{"scope":${scope},"spans":[${span}]}]}]}`;
    const expected = {
      traceId: Buffer.from('5b8efff798038103d269b633813fc60c', 'hex'),
      spanId: Buffer.from('eee19b7ec3c1b174', 'hex'),
      parentSpanId: Buffer.from('eee19b7ec3c1b173', 'hex'),
      name: "I'm a server span",
      startTimeUnixNano: '1544712660000000000',
      endTimeUnixNano: '1544712661000000000',
      kind: 2,
      attributes: [{ key: 'my.span.attr', value: { stringValue: 'some value' } }],
      status: {},
    };
    const scopeSpans = [{ scope: expectedScope, spans: [expected] }];
    expect(read('traces', json)).toEqual({
      request: { resourceSpans: [{ resource: expectedResource, scopeSpans }] },
      ...clean,
    });
  });

  it('J24: log records, one of them an event', () => {
    const record = `{"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000000","severityNumber":10,
      "severityText":"Information","traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
      "body":{"stringValue":"Example log record"},"attributes":[{"key":"a","value":{"kvlistValue":{"values":[
      {"key":"some.map.key","value":{"stringValue":"some value"}}]}}}]}`;
    const event =
      '{"eventName":"browser.page_view","body":{"kvlistValue":{"values":[{"key":"type","value":{"intValue":"0"}}]}}}';
    const json = `{"resourceLogs":[{"resource":${resource},"scopeLogs":[{"scope":${scope},"logRecords":[${record},${event}]}]}]}`;
    const map = { kvlistValue: { values: [{ key: 'some.map.key', value: { stringValue: 'some value' } }] } };
    const logRecords = [
      {
        timeUnixNano: '1544712660300000000',
        observedTimeUnixNano: '1544712660300000000',
        severityNumber: 10,
        severityText: 'Information',
        traceId: Buffer.from('5b8efff798038103d269b633813fc60c', 'hex'),
        spanId: Buffer.from('eee19b7ec3c1b174', 'hex'),
        body: { stringValue: 'Example log record' },
        attributes: [{ key: 'a', value: map }],
      },
      {
        eventName: 'browser.page_view',
        body: { kvlistValue: { values: [{ key: 'type', value: { intValue: '0' } }] } },
      },
    ];
    const scopeLogs = [{ scope: expectedScope, logRecords }];
    expect(read('logs', json)).toEqual({
      request: { resourceLogs: [{ resource: expectedResource, scopeLogs }] },
      ...clean,
    });
  });

  it('J24: metrics of every kind', () => {
    const times = '"startTimeUnixNano":"1544712660300000000","timeUnixNano":"1544712660300000001"';
    const list = [
      `{"name":"s","unit":"1","description":"d","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5,${times}}]}}`,
      `{"name":"g","gauge":{"dataPoints":[{"asInt":"10",${times}}]}}`,
      `{"name":"h","histogram":{"aggregationTemporality":1,"dataPoints":[{${times},"count":"2","sum":2,"bucketCounts":["1","1"],"explicitBounds":[1],"min":0,"max":2}]}}`,
      `{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{${times},"count":3,"sum":10,"scale":0,"zeroCount":1,"positive":{"offset":1,"bucketCounts":[0,2]},"min":0,"max":5,"zeroThreshold":0.25}]}}`,
      `{"name":"q","summary":{"dataPoints":[{${times},"count":"4","sum":9.5,"quantileValues":[{"quantile":0.99,"value":7}]}]}}`,
    ];
    const at = { startTimeUnixNano: '1544712660300000000', timeUnixNano: '1544712660300000001' };
    const positive = { offset: 1, bucketCounts: ['0', '2'] };
    expect(items('metrics', metrics(list.join(',')))).toEqual({
      items: [
        {
          name: 's',
          unit: '1',
          description: 'd',
          sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints: [{ asDouble: 5, ...at }] },
        },
        { name: 'g', gauge: { dataPoints: [{ asInt: '10', ...at }] } },
        {
          name: 'h',
          histogram: {
            aggregationTemporality: 1,
            dataPoints: [{ ...at, count: '2', sum: 2, bucketCounts: ['1', '1'], explicitBounds: [1], min: 0, max: 2 }],
          },
        },
        {
          name: 'e',
          exponentialHistogram: {
            aggregationTemporality: 2,
            dataPoints: [{ ...at, count: '3', sum: 10, zeroCount: '1', positive, min: 0, max: 5, zeroThreshold: 0.25 }],
          },
        },
        {
          name: 'q',
          summary: { dataPoints: [{ ...at, count: '4', sum: 9.5, quantileValues: [{ quantile: 0.99, value: 7 }] }] },
        },
      ],
      ...clean,
    });
  });
});

describe('OTLP/JSON bounds', () => {
  /** How many arrays stand inside each other. */
  const depthOf = (value: unknown): number => {
    const inner = (value as { arrayValue?: { values?: unknown[] } }).arrayValue;
    return inner === undefined ? 0 : 1 + (inner.values === undefined ? 0 : depthOf(inner.values[0]));
  };

  it.each([
    [10, 10],
    [33, 33],
    [34, 34],
    [35, 35],
    [36, 35],
    [100_000, 35],
  ])(
    'E11, F29: of %i arrays inside each other, %i are written, the innermost empty, and the neighbours kept',
    (depth, written) => {
      const value = `${'{"arrayValue":{"values":['.repeat(depth)}{"intValue":1}${']}}'.repeat(depth)}`;
      const list = logItems(`{"body":${value},"eventName":"e"},{"eventName":"next"}`) as {
        body: unknown;
        eventName: string;
      }[];
      expect(depthOf(list[0]?.body)).toBe(written);
      expect(list.map((record) => record.eventName)).toEqual(['e', 'next']);
    },
  );

  it('E11: counts the levels of each value anew, also behind an item that was left out deep inside one', () => {
    const nested = (levels: number, inner: string) =>
      `{"body":${'{"arrayValue":{"values":['.repeat(levels)}${inner}${']}}'.repeat(levels)}}`;
    const bad = nested(20, '{"intValue":true}');
    const list = items('logs', logs([bad, bad, nested(33, '{"intValue":1}')].join(',')));
    expect(list.rejected).toBe(2);
    expect(depthOf((list.items as { body: unknown }[])[0]?.body)).toBe(33);
    expect(JSON.stringify(list.items)).toContain('"intValue":"1"');
  });

  it('refuses a request that grows beyond the limit of an inflated body', () => {
    const bounds = `[${'0,'.repeat(9_000_000)}0]`;
    const json = metrics(`{"histogram":{"dataPoints":[{"explicitBounds":${bounds}}]}}`);
    expect(refusal('metrics', json)).toEqual({
      code: 'too-large',
      message: 'the request is larger as protobuf than the limit of 67108864 bytes',
      field: undefined,
    });
  });
});
