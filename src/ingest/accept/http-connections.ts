/**
 * The HTTP/1.1 connections, and what goes wrong on one outside a request that was parsed (reference otlp.md H28, H29, T2):
 *
 *   headers not whole by their deadline      closed without an answer (Node would send 408, which clients do not retry)
 *   bytes that are no HTTP/1.1               400 with a Status body, closed; HTTP/2, as gRPC clients speak it: a hint, too
 *   CONNECT                                  405 with a Status body, closed
 *   a body whose framing is broken           the request's own refusal (400), closed
 *   connectionAgeMs ± 10 %                   `Connection: close` on the next answer
 */
import http, { type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { BackworkError } from '../../base/errors.ts';
import {
  type AcceptClock,
  type AcceptDeps,
  type AcceptLimits,
  connectionEndMs,
  type RequestLog,
} from './accept-server.ts';
import { tlsOnPlainPort } from './hints.ts';
import { refusalOf, statusBody } from './otlp-status.ts';

export interface HttpConnection {
  readonly endMs: number;
  /** Requests that are not answered yet. */
  readonly exchanges: Set<{ readonly gone: (() => void) | undefined }>;
  /** What came last was no HTTP: nothing more can be read, and the connection ends with the answers that are due. */
  broken: boolean;
  /** It was answered outside a request; what still arrives is thrown away. */
  refused: boolean;
  /** Ends the body that is being received. */
  fail: ((error: Error) => void) | undefined;
}

/** First byte of a TLS record that holds a ClientHello: exporters of Go speak TLS unless told otherwise. */
const TLS_HANDSHAKE = 0x16;
/** Node's parser has met HTTP/2's connection preface (RFC 9113 section 3.4), with which gRPC clients without TLS begin. */
const HTTP2_PREFACE_CODE = 'HPE_PAUSED_H2_UPGRADE';
const GRPC_HINT =
  'a gRPC client (or another that speaks HTTP/2 without TLS) connected to the OTLP/HTTP port: ' +
  'OTLP/gRPC is received on a port of its own, BACKWORK_OTLP_GRPC_PORT, 4317 unless it is set';

export class HttpConnections {
  readonly #connections = new WeakMap<Duplex, HttpConnection>();
  readonly #limits: AcceptLimits;
  readonly #clock: AcceptClock;
  readonly #log: RequestLog;
  readonly #hint: AcceptDeps['hint'];

  constructor(options: { limits: AcceptLimits; clock: AcceptClock; log: RequestLog; hint: AcceptDeps['hint'] }) {
    this.#limits = options.limits;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#hint = options.hint;
  }

  watch(server: Server): void {
    // Over TLS a connection is one when its handshake is done; before, it is tls-port.ts's.
    server.on(server instanceof tls.Server ? 'secureConnection' : 'connection', (socket: Socket) => {
      socket.on('error', ignore);
      const connection = this.of(socket);
      socket.on('close', () => {
        for (const exchange of connection.exchanges) exchange.gone?.();
      });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#clientError(error, socket));
    // Node closes the connection without an answer where nobody listens.
    server.on('connect', (_request, socket) => {
      this.#refuseUnparsed(socket, '(CONNECT)', new BackworkError('method-not-allowed', 'this is no proxy'));
    });
  }

  of(socket: Socket | Duplex): HttpConnection {
    let connection = this.#connections.get(socket);
    if (connection === undefined) {
      const endMs = connectionEndMs(this.#clock.nowMs(), this.#limits.connectionAgeMs);
      connection = { endMs, exchanges: new Set(), broken: false, refused: false, fail: undefined };
      this.#connections.set(socket, connection);
    }
    return connection;
  }

  #clientError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
    const connection = this.of(socket);
    // The parser complains again of each chunk that still comes.
    if (connection.refused) return;
    const unparsed = error.code?.startsWith('HPE_') === true;
    if (unparsed && connection.exchanges.size > 0) {
      if (!connection.broken) this.#closeGently(socket as Socket);
      connection.broken = true;
      connection.fail?.(brokenBody());
      return;
    }
    if (!unparsed) return void socket.destroy();
    if (error.rawPacket?.[0] === TLS_HANDSHAKE) {
      const route = '(a TLS handshake on this plain-text port: configure the client as insecure)';
      this.#log.request({ route, status: 'closed', bytes: 0, ms: 0, orgId: undefined });
      this.#hint?.('tls-on-plain-port', tlsOnPlainPort('OTLP/HTTP'));
      return void socket.destroy();
    }
    const http2 = error.code === HTTP2_PREFACE_CODE;
    if (http2) this.#hint?.('grpc-on-http-port', GRPC_HINT);
    this.#refuseUnparsed(
      socket,
      http2 ? '(HTTP/2)' : '(no HTTP)',
      new BackworkError('malformed', unparsedText(error, http2)),
    );
  }

  /** There is no response object: the answer is written as bytes, and ends the connection. */
  #refuseUnparsed(socket: Duplex, route: string, error: BackworkError): void {
    const refusal = refusalOf(error);
    const connection = this.of(socket);
    // Behind requests that wait for their answers it would be taken for one of theirs.
    const answer = socket.writable && connection.exchanges.size === 0;
    this.#log.request({ route, status: answer ? refusal.httpStatus : 'closed', bytes: 0, ms: 0, orgId: undefined });
    if (!answer) return void socket.destroy();
    connection.refused = true;
    const body = statusBody(refusal, 'json').toString();
    const headers = {
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(body)),
      Connection: 'close',
      ...refusal.httpHeaders,
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const statusLine = `HTTP/1.1 ${refusal.httpStatus} ${http.STATUS_CODES[refusal.httpStatus]}\r\n`;
    socket.end(`${statusLine}${lines.join('')}\r\n${body}`);
    this.#discard(socket);
  }

  /** Node ends the connection so after the last answer that is due on it, while what cannot be parsed may still arrive. */
  #closeGently(socket: Socket): void {
    socket.destroySoon = () => {
      socket.end();
      this.#discard(socket);
    };
  }

  /** Closing while the client still sends would reset the connection, and the client would never see the answer. */
  #discard(socket: Duplex): void {
    const { refusedDrainBytesMax, refusedDrainMs } = this.#limits;
    const late = setTimeout(() => socket.destroy(), refusedDrainMs);
    let bytes = 0;
    socket.removeAllListeners('data');
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > refusedDrainBytesMax) socket.destroy();
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => clearTimeout(late));
    socket.resume();
  }
}

export function brokenBody(): BackworkError {
  return new BackworkError('malformed', 'the body is cut off or its HTTP framing is broken');
}

/** An answer in HTTP/2 would end in a storm: a gRPC client that was greeted connects again at once, others back off. */
function unparsedText(error: NodeJS.ErrnoException, http2: boolean): string {
  if (http2) return 'this port receives OTLP/HTTP by HTTP/1.1; OTLP/gRPC is received on a port of its own';
  if (error.code === 'HPE_HEADER_OVERFLOW') return `the headers are over the limit of ${http.maxHeaderSize} bytes`;
  return 'this is no HTTP/1.1 request';
}

/** Closes the socket; 'close' tells those who wait. */
function ignore(): void {}

/** More of the request's body may come. */
export function isArriving(request: IncomingMessage): boolean {
  const { headers } = request;
  if (request.complete) return false;
  if (headers['transfer-encoding'] !== undefined) return true;
  return headers['content-length'] !== undefined && headers['content-length'] !== '0';
}
