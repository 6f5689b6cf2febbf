/** The one place where an error becomes an HTTP answer of the API: status table and problem document (RFC 9457). */
import { STATUS_CODES } from 'node:http';
import { BackworkError, type ErrorCode } from '../base/errors.ts';

/** Codes without an entry are faults of ours: 500, and their text stays in the log. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  malformed: 400,
  'invalid-input': 400,
  unauthenticated: 401,
  'second-factor-needed': 401,
  forbidden: 403,
  'email-not-verified': 403,
  'confirmation-needed': 403,
  'not-found': 404,
  'unknown-path': 404,
  'method-not-allowed': 405,
  conflict: 409,
  'precondition-failed': 412,
  'too-large': 413,
  'unsupported-content-type': 415,
  'rate-limited': 429,
  overloaded: 503,
  'accounts-unavailable': 503,
  'store-unreachable': 503,
  'store-temporary': 503,
  'shutting-down': 503,
};

/** application/problem+json with `status`, `title`, `code`, `detail`, and `field` where one is to blame. */
export function errorResponse(error: unknown, requestId: string): Response {
  const known = error instanceof BackworkError ? error : undefined;
  const status = (known && STATUS[known.code]) ?? 500;
  const problem: Record<string, unknown> = { code: status === 500 ? 'internal' : known?.code };
  // The text of an unexpected error may hold anything, so a client gets the id under which the log has it.
  problem['detail'] = status === 500 ? `internal error; the log has it under request ${requestId}` : known?.message;
  if (known?.field !== undefined) problem['field'] = known.field;
  return problemResponse(status, problem, known?.retryAfterMs);
}

/** A problem document with the given members; `title` is the status line's text. */
export function problemResponse(status: number, members: object, retryAfterMs?: number): Response {
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' };
  if (retryAfterMs !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  return new Response(`${JSON.stringify({ title: STATUS_CODES[status], status, ...members })}\n`, { status, headers });
}
