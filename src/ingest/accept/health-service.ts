/**
 * The standard gRPC health service, grpc.health.v1.Health, on the OTLP/gRPC port, for load balancers and clients.
 *
 *   Check   SERVING or NOT_SERVING for '' (the whole) and for each OTLP service; NOT_FOUND for any other name
 *   Watch   the same as a stream, at once and on each change; SERVICE_UNKNOWN for any other name
 *
 * SERVING means what readiness means: a request sent now would be accepted and made durable. Neither method asks for a
 * token, since load balancers have none, hence bounds of their own: requests are read up to HEALTH_REQUEST_BYTES_MAX
 * and by the headers' deadline, a connection has at most HEALTH_WATCHES_MAX watches, and a watcher that does not read
 * is written to only once it has.
 *
 * Changes are seen at the port's sweep. A watch ends with UNAVAILABLE when its connection is being retired (age, idle)
 * or the port stops; the client then watches again, elsewhere.
 */
import http2, { type IncomingHttpHeaders, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { gunzipSync } from 'node:zlib';
import { BackworkError, retryLater } from '../../base/errors.ts';
import { HEALTH_REQUEST_BYTES_MAX, HEALTH_WATCHES_MAX } from '../../base/limits.ts';
import { type AcceptClock, type AcceptLimits, ClientGone } from './accept-server.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { GrpcMessageReader } from './grpc-message.ts';
import { varintField } from './protobuf-writer.ts';
import { GRPC_PREFIX_BYTES, GRPC_SERVICES } from './request-head.ts';

/** HealthCheckResponse.ServingStatus. */
const STATUS = { serving: 1, notServing: 2, serviceUnknown: 3 } as const;
type Status = (typeof STATUS)[keyof typeof STATUS];

const CHECK = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const SERVICES: ReadonlySet<string> = new Set(['', ...Object.values(GRPC_SERVICES)]);
const NOT_FOUND = '5';
const UNAVAILABLE = '14';
const HEADERS = { ':status': 200, 'content-type': 'application/grpc' };

/** The method's path when it is one of ours. */
export function healthMethod(path: string | undefined): typeof CHECK | typeof WATCH | undefined {
  return path === CHECK || path === WATCH ? path : undefined;
}

interface Watch {
  readonly stream: ServerHttp2Stream;
  readonly session: Http2Session;
  readonly service: string;
  sent: Status | undefined;
}

export class HealthService {
  readonly #isServing: () => boolean;
  readonly #clock: AcceptClock;
  readonly #watches = new Set<Watch>();
  readonly #receiving: DeadlineQueue<(error: Error) => void>;
  readonly #answering: DeadlineQueue<ServerHttp2Stream>;
  #stopping = false;

  constructor(options: { limits: AcceptLimits; clock: AcceptClock; isServing: () => boolean }) {
    const { headersDeadlineMs, answerDeadlineMs } = options.limits;
    this.#clock = options.clock;
    this.#isServing = options.isServing;
    this.#receiving = new DeadlineQueue(headersDeadlineMs, (fail) => {
      fail(retryLater('body-deadline', `the message was not whole within ${headersDeadlineMs} ms`));
    });
    this.#answering = new DeadlineQueue(answerDeadlineMs, (stream) => stream.close(http2.constants.NGHTTP2_CANCEL));
  }

  /** Resolves with what the log says when the stream has closed. Throws the refusal of a request that is wrong. */
  async serve(stream: ServerHttp2Stream, path: string, headers: IncomingHttpHeaders): Promise<string> {
    const service = await this.#receiveService(stream, String(headers['grpc-encoding'] ?? 'identity'));
    const { session } = stream;
    if (session === undefined || stream.destroyed || stream.closed) throw new ClientGone();
    return path === CHECK ? this.#check(stream, service) : this.#watch({ stream, session, service, sent: undefined });
  }

  sweep(nowMs: number): void {
    this.#receiving.sweep(nowMs);
    this.#answering.sweep(nowMs);
    for (const watch of this.#watches) this.#update(watch);
  }

  /** From now on everything is NOT_SERVING; watches are told so and end. */
  stop(): void {
    this.#stopping = true;
    for (const watch of this.#watches) this.#update(watch);
  }

  #statusOf(service: string): Status {
    if (!SERVICES.has(service)) return STATUS.serviceUnknown;
    return !this.#stopping && this.#isServing() ? STATUS.serving : STATUS.notServing;
  }

  async #check(stream: ServerHttp2Stream, service: string): Promise<string> {
    const status = this.#statusOf(service);
    this.#answering.add(stream, this.#clock.nowMs());
    const closed = closeOf(stream).then(() => this.#answering.delete(stream));
    if (status === STATUS.serviceUnknown) {
      const headers = { ...HEADERS, 'grpc-status': NOT_FOUND, 'grpc-message': 'unknown service' };
      stream.respond(headers, { endStream: true });
    } else {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.respond(HEADERS, { waitForTrailers: true });
      stream.end(responseFrame(status));
    }
    await closed;
    return status === STATUS.serviceUnknown ? 'NOT_FOUND' : 'OK';
  }

  async #watch(watch: Watch): Promise<string> {
    const { stream, session } = watch;
    let sameConnection = 0;
    for (const other of this.#watches) if (other.session === session) sameConnection++;
    if (sameConnection >= HEALTH_WATCHES_MAX) {
      throw retryLater(
        'overloaded',
        `this connection has ${sameConnection} health watches, at most ${HEALTH_WATCHES_MAX}`,
      );
    }
    const closed = closeOf(stream);
    stream.on('wantTrailers', () => {
      const message = this.#stopping ? 'this process is shutting down' : 'this connection is being closed';
      stream.sendTrailers({ 'grpc-status': UNAVAILABLE, 'grpc-message': `${message}; watch again` });
    });
    stream.respond(HEADERS, { waitForTrailers: true });
    this.#watches.add(watch);
    this.#update(watch);
    await closed;
    return this.#watches.delete(watch) ? 'client gone' : 'UNAVAILABLE';
  }

  #update(watch: Watch): void {
    const { stream } = watch;
    const status = this.#statusOf(watch.service);
    // What waits for a watcher that does not read is not added to: the latest status follows when it was taken.
    if (status !== watch.sent && stream.writableLength === 0 && !stream.destroyed) {
      watch.sent = status;
      stream.write(responseFrame(status));
    }
    if (this.#stopping || watch.session.closed) {
      this.#watches.delete(watch);
      stream.end();
    }
  }

  async #receiveService(stream: ServerHttp2Stream, coding: string): Promise<string> {
    if (coding !== 'identity' && coding !== 'gzip') {
      throw new BackworkError('unsupported-coding', 'this grpc-encoding is not supported; identity and gzip are');
    }
    const { compressed, bytes } = await this.#receive(stream, coding === 'gzip');
    return serviceOf(compressed ? inflate(bytes) : bytes);
  }

  #receive(stream: ServerHttp2Stream, hasCoding: boolean): Promise<{ compressed: boolean; bytes: Buffer }> {
    if (stream.destroyed || stream.closed) throw new ClientGone();
    const { promise, resolve, reject } = Promise.withResolvers<{ compressed: boolean; bytes: Buffer }>();
    const reader = new GrpcMessageReader({ bytesMax: HEALTH_REQUEST_BYTES_MAX, hasCoding, reserve: () => undefined });
    const onData = (chunk: Buffer): void => attempt(() => reader.push(chunk));
    const onEnd = (): void => attempt(() => settle(() => resolve(reader.end())));
    const onClose = (): void => fail(new ClientGone());
    const settle = (then: () => void): void => {
      this.#receiving.delete(fail);
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      then();
    };
    const fail = (error: unknown): void => settle(() => reject(error));
    const attempt = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        fail(error);
      }
    };
    this.#receiving.add(fail, this.#clock.nowMs());
    stream.on('data', onData).on('end', onEnd).on('close', onClose);
    return promise;
  }
}

