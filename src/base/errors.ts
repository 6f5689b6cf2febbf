/**
 * The one family of errors. `code` is stable: tests, status tables and clients use it; people read the message.
 * A message says what, the limit and the value, and never holds a token or a body.
 */
export type ErrorCode =
  // answers to a client that exports (ingest/accept/otlp-status.ts turns them into gRPC and HTTP statuses)
  | 'malformed'
  | 'too-large'
  | 'unknown-path'
  | 'method-not-allowed'
  | 'unsupported-content-type'
  | 'unsupported-coding'
  | 'unauthenticated'
  | 'forbidden'
  | 'volume-used-up'
  | 'rate-limited'
  | 'org-limit'
  | 'overloaded'
  | 'spool-full'
  | 'spool-failed'
  | 'accounts-unavailable'
  | 'body-deadline'
  | 'shutting-down'
  // what the telemetry store says
  | 'store-unreachable'
  | 'store-temporary'
  | 'store-permanent'
  | 'store-unknown-outcome'
  | 'store-settings'
  // the spool's files
  | 'corrupt'
  | 'newer-format'
  // starting and operating
  | 'bad-setting'
  | 'port-busy'
  | 'locked'
  | 'unsupported-platform'
  | 'not-found'
  | 'conflict'
  | 'invalid-input'
  | 'internal'
  // answers of the API alone (api/error-response.ts)
  | 'second-factor-needed'
  | 'email-not-verified'
  | 'confirmation-needed'
  | 'precondition-failed';

export interface ErrorDetails {
  /** What the same call made later may find better. Decided where the error is born, never from its text. */
  readonly retryable?: boolean;
  /** How long a client should wait, for retryable errors. */
  readonly retryAfterMs?: number;
  /** Path of the offending field, in OTLP/JSON names: `resourceLogs[0].scopeLogs[1].logRecords[5].timeUnixNano`. */
  readonly field?: string;
  /** ClickHouse's own error code, where the store refused. */
  readonly storeCode?: number;
  readonly cause?: unknown;
}

export class BackworkError extends Error {
  override readonly name = 'BackworkError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly field: string | undefined;
  readonly storeCode: number | undefined;
  /** Whose request was refused, where that was known already: for counting, never for a text. */
  orgId: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs;
    this.field = details.field;
    this.storeCode = details.storeCode;
  }
}

/**
 * A refusal that clears by itself; the client is told to come back after `retryAfterMs` (1–5 s, reference H22). It has no
 * stack: its message says which bound was reached, and who floods a port costs the frames of every refusal otherwise.
 */
export function retryLater(code: ErrorCode, message: string, retryAfterMs = 1_000): BackworkError {
  const frames = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new BackworkError(code, message, { retryable: true, retryAfterMs });
  } finally {
    Error.stackTraceLimit = frames;
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
