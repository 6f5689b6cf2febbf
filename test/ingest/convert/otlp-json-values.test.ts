/** OTLP/JSON values: ids, bytes, numbers, presence and text, a test for each line of reference otlp.md section 2. */
import { describe, expect, it } from 'vitest';
import { body, clean, gauge, items, logItems, logs, metrics, points, read, refusal, spans } from './read-otlp-json.ts';

describe('OTLP/JSON ids and bytes', () => {
  const traceId = Buffer.from('5b8efff798038103d269b633813fc60c', 'hex');
  const spanId = Buffer.from('eee19b7ec3c1b174', 'hex');

  it('J4: reads ids as hex of either case in spans, links, log records and exemplars', () => {
    const ids = '"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7EC3C1B174"';
    expect(items('traces', spans(`{${ids},"parentSpanId":"EEE19B7EC3C1B174","links":[{${ids}}]}`)).items).toEqual([
      { traceId, spanId, parentSpanId: spanId, links: [{ traceId, spanId }] },
    ]);
    expect(logItems(`{${ids}}`)).toEqual([{ traceId, spanId }]);
    expect(points(`{"exemplars":[{${ids}}]}`)).toEqual([{ exemplars: [{ traceId, spanId }] }]);
  });

  it('J5: takes "" as absent, and passes ids of another length on', () => {
    expect(logItems('{"traceId":"","spanId":"ab"}')).toEqual([{ spanId: Buffer.from([0xab]) }]);
  });

  it.each([
    ['base64 of 16 bytes', '"W47/95gDgQPSabYzgT/GDA=="', 'not hex digits; ids are hex in OTLP/JSON, not base64'],
    ['base64 of 8 bytes', '"7uGbfsPBsXQ="', 'not hex digits; ids are hex in OTLP/JSON, not base64'],
    ['an odd number of digits', '"abc"', 'an odd number of hex digits; ids are hex in OTLP/JSON, two digits a byte'],
    ['a number', '12', 'expected a string of hex digits'],
  ])('J5: leaves out the item whose id is %s, with a hint', (_, value, rule) => {
    expect(items('logs', logs(`{"eventName":"a"},{"traceId":${value}},{"eventName":"b"}`))).toEqual({
      items: [{ eventName: 'a' }, { eventName: 'b' }],
      rejected: 1,
      message: `1 log record rejected: ${rule} (first: resourceLogs[0].scopeLogs[0].logRecords[1].traceId)`,
    });
  });

  it.each([
    ['"AQI="', '0102'],
    ['"AQI"', '0102'],
    ['"-_8="', 'fbff'],
    ['"+/8="', 'fbff'],
    ['"AQID"', '010203'],
    ['"AA=="', '00'],
    ['""', ''],
  ])('J6: reads bytesValue %s as base64 of either alphabet, padded or not', (text, hex) => {
    expect(body(`{"bytesValue":${text}}`)).toEqual({ bytesValue: Buffer.from(hex, 'hex') });
  });

  it.each(['"A"', '"AQI=="', '"A Q="', '"AQ="', '"===="', '"AQ=I"', '5'])('J6: refuses %s as base64', (text) => {
    const result = items('logs', logs(`{"body":{"bytesValue":${text}}}`));
    expect(result.rejected).toBe(1);
    expect(result.message).toMatch(/rejected: (not|expected a) base64.*\(first: .*logRecords\[0\]\.body\.bytesValue\)/);
  });
});

