/** T1 and T2 of the checklist's TLS lines, over the whole service: mutual TLS on both ports, and a reload. */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AcceptDeps } from '../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../src/ingest/accept/grpc-server.ts';
import { createHttpServer } from '../../src/ingest/accept/http-server.ts';
import { SIGNAL_PATHS, until, watchedPath } from '../ingest/accept/peers.ts';
import { CA, type CertificateName, certificatePath, keyPath, pair } from '../support/certificates.ts';
import { encodeRecords } from '../support/log-request.ts';
import { runCommand, startService, type TestService, temporaryDirectory } from '../support/service.ts';

const DEADLINE_MS = 10_000;
const dir = temporaryDirectory();
const files = join(dir, 'tls');
const env = {
  BACKWORK_OTLP_TLS_CERT_FILE: join(files, 'tls.crt'),
  BACKWORK_OTLP_TLS_KEY_FILE: join(files, 'tls.key'),
  BACKWORK_OTLP_TLS_CLIENT_CA_FILE: certificatePath('ca'),
};
let service: TestService;

beforeAll(async () => {
  mkdirSync(files);
  put('server-1');
  // On all addresses and with TLS required: with TLS that is no plain text.
  const more = { BACKWORK_OTLP_HOST: '0.0.0.0', BACKWORK_REQUIRE_TLS: '1', BACKWORK_WORKERS: '2' };
  service = await startService({ env: { ...env, ...more } });
});
afterAll(async () => {
  await service?.stopAndRemove();
  rmSync(dir, { recursive: true });
});

function put(name: CertificateName): void {
  copyFileSync(certificatePath(name), join(files, 'tls.crt'));
  copyFileSync(keyPath(name), join(files, 'tls.key'));
}

const body = (text: string) => encodeRecords([{ body: { stringValue: text } }]);

function grpcClient(identity: ChannelCredentials): { send(text: string): Promise<number>; close(): void } {
  const client = new Client(`localhost:${service.ports.grpc}`, identity);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${service.token}`);
  const same = (bytes: Buffer) => bytes;
  return {
    send: (text) =>
      new Promise((resolve) => {
        const options = { deadline: Date.now() + DEADLINE_MS };
        const done = (error: ServiceError | null): void => resolve(error?.code ?? 0);
        client.makeUnaryRequest(SIGNAL_PATHS.logs, same, same, body(text), metadata, options, done);
      }),
    close: () => client.close(),
  };
}

function grpcIdentity(name?: CertificateName): ChannelCredentials {
  if (name === undefined) return credentials.createSsl(CA);
  const { cert, key } = pair(name);
  return credentials.createSsl(CA, key, cert);
}

/** Resolves with the status, or with the name of the error. */
function sendHttp(text: string, identity: https.RequestOptions): Promise<number | string> {
  const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${service.token}` };
  const address = { host: '127.0.0.1', port: service.ports.http, servername: 'localhost', path: '/v1/logs', ca: CA };
  return new Promise((resolve) => {
    const request = https.request({ ...address, method: 'POST', headers, agent: false, ...identity }, (answer) => {
      resolve(answer.resume().statusCode ?? 0);
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.end(body(text));
  });
}

function handshake(port: number, options: tls.ConnectionOptions): Promise<string> {
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: CA,
    ...pair('client'),
    ...options,
  });
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('secureConnect', () => {
      resolve(`${socket.getProtocol()} ${socket.alpnProtocol} ${socket.getPeerCertificate().subject.CN}`);
      socket.destroy();
    });
  });
}

it('T1 (TLS): a client with a certificate of the client CA is served on both ports, and its rows are stored', async () => {
  const client = grpcClient(grpcIdentity('client'));
  expect(await client.send('by gRPC')).toBe(0);
  client.close();
  expect(await sendHttp('by HTTP', pair('client'))).toBe(200);
  const sql = "SELECT Body FROM otel_logs WHERE Body LIKE 'by %' ORDER BY Body";
  const rows = await service.queryUntil<{ Body: string }>(sql, (found) => found.length === 2);
  expect(rows.map((row) => row.Body)).toEqual(['by HTTP', 'by gRPC']);
});

it.each([undefined, 'untrusted-client'] as const)(
  'T1 (TLS): a client whose certificate is %s is refused',
  async (name) => {
    const client = grpcClient(grpcIdentity(name));
    expect(await client.send('refused')).toBe(14);
    client.close();
    expect(await sendHttp('refused', name === undefined ? {} : pair(name))).toMatch(/^E[A-Z0-9_]+$/);
    await until(() => service.stderr.includes('showed no certificate that verifies'));
  },
);

it('T1 (TLS): 1.2 and 1.3 are spoken, 1.1 is not, each port offering its one protocol by ALPN', async () => {
  const { grpc, http } = service.ports;
  for (const [port, alpn] of [[grpc, 'h2'] as const, [http, 'http/1.1'] as const]) {
    const ALPNProtocols = ['h2', 'http/1.1'];
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const seen = await handshake(port, { ALPNProtocols, minVersion: version, maxVersion: version });
      expect(seen).toBe(`${version} ${alpn} backwork test server-1`);
    }
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
    expect(await handshake(port, { ALPNProtocols, ...old })).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  }
});

