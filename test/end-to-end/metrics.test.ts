/** What /metrics, /readyz and doctor say of a whole service with two workers, against what was sent to it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MetricsReading } from '../../src/commands/metrics-reading.ts';
import { encodeRecords } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService({ env: { BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '200' } });
});
afterAll(async () => {
  for (const name of ['ingest', 'store', 'engine'] as const) {
    for (const pid of service.children(name)) process.kill(pid, 'SIGCONT');
  }
  await service.stopAndRemove();
});

async function read(): Promise<MetricsReading> {
  const answer = await fetch(`http://127.0.0.1:${service.ports.api}/metrics`);
  expect(answer.status).toBe(200);
  return new MetricsReading(await answer.text());
}

async function ready(): Promise<{ status: number; reasons: string[] }> {
  const answer = await fetch(`http://127.0.0.1:${service.ports.api}/readyz`);
  const { reasons } = (await answer.json()) as { reasons: string[] };
  return { status: answer.status, reasons };
}

/** A connection of its own each time, so that the kernel spreads them over both workers. */
function post(path: string, body: Uint8Array | string, headers: Record<string, string> = {}): Promise<number> {
  return fetch(`http://127.0.0.1:${service.ports.http}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${service.token}`,
      'content-type': typeof body === 'string' ? 'application/json' : 'application/x-protobuf',
      connection: 'close',
      ...headers,
    },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  }).then(({ status }) => status);
}

/** `count` records; `n` makes it a request of its own. */
function logsRequest(count: number, n: number): Buffer {
  const body = { stringValue: `request ${n}` };
  return encodeRecords(Array.from({ length: count }, () => ({ timeUnixNano: '1700000000000000000', body })));
}

describe('what clients sent', () => {
  it('is counted exactly over both workers, by signal, organization and reason', async () => {
    for (let n = 0; n < 40; n++) expect(await post('/v1/logs', logsRequest(5, n))).toBe(200);
    const late = { timeUnixNano: '18446744073709551615', body: { stringValue: 'x' } };
    const good = { timeUnixNano: '1', body: { stringValue: 'x' } };
    const mixed = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [late, good, late] }] }] });
    expect(await post('/v1/logs', mixed)).toBe(200);
    expect(await post('/v1/logs', 'not json')).toBe(400);
    expect(await post('/v1/traces', '{}', { authorization: 'Bearer nobody' })).toBe(401);
    expect(await post('/v1/nothing', '{}')).toBe(404);
    const reading = await read();
    expect(reading.by('backwork_requests_accepted_total', 'organization')).toEqual([['default', 41]]);
    expect(reading.by('backwork_items_accepted_total', 'signal')).toEqual([['logs', 201]]);
    expect(reading.by('backwork_items_rejected_total', 'reason')).toEqual([['time', 2]]);
    expect(new Map(reading.by('backwork_requests_refused_total', 'reason'))).toEqual(
      new Map([
        ['malformed', 1],
        ['unauthenticated', 1],
        ['unknown-path', 1],
      ]),
    );
    expect(reading.by('backwork_bytes_refused_total', 'reason')).toEqual([['malformed', 8]]);
    expect(reading.sum('backwork_commit_records_total')).toBe(41);
    expect(reading.sum('backwork_commit_bytes_total')).toBeGreaterThan(41 * 100);
  });

  it('is counted over gRPC as well', async () => {
    const endpoint = `http://127.0.0.1:${service.ports.grpc}`;
    const { code } = await service.command('send', '--protocol', 'grpc', '--endpoint', endpoint, '--token', 'nobody');
    expect(code).toBe(1);
    expect((await read()).by('backwork_requests_refused_total', 'protocol').map(([protocol]) => protocol)).toContain(
      'grpc',
    );
  });

  it('is counted as stored when it is, and then nothing waits', async () => {
    await expect.poll(async () => (await read()).sum('backwork_insert_rows_total'), { timeout: 20_000 }).toBe(201);
    await expect.poll(async () => (await read()).sum('backwork_spool_segments'), { timeout: 20_000 }).toBe(0);
    const reading = await read();
    expect(reading.by('backwork_insert_rows_total', 'table')).toEqual([['otel_logs', 201]]);
    expect(reading.by('backwork_inserts_total', 'outcome').map(([outcome]) => outcome)).toEqual(['stored']);
    expect(reading.sum('backwork_spool_oldest_record_age_seconds')).toBe(0);
    expect(reading.sum('backwork_store_segments_waiting')).toBe(0);
    expect(reading.value('backwork_segment_gaps_total')).toBe(0);
  });

  it('shows no id anywhere', async () => {
    const text = await (await fetch(`http://127.0.0.1:${service.ports.api}/metrics`)).text();
    expect(text).not.toMatch(/org_|bw_ing_/);
    expect(text).not.toContain(service.token.split('_')[2]?.slice(0, 12));
    expect(text.split('\n').length).toBeLessThan(1_000);
  });
});

