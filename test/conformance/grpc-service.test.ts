/** The gRPC port of the whole service: where it listens, what its settings change, and how it stops. */
import net from 'node:net';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messageField } from '../../src/ingest/accept/protobuf-writer.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { grpcFrame, httpOnce, RawHttp, resultOf, startCall, until } from '../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock } from '../ingest/accept/raw-h2.ts';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import { answerIn, GrpcRoom, refusalIn } from './grpc-running.ts';

const MIB = 2 ** 20;
const room = new GrpcRoom();
let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_BODY_MIB: '1' } });
});
afterAll(async () => {
  await room.stop();
  await service.stopAndRemove();
});

function send(message: Buffer) {
  const headers = { authorization: `Bearer ${service.token}` };
  return resultOf(startCall(room.connect(service.ports.grpc), { headers, body: grpcFrame(message) }));
}

/** The code with which a connection ends: '' when it was made. */
function connectCode(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve('');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}

describe('where it listens', () => {
  it('G3: on 127.0.0.1 and port 4317 unless settings say otherwise', async () => {
    const machine = { cores: 2, memoryMib: 4_096 };
    expect(loadSettings({}, machine)).toMatchObject({ otlpHost: '127.0.0.1', otlpGrpcPort: 4_317 });
    const set = { BACKWORK_OTLP_HOST: '0.0.0.0', BACKWORK_OTLP_GRPC_PORT: '14317' };
    expect(loadSettings(set, machine)).toMatchObject({ otlpHost: '0.0.0.0', otlpGrpcPort: 14_317 });
    expect(await connectCode('127.0.0.1', service.ports.grpc)).toBe('');
    // Another address of the loopback: whoever listens on all of them would answer.
    expect(await connectCode('127.0.0.2', service.ports.grpc)).toBe('ECONNREFUSED');
  });

  it('G30: gRPC and HTTP have a port each, and who mixes them up is in the log', async () => {
    expect(service.ports.grpc).not.toBe(service.ports.http);
    const { status, body } = await httpOnce(service.ports.grpc, { headers: { 'content-type': 'application/json' } });
    expect(status).toBe(400);
    expect(JSON.parse(body.toString()).message).toContain('OTLP/HTTP is received on a port of its own');
    const client = tls.connect({ port: service.ports.grpc, host: '127.0.0.1', rejectUnauthorized: false });
    await new Promise((resolve) => client.once('error', resolve));
    await until(() => service.stderr.includes('http-on-grpc-port') && service.stderr.includes('tls-on-plain-port'));
  });
});

describe('settings', () => {
  it('G7: one setting is the limit of both ports', async () => {
    /** One unknown field: tag, 3 bytes of length, zeros. */
    const filled = (bytes: number) => messageField(15, Buffer.alloc(bytes - 4));
    expect(filled(MIB).length).toBe(MIB);
    expect(answerIn(await send(filled(MIB)))).toMatchObject({ rejected: 0 });
    expect(refusalIn(await send(filled(MIB + 1)))).toEqual({
      status: 8,
      message: `the message of ${MIB + 1} bytes is over the limit of ${MIB} bytes`,
      details: undefined,
      retryDelay: undefined,
    });
    const headers = { authorization: `Bearer ${service.token}` };
    expect((await httpOnce(service.ports.http, { headers, body: filled(MIB) })).status).toBe(200);
    expect((await httpOnce(service.ports.http, { headers, body: filled(MIB + 1) })).status).toBe(413);
  });
});

describe('stopping', () => {
  it('T12 (tests): on SIGTERM what is in flight is acknowledged and kept, GOAWAY names it, and new connections are refused', async () => {
    const { dataDir, ports, token } = service;
    const peer = room.raw(ports.grpc);
    const message = grpcFrame(encodeIds(['in-flight-at-stop']));
    const call = headerBlock({ ...CALL_HEADERS, authorization: `Bearer ${token}` });
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, call));
    peer.socket.write(frame(FRAME.DATA, 0, 1, message.subarray(0, 30)));
    // The answer to a ping that was sent after it: the call has begun.
    peer.socket.write(frame(FRAME.PING, 0, 0, Buffer.alloc(8)));
    await until(() => peer.frames.some(({ type }) => type === FRAME.PING));
    const stopped = service.stop();
    await until(() => peer.frames.some(({ type }) => type === FRAME.GOAWAY));
    const goaway = peer.frames.find(({ type }) => type === FRAME.GOAWAY);
    expect([goaway?.payload.readUInt32BE(0), goaway?.payload.readUInt32BE(4)]).toEqual([1, 0]);
    expect(await connectCode('127.0.0.1', ports.grpc)).toBe('ECONNREFUSED');
    expect(peer.answered(1)).toBe(false);

    peer.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, 1, message.subarray(30)));
    await until(() => peer.answered(1));
    const data = peer.frames.filter(({ type }) => type === FRAME.DATA).map(({ payload }) => payload);
    // A message of zero bytes: success, where a refusal would have none.
    expect(Buffer.concat(data)).toEqual(Buffer.alloc(5));
    expect(await stopped).toBe(0);
    await until(() => peer.closed);

    service = await startService({ dataDir, ports });
    const sql = "SELECT toString(count()) AS n FROM otel_logs WHERE Body = 'in-flight-at-stop'";
    await service.queryUntil<{ n: string }>(sql, ([row]) => row?.n === '1');
  });
});

it('G30: the HTTP port is no gRPC port', async () => {
  const client = new RawHttp(service.ports.http);
  room.onStop(() => client.close());
  client.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', frame(FRAME.SETTINGS, 0, 0));
  await until(() => client.ended);
});
