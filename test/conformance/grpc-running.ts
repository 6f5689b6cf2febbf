/** What the gRPC tests of this folder share: a running port, a clock that a test moves, and how an answer is read. */
import http2 from 'node:http2';
import type { AcceptClock, AcceptLimits, AcceptServer, HintKind } from '../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../src/ingest/accept/grpc-server.ts';
import { type DecodedStatus, decode, decodeStatus } from '../ingest/accept/google-rpc.ts';
import { type Behaviour, type GrpcResult, QUICK, type Seen, until, watchedPath } from '../ingest/accept/peers.ts';
import { RawH2 } from '../ingest/accept/raw-h2.ts';

/** Milliseconds that pass when a test says so. */
export class ManualClock implements AcceptClock {
  #nowMs = 1_000_000;
  #asked = 0;

  nowMs(): number {
    this.#asked++;
    return this.#nowMs;
  }

  /** Moves on and waits until deadlines were looked at. */
  async advance(ms: number): Promise<void> {
    this.#nowMs += ms;
    const asked = this.#asked;
    await until(() => this.#asked >= asked + 3);
  }
}

export interface Running {
  readonly server: AcceptServer;
  readonly port: number;
  readonly seen: Seen;
  readonly hints: Array<{ kind: HintKind; message: string }>;
}

/** Ports, sessions and sockets of one test, stopped in reverse. */
export class GrpcRoom {
  readonly #stops: Array<() => unknown> = [];

  /** A gRPC port over a path that does what `behaviour` says. */
  async start(behaviour: Behaviour = {}, limits: Partial<AcceptLimits> = {}, clock?: AcceptClock): Promise<Running> {
    const { seen, deps } = watchedPath(behaviour);
    const hints: Running['hints'] = [];
    const server = createGrpcServer({
      ...deps,
      limits: { drainMs: 1_000, ...QUICK, ...limits },
      hint: (kind, message) => void hints.push({ kind, message }),
      ...(clock === undefined ? {} : { clock }),
    });
    const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
    this.#stops.push(() => server.drain());
    return { server, port, seen, hints };
  }

  connect(port: number, options: http2.ClientSessionOptions = {}): http2.ClientHttp2Session {
    // node:http2 as a client gives up a stream when 10 MB wait to be sent and an answer comes; grpc-js lifts that too.
    const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1_000, ...options });
    session.on('error', () => {});
    this.#stops.push(() => session.destroy());
    return session;
  }

  raw(port: number, options: { quiet?: boolean } = {}): RawH2 {
    const peer = new RawH2(port, options);
    this.#stops.push(() => peer.close());
    return peer;
  }

  onStop(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
  }
}

/** Without what node:http2 keeps beside the fields. */
export function plain(headers: http2.IncomingHttpHeaders): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers));
}

export interface ReadRefusal {
  readonly status: number;
  readonly message: string;
  readonly details: DecodedStatus | undefined;
  /** Of `google.rpc.retryinfo-bin`. */
  readonly retryDelay: { seconds: number; nanos: number } | undefined;
}

/** The refusal in a Trailers-Only answer; throws for any other answer. */
export function refusalIn(result: GrpcResult): ReadRefusal {
  const { headers, trailersOnly, data, trailers } = result;
  if (!trailersOnly || data.length > 0 || Object.keys(trailers).length > 0) {
    throw new Error(`not Trailers-Only: ${JSON.stringify({ headers, trailers, bytes: data.length })}`);
  }
  const details = headers['grpc-status-details-bin'];
  const retry = headers['google.rpc.retryinfo-bin'];
  return {
    status: Number(headers['grpc-status']),
    message: decodeURIComponent(String(headers['grpc-message'])),
    details: details === undefined ? undefined : decodeStatus(Buffer.from(String(details), 'base64')),
    retryDelay:
      retry === undefined
        ? undefined
        : (decode('RetryInfo', Buffer.from(String(retry), 'base64'))['retryDelay'] as ReadRefusal['retryDelay']),
  };
}

export interface ReadAnswer {
  readonly rejected: number;
  readonly message: string;
}

/** The positive answer; `undefined` is full success. Throws for a refusal. */
export function answerIn(result: GrpcResult): ReadAnswer | undefined {
  if (result.trailers['grpc-status'] !== '0') {
    throw new Error(`no positive answer: ${JSON.stringify([result.headers, result.trailers])}`);
  }
  if (result.data.readUInt8(0) !== 0 || result.data.readUInt32BE(1) !== result.data.length - 5) {
    throw new Error(`no message: ${result.data.toString('hex', 0, 20)}`);
  }
  const { partialSuccess } = decode('ExportResponse', result.data.subarray(5)) as {
    partialSuccess: { rejected: number; errorMessage: string } | null;
  };
  return partialSuccess === null
    ? undefined
    : { rejected: partialSuccess.rejected, message: partialSuccess.errorMessage };
}
