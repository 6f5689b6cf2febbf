/** The whole service without its engine, without room on its disk, and told to stop under requests. */
import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import {
  callOnce,
  grpcFrame,
  type HttpResult,
  httpBytes,
  httpOnce,
  RawHttp,
  resultOf,
  startCall,
  until,
} from '../ingest/accept/peers.ts';
import { encodeIds, judge, STORED_IDS, type StoredRow } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import { headersOf, PROTOBUF, plainHeaders, statusOf } from './http-peer.ts';

const MIB = 2 ** 20;
/** Room above the low-water mark when the service starts: what else runs on the machine must not use it up. */
const ROOM_MIB = 4_096;
let service: TestService;
const acknowledged = new Set<string>();
const issued = new Set<string>();

beforeAll(async () => {
  const dataDir = temporaryDirectory();
  const { bavail, bsize } = statfsSync(dataDir);
  const reserveMib = Math.floor((bavail * bsize) / MIB) - ROOM_MIB;
  expect(reserveMib, 'this test needs 4 GiB of free disk').toBeGreaterThan(0);
  const env = { BACKWORK_SEGMENT_MS: '200', BACKWORK_SPOOL_RESERVE_MIB: String(reserveMib), BACKWORK_WORKERS: '1' };
  service = await startService({ dataDir, env });
}, 60_000);
afterAll(() => service.stopAndRemove());

/** One item over HTTP; remembers what was promised. */
async function sendOverHttp(): Promise<HttpResult> {
  const id = newId();
  const authorization = `Bearer ${service.token}`;
  const result = await httpOnce(service.ports.http, { headers: { authorization }, body: encodeIds([id]) });
  if (result.status === 200) acknowledged.add(id);
  return result;
}

/** The same over gRPC: the headers that hold the status. */
async function sendOverGrpc(): Promise<http2.IncomingHttpHeaders> {
  const id = newId();
  const headers = { authorization: `Bearer ${service.token}` };
  const result = await callOnce(service.ports.grpc, { headers, body: grpcFrame(encodeIds([id])) });
  const status = result.trailersOnly ? result.headers : result.trailers;
  if (status['grpc-status'] === '0') acknowledged.add(id);
  return status;
}

function newId(): string {
  const id = `outage-${issued.size}`;
  issued.add(id);
  return id;
}

it('T6 (tests): without its engine 200 while there is room, then 503, never 500; then nothing is lost or doubled', async () => {
  expect((await sendOverHttp()).status).toBe(200);
  // Stopped, not killed: the supervisor would start a killed one again within a second.
  const [engine] = service.children('engine');
  process.kill(engine ?? 0, 'SIGSTOP');
  for (let i = 0; i < 50; i++) {
    expect((await sendOverHttp()).status).toBe(200);
    expect((await sendOverGrpc())['grpc-status']).toBe('0');
  }
  const filler = join(tmpdir(), `backwork-filler-${process.pid}`);
  onTestFinished(() => rmSync(filler, { force: true }));
  execFileSync('fallocate', ['-l', String((ROOM_MIB + 1_024) * MIB), filler]);
  let refused: HttpResult | undefined;
  // The disk is looked at once a second.
  while (refused?.status !== 503) {
    refused = await sendOverHttp();
    expect([200, 503]).toContain(refused.status);
  }
  expect(headersOf(refused)).toEqual({ ...plainHeaders(PROTOBUF, refused.body.length), 'retry-after': '1' });
  expect(statusOf(refused)).toMatchObject({ code: 14, details: [{ type: 'RetryInfo' }] });
  const overGrpc = await sendOverGrpc();
  expect(overGrpc).toMatchObject({ 'grpc-status': '14', 'google.rpc.retryinfo-bin': expect.any(String) });
  rmSync(filler);
  for (let status = 503; status !== 200; ) {
    status = (await sendOverHttp()).status;
    expect([200, 503]).toContain(status);
  }
  process.kill(engine ?? 0, 'SIGKILL');
  const rows = await service.queryUntil<StoredRow>(STORED_IDS, (found) => found.length >= acknowledged.size, 60_000);
  expect(judge(acknowledged, issued, rows)).toEqual({ lost: [], doubled: [], damaged: [], neverIssued: [] });
}, 120_000);

it('T12 (tests): told to stop, it answers what was begun on both ports, takes nothing new, and its rows are there after', async () => {
  const authorization = `Bearer ${service.token}`;
  const [overHttp, overGrpc] = [newId(), newId()];
  const body = encodeIds([overHttp]);
  const client = new RawHttp(service.ports.http);
  onTestFinished(() => client.close());
  client.write(httpBytes({ headers: { authorization, 'content-length': String(body.length) } }), body.subarray(0, 10));
  const session = http2.connect(`http://127.0.0.1:${service.ports.grpc}`);
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  let goaway = false;
  session.on('goaway', () => {
    goaway = true;
  });
  const message = grpcFrame(encodeIds([overGrpc]));
  const call = startCall(session, { headers: { authorization }, body: message.subarray(0, 10), end: false });
  const called = resultOf(call);
  await delay(300);

  const stopped = service.stop();
  for (const port of [service.ports.http, service.ports.grpc]) {
    while (await connects(port)) await delay(10);
  }
  await until(() => goaway);
  client.write(body.subarray(10));
  call.end(message.subarray(10));
  expect(await client.response()).toMatchObject({ status: 200, headers: { connection: 'close' } });
  expect((await called).trailers['grpc-status']).toBe('0');
  expect(await stopped).toBe(0);

  const { dataDir } = service;
  service = await startService({ dataDir, env: { BACKWORK_WORKERS: '1' } });
  const sql = `SELECT Body, count() AS n FROM otel_logs WHERE Body IN ('${overHttp}', '${overGrpc}') GROUP BY Body`;
  const rows = await service.queryUntil<{ n: string }>(sql, (found) => found.length === 2);
  expect(rows.map(({ n }) => Number(n))).toEqual([1, 1]);
}, 60_000);

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(socket.destroy() !== undefined));
    socket.on('error', () => resolve(false));
  });
}
