/**
 * What a new connection to the gRPC port speaks, judged by its first bytes before an HTTP/2 session is made of it. Users
 * mix up 4317 and 4318, and plain text and TLS, all the time: a session would answer them with frames or by closing.
 *
 *   HTTP/2's preface                                     handed on whole
 *   HTTP/1.x                                             400 with a sentence that names the other port, and a hint
 *   a TLS ClientHello                                    the same in plain text, so that clients say "not TLS", and a hint
 *   anything else                                        closed
 *   nothing, or too little, by the deadline for headers  closed
 *
 * After an answer what still comes is thrown away to the bound of a refused body, so that a client that writes its whole
 * request first sees the answer and no reset.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { BackworkError } from '../../base/errors.ts';
import { KIB } from '../../base/limits.ts';
import type { BodyEncoding } from '../messages.ts';
import type { AcceptClock, AcceptDeps, AcceptLimits } from './accept-server.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { tlsOnPlainPort } from './hints.ts';
import { refusalOf, statusBody } from './otlp-status.ts';

type Speaks = 'http2' | 'http1' | 'tls' | 'other';

const STARTS: ReadonlyArray<readonly [start: string, speaks: Speaks]> = [
  ['PRI * ', 'http2'],
  ['\x16\x03', 'tls'],
  ...['POST', 'GET', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH', 'CONNECT', 'TRACE'].map(
    (method) => [`${method} `, 'http1'] as const,
  ),
];
const START_LENGTH_MAX = 8;
/** Of an HTTP/1.x request, before it is answered whatever it says. */
const HTTP1_HEAD_BYTES_MAX = 16 * KIB;
const HTTP1_MESSAGE =
  'this port serves OTLP/gRPC, which needs HTTP/2; OTLP/HTTP is received on a port of its own, 4318 by default';
const TLS_MESSAGE =
  'this port serves OTLP/gRPC in plain text: configure the exporter as insecure, or give the service a certificate';
const ALPN_MESSAGE = 'over TLS this port serves HTTP/2 only where the client offers h2 by ALPN (RFC 9113 section 3.2)';

export interface GrpcGreetingDeps {
  readonly limits: AcceptLimits;
  readonly clock: AcceptClock;
  readonly log: AcceptDeps['log'];
  readonly hint: AcceptDeps['hint'];
  /** The socket begins with HTTP/2's preface; nothing of it was taken. */
  readonly onHttp2: (socket: Socket) => void;
}

/** Connections that have not said yet what they are, and those that were told that they are wrong here. */
export class GrpcGreeting {
  readonly #deps: GrpcGreetingDeps;
  readonly #sockets = new Set<Socket>();
  readonly #listening: DeadlineQueue<Socket>;
  readonly #answered: DeadlineQueue<Socket>;

  constructor(deps: GrpcGreetingDeps) {
    this.#deps = deps;
    const destroy = (socket: Socket): void => void socket.destroy();
    this.#listening = new DeadlineQueue(deps.limits.headersDeadlineMs, destroy);
    this.#answered = new DeadlineQueue(deps.limits.refusedDrainMs, destroy);
  }

  /** Takes over a new socket, whose errors its caller ignores, until it is handed to `onHttp2` or closed. */
  add(socket: Socket): void {
    this.#sockets.add(socket);
    this.#listening.add(socket, this.#deps.clock.nowMs());
    socket.on('close', () => this.#forget(socket));
    let bytes: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const speaks = speaksFrom(bytes);
      if (speaks === undefined) return;
      socket.removeListener('readable', onReadable);
      this.#listening.delete(socket);
      this.#decide(socket, speaks, bytes);
    };
    socket.on('readable', onReadable);
  }

  sweep(nowMs: number): void {
    this.#listening.sweep(nowMs);
    this.#answered.sweep(nowMs);
  }

  closeAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #decide(socket: Socket, speaks: Speaks, bytes: Buffer): void {
    if (speaks === 'http2' && lacksAlpn(socket)) {
      // Not in HTTP/2's frames: a gRPC client that was greeted connects again at once.
      this.#deps.hint?.('http-on-grpc-port', `a client spoke HTTP/2 to the OTLP/gRPC port: ${ALPN_MESSAGE}`);
      this.#answer(socket, '(HTTP/2 without ALPN)', ALPN_MESSAGE, 'json');
    } else if (speaks === 'http2') {
      this.#forget(socket);
      socket.unshift(bytes);
      this.#deps.onHttp2(socket);
    } else if (speaks === 'http1') {
      this.#deps.hint?.('http-on-grpc-port', `a client spoke HTTP/1.x to the OTLP/gRPC port: ${HTTP1_MESSAGE}`);
      this.#answer(socket, '(HTTP/1.x)', HTTP1_MESSAGE, encodingOf(bytes));
    } else if (speaks === 'tls') {
      this.#deps.hint?.('tls-on-plain-port', tlsOnPlainPort('OTLP/gRPC'));
      this.#answer(socket, '(TLS)', TLS_MESSAGE, 'json');
    } else {
      socket.destroy();
    }
  }

  #answer(socket: Socket, route: string, message: string, encoding: BodyEncoding): void {
    const body = statusBody(refusalOf(new BackworkError('malformed', message)), encoding);
    const type = encoding === 'json' ? 'application/json' : 'application/x-protobuf';
    const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`;
    this.#answered.add(socket, this.#deps.clock.nowMs());
    let drainedBytes = 0;
    socket.on('data', (chunk: Buffer) => {
      drainedBytes += chunk.length;
      if (drainedBytes > this.#deps.limits.refusedDrainBytesMax) socket.destroy();
    });
    socket.resume();
    socket.end(Buffer.concat([Buffer.from(`${head}\r\n`), body]));
    this.#deps.log.request({ route, status: 400, bytes: 0, ms: 0, orgId: undefined });
  }

  #forget(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#listening.delete(socket);
    this.#answered.delete(socket);
  }
}

/** Over TLS, HTTP/2 is what both sides agreed on by ALPN; without, an HTTP/1.1 proxy may stand between. */
function lacksAlpn(socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.alpnProtocol !== 'h2';
}

/** undefined: more bytes have to come before it can be said. */
function speaksFrom(bytes: Buffer): Speaks | undefined {
  const text = bytes.toString('latin1', 0, START_LENGTH_MAX);
  const begun = STARTS.filter(([start]) => start.startsWith(text) || text.startsWith(start));
  const found = begun.find(([start]) => text.startsWith(start))?.[1];
  if (found === undefined) return begun.length === 0 ? 'other' : undefined;
  // The whole head says in which encoding the answer is read.
  const whole = found !== 'http1' || bytes.includes('\r\n\r\n') || bytes.length >= HTTP1_HEAD_BYTES_MAX;
  return whole ? found : undefined;
}

/** Of the answer to an HTTP/1.x request: as its body is (reference H17). */
function encodingOf(head: Buffer): BodyEncoding {
  const text = head.toString('latin1', 0, HTTP1_HEAD_BYTES_MAX);
  return /\r\ncontent-type:[ \t]*application\/x-protobuf/i.test(text) ? 'protobuf' : 'json';
}
