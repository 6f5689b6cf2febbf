import { expect, it } from 'vitest';
import { Lanes } from '../../../src/ingest/store/lanes.ts';

it('lanes of one placement have one share, whose weight is what it is now', () => {
  const weights = new Map([['org_a', 40]]);
  const lanes = new Lanes((placement) => weights.get(placement) ?? 10);
  const partition = { placement: 'org_a', retentionDays: 30, expiresOnDay: 20_000 };
  const logs = lanes.of('otel_logs', partition);
  const traces = lanes.of('otel_traces', partition);
  const other = lanes.of('otel_logs', { ...partition, placement: 'shared-1' });
  expect(traces.share).toBe(logs.share);
  expect([logs.share.weight, other.share.weight]).toEqual([40, 10]);
  weights.set('org_a', 20);
  lanes.liveCount(0);
  expect([logs.share.weight, other.share.weight]).toEqual([20, 10]);
});
