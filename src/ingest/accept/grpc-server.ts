/**
 * OTLP/gRPC: three unary methods on node:http2, by hand, because every answer must be ours (reference otlp.md 1.1, 1.3).
 *
 *   HEADERS ─► gRPC at all? method? token, coding ─► path.open ─► DATA: one message ─► inflate ─► submit ─► answer
 *
 *   full or partial success   HEADERS (200) | DATA (prefix, message) | HEADERS (grpc-status: 0, END_STREAM)
 *   refusal                   HEADERS (200, grpc-status …, END_STREAM): Trailers-Only, since clients decide from headers
 *   not gRPC                  HEADERS (415 or 405, END_STREAM)
 *
 * A refusal goes out at once. What still arrives of that body is read and thrown away, up to a bound, and then the stream
 * alone is reset with NO_ERROR; the connection serves on.
 *
 * An answer counts as sent when its stream closes with code 0: node:http2 holds that event back while a write to the
 * socket is unfinished. Seen with a peer that does not read: of 3,000 answered streams, only those whose trailers the
 * kernel had taken closed with 0, the others with INTERNAL_ERROR when the connection broke; 'finish' is no earlier.
 * A write that fails at once, because the client's reset is there already, closes the stream with 0 too: two turns of the
 * event loop later, after the socket was polled once more, the peer's end is known. node:http2 shows a reset as an end, so
 * a client counts as one that has its answer and closes in order only if it said GOAWAY before.
 */
import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';
import { type BackworkError, retryLater } from '../../base/errors.ts';
import { GRPC_STREAM_WINDOW_BYTES, KIB } from '../../base/limits.ts';
import type { Admission, ExportAnswer, RequestHead } from '../messages.ts';
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
import { countRefusal } from './count-refusal.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { exportResponse } from './export-response.ts';
import { GrpcConnections } from './grpc-connections.ts';
import { GrpcGreeting } from './grpc-greeting.ts';
import { type GrpcMessage, GrpcMessageReader } from './grpc-message.ts';
import { HealthService, healthMethod } from './health-service.ts';
import { Inflater } from './inflate.ts';
import { listen } from './listen.ts';
import { grpcStatusHeaders, isFault, type Refusal, refusalOf } from './otlp-status.ts';
import { GRPC_PREFIX_BYTES, grpcRoute, isGrpc, orderedRefusal, type Route, readGrpcHead } from './request-head.ts';
import { TlsPort } from './tls-port.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL } = http2.constants;
const HEADER_LIST_BYTES_MAX = 16 * KIB;
/** Of one connection, beyond which new streams are refused: answers a peer does not read, headers, queued frames. */
const SESSION_MEMORY_MB = 32;

export function createGrpcServer(deps: AcceptDeps): AcceptServer {
  return new GrpcServer(deps);
}

/** The other side of a connection. */
interface Peer {
  readonly session: ServerHttp2Session;
  /** It said GOAWAY: if the connection ends now, it ends in order. */
  saidGoaway: boolean;
  /** Its end, a reset or an error was seen. */
  ended: boolean;
}

/** One call while it lasts. */
interface Call {
  readonly stream: ServerHttp2Stream;
  readonly peer: Peer;
  readonly startedMs: number;
  route: Route | undefined;
  orgId: string | undefined;
  bytes: number;
  /** Ends waiting for the body; set while it is received. */
  fail: ((error: Error) => void) | undefined;
}

