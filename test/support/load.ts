/**
 * Clients that send log records over both protocols and remember what they were told, and the judgement of what is stored.
 * Ids are issued here and never again; a record is a pure function of its id, so a row tells whether it is whole.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { encodeRecords } from './log-request.ts';

const GRPC_PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const REQUEST_DEADLINE_MS = 5_000;

export type Protocol = 'grpc' | 'http';

export interface LoadOptions {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly token: string;
  /** One client each. */
  readonly clients: readonly Protocol[];
  readonly rowsPerRequest: number;
  /** In front of every id, so that several loads can share a table. */
  readonly prefix?: string;
}

/** Sends until it is stopped. Requests that were not answered OK are not sent again: their ids stay unknown. */
export class Load {
  /** Ids that were answered OK: each must be stored once. */
  readonly acknowledged = new Set<string>();
  /** Ids that were issued: nothing else may be stored, and none twice. */
  readonly issued = new Set<string>();
  readonly acknowledgedBy: Record<Protocol, number> = { grpc: 0, http: 0 };
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
    while (!this.#stopping) {
      const ids = Array.from(
        { length: this.#options.rowsPerRequest },
        () => `${this.#options.prefix ?? 'id'}-${this.#next++}`,
      );
      for (const id of ids) this.issued.add(id);
      if (await sender.send(encodeIds(ids))) {
        for (const id of ids) this.acknowledged.add(id);
        this.acknowledgedBy[protocol] += ids.length;
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
  send(body: Buffer): Promise<boolean>;
  close(): void;
}

export function encodeIds(ids: readonly string[]): Buffer {
  const records = ids.map((id) => ({
    timeUnixNano: '1700000000000000000',
    body: { stringValue: id },
    attributes: [{ key: 'check', value: { stringValue: checkOf(id) } }],
  }));
  return encodeRecords(records, { attributes: [{ key: 'service.name', value: { stringValue: 'load' } }] });
}

export function checkOf(id: string): string {
  return createHash('md5').update(id).digest('hex');
}

export function grpcSender(port: number, token: string): Sender {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
    // Clients of one process share a connection otherwise, and with it one worker.
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return {
    send: (body) =>
      new Promise((resolve) => {
        const deadline = Date.now() + REQUEST_DEADLINE_MS;
        const same = (bytes: Buffer) => bytes;
        client.makeUnaryRequest(GRPC_PATH, same, same, body, metadata, { deadline }, (error, answer) =>
          resolve(error === null && answer?.length === 0),
        );
      }),
    close: () => client.close(),
  };
}

export function httpSender(port: number, token: string): Sender {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` };
  return {
    send: (body) =>
      new Promise((resolve) => {
        const options = {
          host: '127.0.0.1',
          port,
          path: '/v1/logs',
          method: 'POST',
          headers,
          agent,
          timeout: REQUEST_DEADLINE_MS,
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

/** The query whose rows `judge` takes. */
export const STORED_IDS =
  "SELECT Body AS id, toString(count()) AS n, any(LogAttributes['check']) AS check FROM otel_logs GROUP BY Body";

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
