/**
 * OTLP/HTTP on node:http (reference otlp.md 1.2, 1.3):
 *
 *   CORS ─► path, method ─► token ─► content type, coding ─► declared size ─► admission ─► body ─► inflate ─► submit ─► answer
 *
 * Answers are in the request's encoding, their content type bare. A refusal whose body is still arriving goes out at once
 * and whole, with `Connection: close`; what still arrives is read and thrown away up to a bound, and only then is the
 * connection closed: closing at once would reset it, and a client that writes everything first would never see the answer.
 *
 * An answer counts as sent at 'finish' of the response with its socket alive: that event waits for the write to the
 * socket, and does not come when the connection breaks first (seen with a peer that does not read).
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { freeNow } from '../../base/byte-writer.ts';
import { BackworkError, retryLater } from '../../base/errors.ts';
import type { Admission, BodyEncoding, RequestHead } from '../messages.ts';
import {
  ACCEPT_LIMITS,
  type AcceptClock,
  type AcceptDeps,
  type AcceptLimits,
  type AcceptServer,
  ClientGone,
  type ListenAddress,
  MONOTONIC_CLOCK,
} from './accept-server.ts';
import { type Cors, createCors } from './cors.ts';
import { countRefusal } from './count-refusal.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { exportResponse } from './export-response.ts';
import { brokenBody, type HttpConnection, HttpConnections, isArriving } from './http-connections.ts';
import { type Compressed, Inflater } from './inflate.ts';
import { listen } from './listen.ts';
import { ALLOWED_METHODS, isFault, refusalOf, statusBody } from './otlp-status.ts';
import { BodyBuffer, tooLarge } from './request-body.ts';
import { bodyEncoding, httpRoute, orderedRefusal, type Route, readHttpHead } from './request-head.ts';
import { TlsPort } from './tls-port.ts';

export function createHttpServer(deps: AcceptDeps): AcceptServer {
  return new HttpServer(deps);
}

const CONTENT_TYPE: Readonly<Record<BodyEncoding, string>> = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
};

/** One request and its answer. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly connection: HttpConnection;
  readonly startedMs: number;
  /** Of errors too; JSON when the content type is neither. */
  readonly encoding: BodyEncoding;
  route: Route | undefined;
  orgId: string | undefined;
  bytes: number;
  /** The client waits for `100 Continue` before it sends the body. */
  awaitsContinue: boolean;
  /** Ends waiting for the body; set while it is received. */
  fail: ((error: Error) => void) | undefined;
  /** Told when the connection is closed; set while something is waited for. */
  gone: (() => void) | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly close: boolean;
}