describe('OTLP/JSON numbers', () => {
  it.each([
    ['"10"', '10'],
    ['10', '10'],
    ['-9223372036854775808', '-9223372036854775808'],
    ['"9223372036854775807"', '9223372036854775807'],
    ['1e3', '1000'],
    ['12.50e1', '125'],
    ['1000e-2', '10'],
    ['-0', '0'],
    ['0e99999999999999999999', '0'],
    ['4294967296', '4294967296'],
    ['"\\u0031\\u0032"', '12'],
  ])('J7: reads the 64-bit integer %s exactly', (text, value) => {
    expect(body(`{"intValue":${text}}`)).toEqual({ intValue: value });
  });

  it('J8: keeps every digit of numbers above 2^53, fixed64 and sfixed64 too', () => {
    expect(logItems('{"timeUnixNano":1700000000000000001}')).toEqual([{ timeUnixNano: '1700000000000000001' }]);
    expect(logItems('{"timeUnixNano":"18446744073709551615"}')).toEqual([{ timeUnixNano: '18446744073709551615' }]);
    expect(points('{"asInt":"-9007199254740993","startTimeUnixNano":9007199254740993}')).toEqual([
      { asInt: '-9007199254740993', startTimeUnixNano: '9007199254740993' },
    ]);
  });

  it.each([
    ['1e+21', 1e21],
    ['"1e+21"', 1e21],
    ['9223372036854775808', 2 ** 63],
    ['-9223372036854775809', -(2 ** 63)],
    ['1.5', 1.5],
    ['1e-3', 0.001],
  ])('J9: an intValue that is no int64, %s, becomes a double', (text, value) => {
    expect(body(`{"intValue":${text}}`)).toEqual({ doubleValue: value });
  });

  it.each([
    ['timeUnixNano', '1e+21'],
    ['timeUnixNano', '18446744073709551616'],
    ['timeUnixNano', '-1'],
    ['timeUnixNano', '1.5'],
    ['timeUnixNano', '"1 "'],
    ['timeUnixNano', '""'],
    ['timeUnixNano', 'true'],
    ['droppedAttributesCount', '4294967296'],
    ['droppedAttributesCount', '-1'],
    ['flags', '4294967296'],
    ['severityNumber', '2147483648'],
  ])('J9, J20: any other integer field refuses what is out of its range: %s %s', (field, text) => {
    const result = items('logs', logs(`{"${field}":${text}}`));
    expect(result.items).toEqual([]);
    expect(result.rejected).toBe(1);
    expect(result.message).toMatch(
      new RegExp(
        `^1 log record rejected: .+ \\(first: resourceLogs\\[0\\]\\.scopeLogs\\[0\\]\\.logRecords\\[0\\]\\.${field}\\)$`,
      ),
    );
  });

  it('J10: reads 32-bit integers from strings too', () => {
    expect(logItems('{"droppedAttributesCount":"3","flags":"4294967295"}')).toEqual([
      { droppedAttributesCount: 3, flags: 4294967295 },
    ]);
    const histogram = metrics(
      '{"exponentialHistogram":{"dataPoints":[{"scale":"-2147483648","positive":{"offset":-1,"bucketCounts":["1",2]}}]}}',
    );
    expect(items('metrics', histogram).items).toEqual([
      {
        exponentialHistogram: {
          dataPoints: [{ scale: -2147483648, positive: { offset: -1, bucketCounts: ['1', '2'] } }],
        },
      },
    ]);
  });

  it('J11: takes enums as numbers, known ones by name, and keeps unknown numbers', () => {
    expect(
      items(
        'traces',
        spans('{"kind":2},{"kind":"SPAN_KIND_SERVER"},{"kind":77},{"kind":-1},{"status":{"code":"STATUS_CODE_ERROR"}}'),
      ).items,
    ).toEqual([{ kind: 2 }, { kind: 2 }, { kind: 77 }, { kind: -1 }, { status: { code: 2 } }]);
    expect(logItems('{"severityNumber":"SEVERITY_NUMBER_FATAL4"}')).toEqual([{ severityNumber: 24 }]);
    expect(items('traces', spans('{"name":"a"},{"kind":"SPAN_KIND_NONE"}'))).toEqual({
      items: [{ name: 'a' }],
      rejected: 1,
      message:
        '1 span rejected: an enum name that is not known; enums are numbers in OTLP/JSON (first: resourceSpans[0].scopeSpans[0].spans[1].kind)',
    });
  });

  it.each([
    ['1.5', 1.5],
    ['"1.5"', 1.5],
    ['-0.0', -0],
    ['12', 12],
    ['1e308', 1e308],
    ['5e-324', 5e-324],
    ['"NaN"', Number.NaN],
    ['"Infinity"', Number.POSITIVE_INFINITY],
    ['"-Infinity"', Number.NEGATIVE_INFINITY],
  ])('J12: reads the double %s', (text, value) => {
    expect(body(`{"doubleValue":${text}}`)).toEqual({ doubleValue: value });
    expect(points(`{"asDouble":${text}}`)).toEqual([{ asDouble: value }]);
  });

  it.each(['1e309', '"nan"', '"+1"', '"1."', '" 1"', '""', 'true', '[]', '"0x10"'])(
    'J12: refuses %s as a double',
    (text) => {
      const result = items('metrics', gauge(`{"asDouble":${text}}`));
      expect(result.rejected).toBe(1);
      expect(result.message).toContain(
        '(first: resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].asDouble)',
      );
    },
  );

  it.each(['01', '1.', '.5', '+1', '-', '1e', 'NaN', 'Infinity', '0x1'])(
    'refuses the body that holds the number %s, which is no JSON',
    (text) => {
      expect(refusal('logs', logs(`{"timeUnixNano":${text}}`)).code).toBe('malformed');
    },
  );

  it('J18: reads bucket counts as strings or numbers, bounds as doubles', () => {
    const json = metrics('{"histogram":{"dataPoints":[{"count":"2","bucketCounts":["1",1],"explicitBounds":[0.5]}]}}');
    expect(items('metrics', json).items).toEqual([
      { histogram: { dataPoints: [{ count: '2', bucketCounts: ['1', '1'], explicitBounds: [0.5] }] } },
    ]);
  });
});

