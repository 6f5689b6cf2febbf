import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { type handleUnaryCall, Server, ServerCredentials, type StatusObject, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { run } from '../../src/commands/send.ts';
import {
  logRequests,
  makeShop,
  metricRequests,
  pointsOf,
  type Shop,
  traceRequests,
} from '../../src/commands/send-shop.ts';
import { SERVICE_NAMES } from '../../src/commands/send-shop-services.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { temporaryDir } from '../accounts/accounts-fixture.ts';
import { loadProto, PROTO_DIR, requestType } from '../proto/load-proto.ts';
import { runCommand, startService, type TestService } from '../support/service.ts';

const END_MS = Date.UTC(2026, 10, 23, 12);
const TOKEN = 'bw_ing_notarealtoken';
const shop = makeShop({ orderCount: 40, seed: 1, endMs: END_MS });
const spansOf = ({ orders }: Shop) => orders.flatMap((order) => order.spans);
const logsOf = ({ orders }: Shop) => orders.flatMap((order) => order.logs);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe('the sample', () => {
  it('is the same for the same seed and clock, and another for another seed', () => {
    const again = makeShop({ orderCount: 40, seed: 1, endMs: END_MS });
    expect(again).toEqual(shop);
    const other = makeShop({ orderCount: 40, seed: 2, endMs: END_MS });
    const ids = new Set(spansOf(shop).map((span) => span.traceId));
    expect(spansOf(other).filter((span) => ids.has(span.traceId))).toEqual([]);
  });

  it('moves with the clock as a whole', () => {
    const later = makeShop({ orderCount: 40, seed: 1, endMs: END_MS + 1 });
    expect(later.orders).toEqual(shop.orders);
    const [first] = [...traceRequests(later)].map(({ message }) => JSON.stringify(message));
    const [before] = [...traceRequests(shop)].map(({ message }) => JSON.stringify(message));
    expect(first).not.toBe(before);
    const times = (text = '') => [...text.matchAll(/TimeUnixNano":"(\d+)"/g)].map((match) => BigInt(match[1] ?? 0));
    expect(times(first)).toEqual(times(before).map((time) => time + 1_000_000n));
  });

  it('has traces whose spans lie in their parents, within the last five minutes', () => {
    const spans = new Map(spansOf(shop).map((span) => [span.spanId, span]));
    expect(spans.size).toBe(spansOf(shop).length);
    for (const span of spans.values()) {
      expect(span.startUs).toBeGreaterThanOrEqual(-300_000_000);
      expect(span.endUs).toBeLessThan(0);
      expect(span.endUs).toBeGreaterThan(span.startUs);
      if (span.parentSpanId === '') continue;
      const parent = spans.get(span.parentSpanId);
      expect(parent?.traceId).toBe(span.traceId);
      expect(span.startUs).toBeGreaterThanOrEqual(parent?.startUs ?? 0);
      expect(span.endUs).toBeLessThanOrEqual(parent?.endUs ?? 0);
      expect(span.remoteParent).toBe(parent?.service !== span.service);
    }
    expect(new Set([...spans.values()].map((span) => span.kind)).size).toBe(5);
    expect(new Set([...spans.values()].map((span) => span.status)).size).toBe(3);
  });

  it('links each parcel to the span that put its order into the queue', () => {
    const producers = new Map(spansOf(shop).flatMap((span) => (span.kind === 'producer' ? [[span.spanId, span]] : [])));
    const consumers = spansOf(shop).filter((span) => span.kind === 'consumer');
    expect(consumers).toHaveLength(producers.size);
    for (const consumer of consumers) {
      const producer = producers.get(consumer.links[0]?.spanId ?? '');
      expect(consumer.links[0]?.traceId).toBe(producer?.traceId);
      expect(consumer.startUs).toBeGreaterThan(producer?.endUs ?? 0);
    }
  });

  it('has logs written in its spans', () => {
    const spans = new Map(spansOf(shop).map((span) => [span.spanId, span]));
    for (const log of logsOf(shop)) {
      const span = spans.get(log.spanId);
      expect([span?.traceId, span?.service]).toEqual([log.traceId, log.service]);
      expect(log.atUs).toBeGreaterThanOrEqual(span?.startUs ?? 0);
      expect(log.atUs).toBeLessThanOrEqual(span?.endUs ?? 0);
    }
    expect(new Set(logsOf(shop).map((log) => log.severity)).size).toBe(4);
  });

  it('has metrics of every kind that count its spans and name them', () => {
    const metrics = SERVICE_NAMES.flatMap((service) => shop.metrics[service]);
    const kinds = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'] as const;
    for (const kind of kinds)
      expect(metrics.filter((metric) => metric[kind] !== undefined).length, kind).toBeGreaterThan(0);
    const last = (name: string) =>
      shop.metrics.frontend
        .filter((metric) => metric.name === name)
        .flatMap(pointsOf)
        .filter((point) => point.timeUnixNano === String(BigInt(END_MS) * 1_000_000n));
    expect(sum(last('http.server.requests').map((point) => Number(point['asInt'])))).toBe(40);
    expect(sum(last('http.server.request.duration').map((point) => Number(point['count'])))).toBe(40);
    for (const point of metrics.flatMap(pointsOf)) {
      const buckets = (point['bucketCounts'] ??
        (point['positive'] as Record<string, unknown> | undefined)?.['bucketCounts']) as number[] | undefined;
      if (buckets !== undefined) expect(sum(buckets)).toBe(point['count']);
    }
    const ids = new Set(spansOf(shop).map((span) => `${span.traceId}/${span.spanId}`));
    const exemplars = metrics.flatMap(pointsOf).flatMap((point) => point.exemplars ?? []);
    expect(exemplars.length).toBeGreaterThan(20);
    for (const { traceId, spanId } of exemplars) {
      expect(ids).toContain(`${traceId.toString('hex')}/${spanId.toString('hex')}`);
    }
    const revenue = shop.metrics.checkout.filter(({ name }) => name === 'shop.revenue').flatMap(pointsOf);
    expect(sum(revenue.map((point) => Number(point['asDouble'])))).toBeCloseTo(
      sum(shop.orders.map((order) => order.revenue)),
      6,
    );
  });

  it('is cut into requests that hold each item once', () => {
    const large = makeShop({ orderCount: 250, seed: 3, endMs: END_MS });
    const traces = [...traceRequests(large)];
    const logs = [...logRequests(large)];
    expect([traces.length, logs.length, [...metricRequests(large)].length]).toEqual([3, 3, 1]);
    expect(sum(traces.map(({ itemCount }) => itemCount))).toBe(spansOf(large).length);
    // And one for each service that says it has started.
    expect(sum(logs.map(({ itemCount }) => itemCount))).toBe(logsOf(large).length + 5);
    const ids = traces.flatMap(({ message }) => [...JSON.stringify(message).matchAll(/"spanId":/g)]);
    const links = spansOf(large).flatMap((span) => span.links).length;
    expect(ids).toHaveLength(spansOf(large).length + links);
  });
});

/** Runs the command in this process; what it printed, and its code or what it threw. */
async function send(args: readonly string[], env: Record<string, string> = { BACKWORK_TOKEN: TOKEN }) {
  const printed = { stdout: '', stderr: '' };
  const outcome = await run(args, {
    settings: loadSettings({ BACKWORK_DATA_DIR: temporaryDir() }, { cores: 2, memoryMib: 4_096 }),
    stdout: (text) => {
      printed.stdout += text;
    },
    stderr: (text) => {
      printed.stderr += text;
    },
    env,
  }).then(
    (code) => ({ code, error: '' }),
    (error: Error) => ({ code: undefined, error: error.message }),
  );
  const all = { ...printed, ...outcome };
  expect(JSON.stringify(all)).not.toContain(TOKEN);
  return all;
}

/** A peer over HTTP; resolves to its URL. */
async function httpPeer(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return gunzipSync(Buffer.concat(await request.toArray()));
}

const root = loadProto();
function encoded(type: string, message: object): Uint8Array {
  const found = root.lookupType(type);
  return found.encode(found.fromObject(message)).finish();
}

const OTLP = { 'content-type': 'application/x-protobuf' };

describe('send over HTTP', () => {
  it('sends protobuf with the token to the path of each signal, and reports what was rejected', async () => {
    const seen: string[] = [];
    let spanCount = 0;
    const url = await httpPeer(async (request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization} ${request.headers['content-type']}`);
      const body = await bodyOf(request);
      const isTraces = request.url === '/base/v1/traces';
      if (isTraces) spanCount = countSpans(requestType(root, 'traces').decode(body));
      const partialSuccess = { rejectedSpans: 2, errorMessage: `E9: resourceSpans[0]…\n${TOKEN}\u001b[31m` };
      const answer = 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse';
      response.writeHead(200, OTLP).end(isTraces ? encoded(answer, { partialSuccess }) : '');
    });
    const { code, stdout, stderr } = await send(['--endpoint', `${url}/base/`, '--count', '3', '--seed', '5']);
    expect(seen).toEqual(
      ['traces', 'logs', 'metrics'].map((signal) => `POST /base/v1/${signal} Bearer ${TOKEN} application/x-protobuf`),
    );
    const spans = spansOf(makeShop({ orderCount: 3, seed: 5, endMs: 0 })).length;
    expect(spanCount).toBe(spans);
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`spans +${spans} +${spans - 2} +2\n`));
    expect(stdout).toMatch(/log records +(\d+) +\1 +0\n/);
    expect(stderr).toBe('backwork: traces: E9: resourceSpans[0]… <token> [31m\n');
  });

  it.each([
    [
      'a token that is refused',
      401,
      { code: 16, message: 'unknown token' },
      'the token was refused: HTTP 401, unknown token',
    ],
    [
      'a signal the token may not send',
      403,
      { code: 7, message: 'no scope' },
      'traces were refused: HTTP 403, no scope',
    ],
    ['a peer that is full', 503, { code: 14, message: 'spool\nfull' }, 'traces were refused: HTTP 503, spool full'],
  ])('says in one line: %s', async (_what, code, answer, line) => {
    const url = await httpPeer((_request, response) => {
      response.writeHead(code, OTLP).end(encoded('google.rpc.Status', answer));
    });
    const { error, stderr } = await send(['--endpoint', url]);
    expect(error).toBe(line);
    expect(stderr).toBe('');
  });

  it.each([
    ['a page of a proxy', 404, { 'content-type': 'text/html' }, 'traces were refused: HTTP 404'],
    ['a redirection, which is not followed', 307, { location: '/elsewhere' }, 'traces were refused: HTTP 307'],
    ['a success that is not OTLP', 200, { 'content-type': 'text/html' }, 'the answer is not OTLP'],
  ])('takes no answer for one: %s', async (_what, code, headers, text) => {
    const paths: unknown[] = [];
    const url = await httpPeer((request, response) => {
      paths.push(request.url);
      response.writeHead(code, headers).end('<html>secret page</html>');
    });
    const { error } = await send(['--endpoint', url]);
    expect(error).toContain(text);
    expect(error).not.toMatch(/\n|secret page/);
    expect(paths).toEqual(['/v1/traces']);
  });
});

function countSpans(message: object): number {
  const { resourceSpans } = message as { resourceSpans: { scopeSpans: { spans: object[] }[] }[] };
  return sum(resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.map(({ spans }) => spans.length)));
}

describe('send over gRPC', () => {
  /** A peer by grpc-js that answers traces so. */
  async function grpcPeer(
    answer: (token: string) => { error?: Partial<StatusObject>; response?: object },
  ): Promise<string> {
    const file = 'opentelemetry/proto/collector/trace/v1/trace_service.proto';
    const definition = loadSync(file, { includeDirs: [PROTO_DIR] });
    const service = definition['opentelemetry.proto.collector.trace.v1.TraceService'] as ServiceDefinition;
    const server = new Server();
    const { path, ...rest } = service['Export'] as MethodDefinition<object, object>;
    const handler: handleUnaryCall<object, object> = (call, callback) => {
      const { error, response } = answer(String(call.metadata.get('authorization')[0]));
      callback(error ?? null, response);
    };
    server.addService({ Export: { path, ...rest } }, { Export: handler });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    onTestFinished(() => server.forceShutdown());
    return `http://127.0.0.1:${await promise}`;
  }

  it.each([
    [status.UNAUTHENTICATED, 'unknown token', 'the token was refused: UNAUTHENTICATED, unknown token'],
    [status.PERMISSION_DENIED, 'no scope', 'traces were refused: PERMISSION_DENIED, no scope'],
    [status.UNAVAILABLE, 'spool full', 'traces were refused: UNAVAILABLE, spool full'],
  ])('says status %i in one line', async (code, details, line) => {
    const url = await grpcPeer(() => ({ error: { code, details } }));
    expect(await send(['--endpoint', url, '--protocol', 'grpc'])).toMatchObject({ error: line, stderr: '' });
  });

  it('reports what was rejected before a later signal is refused', async () => {
    const tokens: string[] = [];
    const url = await grpcPeer((token) => {
      tokens.push(token);
      return { response: { partialSuccess: { rejectedSpans: 1, errorMessage: 'E1' } } };
    });
    const { error, stdout, stderr } = await send(['--endpoint', url, '--protocol', 'grpc', '--count', '1']);
    expect(tokens).toEqual([`Bearer ${TOKEN}`]);
    expect(stdout).toMatch(/spans +\d+ +\d+ +1\n/);
    expect(stderr).toBe('backwork: traces: E1\n');
    expect(error).toMatch(/^logs were refused: UNIMPLEMENTED/);
  });
});

describe('send', () => {
  it.each(['http', 'grpc'])('says over %s that nobody listens, in one line', async (protocol) => {
    const url = await httpPeer(() => undefined);
    const closed = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => closed.once('listening', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    expect(url).not.toContain(String(port));
    const { error } = await send(['--endpoint', `http://127.0.0.1:${port}`, '--protocol', protocol]);
    expect(error).toMatch(new RegExp(`^http://127.0.0.1:${port} cannot be reached: .*ECONNREFUSED`));
    expect(error).not.toContain('\n');
  });

  it.each([
    [
      'no token',
      [],
      {},
      /^no ingest token: set BACKWORK_TOKEN or give --token; .*token create --org default --name sample/,
    ],
    ['an empty token', ['--token', ''], { BACKWORK_TOKEN: TOKEN }, /^no ingest token/],
    ['a token with a line break', [], { BACKWORK_TOKEN: `${TOKEN}\n` }, /^the token given holds blanks/],
    ['an endpoint without a scheme', ['--endpoint', 'localhost:4318'], {}, /^--endpoint is not like/],
    ['an endpoint with a password', ['--endpoint', 'http://a:secret@localhost'], {}, /^--endpoint is not like [^@]*$/],
    ['another protocol', ['--protocol', 'json'], {}, /^--protocol is grpc or http$/],
    ['no orders', ['--count', '0'], {}, /^--count "0" must be a whole number from 1 to 10000$/],
    ['too many orders', ['--count', '10001'], {}, /from 1 to 10000$/],
    ['a seed that is no number', ['--seed', 'x'], {}, /^--seed "x" must be a whole number from 0 to 4294967295$/],
    ['an unknown option', ['--orders', '3'], {}, /orders/],
  ])('refuses %s and sends nothing', async (_what, args, env, line) => {
    const { error, stdout } = await send(args, env as Record<string, string>);
    expect(error).toMatch(line);
    expect(error).not.toContain('\n');
    expect(stdout).toBe('');
  });
});

describe('send to a service', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service.stopAndRemove());

  it.each(['http', 'grpc'])('finds it by its data directory, and all is stored (%s)', async (protocol) => {
    const seed = protocol === 'http' ? '11' : '12';
    const env = { ...process.env, BACKWORK_DATA_DIR: service.dataDir, BACKWORK_TOKEN: service.token };
    const sent = await runCommand(env, ['send', '--protocol', protocol, '--count', '8', '--seed', seed]);
    expect(sent.stderr).toBe('');
    expect(sent.code).toBe(0);
    expect(sent.stdout).not.toContain(service.token);
    expect(sent.stdout).toContain(`http://127.0.0.1:${service.ports[protocol as 'http' | 'grpc']} (OTLP/`);

    const made = makeShop({ orderCount: 8, seed: Number(seed), endMs: 0 });
    const traceIds = [...new Set(spansOf(made).map((span) => span.traceId))].map((id) => `'${id}'`).join(', ');
    const sql = `SELECT SpanId, TraceId, ParentSpanId, ServiceName, SpanName, Duration, Flags FROM otel_traces WHERE TraceId IN (${traceIds})`;
    const rows = await service.queryUntil<Record<string, unknown>>(
      sql,
      (found) => found.length === spansOf(made).length,
    );
    const byId = (a: Record<string, unknown>, b: Record<string, unknown>) =>
      String(a['SpanId']) < String(b['SpanId']) ? -1 : 1;
    expect(rows.map((row) => ({ ...row, Duration: Number(row['Duration']) })).sort(byId)).toEqual(
      spansOf(made)
        .map((span) => ({
          SpanId: span.spanId,
          TraceId: span.traceId,
          ParentSpanId: span.parentSpanId,
          ServiceName: span.service,
          SpanName: span.name,
          Duration: (span.endUs - span.startUs) * 1_000,
          Flags: span.remoteParent ? 0x301 : 0x101,
        }))
        .sort(byId),
    );
  });

  it('prints queries that show what was sent', async () => {
    const { stdout } = await service.command('send', '--token', service.token, '--count', '4');
    const queries = [...stdout.matchAll(/-- sql "([^"]+)"/g)].map((match) => match[1] ?? '');
    expect(queries).toHaveLength(3);
    for (const sql of queries) await service.queryUntil(sql, (rows) => rows.length > 0);
  });

  it('says what a token may not send, and what was accepted before', async () => {
    const { stdout: token } = await service.command(
      'token',
      'create',
      '--org',
      'default',
      '--name',
      't',
      '--scopes',
      'traces',
    );
    const sent = await service.command('send', '--token', token.trim(), '--count', '1');
    expect(sent.code).toBe(1);
    expect(sent.stdout).toMatch(/spans +(\d+) +\1 +0\n/);
    expect(sent.stderr).toMatch(/^backwork: logs were refused: HTTP 403, [^\n]+\n$/);
    expect(sent.stdout + sent.stderr).not.toContain(token.trim());
  });

  it('is told of a token nobody knows, and makes none', async () => {
    const before = await service.command('token', 'list', '--org', 'default');
    const unknown = await service.command('send', '--token', TOKEN);
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^backwork: the token was refused: HTTP 401[^\n]*\n$/),
    });
    expect((await service.command('send')).code).toBe(1);
    expect((await service.command('token', 'list', '--org', 'default')).stdout).toBe(before.stdout);
  });
});
