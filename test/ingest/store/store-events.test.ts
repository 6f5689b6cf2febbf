/** What the store tells its metrics, against the real engine. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MetricSheet } from '../../../src/base/metrics.ts';
import type { MetricName } from '../../../src/base/metrics-table.ts';
import { OrganizationNames } from '../../../src/ingest/metrics/organization-names.ts';
import { StoreMetrics } from '../../../src/ingest/metrics/store-metrics.ts';
import { partition, range, sealSegments, TODAY } from './spool-fixture.ts';
import { until, useStore } from './store-fixture.ts';

const it = useStore();

function makeMetrics() {
  const metrics = new StoreMetrics(new OrganizationNames(new Map()));
  const value = (name: MetricName) => {
    const sheet = new MetricSheet();
    metrics.collect(sheet);
    return (sheet.values[name] ?? []).filter(({ part }) => part !== 'bucket' && part !== 'sum').map((one) => one.value);
  };
  return { metrics, value };
}

test('rows, INSERTs and removed segments are counted', async () => {
  await sealSegments(it.spool(), [[it.rows(range(0, 30))], [it.rows(range(30, 10))]]);
  const { metrics, value } = makeMetrics();
  const store = await it.start({ events: metrics });
  await store.idle();
  expect(value('backwork_insert_rows_total')).toEqual([40]);
  expect(value('backwork_inserts_total')).toEqual([1]);
  expect(value('backwork_insert_retries_total')).toEqual([0]);
  expect(value('backwork_time_to_store_seconds')).toEqual([2]);
  // Found at the start: their table was asked.
  expect(value('backwork_batches_asked_total')).toEqual([2]);
  expect(value('backwork_batches_found_total')).toEqual([0]);
  expect(store.backlog()).toEqual({ segments: 0, setAside: 0 });
});

test('rows that expired, and batches that had to be converted again, are counted', async () => {
  const expired = partition('org_a', { expiresOnDay: TODAY });
  await sealSegments(it.spool(), [[it.rows(range(0, 30), expired), it.rows(range(30, 10))]]);
  for (const name of await it.left()) if (name.endsWith('.batches')) await rm(join(it.spool(), name));
  const { metrics, value } = makeMetrics();
  const store = await it.start({ events: metrics });
  await store.idle();
  expect(value('backwork_rows_expired_total')).toEqual([30]);
  expect(value('backwork_insert_rows_total')).toEqual([10]);
  expect(value('backwork_batches_converted_again_total')).toEqual([1]);
});

test('an INSERT whose answer is lost, the question after it, and the second INSERT are counted', async () => {
  const proxy = await it.proxy();
  const { metrics, value } = makeMetrics();
  await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
  proxy.fate = (insert) => (['cutBefore', 'cutReply'] as const)[insert] ?? 'pass';
  const store = await it.start({ events: metrics, url: proxy.url });
  await store.idle();
  const sheet = new MetricSheet();
  metrics.collect(sheet);
  const outcomes = sheet.values.backwork_inserts_total?.map(({ labels, value: count }) => [labels['outcome'], count]);
  expect(outcomes).toEqual([['store-unknown-outcome', 2]]);
  expect(value('backwork_insert_retries_total')).toEqual([1]);
  // At the start, after the first INSERT, after the second, which was applied.
  expect(value('backwork_batches_asked_total')).toEqual([3]);
  expect(value('backwork_batches_found_total')).toEqual([1]);
});

test('an engine that is away is told', async () => {
  const proxy = await it.proxy();
  const { metrics, value } = makeMetrics();
  const store = await it.start({ events: metrics, url: proxy.url });
  await store.idle();
  await proxy.close();
  const [sequence] = await sealSegments(it.spool(), [[it.rows(range(0, 10))]]);
  store.sealed(it.spool(), sequence!);
  await until(() => metrics.unreachable !== undefined);
  expect(value('backwork_store_reachable')).toEqual([0]);
  expect(store.backlog()).toEqual({ segments: 1, setAside: 0 });
  expect(value('backwork_insert_rows_total')).toEqual([]);
});

test('a segment that goes while it waits, and one that went while the store was away, are gaps, each once', async () => {
  const proxy = await it.proxy();
  await proxy.close();
  await sealSegments(it.spool(), [[it.rows(range(0, 10))], [it.rows(range(10, 10))]]);
  const first = makeMetrics();
  const store = await it.start({ events: first.metrics, url: proxy.url, segmentsLoadedMax: 1 });
  await until(() => first.metrics.unreachable !== undefined);
  for (const name of await it.left()) await rm(join(it.spool(), name));
  // One is loaded and noted, the other waits in the queue: that one is missed now.
  await until(() => first.value('backwork_segment_gaps_total')[0] === 1);
  await store.stop();
  const second = makeMetrics();
  await it.start({ events: second.metrics, url: proxy.url });
  await until(() => second.value('backwork_segment_gaps_total')[0] === 1);
});
