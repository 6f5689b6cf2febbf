/**
 * What both OTLP ports have in common: how they are made, bounded and stopped. A port (grpc-server.ts, http-server.ts)
 * brings a request to the RequestPath it was handed and the path's answer back; it knows nothing of what happens there.
 *
 *   socket ─► head: path, content type, coding, token ─► path.open ─► body: read, bounded, inflated ─► submit ─► answer
 *              request-head.ts                                         request-body.ts, inflate.ts            otlp-status.ts
 *
 * Promises of both ports:
 * - Nothing of a body is kept before `open` has returned, and `reserve` is asked before memory grows.
 * - `release` is called exactly once for each `open` that returned, and only after `submit` has settled.
 * - A request is answered exactly once, as reference otlp.md 1.3 says, or its client is gone.
 * - Every text that leaves is ours: errors of Node and of zlib are replaced, tokens and bodies are never quoted.
 * - Whatever bytes a peer sends, no error leaves the port: its own request or connection ends.
 */
import {
  ANSWER_DEADLINE_MS,
  BODY_BYTES_MAX,
  BODY_DEADLINE_MS,
  CONNECTION_AGE_JITTER,
  CONNECTION_AGE_MS,
  CONNECTION_GRACE_MS,
  DRAIN_MS,
  GRPC_CONTROL_FRAMES_PER_SECOND_MAX,
  GRPC_IDLE_MS,
  GRPC_STREAMS_MAX,
  HEADERS_DEADLINE_MS,
  HTTP_KEEP_ALIVE_MS,
  INFLATES_AT_ONCE,
  REFUSED_BODY_DRAIN_BYTES_MAX,
  REFUSED_BODY_DRAIN_MS_MAX,
} from '../../base/limits.ts';
import type { IngestEvents, RequestPath } from '../messages.ts';

export interface AcceptServer {
  /**
   * Listens and resolves with the port (the one given, or the one the system chose for 0).
   * Throws BackworkError `port-busy`; other errors of the socket (no such address, no reusePort here) as Node gives them.
   */
  listen(address: ListenAddress): Promise<number>;
  /** Stops accepting, lets what runs finish (at most `limits.drainMs`), refuses what is new, closes. Never rejects. */
  drain(): Promise<void>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** Several workers listen on the same port and the kernel spreads connections over them. */
  readonly reusePort: boolean;
}

export interface AcceptDeps {
  readonly path: RequestPath;
  readonly log: RequestLog;
  readonly clock?: AcceptClock;
  /** Tests shrink these; the service runs with base/limits.ts. */
  readonly limits?: Partial<AcceptLimits>;
  /** OTLP/HTTP only. Origins whose pages may export, compared as they stand; `*` is any. Empty: no CORS (reference C2). */
  readonly corsOrigins?: readonly string[];
  /** Told of each request that is refused. */
  readonly events?: Pick<IngestEvents, 'refused'>;
  /** Told what was thrown when the client is answered INTERNAL / 500: a bug of ours. */
  readonly onFault?: (error: unknown) => void;
  /** Told of each peer that seems to have mixed something up; createHints() says each kind once a minute. */
  readonly hint?: (kind: HintKind, message: string) => void;
  /** The port speaks TLS, and nothing else, with these; undefined is plain text. */
  readonly tls?: TlsCertificates;
  /** OTLP/gRPC only: whether a request sent now would be accepted, for the health service. Default: always. */
  readonly isServing?: () => boolean;
}

export type HintKind =
  | 'tls-on-plain-port'
  | 'plain-on-tls-port'
  | 'grpc-on-http-port'
  | 'http-on-grpc-port'
  | 'client-certificate';

/** Certificate, key and client CA as they are at any time; tls-files.ts reads them and follows their files. */
export interface TlsCertificates {
  current(): TlsContext;
  /** `use` is called with what has taken their place, each time. */
  onChange(use: (context: TlsContext) => void): void;
}

export interface TlsContext {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** A client must show a certificate that one of these has signed; undefined asks for none. */
  readonly clientCa: Buffer | undefined;
}

/** The request log. Allow-listed fields only (reliability-security.md 2.8): no address, header, query or body. */
export interface RequestLog {
  request(fields: RequestLogFields): void;
}

export interface RequestLogFields {
  /** A served path as we write it, or a name in brackets for everything else; never the client's own text. */
  readonly route: string;
  /** HTTP status, or the name of the gRPC status; `client gone` when there was nobody to answer. */
  readonly status: number | string;
  /** Body bytes on the wire that were read before the answer. */
  readonly bytes: number;
  readonly ms: number;
  readonly orgId: string | undefined;
}

export interface AcceptClock {
  /** Milliseconds that only grow. */
  nowMs(): number;
}

/** base/limits.ts says what each is for. */
export const ACCEPT_LIMITS = {
  bodyBytesMax: BODY_BYTES_MAX,
  bodyDeadlineMs: BODY_DEADLINE_MS,
  headersDeadlineMs: HEADERS_DEADLINE_MS,
  answerDeadlineMs: ANSWER_DEADLINE_MS,
  refusedDrainBytesMax: REFUSED_BODY_DRAIN_BYTES_MAX,
  refusedDrainMs: REFUSED_BODY_DRAIN_MS_MAX,
  connectionAgeMs: CONNECTION_AGE_MS,
  connectionGraceMs: CONNECTION_GRACE_MS,
  grpcIdleMs: GRPC_IDLE_MS,
  grpcStreamsMax: GRPC_STREAMS_MAX,
  grpcControlFramesPerSecondMax: GRPC_CONTROL_FRAMES_PER_SECOND_MAX,
  httpKeepAliveMs: HTTP_KEEP_ALIVE_MS,
  drainMs: DRAIN_MS,
  inflatesAtOnce: INFLATES_AT_ONCE,
  /** How often deadlines are looked at: they are kept to this exactness, and what is due is not closed in large crowds. */
  sweepMs: 250,
};

export type AcceptLimits = Readonly<typeof ACCEPT_LIMITS>;

export const MONOTONIC_CLOCK: AcceptClock = { nowMs: () => performance.now() };

/** The client has closed its stream or connection: there is nobody to answer. Not an error of ours or of the request. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/** When a connection that begins now has to end. */
export function connectionEndMs(nowMs: number, ageMs: number): number {
  return nowMs + ageMs * (1 + CONNECTION_AGE_JITTER * (2 * Math.random() - 1));
}
