import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

afterEach(() => service.stopAndRemove());

function exportOverHttp(): Promise<Response> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${service.token}` };
  return fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
    method: 'POST',
    headers,
    body: '{"resourceLogs":[]}',
  });
}

/** Headers of the answer to one call: a refusal is Trailers-Only, so its status stands there. */
async function exportOverGrpc(): Promise<http2.IncomingHttpHeaders> {
  const session = http2.connect(`http://127.0.0.1:${service.ports.grpc}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${service.token}`,
  });
  const message = encodeIds(['refused']);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([prefix, message]));
  const headers = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
    stream.on('response', resolve);
    stream.on('error', reject);
  });
  session.destroy();
  return headers;
}

describe('backpressure', () => {
  it('below the low-water mark of the disk every request is refused retryably, and readiness says why', async () => {
    service = await startService({ env: { BACKWORK_SPOOL_RESERVE_MIB: '1048576' } });
    const answer = await exportOverHttp();
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(5);
    expect(await answer.json()).toMatchObject({ code: 14 });
    const headers = await exportOverGrpc();
    expect(headers).toMatchObject({ ':status': 200, 'grpc-status': '14' });
    expect(headers['google.rpc.retryinfo-bin']).toBeDefined();
    expect(headers['grpc-status-details-bin']).toBeDefined();
    const ready = await fetch(`http://127.0.0.1:${service.ports.api}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('disk');
  }, 30_000);

  it('a body that does not fit the memory budget is refused before it is read, and fits again when another has gone', async () => {
    service = await startService({ env: { BACKWORK_IN_FLIGHT_MIB: '64', BACKWORK_WORKERS: '1' } });
    const holder = net.connect(service.ports.http, '127.0.0.1');
    const head = [
      'POST /v1/logs HTTP/1.1',
      'host: x',
      'content-type: application/x-protobuf',
      `authorization: Bearer ${service.token}`,
    ];
    holder.write(`${[...head, 'content-length: 67000000'].join('\r\n')}\r\n\r\n`);
    await delay(300);
    const refused = await exportUnknownLength();
    expect(refused).toMatchObject({ status: 503, retryAfter: expect.stringMatching(/^[1-5]$/) });
    holder.destroy();
    await delay(300);
    expect(await exportUnknownLength()).toMatchObject({ status: 200 });
  }, 30_000);
});

/** Chunked, so that 1 MiB is reserved for it. */
async function exportUnknownLength(): Promise<{ status: number; retryAfter: string | null }> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${service.token}` };
  const body = new Blob(['{"resourceLogs":[]}']).stream();
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
  const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, init);
  return { status: answer.status, retryAfter: answer.headers.get('retry-after') };
}