class HttpServer implements AcceptServer {
  readonly #deps: AcceptDeps;
  readonly #limits: AcceptLimits;
  readonly #clock: AcceptClock;
  readonly #tls: TlsPort | undefined;
  readonly #server: http.Server;
  readonly #connections: HttpConnections;
  readonly #inflater: Inflater;
  readonly #cors: Cors;
  readonly #receiving: DeadlineQueue<Exchange>;
  readonly #answering: DeadlineQueue<Exchange>;
  readonly #draining: DeadlineQueue<Exchange>;
  #sweeper: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(deps: AcceptDeps) {
    this.#deps = deps;
    this.#limits = { ...ACCEPT_LIMITS, ...deps.limits };
    this.#clock = deps.clock ?? MONOTONIC_CLOCK;
    const { bodyBytesMax, inflatesAtOnce, bodyDeadlineMs, answerDeadlineMs, refusedDrainMs } = this.#limits;
    const { log, hint } = deps;
    this.#connections = new HttpConnections({ limits: this.#limits, clock: this.#clock, log, hint });
    this.#inflater = new Inflater({ bytesMax: bodyBytesMax, atOnceMax: inflatesAtOnce });
    this.#cors = createCors(deps.corsOrigins ?? []);
    this.#receiving = new DeadlineQueue(bodyDeadlineMs, (exchange) => {
      exchange.fail?.(retryLater('body-deadline', `the body was not whole within ${bodyDeadlineMs} ms`));
    });
    this.#answering = new DeadlineQueue(answerDeadlineMs, ({ request }) => request.socket.destroy());
    this.#draining = new DeadlineQueue(refusedDrainMs, ({ response }) => response.end());
    this.#tls = TlsPort.of(deps, this.#limits, 'http/1.1');
    this.#server = this.#createServer();
  }

  async listen(address: ListenAddress): Promise<number> {
    const port = await listen(this.#server, address, 'OTLP/HTTP');
    this.#sweeper = setInterval(() => this.#sweep(), this.#limits.sweepMs);
    this.#sweeper.unref();
    return port;
  }

  async drain(): Promise<void> {
    this.#stopping = true;
    this.#tls?.abortHandshakes();
    const late = setTimeout(() => this.#server.closeAllConnections(), this.#limits.drainMs);
    // Closes connections without a request too; the others end with their answers, which say `Connection: close`.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    clearTimeout(late);
    clearInterval(this.#sweeper);
  }

  #createServer(): http.Server {
    const options: http.ServerOptions = {
      headersTimeout: this.#limits.headersDeadlineMs,
      // The body's deadline is our own queue: Node's would answer 408 where clients need a 503 to try again.
      requestTimeout: 0,
      keepAliveTimeout: this.#limits.httpKeepAliveMs,
      connectionsCheckingInterval: this.#limits.sweepMs,
      // Node answers a missing Host by itself, without a body; we have no use for the header.
      requireHostHeader: false,
    };
    const server = this.#tls?.createHttpServer(options) ?? http.createServer(options);
    // A client may end its side after the request and wait for the answer. The property is missing from the declarations.
    (server as http.Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    this.#connections.watch(server);
    server.on('request', (request, response) => this.#onRequest(request, response, false));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    server.on('checkExpectation', (request, response) => this.#onRequest(request, response, false));
    return server;
  }

  #sweep(): void {
    const nowMs = this.#clock.nowMs();
    this.#receiving.sweep(nowMs);
    this.#answering.sweep(nowMs);
    this.#draining.sweep(nowMs);
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    request.on('error', ignore);
    response.on('error', ignore);
    const exchange: Exchange = {
      request,
      response,
      connection: this.#connections.of(request.socket),
      startedMs: this.#clock.nowMs(),
      encoding: bodyEncoding(request.headers['content-type']) ?? 'json',
      awaitsContinue,
      route: undefined,
      orgId: undefined,
      bytes: 0,
      fail: undefined,
      gone: undefined,
    };
    exchange.connection.exchanges.add(exchange);
    response.on('close', () => this.#ended(exchange));
    this.#serve(exchange).catch((error: unknown) => {
      this.#deps.onFault?.(error);
      request.socket.destroy();
    });
  }

  #ended(exchange: Exchange): void {
    exchange.gone?.();
    exchange.connection.exchanges.delete(exchange);
    this.#answering.delete(exchange);
    this.#draining.delete(exchange);
  }

  async #serve(exchange: Exchange): Promise<void> {
    let status: string | number;
    try {
      status = await this.#serveExchange(exchange);
    } catch (error) {
      status = await this.#refuse(exchange, error);
    }
    this.#deps.log.request({
      route: exchange.route?.path ?? '(other)',
      status,
      bytes: exchange.bytes,
      ms: Math.round(this.#clock.nowMs() - exchange.startedMs),
      orgId: exchange.orgId,
    });
  }

  /** The steps of a request, each with its exit. Resolves with what the log says; throws the refusal. */
  async #serveExchange(exchange: Exchange): Promise<string | number> {
    const { request, encoding } = exchange;
    if (this.#stopping) throw retryLater('shutting-down', 'this process is shutting down');
    // Before the path is judged: a page could not read the answer that names the right one after a failed preflight.
    if (this.#cors.isPreflight(request)) return this.#answerOptions(exchange);
    const route = httpRoute(request.url ?? '');
    exchange.route = route;
    if (request.method === 'OPTIONS') return this.#answerOptions(exchange);
    if (request.method !== 'POST') throw new BackworkError('method-not-allowed', 'OTLP/HTTP is received by POST');
    const { head, coding, fault } = readHttpHead(route, request.headers, this.#limits.bodyBytesMax);

    const admission = await this.#open(head, fault);
    let answerSent = false;
    try {
      exchange.orgId = admission.tenant.orgId;
      if (fault !== undefined) throw fault;
      const wire = await this.#receive(exchange, head.bodyBytesDeclared, admission);
      const body = coding === 'identity' ? wire : await this.#inflate(exchange, wire, coding, admission);
      const answer = await admission.submit(body, encoding);
      answerSent = await this.#answer(exchange, {
        status: 200,
        headers: {},
        body: exportResponse(route.signal, answer, encoding),
        close: false,
      });
    } finally {
      // Before the refusal of an error: what is thrown away from then on is not in flight.
      admission.release(answerSent);
    }
    return answerSent ? 200 : 'client gone';
  }

  #answerOptions(exchange: Exchange): number {
    const { response, request } = exchange;
    response.writeHead(204, {
      Allow: ALLOWED_METHODS,
      ...this.#closeHeader(exchange, false),
      ...this.#answerHeaders(exchange),
      ...this.#cors.preflightHeaders(request.headers.origin),
    });
    response.end();
    return 204;
  }

  async #open(head: RequestHead, fault: BackworkError | undefined): Promise<Admission> {
    try {
      return await this.#deps.path.open(head);
    } catch (error) {
      throw orderedRefusal(error, fault);
    }
  }

  /** Resolves with the whole body as it came. */
  #receive(exchange: Exchange, bytesDeclared: number | undefined, admission: Admission): Promise<Buffer> {
    const { request, response, connection } = exchange;
    if (request.socket.destroyed) throw new ClientGone();
    if (connection.broken && !request.complete) throw brokenBody();
    if (exchange.awaitsContinue) response.writeContinue();
    exchange.awaitsContinue = false;
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const { bodyBytesMax } = this.#limits;
    const body = new BodyBuffer(bytesDeclared ?? bodyBytesMax);
    const settle = (): void => {
      this.#receiving.delete(exchange);
      exchange.fail = undefined;
      exchange.gone = undefined;
      if (connection.fail === fail) connection.fail = undefined;
      request.removeAllListeners('data');
      request.removeListener('end', onEnd);
    };
    const fail = (error: unknown): void => {
      settle();
      body.discard();
      reject(error);
    };
    const onEnd = (): void => {
      settle();
      resolve(body.take());
    };
    exchange.fail = fail;
    exchange.gone = () => fail(new ClientGone());
    connection.fail = fail;
    this.#receiving.add(exchange, exchange.startedMs);
    request.on('data', (chunk: Buffer) => {
      exchange.bytes += chunk.length;
      try {
        if (exchange.bytes > bodyBytesMax) throw tooLarge('body', undefined, bodyBytesMax);
        admission.reserve(exchange.bytes);
        // Node's parser gave it memory of its own.
        if (body.append(chunk)) freeNow(chunk);
      } catch (error) {
        fail(error);
      }
    });
    request.on('end', onEnd);
    return promise;
  }

  async #inflate(exchange: Exchange, wire: Buffer, coding: Compressed, admission: Admission): Promise<Buffer> {
    // JSON is held beside the protobuf that is made of it.
    const forms = exchange.encoding === 'json' ? 2 : 1;
    admission.expect(wire.length + forms * this.#inflater.expectedBytes(wire, coding));
    return this.#inflater.replace(wire, coding, (inflatedBytes) => {
      if (exchange.request.socket.destroyed) throw new ClientGone();
      admission.reserve(wire.length + inflatedBytes);
    });
  }

  /** Sends a whole answer to a whole request. Resolves with whether the kernel took all of it, once that is known. */
  #answer(exchange: Exchange, answer: Answer): Promise<boolean> {
    const { response, request } = exchange;
    if (request.socket.destroyed) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    response.on('finish', () => resolve(!request.socket.destroyed));
    // Not 'close' of the response: one that waits behind others of its connection has no socket yet, and gets none.
    exchange.gone = () => resolve(false);
    this.#answering.add(exchange, this.#clock.nowMs());
    this.#writeHead(exchange, answer);
    response.end(answer.body);
    return promise;
  }

  /** Answers whatever was thrown, and sees to the rest of the body. Returns what the log says. */
  async #refuse(exchange: Exchange, thrown: unknown): Promise<string | number> {
    const { request, response, connection } = exchange;
    if (thrown instanceof ClientGone) return 'client gone';
    const refusal = refusalOf(thrown);
    countRefusal(this.#deps.events, 'http', exchange, thrown);
    if (isFault(refusal)) this.#deps.onFault?.(thrown);
    if (request.socket.destroyed) return 'client gone';
    if (response.headersSent) {
      // A positive answer has begun: there is no other, so the connection is cut and the client tries again.
      request.socket.destroy();
      return refusal.httpStatus;
    }
    // A small body comes with its head: one turn lets the parser see its end, and the connection can be kept.
    if (isArriving(request)) await new Promise((resolve) => setImmediate(resolve));
    if (request.socket.destroyed) return 'client gone';
    const arriving = isArriving(request);
    const answer: Answer = {
      status: refusal.httpStatus,
      headers: refusal.httpHeaders,
      body: statusBody(refusal, exchange.encoding),
      close: refusal.httpClose || arriving,
    };
    if (!arriving || exchange.awaitsContinue || connection.broken) void this.#answer(exchange, answer);
    else this.#refuseEarly(exchange, answer);
    return refusal.httpStatus;
  }

  /**
   * The answer is whole by its Content-Length and leaves now, but the response is ended, and with it the connection,
   * only when the body has ended or its bounds are reached.
   */
  #refuseEarly(exchange: Exchange, answer: Answer): void {
    const { request, response } = exchange;
    this.#writeHead(exchange, answer);
    response.write(answer.body);
    this.#draining.add(exchange, this.#clock.nowMs());
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > this.#limits.refusedDrainBytesMax) response.end();
    });
    request.on('end', () => response.end());
    exchange.connection.fail = () => response.end();
    request.resume();
  }

  #writeHead(exchange: Exchange, answer: Answer): void {
    exchange.response.writeHead(answer.status, {
      'Content-Type': CONTENT_TYPE[exchange.encoding],
      'Content-Length': String(answer.body.length),
      ...this.#closeHeader(exchange, answer.close),
      ...this.#answerHeaders(exchange),
      ...answer.headers,
    });
  }

  #closeHeader({ connection }: Exchange, asked: boolean): Readonly<Record<string, string>> {
    const close = asked || connection.broken || this.#stopping || this.#clock.nowMs() >= connection.endMs;
    return close ? { Connection: 'close' } : {};
  }

  #answerHeaders(exchange: Exchange): Readonly<Record<string, string>> {
    return this.#cors.answerHeaders(exchange.request.headers.origin);
  }
}

/** An error of a request or response closes it, and 'close' tells those who wait; there is nothing else to do about it. */
function ignore(): void {}
