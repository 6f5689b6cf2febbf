/**
 * The log: one JSON object a line on stderr, written before the call returns, so that the last line of a dying process
 * is not lost. What is logged is chosen by the caller field by field; never a token, a body, a header or a query
 * (privacy promise P4). Stdout belongs to the operator's commands.
 */
import pino from 'pino';
import { BackworkError, messageOf } from './errors.ts';

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * A log whose lines carry `name` (the process: `main`, `store`, `ingest 0`). `level` is debug, info, warn or error.
 * A field named `error` may hold what was thrown: code and message are written, the stack at level debug only.
 * `fd` is another open file instead of stderr.
 */
export function createLog(name: string, level: string, fd = 2): Log {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => describe(error, level === 'debug') },
    },
    pino.destination({ dest: fd, sync: true }),
  );
}

function describe(error: unknown, withStack: boolean): object {
  return {
    ...(error instanceof BackworkError ? { code: error.code } : {}),
    message: messageOf(error),
    ...(withStack && error instanceof Error ? { stack: error.stack } : {}),
  };
}
