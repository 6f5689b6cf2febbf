/** Settings of the OTLP ports, as the whole service has them: size of a body, origins, health. */
import { gzipSync } from 'node:zlib';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MIB } from '../../src/base/limits.ts';
import { SIGNAL_PATHS } from '../ingest/accept/peers.ts';
import { encodeRecords } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  const env = { BACKWORK_BODY_MIB: '1', BACKWORK_CORS_ORIGINS: 'https://a.example,https://*.b.example' };
  service = await startService({ env: { ...env, BACKWORK_WORKERS: '1' } });
});
afterAll(() => service?.stopAndRemove());

/** A request of exactly so many bytes. */
function bodyOf(bytes: number): Buffer {
  const text = 'x'.repeat(bytes - 100);
  const missing = bytes - encodeRecords([{ body: { stringValue: text } }]).length;
  return encodeRecords([{ body: { stringValue: text + 'y'.repeat(missing) } }]);
}

function grpc(path: string, body: Buffer): Promise<[number, string]> {
  const client = new Client(`127.0.0.1:${service.ports.grpc}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${service.token}`);
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    const done = (error: ServiceError | null, answer?: Buffer): void => {
      client.close();
      resolve([error?.code ?? 0, error?.details ?? answer?.toString('hex') ?? '']);
    };
    client.makeUnaryRequest(path, same, same, body, metadata, { deadline: Date.now() + 10_000 }, done);
  });
}

function http(body: Buffer, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', authorization: `Bearer ${service.token}`, ...headers },
    body,
  });
}

it('a body of BACKWORK_BODY_MIB is taken and one of a byte more is refused for good, over gRPC and HTTP', async () => {
  const [fits, over] = [bodyOf(MIB), bodyOf(MIB + 1)];
  expect([fits.length, over.length]).toEqual([MIB, MIB + 1]);
  expect(await grpc(SIGNAL_PATHS.logs, fits)).toEqual([0, '']);
  expect(await grpc(SIGNAL_PATHS.logs, over)).toEqual([8, expect.stringContaining('the limit of 1048576 bytes')]);
  const gzip = { 'content-encoding': 'gzip' };
  expect([(await http(fits)).status, (await http(gzipSync(fits), gzip)).status]).toEqual([200, 200]);
  expect([(await http(over)).status, (await http(gzipSync(over), gzip)).status]).toEqual([413, 413]);
  const sql = 'SELECT count() AS n FROM otel_logs';
  await service.queryUntil<{ n: string }>(sql, ([row]) => String(row?.n) === '3');
});

it('pages of the origins in BACKWORK_CORS_ORIGINS may send, others may not', async () => {
  const origins = ['https://a.example', 'https://x.b.example', 'https://c.example'];
  const answers = await Promise.all(origins.map((origin) => http(Buffer.alloc(0), { origin })));
  const allowed = answers.map((answer) => answer.headers.get('access-control-allow-origin'));
  expect(allowed).toEqual(['https://a.example', 'https://x.b.example', null]);
});

it('the health service on the OTLP/gRPC port says that the service accepts', async () => {
  expect(await grpc('/grpc.health.v1.Health/Check', Buffer.alloc(0))).toEqual([0, '0801']);
});
