/**
 * The HTTP/1.1 connections, and what goes wrong on one outside a request that was parsed (reference otlp.md H28, H29, T2):
 *
 *   headers not whole by their deadline      closed without an answer (Node would send 408, which clients do not retry)
 *   bytes that are no HTTP                   400 with a Status body, closed
 *   a body whose framing is broken           the request's own refusal (400), closed
 *   connectionAgeMs ± 10 %                   `Connection: close` on the next answer
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { BackworkError } from '../../base/errors.ts';
import { type AcceptClock, type AcceptLimits, connectionEndMs, type RequestLog } from './accept-server.ts';
import { refusalOf, statusBody } from './otlp-status.ts';

export interface HttpConnection {
  readonly endMs: number;
  /** Requests that are not answered yet. */
  readonly exchanges: Set<{ readonly gone: (() => void) | undefined }>;
  /** What came last was no HTTP: nothing more can be read, and the connection ends with the answers that are due. */
  broken: boolean;
  /** Ends the body that is being received. */
  fail: ((error: Error) => void) | undefined;
}

/** First byte of a TLS record that holds a ClientHello: exporters of Go speak TLS unless told otherwise. */
const TLS_HANDSHAKE = 0x16;

export class HttpConnections {
  readonly #connections = new WeakMap<Duplex, HttpConnection>();
  readonly #limits: AcceptLimits;
  readonly #clock: AcceptClock;
  readonly #log: RequestLog;

  constructor(options: { limits: AcceptLimits; clock: AcceptClock; log: RequestLog }) {
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  watch(server: Server): void {
    server.on('connection', (socket) => {
      socket.on('error', ignore);
      const connection = this.of(socket);
      socket.on('close', () => {
        for (const exchange of connection.exchanges) exchange.gone?.();
      });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#clientError(error, socket));
  }

  of(socket: Socket | Duplex): HttpConnection {
    let connection = this.#connections.get(socket);
    if (connection === undefined) {
      const endMs = connectionEndMs(this.#clock.nowMs(), this.#limits.connectionAgeMs);
      connection = { endMs, exchanges: new Set(), broken: false, fail: undefined };
      this.#connections.set(socket, connection);
    }
    return connection;
  }

  #clientError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
    const connection = this.of(socket);
    const unparsed = error.code?.startsWith('HPE_') === true;
    if (unparsed && connection.exchanges.size > 0) {
      connection.broken = true;
      connection.fail?.(brokenBody());
      return;
    }
    const tls = unparsed && error.rawPacket?.[0] === TLS_HANDSHAKE;
    const answer = unparsed && !tls && socket.writable;
    const route = tls ? '(a TLS handshake on this plain-text port: configure the client as insecure)' : '(no HTTP)';
    if (unparsed) {
      this.#log.request({ route, status: answer ? 400 : 'closed', bytes: 0, ms: 0, orgId: undefined });
    }
    if (!answer) return void socket.destroy();
    socket.end(rawRefusal(), () => socket.destroy());
  }
}

export function brokenBody(): BackworkError {
  return new BackworkError('malformed', 'the body is cut off or its HTTP framing is broken');
}

/** There is no request, hence no response object: the answer is written as bytes. */
function rawRefusal(): string {
  const refusal = refusalOf(new BackworkError('malformed', 'this is no HTTP/1.1 request, or its headers are too long'));
  const body = statusBody(refusal, 'json').toString();
  const head = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close`;
  return `HTTP/1.1 400 Bad Request\r\n${head}\r\n\r\n${body}`;
}

/** Closes the socket; 'close' tells those who wait. */
function ignore(): void {}
