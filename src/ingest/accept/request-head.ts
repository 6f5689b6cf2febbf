/** What a request's head says, for both protocols; pure. */
import type { IncomingHttpHeaders } from 'node:http';
import { BackworkError } from '../../base/errors.ts';
import { type BodyEncoding, type RequestHead, SIGNALS, type Signal } from '../messages.ts';
import type { Coding } from './inflate.ts';
import { tooLarge } from './request-body.ts';

/** Compressed flag and length, before each gRPC message. */
export const GRPC_PREFIX_BYTES = 5;

export interface Route {
  readonly signal: Signal;
  /** The path as we write it: what the request log shows. */
  readonly path: string;
}

const HTTP_ROUTES: ReadonlyMap<string, Route> = new Map(
  SIGNALS.map((signal) => [`/v1/${signal}`, { signal, path: `/v1/${signal}` }]),
);

export const GRPC_SERVICES: Readonly<Record<Signal, string>> = {
  logs: 'opentelemetry.proto.collector.logs.v1.LogsService',
  metrics: 'opentelemetry.proto.collector.metrics.v1.MetricsService',
  traces: 'opentelemetry.proto.collector.trace.v1.TraceService',
};

const GRPC_ROUTES: ReadonlyMap<string, Route> = new Map(
  SIGNALS.map((signal) => {
    const path = `/${GRPC_SERVICES[signal]}/Export`;
    return [path, { signal, path }];
  }),
);

/**
 * Exact, or with one trailing slash (reference H3); `url` as clients send it, or with scheme and host before it, as they
 * send it to proxies and servers must take it (RFC 9112 section 3.2.2). Throws `unknown-path`, naming the right one.
 */
export function httpRoute(url: string): Route {
  const path = url.replace(/^https?:\/\/[^/?]*/i, '').replace(/\?.*$/s, '');
  const route = HTTP_ROUTES.get(path.endsWith('/') ? path.slice(0, -1) : path);
  if (route !== undefined) return route;
  if (path.includes('profiles')) throw new BackworkError('unknown-path', 'profiles are not received here');
  const meant = SIGNALS.filter((signal) => path.includes(signal));
  const named = (meant.length === 1 ? meant : SIGNALS).map((signal) => `/v1/${signal}`).join(', ');
  throw new BackworkError('unknown-path', `unknown path; OTLP/HTTP is received by POST at ${named}`);
}

/** Throws `unknown-path`. */
export function grpcRoute(path: string): Route {
  const route = GRPC_ROUTES.get(path);
  if (route !== undefined) return route;
  if (path.startsWith('/opentelemetry.proto.collector.profiles.')) {
    throw new BackworkError('unknown-path', 'profiles are not received here; traces, metrics and logs are');
  }
  throw new BackworkError('unknown-path', `unknown method; served are ${[...GRPC_ROUTES.keys()].join(', ')}`);
}

/** `application/grpc` with any subtype or parameters; anything else is no gRPC call at all. */
export function isGrpc(contentType: string | undefined): boolean {
  return /^application\/grpc(?:[+;\s]|$)/i.test(contentType ?? '');
}

/** Case-insensitive, parameters ignored (reference H5); undefined for any other or none. */
export function bodyEncoding(contentType: string | undefined): BodyEncoding | undefined {
  if (contentType === undefined) return undefined;
  const parameters = contentType.indexOf(';');
  const type = (parameters === -1 ? contentType : contentType.slice(0, parameters)).trim().toLowerCase();
  if (type === 'application/x-protobuf') return 'protobuf';
  return type === 'application/json' ? 'json' : undefined;
}

export interface ReadHead {
  readonly head: RequestHead;
  readonly coding: Coding;
  /** What is wrong with the head; said only after the token was judged (`orderedRefusal`). */
  readonly fault: BackworkError | undefined;
}

type Headers = IncomingHttpHeaders & { 'x-api-key'?: string | string[]; 'grpc-encoding'?: string };

/** Order of faults (reference A3): content type, coding, declared size. */
export function readHttpHead(route: Route, headers: Headers, bodyBytesMax: number): ReadHead {
  return readHead(route, 'http', headers, bodyBytesMax, () => {
    if (bodyEncoding(headers['content-type']) === undefined) {
      const message = 'the content type must be application/x-protobuf or application/json';
      throw new BackworkError('unsupported-content-type', message);
    }
    return httpCoding(headers['content-encoding']);
  });
}

