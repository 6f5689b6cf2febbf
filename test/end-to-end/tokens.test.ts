import { setTimeout as delay } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_WORKERS: '2' } });
});
afterAll(() => service.stopAndRemove());

/** A connection that stays open; each call names its token. Resolves to the gRPC status code. */
function openConnection(): { call(token: string): Promise<number>; close(): void } {
  const client = new grpc.Client(`127.0.0.1:${service.ports.grpc}`, grpc.credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  return {
    call: (token) => {
      const metadata = new grpc.Metadata();
      metadata.set('authorization', `Bearer ${token}`);
      const path = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
      return new Promise((resolve) => {
        client.makeUnaryRequest(path, same, same, encodeIds(['token-test']), metadata, (error) =>
          resolve(error?.code ?? 0),
        );
      });
    },
    close: () => client.close(),
  };
}

async function create(name: string): Promise<string> {
  const made = await service.command('token', 'create', '--org', 'default', '--name', name);
  expect(made.code, made.stderr).toBe(0);
  expect(made.stdout).toMatch(/^bw_ing_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\n$/);
  return made.stdout.trim();
}

const idOf = (token: string): string => token.split('_')[2] ?? '';

describe('tokens made and ended by the command line', () => {
  it('work the moment they are made, on a connection that was open before', async () => {
    const connection = openConnection();
    expect(await connection.call(service.token)).toBe(grpc.status.OK);
    expect(await connection.call(await create('new'))).toBe(grpc.status.OK);
    connection.close();
  });

  it('are refused within a second of their revocation, on an open gRPC connection too', async () => {
    const token = await create('to be revoked');
    const connections = [openConnection(), openConnection(), openConnection()];
    for (const connection of connections) expect(await connection.call(token)).toBe(grpc.status.OK);
    expect((await service.command('token', 'revoke', idOf(token))).code).toBe(0);
    await delay(1_000);
    for (const connection of connections) {
      expect(await connection.call(token)).toBe(grpc.status.UNAUTHENTICATED);
      expect(await connection.call(service.token)).toBe(grpc.status.OK);
      connection.close();
    }
    const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` };
    const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
      method: 'POST',
      headers,
      body: encodeIds(['x']),
    });
    expect(answer.status).toBe(401);
  }, 30_000);

  it('live side by side after a rotation until the overlap is over', async () => {
    const old = await create('rotated');
    const rotated = await service.command('token', 'rotate', idOf(old), '--overlap', '0');
    expect(rotated.code, rotated.stderr).toBe(0);
    const connection = openConnection();
    expect(await connection.call(rotated.stdout.trim())).toBe(grpc.status.OK);
    await delay(1_000);
    expect(await connection.call(old)).toBe(grpc.status.UNAUTHENTICATED);
    const next = await service.command('token', 'rotate', idOf(rotated.stdout.trim()));
    await delay(1_000);
    expect(await connection.call(rotated.stdout.trim())).toBe(grpc.status.OK);
    expect(await connection.call(next.stdout.trim())).toBe(grpc.status.OK);
    connection.close();
  }, 30_000);
});
