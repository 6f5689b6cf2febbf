/** TLS on both ports, by clients of node:tls that may break its rules. */
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { AcceptDeps, AcceptServer } from '../../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../../src/ingest/accept/grpc-server.ts';
import { createHttpServer } from '../../../src/ingest/accept/http-server.ts';
import { CA, HeldCertificates, pair } from '../../support/certificates.ts';
import { grpcFrame, httpBytes, QUICK, resultOf, startCall, until, watchedPath } from './peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, PREFACE } from './raw-h2.ts';

const servers: AcceptServer[] = [];
const sockets: net.Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => server.drain()));
});

type Kind = 'grpc' | 'http';
const ALPN = { grpc: 'h2', http: 'http/1.1' } as const;

async function start(kind: Kind, more: Partial<AcceptDeps> = {}) {
  const { seen, deps } = watchedPath();
  const hints: string[] = [];
  const certificates = new HeldCertificates('server-1');
  const all: AcceptDeps = { ...deps, hint: (name) => void hints.push(name), tls: certificates, ...more };
  const server = kind === 'grpc' ? createGrpcServer(all) : createHttpServer(all);
  servers.push(server);
  const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
  return { port, seen, hints, server, certificates };
}

interface Peer {
  readonly socket: tls.TLSSocket;
  received: string;
  /** Codes of errors, or 'end' and 'close' as they come. */
  readonly ended: string[];
}

function connect(port: number, options: tls.ConnectionOptions = {}): Peer {
  // The declarations miss allowHalfOpen here.
  const address = { port, host: '127.0.0.1', servername: 'localhost', allowHalfOpen: true };
  const socket = tls.connect({ ...address, ca: CA, ...options } as tls.ConnectionOptions);
  sockets.push(socket);
  const peer: Peer = { socket, received: '', ended: [] };
  socket.on('data', (chunk: Buffer) => {
    peer.received += chunk.toString('latin1');
  });
  socket.on('error', (error: NodeJS.ErrnoException) => void peer.ended.push(error.code ?? error.message));
  socket.on('end', () => void peer.ended.push('end'));
  socket.on('close', () => void peer.ended.push('close'));
  return peer;
}

function plain(port: number): net.Socket {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

function http2Over(socket: tls.TLSSocket): http2.ClientHttp2Session {
  const session = http2.connect('https://localhost', { createConnection: () => socket });
  session.on('error', () => {});
  return session;
}

/** Preface, and windows that do not end. */
function largeWindows(): Buffer {
  const settings = Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]);
  const update = Buffer.from([0x7f, 0, 0, 0]);
  return Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0, settings), frame(FRAME.WINDOW_UPDATE, 0, 0, update)]);
}

function request(kind: Kind, index: number): Buffer {
  if (kind === 'http') return httpBytes({ body: 'x' });
  return Buffer.concat([
    frame(FRAME.HEADERS, FLAG.END_HEADERS, 2 * index + 1, headerBlock(CALL_HEADERS)),
    frame(FRAME.DATA, FLAG.END_STREAM, 2 * index + 1, grpcFrame(Buffer.from('x'))),
  ]);
}

