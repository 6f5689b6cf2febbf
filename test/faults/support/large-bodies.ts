/**
 * Requests of tens of MiB for several clients at once: a small part of its own, which holds the request's id, in front of
 * one that all share, so that no client needs a copy. Sent over HTTP as protobuf, as it is and gzip, as gzip JSON, and over
 * gRPC.
 */
import http from 'node:http';
import http2 from 'node:http2';
import { gzipSync } from 'node:zlib';
import { encodeRequest } from '../../support/log-request.ts';
import type { Outcome } from './outcome-sender.ts';

export type LargeForm = 'protobuf' | 'gzip' | 'json' | 'grpc';
export const LARGE_FORMS: readonly LargeForm[] = ['protobuf', 'gzip', 'json', 'grpc'];

const RECORD_BYTES = 16_384;
/** Left for names and for the part of its own. */
const MARGIN_BYTES = 65_536;
const DEADLINE_MS = 60_000;

export class LargeBodies {
  /** Records of the shared part, in every form. */
  readonly records: number;
  readonly #shared: Record<'protobuf' | 'gzip' | 'json', Buffer>;

  constructor(bodyBytes: number) {
    this.records = Math.floor((bodyBytes - MARGIN_BYTES) / (RECORD_BYTES + 64));
    const text = 'the quick brown fox jumps over the lazy dog '.repeat(400).slice(0, RECORD_BYTES - 8);
    const logRecords = Array.from({ length: this.records }, (_, i) => ({
      body: { stringValue: text + String(i).padStart(8, '0') },
    }));
    const bulk = resource('bulk', logRecords);
    const protobuf = encodeRequest('logs', { resourceLogs: [bulk] });
    const json = Buffer.from(`${JSON.stringify(bulk)}]}`);
    this.#shared = { protobuf, gzip: gzipSync(protobuf, { level: 1 }), json: gzipSync(json, { level: 1 }) };
  }

  /** The two parts of a request's body as they go over the wire. */
  parts(form: LargeForm, id: string): readonly [Buffer, Buffer] {
    const own = resource('one', [{ body: { stringValue: id } }]);
    if (form === 'json') {
      return [gzipSync(Buffer.from(`{"resourceLogs":[${JSON.stringify(own)},`)), this.#shared.json];
    }
    const head = encodeRequest('logs', { resourceLogs: [own] });
    return form === 'gzip' ? [gzipSync(head), this.#shared.gzip] : [head, this.#shared.protobuf];
  }
}

function resource(service: string, logRecords: readonly object[]) {
  const attributes = [{ key: 'service.name', value: { stringValue: service } }];
  return { resource: { attributes }, scopeLogs: [{ logRecords }] };
}

export interface LargeTarget {
  readonly ports: { readonly http: number; readonly grpc: number };
  readonly token: string;
}

export function sendLarge(target: LargeTarget, form: LargeForm, parts: readonly [Buffer, Buffer]): Promise<Outcome> {
  return form === 'grpc' ? overGrpc(target, parts) : overHttp(target, form, parts);
}

function overHttp({ ports, token }: LargeTarget, form: LargeForm, [own, shared]: readonly [Buffer, Buffer]) {
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': form === 'json' ? 'application/json' : 'application/x-protobuf',
    'content-length': String(own.length + shared.length),
    ...(form === 'protobuf' ? {} : { 'content-encoding': 'gzip' }),
  };
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const options = { host: '127.0.0.1', port: ports.http, path: '/v1/logs', method: 'POST', headers, agent: false };
  const request = http.request({ ...options, timeout: DEADLINE_MS }, (answer) => {
    answer.resume();
    const { statusCode: code } = answer;
    const status = String(code);
    const waits = Number(answer.headers['retry-after']) > 0;
    const kind = code === 200 ? 'accepted' : (code === 503 || code === 429) && waits ? 'retried' : 'dropped';
    resolve({ kind, status, message: '' });
    // Many clients stop sending once they have their answer.
    answer.on('end', () => request.destroy());
  });
  request.on('timeout', () => request.destroy(new Error('the deadline is over')));
  request.on('error', ({ message }) => resolve({ kind: 'unanswered', status: form, message }));
  request.write(own);
  request.end(shared);
  return promise;
}

/** One connection a call, so that calls spread over the workers. */
async function overGrpc({ ports, token }: LargeTarget, [own, shared]: readonly [Buffer, Buffer]): Promise<Outcome> {
  const session = http2.connect(`http://127.0.0.1:${ports.grpc}`, { maxSessionMemory: 512 });
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const unanswered = ({ message }: Error) => resolve({ kind: 'unanswered', status: 'grpc', message });
  session.on('error', unanswered);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
  });
  stream.setTimeout(DEADLINE_MS, () => unanswered(new Error('the deadline is over')));
  stream.on('error', unanswered);
  const told = (headers: http2.IncomingHttpHeaders): void => {
    const code = headers['grpc-status'];
    if (code === undefined) return;
    const waits = headers['grpc-status-details-bin'] !== undefined;
    const kind = code === '0' ? 'accepted' : code === '14' && waits ? 'retried' : 'dropped';
    resolve({ kind, status: `gRPC ${String(code)}`, message: String(headers['grpc-message'] ?? '') });
  };
  stream.on('response', told);
  stream.on('trailers', told);
  stream.on('close', () => unanswered(new Error('the stream was closed')));
  stream.resume();
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(own.length + shared.length, 1);
  stream.write(prefix);
  stream.write(own);
  stream.end(shared);
  const outcome = await promise;
  session.destroy();
  return outcome;
}