function closeOf(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

/** HealthCheckResponse in its frame: compressed flag, length, 1 status. */
function responseFrame(status: Status): Buffer {
  const message = varintField(1, status);
  const frame = Buffer.alloc(GRPC_PREFIX_BYTES + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, GRPC_PREFIX_BYTES);
  return frame;
}

function inflate(bytes: Buffer): Buffer {
  try {
    // On the event loop: at most 4 KiB in and out.
    return gunzipSync(bytes, { maxOutputLength: HEALTH_REQUEST_BYTES_MAX });
  } catch {
    throw new BackworkError('malformed', `the message is no gzip of at most ${HEALTH_REQUEST_BYTES_MAX} bytes`);
  }
}

/** HealthCheckRequest: 1 service. Other fields are passed over. Throws `malformed`. */
export function serviceOf(message: Buffer): string {
  let service = '';
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined || scale > 2 ** 63) throw notHealthRequest();
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const wireType = tag % 8;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const end = varint() + at;
      if (tag === 10) service = message.toString('utf8', at, Math.min(end, message.length));
      at = end;
    } else throw notHealthRequest();
  }
  if (at > message.length) throw notHealthRequest();
  return service;
}

function notHealthRequest(): BackworkError {
  return new BackworkError('malformed', 'the message is no grpc.health.v1.HealthCheckRequest');
}