describe.each<Kind>(['grpc', 'http'])('the %s port over TLS', (kind) => {
  const ALPNProtocols = [ALPN[kind]];

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s', async (version) => {
    const { port } = await start(kind);
    const { socket } = connect(port, { ALPNProtocols, minVersion: version, maxVersion: version });
    await once(socket, 'secureConnect');
    expect([socket.getProtocol(), socket.alpnProtocol, socket.authorized]).toEqual([version, ALPN[kind], true]);
  });

  it('refuses TLS 1.1 in the handshake', async () => {
    // Without this OpenSSL's own policy would refuse it, too, and the test could not fail.
    const policy = tls.DEFAULT_CIPHERS;
    tls.DEFAULT_CIPHERS = 'DEFAULT:@SECLEVEL=0';
    const { port, seen } = await start(kind).finally(() => {
      tls.DEFAULT_CIPHERS = policy;
    });
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    const peer = connect(port, { ALPNProtocols, ...old });
    await until(() => peer.ended.includes('close'));
    expect(peer.ended[0]).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    expect(seen.log.map((line) => line.route)).toEqual(['(TLS handshake failed: ERR_SSL_UNSUPPORTED_PROTOCOL)']);
  });

  it('refuses a client that offers another protocol by ALPN, with a hint', async () => {
    const { port, hints } = await start(kind);
    const peer = connect(port, { ALPNProtocols: [ALPN[kind === 'grpc' ? 'http' : 'grpc']] });
    await until(() => peer.ended.includes('close'));
    expect(peer.ended[0]).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    expect(hints).toEqual([kind === 'grpc' ? 'http-on-grpc-port' : 'grpc-on-http-port']);
  });

  it.each([
    ['an HTTP/1.1 request', Buffer.from('POST /v1/logs HTTP/1.1\r\nHost: a\r\n\r\n')],
    ["HTTP/2's preface", Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)])],
  ])('closes a connection that begins with %s in plain text, with a hint', async (_what, bytes) => {
    const { port, hints } = await start(kind);
    const socket = plain(port);
    socket.write(bytes);
    await once(socket.resume(), 'close');
    expect(hints).toEqual(['plain-on-tls-port']);
  });

  it('closes a handshake that is not done by the deadline for headers', async () => {
    const { port, seen } = await start(kind, { limits: { ...QUICK, headersDeadlineMs: 100 } });
    await once(plain(port).resume(), 'close');
    expect(seen.log.map((line) => line.route)).toEqual(['(TLS handshake failed: ERR_TLS_HANDSHAKE_TIMEOUT)']);
  });

  it('is not held up by a handshake when it stops', async () => {
    const { port, server } = await start(kind, {
      limits: { ...QUICK, headersDeadlineMs: 3_600_000, drainMs: 3_600_000 },
    });
    const socket = plain(port);
    await once(socket, 'connect');
    const other = connect(port, { ALPNProtocols });
    await once(other.socket, 'secureConnect');
    other.socket.destroy();
    await server.drain();
    await until(() => socket.resume().destroyed);
  });

  it('refuses renegotiation, and the process goes on', async () => {
    const { port } = await start(kind);
    const peer = connect(port, { ALPNProtocols, maxVersion: 'TLSv1.2' });
    await once(peer.socket, 'secureConnect');
    let renegotiated = false;
    peer.socket.renegotiate({}, (error) => {
      renegotiated = error === null;
    });
    // Without the refusal this would be sent by the new keys, and answered.
    peer.socket.write(httpBytes({ body: 'x' }));
    await until(() => peer.ended.includes('close'));
    expect([renegotiated, peer.ended[0], peer.received]).toEqual([
      false,
      'EPROTO',
      expect.not.stringContaining('HTTP'),
    ]);
    const next = connect(port, { ALPNProtocols });
    await once(next.socket, 'secureConnect');
  });

  it('serves a new certificate to new connections, and goes on with the old ones', async () => {
    const { port, certificates } = await start(kind);
    const before = connect(port, { ALPNProtocols });
    await once(before.socket, 'secureConnect');
    certificates.change('server-2');
    const after = connect(port, { ALPNProtocols });
    await once(after.socket, 'secureConnect');
    expect(before.socket.getPeerCertificate().subject.CN).toBe('backwork test server-1');
    expect(after.socket.getPeerCertificate().subject.CN).toBe('backwork test server-2');
    if (kind === 'grpc') {
      const result = await resultOf(startCall(http2Over(before.socket), { body: grpcFrame(Buffer.from('x')) }));
      expect(result.trailers['grpc-status']).toBe('0');
    } else {
      before.socket.write(httpBytes({ body: 'x' }));
      await until(() => before.received.startsWith('HTTP/1.1 200 '));
    }
  });

  it('lets in a client whose certificate the client CA has signed, and no other', async () => {
    const { port, hints, seen } = await start(kind, { tls: new HeldCertificates('server-1', CA) });
    for (const name of [undefined, 'untrusted-client'] as const) {
      const peer = connect(port, { ALPNProtocols, ...(name === undefined ? {} : pair(name)) });
      await until(() => peer.ended.length > 0);
    }
    const trusted = connect(port, { ALPNProtocols, ...pair('client') });
    await once(trusted.socket, 'secureConnect');
    if (kind === 'grpc') {
      const result = await resultOf(startCall(http2Over(trusted.socket), { body: grpcFrame(Buffer.from('x')) }));
      expect(result.trailers['grpc-status']).toBe('0');
    } else {
      trusted.socket.write(httpBytes({ body: 'x' }));
      await until(() => trusted.received.startsWith('HTTP/1.1 200 '));
    }
    expect(seen.heads).toHaveLength(1);
    expect(hints).toEqual(['client-certificate', 'client-certificate']);
  });
});

