/** Calls to the whole service, and the rows that stand behind its answers. */
import type http2 from 'node:http2';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { messageField, stringField, varintField } from '../../src/ingest/accept/protobuf-writer.ts';
import type { Signal } from '../../src/ingest/messages.ts';
import { type GrpcResult, grpcFrame, resultOf, SIGNAL_PATHS, startCall } from '../ingest/accept/peers.ts';
import { encodeRequest } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';
import { answerIn, GrpcRoom, refusalIn } from './grpc-running.ts';

const MIB = 2 ** 20;
const IN_FLIGHT_MIB = 128;
const TIME = '1790000000000000000';
const GZIP = { 'grpc-encoding': 'gzip' };
const room = new GrpcRoom();
let service: TestService;
let session: http2.ClientHttp2Session;

beforeAll(async () => {
  service = await startService({
    env: { BACKWORK_WORKERS: '1', BACKWORK_IN_FLIGHT_MIB: String(IN_FLIGHT_MIB), BACKWORK_SEGMENT_MS: '100' },
  });
  session = room.connect(service.ports.grpc);
});
afterAll(async () => {
  await room.stop();
  await service.stopAndRemove();
});

function begin(headers: http2.OutgoingHttpHeaders, body: Buffer | undefined, end: boolean): http2.ClientHttp2Stream {
  const request = { headers: { authorization: `Bearer ${service.token}`, ...headers }, end };
  return startCall(session, body === undefined ? request : { ...request, body });
}

/** One call with one message. */
function send(signal: Signal, message: Buffer, headers: http2.OutgoingHttpHeaders = {}): Promise<GrpcResult> {
  return resultOf(begin({ ':path': SIGNAL_PATHS[signal], ...headers }, grpcFrame(message), true));
}

const text = (stringValue: string) => ({ stringValue });
const named = (name: string) => ({ attributes: [{ key: 'service.name', value: text(name) }] });
const span = (n: number, more: object = {}) => ({
  traceId: Buffer.alloc(16, n),
  spanId: Buffer.alloc(8, n),
  name: `span ${n}`,
  startTimeUnixNano: TIME,
  endTimeUnixNano: TIME,
  ...more,
});
const traces = (name: string, spans: object[]) =>
  encodeRequest('traces', { resourceSpans: [{ resource: named(name), scopeSpans: [{ spans }] }] });
const logs = (name: string, logRecords: object[]) =>
  encodeRequest('logs', { resourceLogs: [{ resource: named(name), scopeLogs: [{ logRecords }] }] });
const gauge = (name: string, dataPoints: object[]) =>
  encodeRequest('metrics', {
    resourceMetrics: [{ resource: named(name), scopeMetrics: [{ metrics: [{ name: 'g', gauge: { dataPoints } }] }] }],
  });
const rowsOf = (table: string, name: string, columns: string, count: number) =>
  service.queryUntil(
    `SELECT ${columns} FROM ${table} WHERE ServiceName = '${name}' ORDER BY ALL`,
    (rows) => rows.length >= count,
  );

describe('success', () => {
  it.each([
    ['without compression', 'plain', {}],
    ['in gzip', 'gzip', GZIP],
  ])('G1, G4, G11: each signal %s is OK with a message of zero bytes, and is stored', async (_, name, headers) => {
    const wire = (message: Buffer) => grpcFrame(name === 'gzip' ? gzipSync(message) : message, name === 'gzip');
    const bodies = {
      logs: logs(name, [{ timeUnixNano: TIME, body: text('a log') }]),
      traces: traces(name, [span(1)]),
      metrics: gauge(name, [{ timeUnixNano: TIME, asDouble: 1.5 }]),
    };
    for (const signal of ['logs', 'traces', 'metrics'] as const) {
      const result = await resultOf(begin({ ':path': SIGNAL_PATHS[signal], ...headers }, wire(bodies[signal]), true));
      expect(answerIn(result)).toBeUndefined();
      expect(result.data).toEqual(Buffer.alloc(5));
    }
    expect(await rowsOf('otel_logs', name, 'Body', 1)).toEqual([{ Body: 'a log' }]);
    expect(await rowsOf('otel_traces', name, 'SpanName', 1)).toEqual([{ SpanName: 'span 1' }]);
    expect(await rowsOf('otel_metrics_gauge', name, 'MetricName, Value', 1)).toEqual([{ MetricName: 'g', Value: 1.5 }]);
  });

  it('G15: a request without items is OK: an empty message, and one of gzip', async () => {
    for (const signal of ['logs', 'traces', 'metrics'] as const) {
      expect(answerIn(await send(signal, Buffer.alloc(0)))).toBeUndefined();
    }
    const gzip = grpcFrame(gzipSync(Buffer.alloc(0)), true);
    expect(answerIn(await resultOf(begin(GZIP, gzip, true)))).toBeUndefined();
  });

  it('G13, G15, G16: envelopes without items are OK, with a warning when there is nothing else', async () => {
    const empty = [{}, { resource: named('envelopes') }, { resource: named('envelopes'), scopeLogs: [{}] }];
    expect(answerIn(await send('logs', encodeRequest('logs', { resourceLogs: empty })))).toEqual({
      rejected: 0,
      message: 'warning: the body is not empty, but no log record was found in it',
    });
    const logRecords = [{ timeUnixNano: TIME, body: text('beside') }];
    const beside = { resource: named('envelopes'), scopeLogs: [{}, { logRecords }, {}] };
    const result = await send('logs', encodeRequest('logs', { resourceLogs: [...empty, beside, {}] }));
    expect(answerIn(result)).toBeUndefined();
    expect(await rowsOf('otel_logs', 'envelopes', 'Body', 1)).toEqual([{ Body: 'beside' }]);
  });
});