class GrpcServer implements AcceptServer {
  readonly #deps: AcceptDeps;
  readonly #limits: AcceptLimits;
  readonly #clock: AcceptClock;
  readonly #tls: TlsPort | undefined;
  readonly #server: net.Server;
  readonly #greeting: GrpcGreeting;
  readonly #connections: GrpcConnections;
  readonly #health: HealthService;
  readonly #inflater: Inflater;
  readonly #receiving: DeadlineQueue<Call>;
  readonly #answering: DeadlineQueue<ServerHttp2Stream>;
  readonly #draining: DeadlineQueue<ServerHttp2Stream>;
  #sweeper: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(deps: AcceptDeps) {
    this.#deps = deps;
    this.#limits = { ...ACCEPT_LIMITS, ...deps.limits };
    this.#clock = deps.clock ?? MONOTONIC_CLOCK;
    const { bodyBytesMax, inflatesAtOnce, bodyDeadlineMs, answerDeadlineMs, refusedDrainMs } = this.#limits;
    const { log, hint } = deps;
    const onHttp2 = (socket: net.Socket): void => this.#onHttp2(socket);
    this.#greeting = new GrpcGreeting({ limits: this.#limits, clock: this.#clock, log, hint, onHttp2 });
    this.#connections = new GrpcConnections({ limits: this.#limits, clock: this.#clock });
    const isServing = deps.isServing ?? (() => true);
    this.#health = new HealthService({ limits: this.#limits, clock: this.#clock, isServing });
    this.#inflater = new Inflater({ bytesMax: bodyBytesMax, atOnceMax: inflatesAtOnce });
    this.#receiving = new DeadlineQueue(bodyDeadlineMs, (call) => {
      if (this.#stopping) call.fail?.(retryLater('shutting-down', 'this process is shutting down'));
      else call.fail?.(retryLater('body-deadline', `the message was not whole within ${bodyDeadlineMs} ms`));
    });
    this.#answering = new DeadlineQueue(answerDeadlineMs, (stream) => stream.close(NGHTTP2_CANCEL));
    this.#draining = new DeadlineQueue(refusedDrainMs, (stream) => stream.close(NGHTTP2_NO_ERROR));
    this.#tls = TlsPort.of(deps, this.#limits, 'h2');
    this.#server = this.#createServer();
  }

  async listen(address: ListenAddress): Promise<number> {
    const port = await listen(this.#server, address, 'OTLP/gRPC');
    this.#sweeper = setInterval(() => this.#sweep(), this.#limits.sweepMs);
    this.#sweeper.unref();
    return port;
  }

  async drain(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const late = setTimeout(() => this.#endLate(), this.#limits.drainMs);
    this.#tls?.abortHandshakes();
    this.#greeting.closeAll();
    this.#health.stop();
    await this.#connections.retireAll();
    await closed;
    clearTimeout(late);
    clearInterval(this.#sweeper);
  }

  /** Who still sends when draining must end is told to come back; then every connection is closed, whatever runs. */
  #endLate(): void {
    this.#stopping = true;
    this.#receiving.sweep(Number.POSITIVE_INFINITY);
    // The refusals are written first.
    setImmediate(() => this.#connections.destroyAll());
  }

  #createServer(): net.Server {
    const onSocket = (socket: net.Socket): void => this.#onSocket(socket);
    return this.#tls?.createServer(onSocket) ?? net.createServer({ noDelay: true }, onSocket);
  }

  #onSocket(socket: net.Socket): void {
    socket.on('error', ignore);
    this.#greeting.add(socket);
  }

  #onHttp2(socket: net.Socket): void {
    try {
      this.#beginSession(socket);
    } catch {
      // The peer was gone before its session was made.
      socket.destroy();
    }
  }

  #beginSession(socket: net.Socket): void {
    const session = http2.performServerHandshake(socket, {
      maxSessionMemory: SESSION_MEMORY_MB,
      // A token with a blank around it would be dropped without a word, and the client told that it sent none (A2).
      strictFieldWhitespaceValidation: false,
      settings: {
        maxConcurrentStreams: this.#limits.grpcStreamsMax,
        initialWindowSize: GRPC_STREAM_WINDOW_BYTES,
        maxHeaderListSize: HEADER_LIST_BYTES_MAX,
      },
    });
    this.#connections.add(session);
    const peer: Peer = { session, saidGoaway: false, ended: false };
    const onEnd = (): void => {
      peer.ended = true;
    };
    socket.once('end', onEnd);
    socket.once('error', onEnd);
    session.once('goaway', () => {
      peer.saidGoaway = true;
    });
    session.on('stream', (stream, headers) => {
      stream.on('error', ignore);
      this.#serve(peer, stream, headers).catch((error: unknown) => {
        this.#deps.onFault?.(error);
        stream.destroy();
      });
    });
  }

  #sweep(): void {
    const nowMs = this.#clock.nowMs();
    this.#receiving.sweep(nowMs);
    this.#answering.sweep(nowMs);
    this.#draining.sweep(nowMs);
    this.#greeting.sweep(nowMs);
    this.#connections.sweep(nowMs);
    this.#health.sweep(nowMs);
  }

  async #serve(peer: Peer, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const callEnded = this.#connections.callBegan(peer.session, stream.id ?? 0);
    stream.on('close', () => {
      callEnded?.();
      this.#draining.delete(stream);
    });
    const startedMs = this.#clock.nowMs();
    const call: Call = { stream, peer, startedMs, route: undefined, orgId: undefined, bytes: 0, fail: undefined };
    let status: string | number;
    try {
      status = await this.#serveCall(call, headers);
    } catch (error) {
      status = this.#refuse(call, error);
    }
    this.#deps.log.request({
      route: call.route?.path ?? healthMethod(headers[':path']) ?? '(other)',
      status,
      bytes: call.bytes,
      ms: Math.round(this.#clock.nowMs() - startedMs),
      orgId: call.orgId,
    });
  }

  /** The steps of a call, each with its exit. Resolves with what the log says; throws the refusal. */
  async #serveCall(call: Call, headers: IncomingHttpHeaders): Promise<string | number> {
    const contentType = headers['content-type'];
    if (!isGrpc(contentType)) return this.#answerNotGrpc(call.stream, 415);
    if (headers[':method'] !== 'POST') return this.#answerNotGrpc(call.stream, 405);
    const health = healthMethod(headers[':path']);
    if (health !== undefined) return this.#health.serve(call.stream, health, headers);
    const route = grpcRoute(headers[':path'] ?? '');
    call.route = route;
    const { head, coding, fault } = readGrpcHead(route, headers, this.#limits.bodyBytesMax);

    const admission = await this.#open(head, fault);
    let answerSent = false;
    try {
      call.orgId = admission.tenant.orgId;
      if (fault !== undefined) throw fault;
      const message = await this.#receive(call, coding !== 'identity', admission);
      const body = message.compressed ? await this.#inflate(call, message.bytes, admission) : message.bytes;
      const answer = await admission.submit(body, 'protobuf');
      answerSent = await this.#answer(call, route, answer);
    } finally {
      // Before the refusal of an error: what is thrown away from then on is not in flight.
      admission.release(answerSent);
    }
    return answerSent ? 'OK' : 'client gone';
  }

  async #open(head: RequestHead, fault: BackworkError | undefined): Promise<Admission> {
    try {
      return await this.#deps.path.open(head);
    } catch (error) {
      throw orderedRefusal(error, fault);
    }
  }

  /** Resolves with the one message when the peer has ended its side. */
  #receive(call: Call, hasCoding: boolean, admission: Admission): Promise<GrpcMessage> {
    const { stream } = call;
    if (isGone(stream)) throw new ClientGone();
    const { promise, resolve, reject } = Promise.withResolvers<GrpcMessage>();
    const reserve = (bytes: number): void => admission.reserve(bytes);
    const expect = (bytes: number): void => admission.expect(bytes);
    const reader = new GrpcMessageReader({ bytesMax: this.#limits.bodyBytesMax, hasCoding, reserve, expect });
    const settle = (): void => {
      this.#receiving.delete(call);
      call.fail = undefined;
      stream.removeAllListeners('data');
      stream.removeListener('end', onEnd);
      stream.removeListener('close', onClose);
    };
    const fail = (error: unknown): void => {
      settle();
      reader.discard();
      reject(error);
    };
    const onEnd = (): void => {
      settle();
      try {
        resolve(reader.end());
      } catch (error) {
        reject(error);
      }
    };
    const onClose = (): void => fail(new ClientGone());
    call.fail = fail;
    this.#receiving.add(call, call.startedMs);
    stream.on('data', (chunk: Buffer) => {
      call.bytes += chunk.length;
      try {
        reader.push(chunk);
      } catch (error) {
        fail(error);
      }
    });
    stream.on('end', onEnd);
    stream.on('close', onClose);
    // Without a byte of body the end may have come while `open` was awaited.
    if (stream.readableEnded) onEnd();
    return promise;
  }

  async #inflate(call: Call, wire: Buffer, admission: Admission): Promise<Buffer> {
    admission.expect(wire.length + this.#inflater.expectedBytes(wire, 'gzip'));
    return this.#inflater.replace(wire, 'gzip', (inflatedBytes) => {
      if (isGone(call.stream)) throw new ClientGone();
      admission.reserve(wire.length + inflatedBytes);
    });
  }

  /** Resolves with whether the kernel took all of the answer, once that is known. */
  async #answer({ stream, peer }: Call, route: Route, answer: ExportAnswer): Promise<boolean> {
    if (isGone(stream)) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    let trailersSent = false;
    stream.on('close', () => {
      this.#answering.delete(stream);
      if (!trailersSent || stream.rstCode !== NGHTTP2_NO_ERROR) resolve(false);
      else setImmediate(() => setImmediate(() => resolve(!peer.ended || peer.saidGoaway)));
    });
    this.#answering.add(stream, this.#clock.nowMs());
    stream.on('wantTrailers', () => {
      if (isGone(stream)) return;
      stream.sendTrailers({ 'grpc-status': '0' });
      trailersSent = true;
    });
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    const message = exportResponse(route.signal, answer, 'protobuf');
    // The compressed flag is 0: answers are tiny.
    const frame = Buffer.alloc(GRPC_PREFIX_BYTES + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, GRPC_PREFIX_BYTES);
    stream.end(frame);
    return promise;
  }

  /** Answers whatever was thrown, and sees to the rest of the body. Returns what the log says. */
  #refuse(call: Call, thrown: unknown): string {
    const { stream } = call;
    if (thrown instanceof ClientGone) return 'client gone';
    const refusal = refusalOf(thrown);
    countRefusal(this.#deps.events, 'grpc', call, thrown);
    if (isFault(refusal)) this.#deps.onFault?.(thrown);
    if (isGone(stream)) return 'client gone';
    // Once a positive answer has begun there is no other: the stream is reset, and the client tries again.
    if (stream.headersSent) stream.close(NGHTTP2_CANCEL);
    else this.#respondAtOnce(stream, refusalHeaders(refusal));
    return refusal.grpcStatus;
  }

  #answerNotGrpc(stream: ServerHttp2Stream, status: 405 | 415): number {
    if (isGone(stream)) return status;
    this.#respondAtOnce(stream, status === 405 ? { ':status': status, allow: 'POST' } : { ':status': status });
    return status;
  }

  #respondAtOnce(stream: ServerHttp2Stream, headers: Record<string, string | number>): void {
    stream.respond(headers, { endStream: true });
    if (stream.readableEnded) return;
    this.#draining.add(stream, this.#clock.nowMs());
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // Not at once: a reset overtakes headers that are not written yet.
      if (bytes > this.#limits.refusedDrainBytesMax) setImmediate(() => stream.close(NGHTTP2_NO_ERROR));
    });
    stream.resume();
  }
}

function refusalHeaders(refusal: Refusal): Record<string, string | number> {
  const status = grpcStatusHeaders(refusal);
  return { ':status': 200, 'content-type': 'application/grpc', 'grpc-accept-encoding': 'identity,gzip', ...status };
}

/** Nobody can be answered on it any more. */
function isGone(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed || stream.aborted;
}

/** An error of a socket or stream closes it, and 'close' tells those who wait; there is nothing else to do about it. */
function ignore(): void {}