describe('processes that fail', () => {
  it('a worker that hangs is down, not accepting, and said; the page comes all the same', async () => {
    const [pid] = service.children('ingest');
    process.kill(pid!, 'SIGSTOP');
    await expect
      .poll(async () => (await ready()).reasons.join(), { timeout: 15_000 })
      .toMatch(/ingest \d: the process hangs/);
    expect((await ready()).status).toBe(200);
    const reading = await read();
    expect(reading.labelsWhere('backwork_process_up', 0)).toEqual([{ process: 'ingest', worker: expect.any(String) }]);
    expect(reading.labelsWhere('backwork_accepting', 0)).toHaveLength(1);
    expect(reading.sum('backwork_requests_accepted_total')).toBe(41);
    const { code, stdout } = await service.command('doctor');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^problem +processes +no answer from ingest \d/m);
    process.kill(pid!, 'SIGCONT');
    await expect.poll(async () => (await ready()).reasons, { timeout: 15_000 }).toEqual([]);
  }, 60_000);

  it('a worker that is killed is counted, and what it had counted stays', async () => {
    const [pid] = service.children('ingest');
    process.kill(pid!, 'SIGKILL');
    await expect.poll(async () => (await read()).sum('backwork_process_restarts_total'), { timeout: 15_000 }).toBe(1);
    await expect
      .poll(async () => (await read()).labelsWhere('backwork_process_up', 0), { timeout: 15_000 })
      .toEqual([]);
    expect((await read()).sum('backwork_items_accepted_total')).toBe(201);
  });

  it('an engine that hangs is said, is no reason to refuse, and leaves a backlog with an age', async () => {
    const [pid] = service.children('engine');
    process.kill(pid!, 'SIGSTOP');
    await expect
      .poll(async () => (await ready()).reasons.join(), { timeout: 15_000 })
      .toContain('engine: the process hangs');
    expect((await ready()).status).toBe(200);
    expect(await post('/v1/logs', logsRequest(5, 99))).toBe(200);
    const age = async () => (await read()).sum('backwork_spool_oldest_record_age_seconds');
    await expect.poll(age, { timeout: 15_000 }).toBeGreaterThan(0.5);
    expect((await read()).sum('backwork_spool_bytes')).toBeGreaterThan(0);
    process.kill(pid!, 'SIGCONT');
    await expect.poll(async () => (await read()).sum('backwork_insert_rows_total'), { timeout: 30_000 }).toBe(206);
    await expect.poll(async () => (await ready()).reasons, { timeout: 15_000 }).toEqual([]);
  }, 90_000);

  it('an engine that is killed is counted', async () => {
    const [pid] = service.children('engine');
    process.kill(pid!, 'SIGKILL');
    const restarts = async () => new Map((await read()).by('backwork_process_restarts_total', 'process')).get('engine');
    await expect.poll(restarts, { timeout: 15_000 }).toBe(1);
    expect((await ready()).status).toBe(200);
  });
});
