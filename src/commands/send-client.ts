/**
 * A peer that sends OTLP, for `send`: what is common to both transports. Its two kinds, send-http-client.ts and
 * send-grpc-client.ts, are loaded when they are asked for, because only they need protobufjs and grpc-js.
 */
import { BackworkError } from '../base/errors.ts';
import type { Signal } from '../ingest/messages.ts';

export interface OtlpClient {
  /** Sends one export request and resolves to what was answered. Throws a BackworkError in one line for the rest. */
  send(signal: Signal, message: object): Promise<Answer>;
  close(): void;
}

/** A success, partial or whole. A message with 0 rejected items is a warning. */
export interface Answer {
  readonly rejected: number;
  readonly message: string;
}

export interface ClientOptions {
  readonly endpoint: URL;
  readonly token: string;
}

export type Protocol = 'grpc' | 'http';

/** Exporters wait 10 s; a sample may as well. */
export const ANSWER_WITHIN_MS = 10_000;

export const PARTIAL_SUCCESS_FIELD: Readonly<Record<Signal, string>> = {
  traces: 'rejectedSpans',
  logs: 'rejectedLogRecords',
  metrics: 'rejectedDataPoints',
};

export async function openClient(protocol: Protocol, options: ClientOptions): Promise<OtlpClient> {
  if (protocol === 'grpc') return (await import('./send-grpc-client.ts')).openGrpcClient(options);
  return (await import('./send-http-client.ts')).openHttpClient(options);
}

/** What an Export…ServiceResponse says, whichever signal it is of; 64-bit numbers read as numbers. */
export function answerOf(signal: Signal, response: object): Answer {
  const partial = (response as { partialSuccess?: Record<string, unknown> | null }).partialSuccess;
  return {
    rejected: Number(partial?.[PARTIAL_SUCCESS_FIELD[signal]] ?? 0),
    message: String(partial?.['errorMessage'] ?? ''),
  };
}

/**
 * The peer refused: `status` as its protocol names it (`HTTP 401`, `UNAUTHENTICATED`), `said` in its own words, which
 * are made one line and lose the token should it stand in them.
 */
export function refused(signal: Signal, status: string, said: string, token: string): BackworkError {
  const isToken = /^(HTTP 401|UNAUTHENTICATED)$/.test(status);
  const what = isToken ? 'the token was refused' : `${signal} were refused`;
  const words = oneLine(said, token);
  return new BackworkError(isToken ? 'unauthenticated' : 'invalid-input', `${what}: ${status}${words && `, ${words}`}`);
}

export function unreachable({ endpoint }: ClientOptions, reason: string): BackworkError {
  return new BackworkError('not-found', `${nameOf(endpoint)} cannot be reached: ${oneLine(reason, '')}`);
}

/** As people write it: without a slash at the end. */
export function nameOf(endpoint: URL): string {
  return `${endpoint.protocol}//${endpoint.host}${endpoint.pathname.replace(/\/$/, '')}`;
}

const TEXT_MAX = 300;

/** Text from elsewhere, safe to print: printable, of bounded length, without the token. */
export function oneLine(text: string, token: string): string {
  const hidden = token === '' ? text : text.replaceAll(token, '<token>');
  const line = hidden.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
  return line.length > TEXT_MAX ? `${line.slice(0, TEXT_MAX)}…` : line;
}