it('T1 (TLS): changed files are taken over without a restart; a broken pair is not, and is an error in the log', async () => {
  const children = service.children('ingest');
  const client = grpcClient(grpcIdentity('client'));
  expect(await client.send('before')).toBe(0);
  const workers = (text: string) => service.stderr.split('\n').filter((line) => line.includes(text)).length;
  const served = (port: number) =>
    handshake(port, { ALPNProtocols: [port === service.ports.grpc ? 'h2' : 'http/1.1'] });

  put('server-2');
  await until(() => workers('the TLS files have changed') === 2);
  expect(service.stderr).toContain('"expires":"2120-01-01"');
  for (const port of [service.ports.grpc, service.ports.http]) expect(await served(port)).toMatch(/server-2$/);
  expect(await client.send('by the connection from before')).toBe(0);

  copyFileSync(keyPath('server-1'), join(files, 'tls.key'));
  await until(() => workers('the changed TLS files cannot be served') === 2);
  for (const port of [service.ports.grpc, service.ports.http]) expect(await served(port)).toMatch(/server-2$/);
  expect(await client.send('still')).toBe(0);
  client.close();
  expect(service.children('ingest')).toEqual(children);
  expect(service.stderr).not.toContain('BEGIN');
});

it('T1 (TLS): with TLS required, plain text on an address that is not loopback is refused at the start', async () => {
  const plain = { ...process.env, BACKWORK_DATA_DIR: join(dir, 'none'), BACKWORK_OTLP_HOST: '0.0.0.0' };
  const refused = await runCommand({ ...plain, BACKWORK_REQUIRE_TLS: '1' }, ['serve']);
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toMatch(/BACKWORK_OTLP_HOST=0\.0\.0\.0: .*set BACKWORK_OTLP_TLS_CERT_FILE/);
  // The service above listens on all addresses as well, and speaks TLS.
  expect(service.stderr).not.toContain('plain text on an address');
});

it('T1 (TLS): plain text on an address that is not loopback is served, with a warning in the log', async () => {
  const plain = await startService({ env: { BACKWORK_OTLP_HOST: '0.0.0.0' } });
  try {
    const warned = plain.stderr.split('\n').filter((line) => line.includes('plain text on an address'));
    expect(warned.map((line) => JSON.parse(line))).toMatchObject([
      { level: 'warn', setting: 'BACKWORK_OTLP_HOST', msg: expect.stringContaining('BACKWORK_OTLP_TLS_CERT_FILE') },
    ]);
  } finally {
    await plain.stopAndRemove();
  }
});

it('T1 (TLS): files that cannot be served are refused at the start by name', async () => {
  const wrong = {
    ...env,
    BACKWORK_OTLP_TLS_KEY_FILE: keyPath('client'),
    BACKWORK_OTLP_TLS_CERT_FILE: certificatePath('server-1'),
  };
  const refused = await runCommand({ ...process.env, BACKWORK_DATA_DIR: join(dir, 'none'), ...wrong }, ['serve']);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(/^backwork: TLS private key file .*client\.key: is not the key of .*server-1\.crt\n$/);
});

it('T2 (TLS): a TLS handshake on a plain port is a hint that says what to set on either side', async () => {
  for (const [create, name] of [[createGrpcServer, 'gRPC'] as const, [createHttpServer, 'HTTP'] as const]) {
    const hints: string[] = [];
    const deps: AcceptDeps = { ...watchedPath().deps, hint: (kind, message) => void hints.push(`${kind}: ${message}`) };
    const server = create(deps);
    const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
    expect(await handshake(port, {})).toMatch(/^(ERR_SSL_|ECONNRESET|EPROTO)/);
    await until(() => hints.length > 0);
    expect(hints).toEqual([
      `tls-on-plain-port: a client speaks TLS to the OTLP/${name} port, which is plain text: set its endpoint to http:// ` +
        'or its exporter to insecure, or give this service a certificate with BACKWORK_OTLP_TLS_CERT_FILE and ' +
        'BACKWORK_OTLP_TLS_KEY_FILE',
    ]);
    await server.drain();
  }
});

it('T2 (TLS): plain text on a TLS port is a hint in the log of the service, once a minute', async () => {
  for (let attempt = 0; attempt < 3; attempt++) {
    const socket = net.connect(service.ports.http, '127.0.0.1', () => socket.write('POST /v1/logs HTTP/1.1\r\n\r\n'));
    await new Promise((resolve) =>
      socket
        .on('error', () => {})
        .on('close', resolve)
        .resume(),
    );
  }
  await until(() => service.stderr.includes('"hint":"plain-on-tls-port"'));
  const lines = service.stderr.split('\n').filter((line) => line.includes('"hint":"plain-on-tls-port"'));
  // Each of the two workers may have had its first.
  expect(lines.length).toBeLessThanOrEqual(2);
  expect(JSON.parse(lines[0] ?? '{}')).toMatchObject({ level: 'warn', msg: expect.stringContaining('https://') });
});
