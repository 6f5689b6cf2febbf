/**
 * The answer to one query as ClickHouse gives it: headers, a body in the format asked for, and an exception either as
 * status and text, or, when the body has begun, in its tail:
 *
 *   … rows … CRLF __exception__ CRLF <tag> LF <text> LF <bytes of text and LF> SP <tag> CRLF __exception__ CRLF
 *
 * with the tag in X-ClickHouse-Exception-Tag. The connection is then closed without the last chunk, so that a client
 * that knows nothing of tags sees a broken answer, not a short one.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Transform, Writable } from 'node:stream';
import { constants, createDeflate, createGzip, createZstdCompress } from 'node:zlib';
import { MIB } from '../base/limits.ts';
import { exception, exceptionCode, exceptionStatus } from './exception.ts';

/** What the door calls itself where a server gives its host's name: clients learn from it that they talk to the door. */
export const DOOR_DISPLAY_NAME = 'backwork-embedded-engine';

/** A result that is held until its query has ended (wait_end_of_query=1). */
const HELD_RESULT_BYTES_MAX = 64 * MIB;

export interface Summary {
  readonly readRows: number;
  readonly readBytes: number;
  readonly writtenRows: number;
  readonly writtenBytes: number;
  readonly resultRows: number;
  readonly resultBytes: number;
  readonly elapsedMs: number;
}

export const NO_SUMMARY: Summary = {
  readRows: 0,
  readBytes: 0,
  writtenRows: 0,
  writtenBytes: 0,
  resultRows: 0,
  resultBytes: 0,
  elapsedMs: 0,
};

export interface AnswerOptions {
  readonly queryId: string;
  readonly format: string;
  readonly version: string;
  readonly waitEndOfQuery: boolean;
  readonly bufferBytes: number;
  /** `gzip`, `zstd`, `deflate`, or undefined for none. */
  readonly coding: Coding | undefined;
}

export type Coding = 'gzip' | 'zstd' | 'deflate';
type Compressor = Transform & { flush(callback: () => void): void };

export class DoorAnswer {
  readonly #response: ServerResponse;
  readonly #options: AnswerOptions;
  readonly #tag = randomBytes(8).toString('hex');
  #held: Buffer[] = [];
  #heldBytes = 0;
  #compressor: Compressor | undefined;

  constructor(response: ServerResponse, options: AnswerOptions) {
    this.#response = response;
    this.#options = options;
  }

