/**
 * Clients that send telemetry over both protocols and remember what they were told, and the judgement of what is stored.
 * Ids are issued here and never again; an item is a pure function of its id, so a row tells whether it is whole.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import type { Signal } from '../../src/ingest/messages.ts';
import { encodeRequest } from './log-request.ts';

const GRPC_SERVICE: Record<Signal, string> = {
  logs: 'logs.v1.Logs',
  metrics: 'metrics.v1.Metrics',
  traces: 'trace.v1.Trace',
};
const REQUEST_DEADLINE_MS = 5_000;

export type Protocol = 'grpc' | 'http';

export interface LoadOptions {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly token: string;
  /** One client each. */
  readonly clients: readonly Protocol[];
  readonly rowsPerRequest: number;
  /** One after another, a request each; logs alone when it is left out. */
  readonly signals?: readonly Signal[];
  /** In front of every id, so that several loads can share a table. */
  readonly prefix?: string;
}

/** Sends until it is stopped. Requests that were not answered OK are not sent again: their ids stay unknown. (Clients that retry: test/faults/support/oracle.ts.) */
export class Load {
  /** Ids that were answered OK: each must be stored once. */
  readonly acknowledged = new Set<string>();
  /** Ids that were issued: nothing else may be stored, and none twice. */
  readonly issued = new Set<string>();
  readonly acknowledgedBy: Record<Protocol, number> = { grpc: 0, http: 0 };
  readonly acknowledgedOf: Record<Signal, number> = { logs: 0, metrics: 0, traces: 0 };
  refused = 0;
  readonly #options: LoadOptions;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();
  #next = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  get token(): string {
    return this.#options.token;
  }

  start(): void {
    this.#running = Promise.all(this.#options.clients.map((protocol) => this.#client(protocol)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #client(protocol: Protocol): Promise<void> {
    const { grpcPort, httpPort, token } = this.#options;
    const sender = protocol === 'grpc' ? grpcSender(grpcPort, token) : httpSender(httpPort, token);
    const signals = this.#options.signals ?? ['logs'];
    for (let turn = 0; !this.#stopping; turn++) {
      const signal = signals[turn % signals.length] ?? 'logs';
      const ids = Array.from(
        { length: this.#options.rowsPerRequest },
        () => `${this.#options.prefix ?? 'id'}-${this.#next++}`,
      );
      for (const id of ids) this.issued.add(id);
      if (await sender.send(encodeIds(ids, signal), signal)) {
        for (const id of ids) this.acknowledged.add(id);
        this.acknowledgedBy[protocol] += ids.length;
        this.acknowledgedOf[signal] += ids.length;
      } else {
        this.refused++;
        await delay(20);
      }
    }
    sender.close();
  }
}

export interface Sender {
  /** True when it was answered OK and nothing was rejected. */
  send(body: Buffer, signal?: Signal): Promise<boolean>;
  close(): void;
}

const TIME = '1700000000000000000';
const RESOURCE = { attributes: [attribute('service.name', 'load')] };

function attribute(key: string, stringValue: string) {
  return { key, value: { stringValue } };
}

function attributesOf(id: string) {
  return [attribute('id', id), attribute('check', checkOf(id))];
}

/** One item an id: a log record, a span in a trace of its own, or a point of one of the five kinds. */
export function encodeIds(ids: readonly string[], signal: Signal = 'logs'): Buffer {
  switch (signal) {
    case 'logs': {
      const logRecords = ids.map((id) => ({
        timeUnixNano: TIME,
        body: { stringValue: id },
        attributes: attributesOf(id),
      }));
      return encodeRequest('logs', { resourceLogs: [{ resource: RESOURCE, scopeLogs: [{ logRecords }] }] });
    }
    case 'traces': {
      const spans = ids.map((id) => ({
        traceId: Buffer.from(checkOf(id), 'hex'),
        spanId: Buffer.from(checkOf(id), 'hex').subarray(0, 8),
        startTimeUnixNano: TIME,
        endTimeUnixNano: TIME,
        attributes: attributesOf(id),
      }));
      return encodeRequest('traces', { resourceSpans: [{ resource: RESOURCE, scopeSpans: [{ spans }] }] });
    }
    case 'metrics':
      return encodeRequest('metrics', {
        resourceMetrics: [{ resource: RESOURCE, scopeMetrics: [{ metrics: metricsOf(ids) }] }],
      });
  }
}

