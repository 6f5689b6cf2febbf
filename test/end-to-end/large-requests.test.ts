import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeIds, grpcSender, httpSender, judge, STORED_IDS, type StoredRow } from '../support/load.ts';
import { encodeRecords } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await startService();
  token = service.token;
});
afterAll(() => service.stopAndRemove());

it('requests over 1 MiB are stored whole, also when everything is killed right after the answer', async () => {
  const { dataDir, ports } = service;
  const ids = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}-${i}`);
  const sent = [ids('grpc', 40_000), ids('http', 40_000), ids('small', 10)];
  expect(encodeIds(sent[0]!).length).toBeGreaterThan(1024 * 1024);
  const senders = [grpcSender(ports.grpc, token), httpSender(ports.http, token), httpSender(ports.http, token)];
  const answers = await Promise.all(sent.map((list, i) => senders[i]!.send(encodeIds(list))));
  expect(answers).toEqual([true, true, true]);
  await service.killAll();
  for (const sender of senders) sender.close();
  service = await startService({ dataDir, ports });
  const all = new Set(sent.flat());
  const rows = await service.queryUntil<StoredRow>(STORED_IDS, (found) => found.length >= all.size);
  expect(judge(all, all, rows)).toEqual({ lost: [], doubled: [], damaged: [], neverIssued: [] });
}, 60_000);

it('a request whose rows would pass 256 MiB is stored as far as that, and the rest is counted as rejected', async () => {
  const attributes = Array.from({ length: 8 }, (_, i) => ({
    key: `k${i}`,
    value: { stringValue: 'v'.repeat(131_072) },
  }));
  attributes.push(
    { key: 'service.name', value: { stringValue: 'grown' } },
    { key: 'rest', value: { stringValue: 'r'.repeat(60_000) } },
  );
  const body = gzipSync(
    encodeRecords(
      Array.from({ length: 30_000 }, () => ({})),
      { attributes },
    ),
  );
  const headers = {
    'content-type': 'application/x-protobuf',
    'content-encoding': 'gzip',
    authorization: `Bearer ${token}`,
  };
  const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, { method: 'POST', headers, body });
  expect(answer.status).toBe(200);
  const message = Buffer.from(await answer.arrayBuffer()).toString('latin1');
  const rejected = Number(/(\d+) log records rejected/.exec(message)?.[1]);
  expect(rejected).toBeGreaterThan(0);
  const sql = "SELECT toString(count()) AS n FROM otel_logs WHERE ServiceName = 'grown'";
  await service.queryUntil<{ n: string }>(sql, ([row]) => Number(row?.n) === 30_000 - rejected, 60_000);
}, 120_000);