describe('partial success', () => {
  it('G12: spans: the count, the rule and the path of the first offender; the others are stored', async () => {
    const spans = [span(1), span(2, { traceId: Buffer.alloc(5, 2) }), span(3), span(4, { spanId: Buffer.alloc(8) })];
    expect(answerIn(await send('traces', traces('partial', spans)))).toEqual({
      rejected: 2,
      message: expect.stringMatching(/^2 spans rejected: .*\(first: resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[1\]/),
    });
    const rows = await rowsOf('otel_traces', 'partial', 'SpanName', 2);
    expect(rows).toEqual([{ SpanName: 'span 1' }, { SpanName: 'span 3' }]);
  });

  it('G12: metrics are counted by data points, and a request of which nothing is left is OK too', async () => {
    const points = [{ timeUnixNano: '0', asDouble: 1 }, { timeUnixNano: '0', asDouble: 2 }, { timeUnixNano: TIME }];
    const answer = answerIn(await send('metrics', gauge('nothing-left', points)));
    expect(answer?.rejected).toBe(3);
    expect(answer?.message).toContain('resourceMetrics[0].scopeMetrics[0].metrics[0]');
  });

  it('G13: a warning is OK with a count of 0, and everything is stored', async () => {
    const answer = answerIn(await send('traces', traces('warned', [span(1, { endTimeUnixNano: '1' })])));
    expect(answer).toEqual({ rejected: 0, message: expect.stringMatching(/ended before they started.*spans\[0\]/) });
    expect(await rowsOf('otel_traces', 'warned', 'toString(Duration) AS D', 1)).toEqual([{ D: '0' }]);
  });
});

describe('unknown fields', () => {
  const tag = (field: number, wireType: number) => varintField(1, field * 8 + wireType).subarray(1);
  const start = (field: number) => tag(field, 3);
  const end = (field: number) => tag(field, 4);
  /** One field of every wire type, groups within groups among them, none of a number that OTLP has. */
  const unknown = Buffer.concat([
    varintField(500, 7),
    Buffer.concat([tag(501, 1), Buffer.alloc(8, 1)]),
    messageField(502, Buffer.from('unknown')),
    Buffer.concat([start(503), varintField(1, 1), start(504), stringField(1, 'x'), end(504), end(503)]),
    Buffer.concat([tag(505, 5), Buffer.alloc(4, 1)]),
    messageField(536_870_911, Buffer.from('the highest number')),
  ]);
  const groups = (depth: number) => Buffer.concat([...Array(depth).fill(start(77)), ...Array(depth).fill(end(77))]);

  it('G32: of every wire type, groups too, at every level, are ignored', async () => {
    const value = Buffer.concat([unknown, stringField(1, 'known'), unknown]);
    const keyValue = (key: string, inner: Buffer) =>
      Buffer.concat([unknown, stringField(1, key), messageField(2, inner), unknown]);
    const resource = Buffer.concat([unknown, messageField(1, keyValue('service.name', stringField(1, 'unknown')))]);
    const record = Buffer.concat([unknown, messageField(5, value), messageField(6, keyValue('k', value)), unknown]);
    const scope = Buffer.concat([unknown, stringField(1, 'a scope')]);
    const scopeLogs = Buffer.concat([unknown, messageField(1, scope), messageField(2, record), unknown]);
    const resourceLogs = Buffer.concat([unknown, messageField(1, resource), messageField(2, scopeLogs), unknown]);
    const body = Buffer.concat([unknown, messageField(1, resourceLogs), unknown]);
    expect(answerIn(await send('logs', body))).toBeUndefined();
    const columns = "Body, ScopeName, LogAttributes['k'] AS K, length(mapKeys(LogAttributes)) AS N";
    const rows = await rowsOf('otel_logs', 'unknown', columns, 1);
    expect(rows).toEqual([{ Body: 'known', ScopeName: 'a scope', K: 'known', N: 1 }]);
  });

  it('G32: a known number of another wire type is unknown', async () => {
    const record = Buffer.concat([varintField(5, 1), stringField(1, 'no time'), messageField(5, stringField(1, 'it'))]);
    const resource = messageField(
      1,
      messageField(1, stringField(1, 'service.name'), messageField(2, stringField(1, 'otherwise'))),
    );
    const body = messageField(1, resource, messageField(2, messageField(2, record)));
    expect(answerIn(await send('logs', body))).toBeUndefined();
    expect(await rowsOf('otel_logs', 'otherwise', 'Body', 1)).toEqual([{ Body: 'it' }]);
  });

  it('G32: field 1000 of a resource is unknown, so a request with nothing else holds no items', async () => {
    const scopeLogs = messageField(2, messageField(5, stringField(1, 'of 2021')));
    for (const signal of ['logs', 'traces', 'metrics'] as const) {
      expect(answerIn(await send(signal, messageField(1, messageField(1_000, scopeLogs))))).toEqual({
        rejected: 0,
        message: expect.stringMatching(/^warning: the body is not empty, but no .* was found in it$/),
      });
    }
  });

  it('G32: groups may be 100 deep and not 101, each with its own end', async () => {
    expect(answerIn(await send('logs', groups(100)))).toMatchObject({ rejected: 0 });
    for (const body of [groups(101), groups(50_000), start(77), end(77), Buffer.concat([start(77), end(78)])]) {
      expect(refusalIn(await send('logs', body))).toMatchObject({ status: 3, retryDelay: undefined });
    }
    expect(refusalIn(await send('logs', groups(101))).message).toContain('groups are nested deeper than 100');
    expect(refusalIn(await send('logs', start(77))).message).toContain('a group has no end');
  });

  it('G18, G22: what cannot be read on is INVALID_ARGUMENT with the path and the byte, and none of it is stored', async () => {
    const good = messageField(2, messageField(5, stringField(1, 'before the fault')));
    const bad = messageField(2, Buffer.from([0x2a, 0x7f]));
    const body = messageField(1, messageField(2, good, good, bad));
    const refusal = refusalIn(await send('logs', body));
    expect(refusal).toMatchObject({ status: 3, retryDelay: undefined });
    expect(refusal.message).toMatch(/^the body is not a protobuf message of this signal: .* \(at byte \d+\)$/);
    expect(refusal.details?.details).toEqual([
      {
        type: 'BadRequest',
        fieldViolations: [{ field: 'resourceLogs[0].scopeLogs[0].logRecords[2]', description: refusal.message }],
      },
    ]);
    for (const message of ['no protobuf at all, but text', '\u0000', '{"resourceLogs":[]}']) {
      expect(refusalIn(await send('logs', Buffer.from(message))).status).toBe(3);
    }
    await send('logs', logs('after', [{ timeUnixNano: TIME, body: text('after the fault') }]));
    await rowsOf('otel_logs', 'after', 'Body', 1);
    const stored = await service.query("SELECT Body FROM otel_logs WHERE Body = 'before the fault'");
    expect(stored).toEqual([]);
  });
});

describe('refusals of the whole service', () => {
  it('G2: profiles are UNIMPLEMENTED with a message', async () => {
    const path = '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export';
    expect(refusalIn(await resultOf(begin({ ':path': path }, grpcFrame(Buffer.alloc(0)), true)))).toEqual({
      status: 12,
      message: 'profiles are not received here; traces, metrics and logs are',
      details: undefined,
      retryDelay: undefined,
    });
  });

  it('G29: an unknown token is UNAUTHENTICATED before a byte of the body was sent, and without it too', async () => {
    for (const authorization of ['Bearer bw_ing_nonsense', '', undefined]) {
      const stream = session.request({
        ':method': 'POST',
        ':path': SIGNAL_PATHS.logs,
        'content-type': 'application/grpc',
        ...(authorization === undefined ? {} : { authorization }),
      });
      const result = resultOf(stream);
      await new Promise((resolve) => stream.once('response', resolve));
      stream.end();
      expect(refusalIn(await result)).toMatchObject({ status: 16, details: undefined, retryDelay: undefined });
    }
  });

  it('G7, G8: 64 MiB pass, on the wire and inflated; one byte more is RESOURCE_EXHAUSTED', async () => {
    /** One unknown field of so many bytes, tag and length included. */
    const filled = (bytes: number) => messageField(15, Buffer.alloc(bytes - 5));
    const sizes: Array<readonly [bytes: number, status: number]> = [
      [64 * MIB, 0],
      [64 * MIB + 1, 8],
    ];
    for (const [bytes, status] of sizes) {
      const message = filled(bytes);
      expect(message.length).toBe(bytes);
      const plain = await send('logs', message);
      const compressed = await resultOf(begin(GZIP, grpcFrame(gzipSync(message, { level: 1 }), true), true));
      for (const result of [plain, compressed]) {
        if (status === 0) expect(answerIn(result)).toMatchObject({ rejected: 0 });
        else expect(refusalIn(result)).toMatchObject({ status, details: undefined, retryDelay: undefined });
      }
      if (status === 0) continue;
      expect(refusalIn(plain).message).toBe('the message of 67108865 bytes is over the limit of 67108864 bytes');
      expect(refusalIn(compressed).message).toBe('the inflated body is over the limit of 67108864 bytes');
    }
  }, 60_000);
});

describe('the budget of bytes in flight', () => {
  const held: http2.ClientHttp2Stream[] = [];
  afterEach(() => {
    for (const stream of held.splice(0)) stream.close();
  });

  /** A call that has sent a message of so many bytes but for the last one, and waits: the service holds them. */
  async function hold(bytes: number): Promise<void> {
    const begun = grpcFrame(Buffer.alloc(bytes + 1)).subarray(0, 5 + bytes);
    const stream = begin({}, undefined, false);
    held.push(stream);
    await new Promise((resolve) => stream.write(begun, resolve));
    await settled();
  }

  /** What was sent before on this connection has been read. */
  function settled(): Promise<unknown> {
    return new Promise((resolve) => session.ping(resolve));
  }

  it('G14, G26: with less than 1 MiB left a call is UNAVAILABLE before its body, and never a partial success', async () => {
    for (let i = 0; i < IN_FLIGHT_MIB / 64; i++) await hold(64 * MIB - 300_000);
    const other = room.connect(service.ports.grpc);
    const authorization = `Bearer ${service.token}`;
    const body = grpcFrame(logs('budget', [{ body: text('fits') }]));

    const stream = startCall(other, { headers: { authorization }, end: false });
    const refused = resultOf(stream);
    await new Promise((resolve) => stream.once('response', resolve));
    stream.end();
    expect(refusalIn(await refused)).toMatchObject({
      status: 14,
      message: `bodies in flight are at their limit of ${IN_FLIGHT_MIB * MIB} bytes`,
      retryDelay: { seconds: 1, nanos: 0 },
    });

    const first = held.shift();
    const gone = new Promise((resolve) => first?.once('close', resolve));
    first?.close();
    await gone;
    await settled();
    expect(answerIn(await resultOf(startCall(other, { headers: { authorization }, body })))).toBeUndefined();
    expect(await rowsOf('otel_logs', 'budget', 'Body', 1)).toEqual([{ Body: 'fits' }]);
  });

  it('G26: a message is reserved when its length is known, and the reservation grows as it is inflated', async () => {
    // 20 MiB are left.
    for (let i = 0; i < 2; i++) await hold(54 * MIB);
    const filled = (mib: number) => messageField(15, Buffer.alloc(mib * MIB));
    for (const [mib, status] of [
      [18, 0],
      [21, 14],
    ] as const) {
      const plain = await send('logs', filled(mib));
      const compressed = await resultOf(begin(GZIP, grpcFrame(gzipSync(filled(mib), { level: 1 }), true), true));
      for (const result of [plain, compressed]) {
        if (status === 0) expect(answerIn(result)).toMatchObject({ rejected: 0 });
        else expect(refusalIn(result)).toMatchObject({ status, retryDelay: { seconds: 1, nanos: 0 } });
      }
    }
  });
});
