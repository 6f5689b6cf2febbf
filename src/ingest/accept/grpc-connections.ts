/**
 * The HTTP/2 connections of the gRPC port, and when each of them ends (reference otlp.md G27, G28; F22, F34):
 *
 *   no SETTINGS by the headers' deadline                      destroyed (before the preface: grpc-greeting.ts)
 *   a header block begun and not ended by that deadline       destroyed
 *   no call for grpcIdleMs                                    GOAWAY, closed
 *   connectionAgeMs ± 10 %                                    GOAWAY, then connectionGraceMs for calls that run
 *   more PING and SETTINGS frames a second than allowed       destroyed with ENHANCE_YOUR_CALM
 *   streams opened and reset by the thousand                  closed by nghttp2 itself (1,000, then 33 a second)
 *
 * GOAWAY names the last stream that is served, so the client knows that later calls were not touched and sends them
 * elsewhere; gRPC clients do that by themselves. (A first GOAWAY with the highest number, which would let calls that are
 * on their way in, is not to be had: after any GOAWAY nghttp2 ignores new streams, and such a call would hang.)
 */
import http2, { type Http2Session } from 'node:http2';
import { GRPC_CONNECTION_WINDOW_BYTES } from '../../base/limits.ts';
import { type AcceptClock, type AcceptLimits, connectionEndMs } from './accept-server.ts';

interface Connection {
  readonly session: Http2Session;
  readonly bornMs: number;
  readonly endMs: number;
  /** SETTINGS have come: the peer speaks HTTP/2. */
  settled: boolean;
  calls: number;
  /** The highest stream whose headers were whole. */
  streamIdSeen: number;
  /** Since when a header block is known to be open. */
  headersOpenSinceMs: number | undefined;
  /** When the last call ended; from the start before the first one. */
  idleSinceMs: number;
  controlFrames: number;
  retiredMs: number | undefined;
}

export class GrpcConnections {
  readonly #limits: AcceptLimits;
  readonly #clock: AcceptClock;
  readonly #connections = new Map<Http2Session, Connection>();
  #emptied: (() => void) | undefined;

  constructor(options: { limits: AcceptLimits; clock: AcceptClock }) {
    this.#limits = options.limits;
    this.#clock = options.clock;
  }

  /** Takes over a new session: its windows, its errors, its end. */
  add(session: Http2Session): void {
    const nowMs = this.#clock.nowMs();
    const connection: Connection = {
      session,
      bornMs: nowMs,
      endMs: connectionEndMs(nowMs, this.#limits.connectionAgeMs),
      settled: false,
      calls: 0,
      streamIdSeen: 0,
      headersOpenSinceMs: undefined,
      idleSinceMs: nowMs,
      controlFrames: 0,
      retiredMs: undefined,
    };
    this.#connections.set(session, connection);
    // It ends the session, which 'close' tells.
    session.on('error', () => {});
    session.on('close', () => this.#closed(session));
    session.on('ping', () => this.#controlFrame(connection));
    session.on('remoteSettings', () => {
      connection.settled = true;
      this.#controlFrame(connection);
    });
    session.setLocalWindowSize(GRPC_CONNECTION_WINDOW_BYTES);
  }

  /** A call began on this stream; the function returned is called once when it is closed. */
  callBegan(session: Http2Session, streamId: number): (() => void) | undefined {
    const connection = this.#connections.get(session);
    if (connection === undefined) return undefined;
    connection.calls++;
    connection.streamIdSeen = Math.max(connection.streamIdSeen, streamId);
    return () => {
      connection.calls--;
      connection.idleSinceMs = this.#clock.nowMs();
    };
  }

  sweep(nowMs: number): void {
    for (const connection of this.#connections.values()) this.#sweepOne(connection, nowMs);
  }

  /** Says GOAWAY on every connection; resolves when all are closed. */
  retireAll(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#emptied = resolve;
    for (const connection of this.#connections.values()) this.#retire(connection, this.#clock.nowMs());
    if (this.#connections.size === 0) resolve();
    return promise;
  }

  destroyAll(): void {
    for (const { session } of this.#connections.values()) session.destroy();
  }

  #sweepOne(connection: Connection, nowMs: number): void {
    const { session } = connection;
    const perSweep = (this.#limits.grpcControlFramesPerSecondMax * this.#limits.sweepMs) / 1_000;
    connection.controlFrames = Math.max(0, connection.controlFrames - perSweep);
    if (nowMs - headersDueSinceMs(connection, nowMs) >= this.#limits.headersDeadlineMs) {
      session.destroy();
    } else if (connection.retiredMs === undefined) {
      const idle = connection.calls === 0 && nowMs - connection.idleSinceMs >= this.#limits.grpcIdleMs;
      if (idle || nowMs >= connection.endMs) this.#retire(connection, nowMs);
    } else if (nowMs - connection.retiredMs >= this.#limits.connectionGraceMs) {
      session.destroy();
    }
  }

  #retire(connection: Connection, nowMs: number): void {
    const { session } = connection;
    if (connection.retiredMs !== undefined || session.destroyed) return;
    connection.retiredMs = nowMs;
    if (connection.settled) session.close();
    else session.destroy();
  }

  #controlFrame(connection: Connection): void {
    connection.controlFrames++;
    if (connection.controlFrames > this.#limits.grpcControlFramesPerSecondMax) {
      // Without an error the code would not be sent.
      connection.session.destroy(new Error('too many control frames'), http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }

  #closed(session: Http2Session): void {
    this.#connections.delete(session);
    if (this.#connections.size === 0) this.#emptied?.();
  }
}

/**
 * Since when headers are awaited; `nowMs` when none are. nghttp2 counts a stream with the first bytes of its HEADERS frame,
 * and Node tells of it with the last ones (seen on Node 26.10): in between its header block is open.
 */
function headersDueSinceMs(connection: Connection, nowMs: number): number {
  if (!connection.settled) return connection.bornMs;
  const open = (connection.session.state.lastProcStreamID ?? 0) > connection.streamIdSeen;
  connection.headersOpenSinceMs = open ? (connection.headersOpenSinceMs ?? nowMs) : undefined;
  return connection.headersOpenSinceMs ?? nowMs;
}