  /**
   * One part of the result. Resolves when the client has room for more, has gone, or `signal` is aborted. Throws 396
   * when too much would be held.
   */
  async write(chunk: Buffer, signal: AbortSignal): Promise<void> {
    if (this.#response.headersSent) return this.#send(chunk, signal);
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    const { waitEndOfQuery, bufferBytes } = this.#options;
    if (!waitEndOfQuery && this.#heldBytes > bufferBytes) {
      this.#begin(NO_SUMMARY);
      return this.#flush(signal);
    }
    if (waitEndOfQuery && this.#heldBytes > HELD_RESULT_BYTES_MAX) {
      const message = `The result is over ${HELD_RESULT_BYTES_MAX} bytes: ask without wait_end_of_query=1`;
      throw exception('TOO_MANY_ROWS_OR_BYTES', message);
    }
  }

  /** The whole result was written. */
  async end(summary: Summary, signal: AbortSignal): Promise<void> {
    if (!this.#response.headersSent) {
      this.#begin(summary);
      await this.#flush(signal);
    }
    (this.#compressor ?? this.#response).end();
  }

  /** The query failed. Does nothing when the client has gone. */
  fail(error: Error): void {
    this.#held = [];
    if (this.#response.destroyed) return;
    if (!this.#response.headersSent) {
      answerException(this.#response, error, this.#options);
      return;
    }
    const text = `${exceptionText(error, this.#options.version)}\n`;
    const tail = `\r\n__exception__\r\n${this.#tag}\n${text}${Buffer.byteLength(text)} ${this.#tag}\r\n__exception__\r\n`;
    const drop = () => this.#response.destroy();
    if (this.#compressor === undefined) this.#response.write(tail, drop);
    else {
      this.#compressor.write(tail);
      this.#compressor.flush(() => this.#response.write('', drop));
    }
  }

  #begin(summary: Summary): void {
    const { coding, format } = this.#options;
    this.#response.writeHead(200, {
      ...commonHeaders(this.#options),
      'Content-Type': contentType(format),
      'X-ClickHouse-Format': format,
      'X-ClickHouse-Exception-Tag': this.#tag,
      'X-ClickHouse-Summary': summaryText(summary),
      ...(coding === undefined ? {} : { 'Content-Encoding': coding }),
    });
    if (coding === undefined) return;
    this.#compressor = compressor(coding);
    this.#compressor.pipe(this.#response);
  }

  async #flush(signal: AbortSignal): Promise<void> {
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) await this.#send(chunk, signal);
  }

  async #send(chunk: Buffer, signal: AbortSignal): Promise<void> {
    const stream = this.#compressor ?? this.#response;
    if (stream.write(chunk) || this.#response.destroyed) return;
    await drained(stream, this.#response, signal);
  }
}

/** Status, headers and text of an exception that comes before any result. */
export function answerException(
  response: ServerResponse,
  error: Error,
  options: { readonly queryId: string; readonly version: string },
): void {
  const code = exceptionCode(error);
  const status = exceptionStatus(code);
  response.writeHead(status, {
    ...commonHeaders(options),
    'Content-Type': 'text/plain; charset=UTF-8',
    'X-ClickHouse-Exception-Code': String(code),
    ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="ClickHouse server HTTP API"' } : {}),
  });
  response.end(`${exceptionText(error, options.version)}\n`);
}

/** The coding of the answer: the client must both accept it and ask for it (enable_http_compression=1). */
export function answerCoding(request: IncomingMessage, asked: boolean): Coding | undefined {
  if (!asked) return undefined;
  const accepted = request.headers['accept-encoding']?.toString().toLowerCase() ?? '';
  const names = accepted.split(',').map((part) => part.split(';')[0]?.trim());
  return (['zstd', 'gzip', 'deflate'] as const).find((coding) => names.includes(coding));
}

/** Headers of every answer. */
export function commonHeaders(options: { readonly queryId: string }): Record<string, string> {
  return {
    'X-ClickHouse-Server-Display-Name': DOOR_DISPLAY_NAME,
    'X-ClickHouse-Query-Id': options.queryId,
    'X-ClickHouse-Timezone': 'UTC',
  };
}

function exceptionText(error: Error, version: string): string {
  return `${error.message} (version ${version})`;
}

/** Resolves when `stream` has room, the client has gone, or `signal` is aborted. */
async function drained(stream: Writable, response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off('drain', done);
      response.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    stream.on('drain', done);
    response.on('close', done);
    signal.addEventListener('abort', done);
  });
}

/** Numbers as strings, as ClickHouse writes them. */
function summaryText(summary: Summary): string {
  return JSON.stringify({
    read_rows: String(summary.readRows),
    read_bytes: String(summary.readBytes),
    written_rows: String(summary.writtenRows),
    written_bytes: String(summary.writtenBytes),
    total_rows_to_read: '0',
    result_rows: String(summary.resultRows),
    result_bytes: String(summary.resultBytes),
    elapsed_ns: String(Math.round(summary.elapsedMs * 1e6)),
  });
}

function compressor(coding: Coding): Compressor {
  if (coding === 'gzip') return createGzip({ level: 3 });
  if (coding === 'deflate') return createDeflate({ level: 3 });
  return createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
}

const CONTENT_TYPES: ReadonlyArray<readonly [RegExp, string]> = [
  [/^(TSV|TabSeparated)/i, 'text/tab-separated-values; charset=UTF-8'],
  [/^CSV/i, 'text/csv; charset=UTF-8; header=absent'],
  [/^(JSON.*EachRow.*|JSONLines|NDJSON)$/i, 'application/x-ndjson; charset=UTF-8'],
  [/^JSON/i, 'application/json; charset=UTF-8'],
  [/^XML$/i, 'application/xml; charset=UTF-8'],
  [/^(Native|RowBinary|Parquet|Arrow|ORC|Avro|MsgPack|Protobuf|BSON|Npy|CapnProto)/i, 'application/octet-stream'],
];

function contentType(format: string): string {
  return CONTENT_TYPES.find(([pattern]) => pattern.test(format))?.[1] ?? 'text/plain; charset=UTF-8';
}