function metricsOf(ids: readonly string[]): object[] {
  const kinds = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'];
  return kinds.map((kind, i) => {
    const own = ids.filter((_, at) => at % kinds.length === i);
    const value = kind === 'gauge' || kind === 'sum' ? { asInt: '1' } : { count: '1' };
    const dataPoints = own.map((id) => ({ timeUnixNano: TIME, attributes: attributesOf(id), ...value }));
    return { name: `load.${kind}`, [kind]: { dataPoints } };
  });
}

export function checkOf(id: string): string {
  return createHash('md5').update(id).digest('hex');
}

export function grpcSender(port: number, token: string, deadlineMs = REQUEST_DEADLINE_MS): Sender {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    // Clients of one process share a connection otherwise, and with it one worker.
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return {
    send: (body, signal = 'logs') =>
      new Promise((resolve) => {
        const deadline = Date.now() + deadlineMs;
        const path = `/opentelemetry.proto.collector.${GRPC_SERVICE[signal]}Service/Export`;
        const same = (bytes: Buffer) => bytes;
        client.makeUnaryRequest(path, same, same, body, metadata, { deadline }, (error, answer) =>
          resolve(error === null && answer?.length === 0),
        );
      }),
    close: () => client.close(),
  };
}

export function httpSender(port: number, token: string, deadlineMs = REQUEST_DEADLINE_MS): Sender {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` };
  return {
    send: (body, signal = 'logs') =>
      new Promise((resolve) => {
        const options = {
          host: '127.0.0.1',
          port,
          path: `/v1/${signal}`,
          method: 'POST',
          headers,
          agent,
          timeout: deadlineMs,
        };
        const request = http.request(options, (answer) => {
          let bytes = 0;
          answer.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
          });
          answer.on('end', () => resolve(answer.statusCode === 200 && bytes === 0));
          answer.on('error', () => resolve(false));
        });
        request.on('timeout', () => request.destroy());
        request.on('error', () => resolve(false));
        request.end(body);
      }),
    close: () => agent.destroy(),
  };
}

export interface StoredRow {
  readonly id: string;
  readonly n: string;
  readonly check: string;
}

const METRIC_TABLES = ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary'];

/** The query whose rows `judge` takes: every id of every table. */
export const STORED_IDS = `SELECT id, toString(count()) AS n, any(check) AS check FROM (
  SELECT LogAttributes['id'] AS id, LogAttributes['check'] AS check FROM otel_logs
  UNION ALL SELECT SpanAttributes['id'], SpanAttributes['check'] FROM otel_traces
  ${METRIC_TABLES.map((kind) => `UNION ALL SELECT Attributes['id'], Attributes['check'] FROM otel_metrics_${kind}`).join('\n  ')}
) GROUP BY id`;

/** Spans and rows of the lookup: each span of the load has a trace of its own, so the two belong together one to one. */
export const LOOKUP_MISMATCHES = `SELECT toString(count()) AS n FROM (
  SELECT TraceId, countIf(source = 1) AS spans, countIf(source = 2) AS lookups FROM (
    SELECT TraceId, 1 AS source FROM otel_traces UNION ALL SELECT TraceId, 2 FROM otel_traces_trace_id_ts
  ) GROUP BY TraceId HAVING spans != 1 OR lookups != 1)`;

export interface Judgement {
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly damaged: readonly string[];
  readonly neverIssued: readonly string[];
}

/** What is wrong with the stored rows; all four lists are empty when every promise was kept. */
export function judge(
  acknowledged: ReadonlySet<string>,
  issued: ReadonlySet<string>,
  rows: readonly StoredRow[],
): Judgement {
  const stored = new Set(rows.map((row) => row.id));
  return {
    lost: [...acknowledged].filter((id) => !stored.has(id)),
    doubled: rows.filter((row) => row.n !== '1').map((row) => row.id),
    damaged: rows.filter((row) => row.check !== checkOf(row.id)).map((row) => row.id),
    neverIssued: rows.filter((row) => !issued.has(row.id)).map((row) => row.id),
  };
}
