/** grpc.health.v1.Health by a client of grpc-js, and by peers that go too far. */
import { join } from 'node:path';
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, describe, expect, it } from 'vitest';
import type { AcceptLimits, AcceptServer } from '../../../src/ingest/accept/accept-server.ts';
import { createGrpcServer } from '../../../src/ingest/accept/grpc-server.ts';
import { PROTO_DIR } from '../../proto/load-proto.ts';
import { callOnce, grpcFrame, QUICK, until, watchedPath } from './peers.ts';

const HEALTH = 'grpc.health.v1.Health';
const definition = loadSync(join(PROTO_DIR, 'grpc/health/v1/health.proto'), { enums: String, defaults: true });
const loaded = loadPackageDefinition(definition) as unknown as {
  readonly grpc: { readonly health: { readonly v1: { readonly Health: ServiceClientConstructor } } };
};
const { Health } = loaded.grpc.health.v1;

const stops: Array<() => unknown> = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(limits: Partial<AcceptLimits> = {}) {
  const state = { serving: true };
  const { seen, deps } = watchedPath();
  const all = { ...deps, limits: { ...QUICK, ...limits }, isServing: () => state.serving };
  const server: AcceptServer = createGrpcServer(all);
  const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
  const client = new Health(`127.0.0.1:${port}`, credentials.createInsecure());
  stops.push(
    () => server.drain(),
    () => client.close(),
  );
  const check = (service: string): Promise<string> =>
    new Promise((resolve) => {
      client['check']?.({ service }, (error: ServiceError | null, answer: { status: string }) => {
        resolve(error === null ? answer.status : `${error.code} ${error.details}`);
      });
    });
  const watch = (service: string) => {
    const stream = client['watch']?.({ service }) as ClientReadableStream<{ status: string }>;
    const heard: string[] = [];
    stream.on('data', ({ status }) => void heard.push(status));
    stream.on('error', (error: ServiceError) => void heard.push(`${error.code} ${error.details}`));
    return { stream, heard };
  };
  return { port, server, seen, state, check, watch };
}

describe('Check', () => {
  const SERVICES = [
    '',
    'opentelemetry.proto.collector.logs.v1.LogsService',
    'opentelemetry.proto.collector.metrics.v1.MetricsService',
    'opentelemetry.proto.collector.trace.v1.TraceService',
  ];

  it.each(SERVICES)('of %j answers without a token, as the service would accept or not', async (service) => {
    const { check, state, seen } = await start();
    expect(await check(service)).toBe('SERVING');
    state.serving = false;
    expect(await check(service)).toBe('NOT_SERVING');
    expect(seen.heads).toEqual([]);
    expect(seen.log.map(({ route, status }) => [route, status])).toEqual([
      [`/${HEALTH}/Check`, 'OK'],
      [`/${HEALTH}/Check`, 'OK'],
    ]);
  });

  it('of another service is NOT_FOUND', async () => {
    const { check } = await start();
    expect(await check('backwork')).toBe('5 unknown service');
  });

  it.each<[string, Buffer, Record<string, string>, string, RegExp]>([
    ['of 4 KiB and a byte', Buffer.alloc(4_097), {}, '8', /over the limit of 4096 bytes/],
    ['that is cut off', Buffer.from([10, 5, 97]), {}, '3', /no grpc\.health\.v1\.HealthCheckRequest/],
    ['in another coding', Buffer.alloc(0), { 'grpc-encoding': 'br' }, '12', /identity and gzip are/],
  ])('by a request %s is refused', async (_what, message, headers, status, text) => {
    const { port, seen } = await start();
    const result = await callOnce(port, { path: `/${HEALTH}/Check`, body: grpcFrame(message), headers });
    expect(result.headers['grpc-status']).toBe(status);
    expect(decodeURIComponent(String(result.headers['grpc-message']))).toMatch(text);
    expect(seen.faults).toEqual([]);
  });

  it('by a request of 4 KiB is answered', async () => {
    const { port } = await start();
    const padding = Buffer.concat([Buffer.from([0x7a, 0xfd, 0x1f]), Buffer.alloc(4_093)]);
    const result = await callOnce(port, { path: `/${HEALTH}/Check`, body: grpcFrame(padding) });
    expect([result.trailers['grpc-status'], result.data.toString('hex')]).toEqual(['0', '00000000020801']);
  });

  it('by a request that does not end is refused at the deadline for headers', async () => {
    const { port } = await start({ headersDeadlineMs: 100 });
    const result = await callOnce(port, { path: `/${HEALTH}/Check`, end: false });
    expect(result.headers['grpc-status']).toBe('14');
  });
});

describe('Watch', () => {
  it('tells the status at once and each time it changes', async () => {
    const { watch, state } = await start();
    const { heard, stream } = watch('');
    await until(() => heard.length === 1);
    state.serving = false;
    await until(() => heard.length === 2);
    state.serving = true;
    await until(() => heard.length === 3);
    expect(heard).toEqual(['SERVING', 'NOT_SERVING', 'SERVING']);
    stream.cancel();
  });

  it('of another service tells SERVICE_UNKNOWN and goes on', async () => {
    const { watch, check } = await start();
    const { heard, stream } = watch('backwork');
    await until(() => heard.length === 1);
    await check('');
    expect([heard, stream.destroyed]).toEqual([['SERVICE_UNKNOWN'], false]);
    stream.cancel();
  });

  it('ends with NOT_SERVING and UNAVAILABLE when the port stops, and does not hold it up', async () => {
    const { watch, server } = await start({ drainMs: 3_600_000, sweepMs: 3_600_000 });
    const { heard } = watch('');
    await until(() => heard.length === 1);
    await server.drain();
    await until(() => heard.length === 3);
    expect(heard).toEqual(['SERVING', 'NOT_SERVING', '14 this process is shutting down; watch again']);
  });

  it('ends when its connection has reached its age, and does not hold the connection', async () => {
    const { watch } = await start({ connectionAgeMs: 200, connectionGraceMs: 3_600_000 });
    const { heard } = watch('');
    await until(() => heard.length === 2);
    expect(heard).toEqual(['SERVING', '14 this connection is being closed; watch again']);
  });

  it('is refused for the seventeenth of one connection, and given when another has ended', async () => {
    const { watch, seen } = await start();
    const watches = Array.from({ length: 16 }, () => watch(''));
    await until(() => watches.every(({ heard }) => heard.length === 1));
    const { heard } = watch('');
    await until(() => heard.length === 1);
    expect(heard).toEqual(['14 this connection has 16 health watches, at most 16']);
    watches[0]?.stream.cancel();
    await until(() => seen.log.some(({ status }) => status === 'client gone'));
    const next = watch('');
    await until(() => next.heard.length === 1);
    expect(next.heard).toEqual(['SERVING']);
    for (const { stream } of [...watches, next]) stream.cancel();
  });
});

describe('another method of the health service', () => {
  it('is UNIMPLEMENTED', async () => {
    const { port } = await start();
    const result = await callOnce(port, { path: `/${HEALTH}/List`, body: grpcFrame(Buffer.alloc(0)) });
    expect(result.headers['grpc-status']).toBe('12');
  });
});
