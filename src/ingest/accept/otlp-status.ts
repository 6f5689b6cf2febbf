/**
 * Error codes to answers: one table a protocol, every row of reference otlp.md 1.3, and the google.rpc messages that go
 * with them. A code that stands in neither table is a bug of ours: INTERNAL and 500, with a text that says nothing else.
 *
 *   google.rpc.Status      1 code, 2 message, 3 details (google.protobuf.Any: 1 type_url, 2 value)
 *   google.rpc.RetryInfo   1 retry_delay (google.protobuf.Duration: 1 seconds, 2 nanos)
 *   google.rpc.BadRequest  1 field_violations (1 field, 2 description)
 */
import { BackworkError, type ErrorCode } from '../../base/errors.ts';
import { ERROR_MESSAGE_BYTES_MAX } from '../../base/limits.ts';
import type { BodyEncoding } from '../messages.ts';
import { messageField, stringField, varintField } from './protobuf-writer.ts';

export const GRPC_CODE = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;
export type GrpcStatus = keyof typeof GRPC_CODE;

/** gRPC (otlp.md 1.3, G17–G19, G22). Every UNAVAILABLE carries RetryInfo, nothing else does. */
const GRPC: Partial<Record<ErrorCode, GrpcStatus>> = {
  malformed: 'INVALID_ARGUMENT',
  'too-large': 'RESOURCE_EXHAUSTED',
  'unknown-path': 'UNIMPLEMENTED',
  'method-not-allowed': 'UNIMPLEMENTED',
  'unsupported-content-type': 'UNIMPLEMENTED',
  'unsupported-coding': 'UNIMPLEMENTED',
  unauthenticated: 'UNAUTHENTICATED',
  forbidden: 'PERMISSION_DENIED',
  'volume-used-up': 'PERMISSION_DENIED',
  'rate-limited': 'UNAVAILABLE',
  'org-limit': 'UNAVAILABLE',
  overloaded: 'UNAVAILABLE',
  'spool-full': 'UNAVAILABLE',
  'spool-failed': 'UNAVAILABLE',
  'accounts-unavailable': 'UNAVAILABLE',
  'body-deadline': 'UNAVAILABLE',
  'shutting-down': 'UNAVAILABLE',
};

interface HttpRow {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection ends with this answer. */
  readonly close?: true;
}

export const ALLOWED_METHODS = 'POST, OPTIONS';

/** HTTP (otlp.md 1.3, H20–H24). Retry-After goes with every row whose gRPC status is UNAVAILABLE. Never 408. */
const HTTP: Partial<Record<ErrorCode, HttpRow>> = {
  malformed: { status: 400 },
  'too-large': { status: 413 },
  'unknown-path': { status: 404 },
  'method-not-allowed': { status: 405, headers: { Allow: ALLOWED_METHODS } },
  'unsupported-content-type': { status: 415 },
  'unsupported-coding': { status: 415 },
  unauthenticated: { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } },
  forbidden: { status: 403 },
  'volume-used-up': { status: 403 },
  'rate-limited': { status: 429 },
  'org-limit': { status: 429 },
  overloaded: { status: 503 },
  'spool-full': { status: 503 },
  'spool-failed': { status: 503 },
  'accounts-unavailable': { status: 503 },
  'body-deadline': { status: 503, close: true },
  'shutting-down': { status: 503, close: true },
};

const INTERNAL_MESSAGE = 'internal error; the request was not accepted';
const RETRY_SECONDS_MIN = 1;
const RETRY_SECONDS_MAX = 5;
const TYPE_URL = 'type.googleapis.com/google.rpc.';

export interface Refusal {
  readonly grpcStatus: GrpcStatus;
  readonly httpStatus: number;
  readonly httpHeaders: Readonly<Record<string, string>>;
  readonly httpClose: boolean;
  /** Well-formed, at most ERROR_MESSAGE_BYTES_MAX bytes of UTF-8. */
  readonly message: string;
  /** Whole seconds, 1–5 (reference H22, H23); undefined: the same request must not be sent again. */
  readonly retrySeconds: number | undefined;
  /** Offending field for BadRequest ('' when unknown); undefined: no such detail. */
  readonly field: string | undefined;
}