describe('OTLP/JSON presence', () => {
  it('J13: takes null as unset, of scalars, messages and lists', () => {
    expect(body('{"doubleValue":null}')).toEqual({});
    expect(body('null')).toBeUndefined();
    expect(points('{"asDouble":null,"attributes":null,"timeUnixNano":null}')).toEqual([{}]);
    expect(read('logs', '{"resourceLogs":[{"resource":null,"scopeLogs":null,"schemaUrl":"s"}]}').request).toEqual({
      resourceLogs: [{ schemaUrl: 's' }],
    });
    expect(body('{"arrayValue":{"values":[null,{"intValue":1}]}}')).toEqual({
      arrayValue: { values: [{}, { intValue: '1' }] },
    });
  });

  it('J14: takes {} and a missing value as the empty value', () => {
    expect(logItems('{"attributes":[{"key":"a","value":{}},{"key":"b"}]}')).toEqual([
      { attributes: [{ key: 'a', value: {} }, { key: 'b' }] },
    ]);
  });

  it('J15: keeps the presence of optional sum, min, max and of oneof members', () => {
    const json = metrics('{"histogram":{"dataPoints":[{"sum":0,"min":0,"max":0},{}]}}');
    expect(items('metrics', json).items).toEqual([{ histogram: { dataPoints: [{ sum: 0, min: 0, max: 0 }, {}] } }]);
    expect(points('{"asInt":"0"},{"asDouble":0}')).toEqual([{ asInt: '0' }, { asDouble: 0 }]);
  });

  it('J16: lets the later of two members of a oneof stand', () => {
    expect(body('{"stringValue":"a","intValue":1}')).toEqual({ intValue: '1' });
    expect(body('{"arrayValue":{"values":[{"intValue":1}]},"stringValue":"a"}')).toEqual({ stringValue: 'a' });
    expect(body('{"intValue":1,"doubleValue":null}')).toEqual({ intValue: '1' });
    const json = metrics('{"name":"m","gauge":{"dataPoints":[{"asInt":1}]},"unit":"u","sum":{"isMonotonic":true}}');
    expect(items('metrics', json).items).toEqual([{ name: 'm', unit: 'u', sum: { isMonotonic: true } }]);
  });

  it('J16: lets the later of two equal keys stand: scalars, messages, lists, null', () => {
    expect(logItems('{"eventName":"a","severityText":"t","eventName":"bb"}')).toEqual([
      { eventName: 'bb', severityText: 't' },
    ]);
    expect(logItems('{"eventName":"a","event_name":"b"}')).toEqual([{ eventName: 'b' }]);
    expect(logItems('{"eventName":"a","eventName":null}')).toEqual([{}]);
    expect(logItems('{"attributes":[{"key":"a"},{"key":"b"}],"flags":7,"attributes":[{"key":"c"}]}')).toEqual([
      { attributes: [{ key: 'c' }], flags: 7 },
    ]);
    expect(
      read(
        'logs',
        '{"resourceLogs":[{"resource":{"droppedAttributesCount":1},"schemaUrl":"s","resource":{"attributes":[{"key":"k"}]}}]}',
      ).request,
    ).toEqual({ resourceLogs: [{ resource: { attributes: [{ key: 'k' }] }, schemaUrl: 's' }] });
  });

  it('J16: finds each of several values that are replaced, wherever the others have moved', () => {
    const json =
      '{"eventName":"aaaa","severityText":"t","flags":1,"eventName":"b","severityText":"uu","flags":2,"eventName":"c"}';
    expect(logItems(json)).toEqual([{ severityText: 'uu', flags: 2, eventName: 'c' }]);
  });

  it('J16: forgets the items that an earlier list of the same key left out', () => {
    const json =
      '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"flags":-1},{}],"schemaUrl":"s","logRecords":[{"flags":1}]}]}]}';
    expect(items('logs', json)).toEqual({ items: [{ flags: 1 }], ...clean });
  });

  it('J17: reads lists of {key, value}, nested ones too, and keeps equal keys', () => {
    const json =
      '{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"1"}},{"key":"k","value":{"arrayValue":{"values":[{"boolValue":true},{"stringValue":""}]}}}]}}';
    expect(body(json)).toEqual({
      kvlistValue: {
        values: [
          { key: 'k', value: { intValue: '1' } },
          { key: 'k', value: { arrayValue: { values: [{ boolValue: true }, { stringValue: '' }] } } },
        ],
      },
    });
    expect(body('{"arrayValue":{}}')).toEqual({ arrayValue: {} });
  });
});

