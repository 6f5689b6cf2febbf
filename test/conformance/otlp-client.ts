/**
 * One request sent in the three ways of OTLP (gRPC, HTTP with protobuf, HTTP with JSON) to a whole service: what was
 * answered, decoded, and the rows that stand in the tables afterwards, read from the engine.
 *
 * Requests are plain data in the form of OTLP/JSON (ids as hex); the protobuf of the same data is made by protobufjs.
 */
import type { Signal } from '../../src/ingest/messages.ts';
import { callOnce, grpcFrame, SIGNAL_PATHS } from '../ingest/accept/peers.ts';
import { loadProto } from '../proto/load-proto.ts';
import { encodeRequest } from '../support/log-request.ts';
import type { TestService } from '../support/service.ts';

export type Way = 'grpc' | 'protobuf' | 'json';
export const WAYS: readonly Way[] = ['grpc', 'protobuf', 'json'];

/** A positive answer has `code: 0`. A refusal: the gRPC code and the message of its google.rpc.Status. */
export interface Answer {
  readonly code: number;
  readonly rejected: number;
  readonly message: string;
}

/** Full success. */
export const CLEAN: Answer = { code: 0, rejected: 0, message: '' };

export const warned = (message: string): Answer => ({ code: 0, rejected: 0, message });
export const rejected = (count: number, message: string): Answer => ({ code: 0, rejected: count, message });

const root = loadProto();
const RESPONSE = {
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse',
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse',
  traces: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse',
} as const;
const REJECTED = { logs: 'rejectedLogRecords', metrics: 'rejectedDataPoints', traces: 'rejectedSpans' } as const;

/** Sends a body as it is. */
export function sendBody(service: TestService, signal: Signal, way: Way, body: Buffer): Promise<Answer> {
  return way === 'grpc' ? sendGrpc(service, signal, body) : sendHttp(service, signal, way, body);
}

async function sendGrpc(service: TestService, signal: Signal, body: Buffer): Promise<Answer> {
  const headers = { authorization: `Bearer ${service.token}` };
  const path = SIGNAL_PATHS[signal];
  const result = await callOnce(service.ports.grpc, { path, headers, body: grpcFrame(body) });
  const status = result.trailersOnly ? result.headers : result.trailers;
  const code = Number(status['grpc-status']);
  if (code !== 0) return { code, rejected: 0, message: decodeURIComponent(String(status['grpc-message'])) };
  return successOf(signal, result.data.subarray(5));
}

async function sendHttp(service: TestService, signal: Signal, way: Way, body: Buffer): Promise<Answer> {
  const type = way === 'json' ? 'application/json' : 'application/x-protobuf';
  const answer = await postRaw(service, signal, body, { 'content-type': type });
  if (answer.headers.get('content-type') !== type) throw new Error(`answered as ${answer.headers.get('content-type')}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (way === 'json') return jsonAnswer(signal, answer.status, bytes.toString());
  if (answer.status === 200) return successOf(signal, bytes);
  const status = root.lookupType('google.rpc.Status').decode(bytes) as unknown as { code: number; message: string };
  return { code: status.code, rejected: 0, message: status.message };
}

/** A POST to the signal's path of OTLP/HTTP, with the service's token. */
export function postRaw(
  service: TestService,
  signal: Signal,
  body: Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  return fetch(`http://127.0.0.1:${service.ports.http}/v1/${signal}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${service.token}`, ...headers },
    body: new Uint8Array(body),
  });
}

function successOf(signal: Signal, bytes: Buffer): Answer {
  const type = root.lookupType(RESPONSE[signal]);
  return partialOf(signal, type.toObject(type.decode(bytes), { longs: String, defaults: false }));
}

function jsonAnswer(signal: Signal, httpStatus: number, text: string): Answer {
  const answer = JSON.parse(text) as Record<string, unknown>;
  if (httpStatus === 200) return partialOf(signal, answer);
  return { code: answer['code'] as number, rejected: 0, message: answer['message'] as string };
}

