/** Clients for many small requests: HTTP/1.1 by hand, with several requests on their way at once, and gRPC on node:http2. */
import http2 from 'node:http2';
import net from 'node:net';
import type { HandlerRequest } from './handler-requests.ts';

export interface ReceivedAnswer {
  /** HTTP status or gRPC code. */
  readonly status: number;
  /** The response message, without gRPC's framing. */
  readonly body: Buffer;
}

export interface HandlerClient {
  /** undefined: the connection ended first, or the request was cut off as it wished. */
  exchange(request: HandlerRequest): Promise<ReceivedAnswer | undefined>;
  close(): void;
}

type Waiting = (answer: ReceivedAnswer | undefined) => void;
const ANSWER_WITHIN_MS = 30_000;

/** One connection; a new one when the server has closed it. Answers come in the order of the requests. */
export class HttpClient implements HandlerClient {
  readonly #port: number;
  #socket: net.Socket | undefined;
  #waiting: Waiting[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  exchange(request: HandlerRequest): Promise<ReceivedAnswer | undefined> {
    if (request.cutAt !== undefined) return this.#cutOff(request, request.cutAt);
    const socket = this.#connected();
    const { promise, resolve } = Promise.withResolvers<ReceivedAnswer | undefined>();
    this.#waiting.push(resolve);
    socket.write(headOf(request));
    socket.write(request.wire);
    return promise;
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connected(): net.Socket {
    if (this.#socket !== undefined && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    const socket = net.connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    const waiting: Waiting[] = [];
    let received: Buffer = Buffer.alloc(0);
    socket.setTimeout(ANSWER_WITHIN_MS, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      for (;;) {
        const taken = takeAnswer(received);
        if (taken === undefined) return;
        received = received.subarray(taken.bytes);
        waiting.shift()?.(taken.answer);
        // Node's server does so with some refusals; the next request goes on a new connection.
        if (taken.closes && this.#socket === socket) this.#socket = undefined;
      }
    });
    socket.on('error', () => {});
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      for (const resolve of waiting.splice(0)) resolve(undefined);
    });
    this.#socket = socket;
    this.#waiting = waiting;
    return socket;
  }

  /** On a connection of its own, which then breaks. */
  #cutOff(request: HandlerRequest, cutAt: number): Promise<undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const socket = net.connect({ port: this.#port, host: '127.0.0.1' });
    socket.on('error', () => {});
    socket.on('close', () => resolve(undefined));
    socket.write(headOf(request));
    socket.write(request.wire.subarray(0, cutAt), () => socket.resetAndDestroy());
    return promise;
  }
}

function headOf(request: HandlerRequest): string {
  const headers = { ...request.headers, 'content-length': String(request.wire.length) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${request.method} ${request.path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function takeAnswer(received: Buffer): { answer: ReceivedAnswer; bytes: number; closes: boolean } | undefined {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const head = received.toString('latin1', 0, headEnd);
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  const bytes = headEnd + 4 + length;
  if (received.length < bytes) return undefined;
  const status = Number(head.split(' ', 2)[1]);
  const closes = /\r\nconnection: *close/i.test(head);
  return { answer: { status, body: Buffer.from(received.subarray(headEnd + 4, bytes)) }, bytes, closes };
}

/** One session; a new one when the server has said GOAWAY. */
export class GrpcClient implements HandlerClient {
  readonly #port: number;
  #session: http2.ClientHttp2Session | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  exchange(request: HandlerRequest): Promise<ReceivedAnswer | undefined> {
    const { promise, resolve } = Promise.withResolvers<ReceivedAnswer | undefined>();
    const stream = this.#connected().request({ ':method': request.method, ':path': request.path, ...request.headers });
    let status: number | undefined;
    const chunks: Buffer[] = [];
    const onHeaders = (headers: http2.IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    stream.setTimeout(ANSWER_WITHIN_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on('error', () => {});
    stream.on('response', onHeaders);
    stream.on('trailers', onHeaders);
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
    stream.on('close', () => {
      const body = Buffer.concat(chunks).subarray(5);
      resolve(status === undefined || request.cutAt !== undefined ? undefined : { status, body });
    });
    if (request.cutAt === undefined) stream.end(request.wire);
    else stream.write(request.wire.subarray(0, request.cutAt), () => stream.close(http2.constants.NGHTTP2_CANCEL));
    return promise;
  }

  close(): void {
    this.#session?.destroy();
  }

  #connected(): http2.ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = http2.connect(`http://127.0.0.1:${this.#port}`);
    session.on('error', () => {});
    session.on('goaway', () => session.close());
    this.#session = session;
    return session;
  }
}