/** The answer to whatever was thrown. */
export function refusalOf(thrown: unknown): Refusal {
  const error = thrown instanceof BackworkError ? thrown : undefined;
  const grpcStatus = error === undefined ? undefined : GRPC[error.code];
  const row = error === undefined ? undefined : HTTP[error.code];
  if (error === undefined || grpcStatus === undefined || row === undefined) {
    const nothing = { httpHeaders: {}, httpClose: false, retrySeconds: undefined, field: undefined };
    return { grpcStatus: 'INTERNAL', httpStatus: 500, message: INTERNAL_MESSAGE, ...nothing };
  }
  const retrySeconds = grpcStatus === 'UNAVAILABLE' ? wholeSeconds(error.retryAfterMs) : undefined;
  const retryHeader: Record<string, string> = retrySeconds === undefined ? {} : { 'Retry-After': String(retrySeconds) };
  return {
    grpcStatus,
    httpStatus: row.status,
    httpHeaders: { ...row.headers, ...retryHeader },
    httpClose: row.close === true,
    message: clampMessage(error.message),
    retrySeconds,
    field: error.code === 'malformed' ? clampMessage(error.field ?? '') : undefined,
  };
}

/** True when the answer says INTERNAL / 500: what was thrown is for our own log. */
export function isFault(refusal: Refusal): boolean {
  return refusal.grpcStatus === 'INTERNAL';
}

/**
 * The fields of a Trailers-Only answer (reference G20, G21): the whole status in one HEADERS frame, and the delay both
 * as a detail of google.rpc.Status and in the trailer that Python's exporter reads.
 */
export function grpcStatusHeaders(refusal: Refusal): Record<string, string> {
  const headers: Record<string, string> = {
    'grpc-status': String(GRPC_CODE[refusal.grpcStatus]),
    'grpc-message': percentEncode(refusal.message),
  };
  if (refusal.retrySeconds !== undefined || refusal.field !== undefined) {
    headers['grpc-status-details-bin'] = unpaddedBase64(statusProtobuf(refusal));
  }
  if (refusal.retrySeconds !== undefined) {
    headers['google.rpc.retryinfo-bin'] = unpaddedBase64(retryInfo(refusal.retrySeconds));
  }
  return headers;
}

/** google.rpc.Status as an HTTP body; `code` is the gRPC code of the same row (reference H17). */
export function statusBody(refusal: Refusal, encoding: BodyEncoding): Buffer {
  return encoding === 'protobuf' ? statusProtobuf(refusal) : Buffer.from(JSON.stringify(statusJson(refusal)));
}

/** Well-formed (a lone surrogate becomes U+FFFD) and at most ERROR_MESSAGE_BYTES_MAX bytes of UTF-8. */
export function clampMessage(message: string): string {
  const wellFormed = message.toWellFormed();
  if (wellFormed.length * 3 <= ERROR_MESSAGE_BYTES_MAX) return wellFormed;
  const bytes = Buffer.from(wellFormed);
  if (bytes.length <= ERROR_MESSAGE_BYTES_MAX) return wellFormed;
  let end = ERROR_MESSAGE_BYTES_MAX;
  // Back to the first byte of the character that would be cut.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

/** gRPC over HTTP/2, "Status-Message": UTF-8; what is outside 0x20–0x7E, and `%`, as %XX. */
function percentEncode(message: string): string {
  let text = '';
  for (const byte of Buffer.from(message)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    text += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

function wholeSeconds(delayMs = 0): number {
  return Math.min(RETRY_SECONDS_MAX, Math.max(RETRY_SECONDS_MIN, Math.ceil(delayMs / 1_000)));
}

function statusProtobuf(refusal: Refusal): Buffer {
  const parts = [varintField(1, GRPC_CODE[refusal.grpcStatus]), stringField(2, refusal.message)];
  if (refusal.retrySeconds !== undefined) parts.push(detail('RetryInfo', retryInfo(refusal.retrySeconds)));
  if (refusal.field !== undefined) {
    const violation = messageField(1, stringField(1, refusal.field), stringField(2, refusal.message));
    parts.push(detail('BadRequest', violation));
  }
  return Buffer.concat(parts);
}

function detail(type: string, value: Buffer): Buffer {
  return messageField(3, stringField(1, TYPE_URL + type), messageField(2, value));
}

function retryInfo(seconds: number): Buffer {
  return messageField(1, varintField(1, seconds));
}

function statusJson(refusal: Refusal): object {
  const details: object[] = [];
  if (refusal.retrySeconds !== undefined) {
    details.push({ '@type': `${TYPE_URL}RetryInfo`, retryDelay: `${refusal.retrySeconds}s` });
  }
  if (refusal.field !== undefined) {
    const violation = { field: refusal.field, description: refusal.message };
    details.push({ '@type': `${TYPE_URL}BadRequest`, fieldViolations: [violation] });
  }
  const status = { code: GRPC_CODE[refusal.grpcStatus], message: refusal.message };
  return details.length === 0 ? status : { ...status, details };
}

function unpaddedBase64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