/** Nothing but partial_success may stand in an answer, and in it nothing but the two fields of the signal. */
function partialOf(signal: Signal, answer: Record<string, unknown>): Answer {
  const { partialSuccess, ...others } = answer;
  if (Object.keys(others).length > 0) throw new Error(`the answer has ${Object.keys(others)}`);
  if (partialSuccess === undefined) return CLEAN;
  const { [REJECTED[signal]]: count = '0', errorMessage = '', ...rest } = partialSuccess as Record<string, unknown>;
  if (typeof count !== 'string') throw new Error('an int64 is a string in JSON');
  if (Object.keys(rest).length > 0) throw new Error(`partial_success has ${Object.keys(rest)}`);
  return { code: 0, rejected: Number(count), message: String(errorMessage) };
}

/** The bytes of the request for one way. */
export function bodyOf(signal: Signal, way: Way, request: object): Buffer {
  if (way === 'json') return Buffer.from(JSON.stringify(request));
  return encodeRequest(signal, withBinaryIds(request) as object);
}

function withBinaryIds(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((element) => withBinaryIds(element));
  if (typeof value === 'string' && /^(trace|span|parentSpan)Id$/.test(key)) return Buffer.from(value, 'hex');
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withBinaryIds(inner, name)]));
}

export interface Sent {
  readonly way: Way;
  /** The service.name of its resource. */
  readonly name: string;
  readonly answer: Answer;
}

let names = 0;

/** A service.name that no other request of this process has. */
export function newName(): string {
  return `service-${names++}`;
}

export function resourceOf(name: string, ...attributes: readonly object[]): object {
  return { attributes: [{ key: 'service.name', value: { stringValue: name } }, ...attributes] };
}

/** Sends the same request in every way, each with a service.name of its own. */
export function sendEveryWay(
  service: TestService,
  signal: Signal,
  request: (name: string) => object,
  bytes: (body: Buffer) => Buffer = (body) => body,
  ways: readonly Way[] = WAYS,
): Promise<Sent[]> {
  return Promise.all(
    ways.map(async (way) => {
      const name = newName();
      const answer = await sendBody(service, signal, way, bytes(bodyOf(signal, way, request(name))));
      return { way, name, answer };
    }),
  );
}

export const logsOf =
  (...logRecords: readonly object[]) =>
  (name: string) => ({ resourceLogs: [{ resource: resourceOf(name), scopeLogs: [{ logRecords }] }] });
export const spansOf =
  (...spans: readonly object[]) =>
  (name: string) => ({ resourceSpans: [{ resource: resourceOf(name), scopeSpans: [{ spans }] }] });
export const metricsOf =
  (...metrics: readonly object[]) =>
  (name: string) => ({ resourceMetrics: [{ resource: resourceOf(name), scopeMetrics: [{ metrics }] }] });
export const gaugeOf = (...dataPoints: readonly object[]) => metricsOf({ name: 'g', gauge: { dataPoints } });

/** Attributes from a plain record of strings. */
export const strings = (record: Readonly<Record<string, string>>) =>
  Object.entries(record).map(([key, stringValue]) => ({ key, value: { stringValue } }));

export type Row = Record<string, unknown>;

/** The rows of a service in a table once there are `count` or more: 64-bit integers and NaN as text. */
export function rowsOf(
  service: TestService,
  table: string,
  columns: string,
  name: string,
  count: number,
  orderBy = columns,
): Promise<Row[]> {
  const settings = 'output_format_json_quote_64bit_integers = 1, output_format_json_quote_denormals = 1';
  const sql = `SELECT ${columns} FROM ${table} WHERE ServiceName = '${name}' ORDER BY ${orderBy} SETTINGS ${settings}`;
  return service.queryUntil<Row>(sql, (rows) => rows.length >= count);
}

/** That a request left no row: one that was sent after it has its rows. */
export async function noRowsOf(service: TestService, table: string, name: string): Promise<Row[]> {
  const later = newName();
  const signal = table === 'otel_logs' ? 'logs' : table === 'otel_traces' ? 'traces' : 'metrics';
  const item = {
    logs: logsOf({}),
    traces: spansOf({ traceId: '01'.repeat(16), spanId: '01'.repeat(8) }),
    metrics: gaugeOf({ asInt: '1', timeUnixNano: '1' }),
  }[signal];
  await sendBody(service, signal, 'protobuf', bodyOf(signal, 'protobuf', item(later)));
  await rowsOf(service, signal === 'metrics' ? 'otel_metrics_gauge' : table, 'ServiceName', later, 1);
  return rowsOf(service, table, 'ServiceName', name, 0);
}