/** `bodyBytesMax` is of the message; five bytes of framing stand before it. */
export function readGrpcHead(route: Route, headers: Headers, bodyBytesMax: number): ReadHead {
  return readHead(route, 'grpc', headers, bodyBytesMax + GRPC_PREFIX_BYTES, () => {
    checkGrpcSubtype(headers['content-type'] ?? '');
    return grpcCoding(headers['grpc-encoding']);
  });
}

/** What the token decided, before anything else of the head is told to the client (reference A3). */
const DECIDED_BY_TOKEN: ReadonlySet<string> = new Set([
  'unauthenticated',
  'forbidden',
  'volume-used-up',
  'accounts-unavailable',
]);

/**
 * `open` authenticates and admits in one step, while the order of answers is: token, then the rest of the head, then
 * admission. So a fault of the head comes before what admission says and after what the token says.
 */
export function orderedRefusal(fromOpen: unknown, fromHead: BackworkError | undefined): unknown {
  if (fromHead === undefined) return fromOpen;
  return fromOpen instanceof BackworkError && DECIDED_BY_TOKEN.has(fromOpen.code) ? fromOpen : fromHead;
}

function readHead(
  route: Route,
  protocol: 'grpc' | 'http',
  headers: Headers,
  bytesMax: number,
  readCoding: () => Coding,
): ReadHead {
  const authorization = authorizationOf(headers.authorization, headers['x-api-key']);
  const head = { signal: route.signal, protocol, authorization };
  const bodyBytesDeclared = declaredBytes(headers['content-length']);
  try {
    const coding = readCoding();
    if (bodyBytesDeclared !== undefined && bodyBytesDeclared > bytesMax) {
      throw tooLarge('body', bodyBytesDeclared, bytesMax);
    }
    return { head: { ...head, bodyBytesDeclared }, coding, fault: undefined };
  } catch (error) {
    if (!(error instanceof BackworkError)) throw error;
    // Such a body is not read: no length, so that admission reserves nothing for it.
    return { head: { ...head, bodyBytesDeclared: undefined }, coding: 'identity', fault: error };
  }
}

/** Throws `unsupported-content-type` for messages that are not protobuf. */
function checkGrpcSubtype(contentType: string): void {
  if (/^application\/grpc(?:\+proto)?\s*(?:;|$)/i.test(contentType)) return;
  throw new BackworkError('unsupported-content-type', 'gRPC messages must be protobuf: content-type application/grpc');
}

/** One coding, case-insensitive (reference H9). Throws `unsupported-coding`. */
function httpCoding(header: string | undefined): Coding {
  const coding = (header ?? '').trim().toLowerCase();
  if (coding === '' || coding === 'identity') return 'identity';
  if (coding === 'gzip' || coding === 'deflate' || coding === 'zstd') return coding;
  const message = 'this content-encoding is not supported; exactly one of identity, gzip, deflate, zstd is';
  throw new BackworkError('unsupported-coding', message);
}

/** Codings that clients have and that a refusal names; any other text would be the client's own. */
const GRPC_CODINGS_NAMED: readonly string[] = ['deflate', 'zstd', 'snappy', 'br', 'lz4', 'zlib', 'x-snappy-framed'];

/** Throws `unsupported-coding` (reference G6). */
function grpcCoding(header: string | undefined): Coding {
  const coding = (header ?? '').trim().toLowerCase();
  if (coding === '' || coding === 'identity') return 'identity';
  if (coding === 'gzip') return coding;
  const named = GRPC_CODINGS_NAMED.find((known) => known === coding) ?? 'given';
  throw new BackworkError('unsupported-coding', `the grpc-encoding ${named} is not supported; identity and gzip are`);
}

/** First value of `authorization`, else of `x-api-key` as a bearer token (reference A1, A2). */
function authorizationOf(authorization: string | undefined, apiKey: string | string[] | undefined): string | undefined {
  if (authorization !== undefined) return authorization;
  // A repeated header is joined by commas, which no key holds.
  const value = (typeof apiKey === 'string' ? apiKey : apiKey?.[0])?.split(',', 1)[0];
  return value === undefined ? undefined : `Bearer ${value.trim()}`;
}

/** Content-Length in bytes; undefined when there is none. */
function declaredBytes(contentLength: string | undefined): number | undefined {
  return contentLength !== undefined && /^\d+$/.test(contentLength) ? Number(contentLength) : undefined;
}