describe.each<Kind>(['grpc', 'http'])('a client of the %s port over TLS that never reads', (kind) => {
  it('loses the answers it does not take, and they do not count as sent', async () => {
    const message = 'x'.repeat(1_000);
    const { seen, deps } = watchedPath({ submit: () => ({ rejected: 1, message }) });
    const { port } = await start(kind, { path: deps.path, limits: { ...QUICK, answerDeadlineMs: 100 } });
    const peer = connect(port, { ALPNProtocols: [ALPN[kind]] });
    await once(peer.socket, 'secureConnect');
    peer.socket.removeAllListeners('data').pause();
    if (kind === 'grpc') peer.socket.write(largeWindows());
    for (let round = 0; round < 400 && !peer.ended.includes('close') && !seen.released.includes(false); round++) {
      peer.socket.write(Buffer.concat(Array.from({ length: 50 }, (_, call) => request(kind, round * 50 + call))));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until(() => seen.released.includes(false));
    peer.socket.destroy();
    await until(() => seen.released.length === seen.heads.length);
    expect(seen.released).toContain(true);
  });
});

describe.each<Kind>(['grpc', 'http'])('a client of the %s port over TLS that goes away', (kind) => {
  it('in the middle of its body: released, and nothing was submitted', async () => {
    const { port, seen } = await start(kind);
    const peer = connect(port, { ALPNProtocols: [ALPN[kind]] });
    await once(peer.socket, 'secureConnect');
    if (kind === 'http') peer.socket.write(httpBytes({ body: 'x' }).subarray(0, -1));
    else peer.socket.write(Buffer.concat([largeWindows(), request(kind, 0).subarray(0, -1)]));
    await until(() => seen.heads.length > 0);
    peer.socket.destroy();
    await until(() => seen.released.length > 0);
    expect([seen.released, seen.bodies]).toEqual([[false], []]);
  });
});

describe('OTLP/HTTP over TLS', () => {
  it('answers a client that has ended its side after the request', async () => {
    // The answer is made once the server has heard the end.
    const { seen, deps } = watchedPath({
      submit: () => new Promise((resolve) => setTimeout(resolve, 100, { rejected: 0, message: '' })),
    });
    const { port } = await start('http', { path: deps.path });
    const peer = connect(port);
    peer.socket.end(httpBytes({ body: 'x' }));
    await until(() => peer.received.startsWith('HTTP/1.1 200 '));
    await until(() => seen.released.length > 0);
    expect(seen.released).toEqual([true]);
  });

  it('releases a request whose answer waits behind another when the client goes away', async () => {
    const never = new Promise<never>(() => {});
    const { seen, deps } = watchedPath({
      submit: (body) => (body.toString() === 'first' ? never : { rejected: 0, message: '' }),
    });
    const { port } = await start('http', { path: deps.path });
    const raw = plain(port);
    const peer = connect(port, { socket: raw });
    peer.socket.write(Buffer.concat([httpBytes({ body: 'first' }), httpBytes({ body: 'second' })]));
    await until(() => seen.bodies.length === 2);
    // A reset, because an end alone is what a client sends that still waits for its answers.
    raw.resetAndDestroy();
    await until(() => seen.released.length > 0);
    expect(seen.released).toEqual([false]);
  });

  it('says Connection: close once the connection is old', async () => {
    const { port } = await start('http', { limits: { ...QUICK, connectionAgeMs: 0 } });
    const peer = connect(port);
    peer.socket.write(httpBytes({ body: 'x' }));
    await until(() => peer.ended.includes('end'));
    expect(peer.received).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r\n)*Connection: close\r\n/);
  });

  it('ends what runs before it stops', async () => {
    const gate = Promise.withResolvers<void>();
    const { deps } = watchedPath({ submit: () => gate.promise.then(() => ({ rejected: 0, message: '' })) });
    const { port, server } = await start('http', { path: deps.path });
    const peer = connect(port);
    peer.socket.write(httpBytes({ body: 'x' }));
    await once(peer.socket, 'secureConnect');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const drained = server.drain();
    gate.resolve();
    await drained;
    await until(() => peer.received.startsWith('HTTP/1.1 200 '));
  });
});

describe('OTLP/gRPC over TLS', () => {
  it('answers HTTP/2 without ALPN in words, with a hint', async () => {
    const { port, hints } = await start('grpc');
    const peer = connect(port);
    peer.socket.write(Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)]));
    await until(() => peer.received.includes('by ALPN'));
    expect(peer.received).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(hints).toEqual(['http-on-grpc-port']);
  });

  it('says GOAWAY on an old connection and closes it', async () => {
    const { port } = await start('grpc', { limits: { ...QUICK, connectionAgeMs: 0 } });
    const peer = connect(port, { ALPNProtocols: ['h2'] });
    const session = http2Over(peer.socket);
    const said = once(session, 'goaway');
    await once(session, 'remoteSettings');
    expect((await said)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR);
    await until(() => peer.socket.destroyed);
  });
});