describe('OTLP/JSON text', () => {
  const repaired = (path: string) =>
    `warning, 1 time: strings held invalid UTF-8 or lone surrogates: U+FFFD stands for each ill-formed part (first: ${path})`;

  it.each([
    ['"\\ud800x"', '\ufffdx', true],
    ['"x\\udc00"', 'x\ufffd', true],
    ['"\\ud800\\ud83d\\ude00"', '\ufffd😀', true],
    ['"\\ud83d\\ude00"', '😀', false],
    ['"\\u0000\\u00e9\\u20ac"', '\u0000é€', false],
    ['"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t', false],
    ['"é€😀\ufeff"', 'é€😀\ufeff', false],
    [`"${'long é '.repeat(50)}\\n"`, `${'long é '.repeat(50)}\n`, false],
  ])('J19: reads the string %s, U+FFFD for each lone surrogate', (text, value, isRepaired) => {
    const result = items('logs', logs(`{"body":{"stringValue":${text}}}`));
    expect(result).toEqual({
      items: [{ body: { stringValue: value } }],
      rejected: 0,
      message: isRepaired ? repaired('resourceLogs[0].scopeLogs[0].logRecords[0].body.stringValue') : '',
    });
  });

  it.each([
    ['a bare continuation byte', '61 80 62'],
    ['an overlong form', '61 c0 af 62'],
    ['a surrogate in UTF-8', 'ed a0 80'],
    ['a sequence that is cut off', 'f0 9f 98'],
    ['a byte that never occurs', 'ff fe'],
    ['more than 128 bytes', `ff ${'61 '.repeat(200)}`],
  ])('J19, E10: puts U+FFFD where TextDecoder does: %s', (_, hex) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    for (const ending of ['', '\\n']) {
      const json = Buffer.concat([Buffer.from('{"resourceLogs":[{"schemaUrl":"'), bytes, Buffer.from(`${ending}"}]}`)]);
      const { request, message } = read('logs', json);
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) + (ending === '' ? '' : '\n');
      expect(request).toEqual({ resourceLogs: [{ schemaUrl: text }] });
      expect(message).toBe(repaired('resourceLogs[0].schemaUrl'));
    }
  });

  it('refuses control characters, unknown escapes and strings that do not end', () => {
    for (const text of ['"a\nb"', '"\\x"', '"\\u12g4"', '"\\u12', '"abc']) {
      expect(refusal('logs', logs(`{"eventName":${text}}`)).code).toBe('malformed');
      expect(refusal('logs', logs(`{"unknown":${text}}`)).code).toBe('malformed');
    }
  });
});
