/**
 * Positive answers: Export…ServiceResponse of the three signals, by hand. Their wire forms are the same:
 * 1 partial_success (1 rejected_* int64, 2 error_message). Full success leaves partial_success unset (reference G11, H14).
 */
import type { BodyEncoding, ExportAnswer, Signal } from '../messages.ts';
import { clampMessage } from './otlp-status.ts';
import { messageField, stringField, varintField } from './protobuf-writer.ts';

const EMPTY = Buffer.alloc(0);
const EMPTY_JSON = Buffer.from('{}');

const REJECTED_JSON_NAME: Readonly<Record<Signal, string>> = {
  logs: 'rejectedLogRecords',
  metrics: 'rejectedDataPoints',
  traces: 'rejectedSpans',
};

/** The response message in the request's encoding; zero bytes or `{}` for full success. */
export function exportResponse(signal: Signal, answer: ExportAnswer, encoding: BodyEncoding): Buffer {
  if (answer.rejected === 0 && answer.message === '') return encoding === 'json' ? EMPTY_JSON : EMPTY;
  const message = clampMessage(answer.message);
  if (encoding === 'protobuf') {
    return messageField(1, varintField(1, answer.rejected), stringField(2, message));
  }
  // proto3 JSON writes an int64 as a string.
  const partialSuccess = { [REJECTED_JSON_NAME[signal]]: String(answer.rejected), errorMessage: message };
  return Buffer.from(JSON.stringify({ partialSuccess }));
}
