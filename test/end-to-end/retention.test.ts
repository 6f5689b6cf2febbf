import { afterAll, beforeAll, expect, it } from 'vitest';
import { expiresOnDay } from '../../src/tables/retention.ts';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
const DAY_MS = 86_400_000;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '100' } });
});
afterAll(() => service.stopAndRemove());

it('that is changed by the operator holds within a second, for what arrives from then on', async () => {
  const post = (id: string) =>
    fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', authorization: `Bearer ${service.token}` },
      body: new Uint8Array(encodeIds([id])),
    });
  expect((await post('before')).status).toBe(200);
  const changed = await service.command('org', 'plan', 'default', '--logs-days', '7');
  expect(changed.code, changed.stderr).toBe(0);
  const changedAtMs = performance.now();
  while (performance.now() - changedAtMs < 1_000) await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await post('after')).status).toBe(200);
  const rows = await service.queryUntil<{ id: string; days: number; expires: number }>(
    'SELECT Body AS id, toUInt32(RetentionDays) AS days, toUInt32(toRelativeDayNum(ExpiresOn)) AS expires FROM otel_logs ORDER BY id',
    (found) => found.length === 2,
  );
  const nowMs = Date.now();
  const expires = (days: number) => [expiresOnDay(nowMs, days), expiresOnDay(nowMs - DAY_MS, days)];
  expect(rows.map(({ id, days }) => [id, days])).toEqual([
    ['after', 7],
    ['before', 30],
  ]);
  for (const row of rows) expect(expires(row.days)).toContain(row.expires);
  const metrics = await (await fetch(`http://127.0.0.1:${service.ports.api}/metrics`)).text();
  expect(metrics).toMatch(/^backwork_retention_behind_seconds 0$/m);
}, 30_000);
