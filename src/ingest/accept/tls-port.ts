/**
 * The TLS side of one OTLP port: options of its server, what becomes of handshakes, and the certificates' changes.
 *
 * - TLS 1.2 and 1.3; a client certificate is asked for, and must verify, when there is a client CA.
 * - ALPN: gRPC is HTTP/2 and OTLP/HTTP is HTTP/1.1 here, each on its own port, so each offers only that (reference H27).
 *   OpenSSL ends the handshake of a peer that offers something else (alert no_application_protocol).
 * - No renegotiation: exporters have no use for it, and a peer could make the server sign again and again.
 * - A handshake is whole by the headers' deadline. Those that are not when the port stops are cut, so that they cannot
 *   hold it up; what the peer would have sent was not begun.
 * - Session tickets are of one process and of one state of the files: with a new client CA no old session is resumed.
 * - An error of a peer ends its socket and is a line in the request log; what an operator can mend is a hint.
 */
import { constants } from 'node:crypto';
import type http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import tls, { type SecureContextOptions, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { AcceptDeps, AcceptLimits, TlsCertificates, TlsContext } from './accept-server.ts';
import { plainOnTlsPort } from './hints.ts';

export type Alpn = 'h2' | 'http/1.1';

const PORT_NAME = { h2: 'OTLP/gRPC', 'http/1.1': 'OTLP/HTTP' } as const;

/** The peer's first bytes were no TLS record. */
const NO_TLS = ['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_HTTPS_PROXY_REQUEST', 'ERR_SSL_WRONG_VERSION_NUMBER'];
/** It showed no certificate. One that does not verify ends the connection right after the handshake (see `#failed`). */
const NO_CLIENT_CERTIFICATE = 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE';

export class TlsPort {
  readonly #certificates: TlsCertificates;
  readonly #deps: AcceptDeps;
  readonly #alpn: Alpn;
  readonly #handshakeMs: number;
  /** Sockets whose handshake is not done, by address and port of the peer. */
  readonly #handshakes = new Map<string, Socket>();

  /** undefined without certificates: a plain port. */
  static of(deps: AcceptDeps, limits: AcceptLimits, alpn: Alpn): TlsPort | undefined {
    return deps.tls === undefined ? undefined : new TlsPort(deps.tls, deps, limits, alpn);
  }

  private constructor(certificates: TlsCertificates, deps: AcceptDeps, limits: AcceptLimits, alpn: Alpn) {
    this.#certificates = certificates;
    this.#deps = deps;
    this.#alpn = alpn;
    this.#handshakeMs = limits.headersDeadlineMs;
  }

  /** For OTLP/gRPC: a socket is handed on when its handshake is done. */
  createServer(onSocket: (socket: TLSSocket) => void): Server {
    const server = tls.createServer({ ...this.#options(), noDelay: true }, onSocket);
    this.#watch(server);
    return server;
  }

  /** A client may end its side after the request and wait for the answer, as over plain text. */
  createHttpServer(options: http.ServerOptions): https.Server {
    const server = https.createServer({ ...options, ...this.#options(), allowHalfOpen: true });
    this.#watch(server);
    return server;
  }

  #options(): TlsOptions {
    const context = this.#certificates.current();
    return {
      ...contextOptions(context),
      ALPNProtocols: [this.#alpn],
      handshakeTimeout: this.#handshakeMs,
      requestCert: context.clientCa !== undefined,
      rejectUnauthorized: context.clientCa !== undefined,
    };
  }

  /** Takes over the server's handshakes, and brings it each change of the certificates. */
  #watch(server: Server): void {
    this.#certificates.onChange((context) => server.setSecureContext(contextOptions(context)));
    server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      this.#handshakes.set(peer, socket);
      socket.on('error', ignore);
      socket.once('close', () => {
        if (this.#handshakes.get(peer) === socket) this.#handshakes.delete(peer);
      });
    });
    server.on('secureConnection', (socket) => {
      socket.on('error', ignore);
      this.#handshakes.delete(peerOf(socket));
    });
    server.on('tlsClientError', (error, socket) => this.#failed(error, socket));
  }

  /** Ends the handshakes that are not done. */
  abortHandshakes(): void {
    for (const socket of this.#handshakes.values()) socket.destroy();
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // Set where the peer's certificate did not verify; Node itself closes the socket then.
    const unverified = socket.authorizationError as unknown;
    socket.destroy();
    const code = typeof unverified === 'string' ? unverified : reasonOf(error);
    const { hint, log } = this.#deps;
    log.request({ route: `(TLS handshake failed: ${code})`, status: 'closed', bytes: 0, ms: 0, orgId: undefined });
    const port = PORT_NAME[this.#alpn];
    if (NO_TLS.includes(code)) hint?.('plain-on-tls-port', plainOnTlsPort(port));
    else if (code === NO_CLIENT_CERTIFICATE || typeof unverified === 'string') {
      hint?.('client-certificate', clientCertificate(port, code));
    } else if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL') this.#otherProtocol();
  }

  #otherProtocol(): void {
    const message = `a client offers by ALPN only what the ${PORT_NAME[this.#alpn]} port does not speak (${this.#alpn})`;
    if (this.#alpn === 'h2') this.#deps.hint?.('http-on-grpc-port', `${message}: OTLP/HTTP has a port of its own`);
    else this.#deps.hint?.('grpc-on-http-port', `${message}: OTLP/gRPC has a port of its own`);
  }
}

function contextOptions({ cert, key, clientCa }: TlsContext): SecureContextOptions {
  return {
    cert,
    key,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

function clientCertificate(port: string, code: string): string {
  const asked = 'which BACKWORK_OTLP_TLS_CLIENT_CA_FILE asks for: give its exporter a certificate and key';
  return `a client of the ${port} port showed no certificate that verifies (${code}), ${asked}`;
}

/** A name of Node's or OpenSSL's, never their text, which may quote the peer. */
function reasonOf({ code }: NodeJS.ErrnoException): string {
  return code !== undefined && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? code : 'UNKNOWN';
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

/** Closes the socket, which whoever waits for it is told. */
function ignore(): void {}
