/** The two sides of the tests in this folder: a RequestPath that notes what it is asked, and clients that hide nothing. */
import http2 from 'node:http2';
import net from 'node:net';
import type { AcceptLimits, RequestLogFields } from '../../../src/ingest/accept/accept-server.ts';
import type { BodyEncoding, ExportAnswer, RequestHead, RequestPath, Tenant } from '../../../src/ingest/messages.ts';

export const TENANT: Tenant = {
  orgId: 'org_aaaaaaaaaaaaaaaa',
  tokenId: 'abcdefghijkl',
  placement: 'shared-0',
  retentionDays: { logs: 30, metrics: 30, traces: 30 },
  scopes: new Set(['logs', 'metrics', 'traces']),
  limits: { bytesPerSecond: 0, itemsPerSecond: 0, requestsAtOnce: 0, spoolBytes: 0, weight: 10 },
};
export const TOKEN = 'bw_ing_canary0000000_never-to-be-seen-again';
export const SIGNAL_PATHS = {
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
} as const;

/** Sweeps often; everything else as in the service unless a test says otherwise. */
export const QUICK: Partial<AcceptLimits> = { sweepMs: 20 };

export interface Seen {
  readonly heads: RequestHead[];
  readonly bodies: Array<{ body: Buffer; encoding: BodyEncoding }>;
  /** The largest amount asked for, of each request. */
  readonly reserved: number[];
  /** One entry for each release: its argument. */
  readonly released: boolean[];
  readonly log: RequestLogFields[];
  readonly faults: unknown[];
}

export interface Behaviour {
  open?: (head: RequestHead) => void | Promise<void>;
  reserve?: (bytes: number) => void;
  submit?: (body: Buffer) => ExportAnswer | Promise<ExportAnswer>;
}

/** `deps` for a server, and what it was seen to do. */
export function watchedPath(behaviour: Behaviour = {}): {
  seen: Seen;
  deps: { path: RequestPath; log: { request(fields: RequestLogFields): void }; onFault: (error: unknown) => void };
} {
  const seen: Seen = { heads: [], bodies: [], reserved: [], released: [], log: [], faults: [] };
  const path: RequestPath = {
    async open(head) {
      const index = seen.heads.push(head) - 1;
      await behaviour.open?.(head);
      let releases = 0;
      return {
        tenant: TENANT,
        expect: () => undefined,
        reserve(bytes) {
          seen.reserved[index] = Math.max(seen.reserved[index] ?? 0, bytes);
          behaviour.reserve?.(bytes);
        },
        async submit(body, encoding) {
          seen.bodies.push({ body: Buffer.from(body), encoding });
          return (await behaviour.submit?.(body)) ?? { rejected: 0, message: '' };
        },
        release(answerSent) {
          if (++releases > 1) throw new Error('released twice');
          seen.released.push(answerSent);
        },
      };
    },
  };
  const log = { request: (fields: RequestLogFields) => void seen.log.push(fields) };
  return { seen, deps: { path, log, onFault: (error) => void seen.faults.push(error) } };
}

/** Waits for what another task does, at most 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  for (let waitedMs = 0; !condition(); waitedMs += 5) {
    if (waitedMs > 10_000) throw new Error('waited 10 s in vain');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A gRPC message as it stands in DATA frames. */
export function grpcFrame(message: Buffer, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

export interface GrpcResult {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  /** The HEADERS frame ended the stream: Trailers-Only. */
  readonly trailersOnly: boolean;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly data: Buffer;
  readonly rstCode: number | undefined;
}

export interface GrpcRequest {
  readonly path?: string;
  readonly headers?: http2.OutgoingHttpHeaders;
  readonly body?: Buffer;
  /** false: the request stays open. */
  readonly end?: boolean;
}

export function startCall(session: http2.ClientHttp2Session, request: GrpcRequest): http2.ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': request.path ?? SIGNAL_PATHS.logs,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${TOKEN}`,
    ...request.headers,
  });
  stream.on('error', () => {});
  if (request.end === false) {
    if (request.body !== undefined) stream.write(request.body);
  } else {
    stream.end(request.body);
  }
  return stream;
}

export function resultOf(stream: http2.ClientHttp2Stream): Promise<GrpcResult> {
  const { promise, resolve } = Promise.withResolvers<GrpcResult>();
  let headers: GrpcResult['headers'] = {};
  let trailersOnly = false;
  let trailers: http2.IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (received, flags) => {
    headers = received;
    trailersOnly = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  });
  stream.on('trailers', (received) => {
    trailers = received;
  });
  stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
  stream.on('close', () => {
    resolve({ headers, trailersOnly, trailers, data: Buffer.concat(chunks), rstCode: stream.rstCode });
  });
  return promise;
}

/** One call over a connection of its own. */
export async function callOnce(port: number, request: GrpcRequest): Promise<GrpcResult> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  try {
    return await resultOf(startCall(session, request));
  } finally {
    session.destroy();
  }
}

export interface HttpResult {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A TCP connection that speaks HTTP by hand. */
export class RawHttp {
  readonly socket: net.Socket;
  #received = Buffer.alloc(0);
  #ended = false;

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    this.socket.on('error', () => {
      this.#ended = true;
    });
    this.socket.on('end', () => {
      this.#ended = true;
    });
  }

  /** The peer has closed its side or the connection. */
  get ended(): boolean {
    return this.#ended;
  }

  get received(): Buffer {
    return this.#received;
  }

  write(...parts: Array<string | Buffer>): void {
    for (const part of parts) this.socket.write(part);
  }

  /** The next whole response. */
  async response(): Promise<HttpResult> {
    let result: HttpResult | undefined;
    await until(() => {
      result = this.#take();
      return result !== undefined || this.#ended;
    });
    result ??= this.#take();
    if (result === undefined) throw new Error(`closed without a whole response: ${this.#received.toString()}`);
    return result;
  }

  close(): void {
    this.socket.destroy();
  }

  #take(): HttpResult | undefined {
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd === -1) return undefined;
    const [statusLine = '', ...lines] = this.#received.toString('latin1', 0, headEnd).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const bodyEnd = headEnd + 4 + Number(headers['content-length'] ?? 0);
    if (this.#received.length < bodyEnd) return undefined;
    const body = this.#received.subarray(headEnd + 4, bodyEnd);
    this.#received = this.#received.subarray(bodyEnd);
    return { status: Number(statusLine.split(' ')[1]), headers, body };
  }
}

export interface HttpRequestParts {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** A request as bytes, with its Content-Length. `null` in `headers` is left out. */
export function httpBytes(request: HttpRequestParts): Buffer {
  const body = Buffer.from(request.body ?? '');
  const headers: Record<string, string> = {
    host: 'localhost',
    authorization: `Bearer ${TOKEN}`,
    'content-type': 'application/x-protobuf',
    'content-length': String(body.length),
    ...request.headers,
  };
  const lines = Object.entries(headers).filter(([, value]) => value !== '');
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([
    Buffer.from(`${request.method ?? 'POST'} ${request.path ?? '/v1/logs'} HTTP/1.1\r\n${head}\r\n`),
    body,
  ]);
}

/** One request over a connection of its own. */
export async function httpOnce(port: number, request: HttpRequestParts): Promise<HttpResult> {
  const client = new RawHttp(port);
  try {
    client.write(httpBytes(request));
    return await client.response();
  } finally {
    client.close();
  }
}
