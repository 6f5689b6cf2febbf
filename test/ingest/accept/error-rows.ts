/** Every row of the outcome map (reference otlp.md 1.3) that is not success, as a client must see it. */
import type { ErrorCode } from '../../../src/base/errors.ts';

export interface ErrorRow {
  readonly code: ErrorCode;
  readonly grpc: number;
  readonly http: number;
  readonly retry?: true;
  readonly close?: true;
}

export const ERROR_ROWS: readonly ErrorRow[] = [
  { code: 'malformed', grpc: 3, http: 400 },
  { code: 'too-large', grpc: 8, http: 413 },
  { code: 'unknown-path', grpc: 12, http: 404 },
  { code: 'method-not-allowed', grpc: 12, http: 405 },
  { code: 'unsupported-content-type', grpc: 12, http: 415 },
  { code: 'unsupported-coding', grpc: 12, http: 415 },
  { code: 'unauthenticated', grpc: 16, http: 401 },
  { code: 'forbidden', grpc: 7, http: 403 },
  { code: 'volume-used-up', grpc: 7, http: 403 },
  { code: 'rate-limited', grpc: 14, http: 429, retry: true },
  { code: 'org-limit', grpc: 14, http: 429, retry: true },
  { code: 'overloaded', grpc: 14, http: 503, retry: true },
  { code: 'spool-full', grpc: 14, http: 503, retry: true },
  { code: 'spool-failed', grpc: 14, http: 503, retry: true },
  { code: 'accounts-unavailable', grpc: 14, http: 503, retry: true },
  { code: 'body-deadline', grpc: 14, http: 503, retry: true, close: true },
  { code: 'shutting-down', grpc: 14, http: 503, retry: true, close: true },
  // Whatever has no row is a bug of ours.
  { code: 'internal', grpc: 13, http: 500 },
  { code: 'store-permanent', grpc: 13, http: 500 },
];
