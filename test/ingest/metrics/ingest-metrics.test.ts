import { expect, test } from 'vitest';
import { MetricSheet } from '../../../src/base/metrics.ts';
import type { MetricName } from '../../../src/base/metrics-table.ts';
import { IngestMetrics } from '../../../src/ingest/metrics/ingest-metrics.ts';
import { decodeNames, encodeNames, OrganizationNames } from '../../../src/ingest/metrics/organization-names.ts';
import { StoreMetrics } from '../../../src/ingest/metrics/store-metrics.ts';

const NAMES = new OrganizationNames(new Map([['org_a', 'default']]));
const REQUEST = { signal: 'logs', protocol: 'grpc', items: 10, rejected: 0, rejectedReason: '', bytes: 100 } as const;

function collected(metrics: { collect(sheet: MetricSheet): void }, name: MetricName) {
  const sheet = new MetricSheet();
  metrics.collect(sheet);
  return sheet.values[name] ?? [];
}

test('requests, items and bytes are counted by signal, protocol and organization', () => {
  const metrics = new IngestMetrics(NAMES);
  metrics.accepted({ ...REQUEST, orgId: 'org_a' });
  metrics.accepted({ ...REQUEST, orgId: 'org_a' });
  metrics.accepted({ ...REQUEST, orgId: 'org_b', signal: 'traces', protocol: 'http' });
  expect(collected(metrics, 'backwork_requests_accepted_total')).toEqual([
    { labels: { signal: 'traces', organization: 'other', protocol: 'http' }, value: 1 },
    { labels: { signal: 'logs', organization: 'default', protocol: 'grpc' }, value: 2 },
  ]);
  expect(collected(metrics, 'backwork_items_accepted_total')).toContainEqual({
    labels: { signal: 'logs', organization: 'default' },
    value: 20,
  });
  expect(collected(metrics, 'backwork_bytes_accepted_total')).toContainEqual({
    labels: { signal: 'logs', organization: 'default' },
    value: 200,
  });
});

test('however many organizations send, only the named ones are labels', () => {
  const metrics = new IngestMetrics(NAMES);
  for (let n = 0; n < 10_000; n++) {
    metrics.accepted({ ...REQUEST, orgId: `org_${n}`, rejected: 1, rejectedReason: 'time' });
    metrics.refused({ orgId: `org_${n}`, signal: 'logs', protocol: 'http', reason: 'org-limit', bytes: 1 });
  }
  const sheet = new MetricSheet();
  metrics.collect(sheet);
  const samples = Object.values(sheet.values).flat();
  expect(new Set(samples.map(({ labels }) => labels['organization']))).toEqual(
    new Set(['other', 'default', undefined]),
  );
  expect(samples.length).toBeLessThan(60);
  expect(sheet.values.backwork_items_rejected_total).toEqual([
    { labels: { signal: 'logs', organization: 'other', reason: 'time' }, value: 10_000 },
  ]);
});

test('refusals are counted by reason, before the token or the path is known too', () => {
  const metrics = new IngestMetrics(NAMES);
  metrics.refused({ orgId: undefined, signal: 'traces', protocol: 'grpc', reason: 'unauthenticated', bytes: 0 });
  metrics.refused({ orgId: undefined, signal: undefined, protocol: 'http', reason: 'unknown-path', bytes: 0 });
  metrics.refused({ orgId: 'org_a', signal: 'metrics', protocol: 'http', reason: 'overloaded', bytes: 7 });
  const refused = collected(metrics, 'backwork_requests_refused_total');
  const labels = (signal: string, organization: string, protocol: string, reason: string) => ({
    labels: { signal, organization, protocol, reason },
    value: 1,
  });
  expect(refused).toContainEqual(labels('traces', 'none', 'grpc', 'unauthenticated'));
  expect(refused).toContainEqual(labels('none', 'none', 'http', 'unknown-path'));
  expect(refused).toContainEqual(labels('metrics', 'default', 'http', 'overloaded'));
  expect(refused).toHaveLength(3);
  expect(collected(metrics, 'backwork_bytes_refused_total')).toEqual([
    { labels: { signal: 'metrics', reason: 'overloaded' }, value: 7 },
  ]);
});

test('commits count their records and bytes', () => {
  const metrics = new IngestMetrics(NAMES);
  metrics.committed({ ms: 2, records: 3, bytes: 400 });
  expect(collected(metrics, 'backwork_commit_records_total')).toEqual([{ labels: {}, value: 3 }]);
  expect(collected(metrics, 'backwork_commit_bytes_total')).toEqual([{ labels: {}, value: 400 }]);
  const sum = collected(metrics, 'backwork_commit_duration_seconds').find(({ part }) => part === 'sum');
  expect(sum?.value).toBeCloseTo(0.002, 9);
});

test('names of organizations survive the environment', () => {
  const names = new Map([
    ['org_a', 'default'],
    ['org_b', 'my-shop'],
  ]);
  expect(decodeNames(encodeNames(names))).toEqual(names);
  expect(decodeNames(undefined)).toEqual(new Map());
  expect(decodeNames('')).toEqual(new Map());
});

test('an INSERT that failed stores no rows, and one that holds a batch sent before is a retry', () => {
  const metrics = new StoreMetrics(NAMES);
  const insert = { table: 'otel_logs', batches: 2, sentBefore: 0, rows: 50, bytes: 900, ms: 5 };
  metrics.inserted({ ...insert, outcome: 'store-temporary' });
  metrics.inserted({ ...insert, outcome: 'stored', sentBefore: 1 });
  const labels = { table: 'otel_logs' };
  expect(collected(metrics, 'backwork_insert_rows_total')).toEqual([{ labels, value: 50 }]);
  expect(collected(metrics, 'backwork_insert_retries_total')).toEqual([{ labels, value: 1 }]);
  expect(collected(metrics, 'backwork_inserts_total')).toEqual([
    { labels: { ...labels, outcome: 'store-temporary' }, value: 1 },
    { labels: { ...labels, outcome: 'stored' }, value: 1 },
  ]);
});

test('what alarms look at is there with 0 before anything happens', () => {
  const metrics = new StoreMetrics(NAMES);
  expect(collected(metrics, 'backwork_segment_gaps_total')).toEqual([{ labels: {}, value: 0 }]);
  expect(collected(metrics, 'backwork_store_reachable')).toEqual([{ labels: {}, value: 1 }]);
  expect(collected(metrics, 'backwork_records_quarantined_total').map(({ value }) => value)).toEqual([0, 0, 0, 0]);
  metrics.quarantined({ orgId: 'org_a', reason: 'refused', bytes: 9 });
  expect(collected(metrics, 'backwork_records_quarantined_total')).toContainEqual({
    labels: { organization: 'default', reason: 'refused' },
    value: 1,
  });
});

test('while the telemetry store is away its reason is known, and the gauge is 0', () => {
  const metrics = new StoreMetrics(NAMES);
  metrics.reachable('connection refused');
  expect(metrics.unreachable).toBe('connection refused');
  expect(collected(metrics, 'backwork_store_reachable')[0]?.value).toBe(0);
  metrics.reachable(undefined);
  expect(collected(metrics, 'backwork_store_reachable')[0]?.value).toBe(1);
});
