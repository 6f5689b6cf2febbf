import { expect, test } from 'vitest';
import { Counted, CountedBy, MetricSheet } from '../../src/base/metrics.ts';
import { METRICS, type MetricDefinition } from '../../src/base/metrics-table.ts';

const NAME = 'backwork_time_to_store_seconds';

test('an observation is in the bucket of its bound and in all above it, and sum and count are exact', () => {
  const counted = new Counted(NAME);
  for (const value of [0.5, 1, 1.001, 1e9]) counted.observe(value);
  const samples = counted.samples({ worker: '1' });
  const bucket = (le: string) => samples.find(({ labels }) => labels['le'] === le)?.value;
  expect([bucket('1'), bucket('2'), bucket('172800'), bucket('+Inf')]).toEqual([2, 3, 3, 4]);
  expect(samples.find(({ part }) => part === 'count')).toEqual({ part: 'count', labels: { worker: '1' }, value: 4 });
  expect(samples.find(({ part }) => part === 'sum')?.value).toBeCloseTo(1e9 + 2.501, 3);
});

test('words become the labels of the metric, in its order', () => {
  const counted = new CountedBy('backwork_inserts_total');
  counted.add(2, 'otel_logs', 'stored');
  counted.add(3, 'otel_logs', 'stored');
  counted.add(1, 'otel_logs', 'store-temporary');
  expect(counted.samples()).toEqual([
    { labels: { table: 'otel_logs', outcome: 'stored' }, value: 5 },
    { labels: { table: 'otel_logs', outcome: 'store-temporary' }, value: 1 },
  ]);
});

test('a sheet keeps the samples of one metric together', () => {
  const sheet = new MetricSheet();
  sheet.add('backwork_process_up', 1, { process: 'store' });
  sheet.add('backwork_process_up', 0, { process: 'engine' });
  expect(sheet.values.backwork_process_up).toHaveLength(2);
});

test('names are Prometheus names, counters end in _total, and no label can be an id', () => {
  const allowed = 'signal protocol organization reason worker table outcome process version node'.split(' ');
  for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
    expect(name).toMatch(/^backwork_[a-z]+(_[a-z]+)*$/);
    expect(name.endsWith('_total'), name).toBe(definition.type === 'counter');
    expect(definition.buckets !== undefined, name).toBe(definition.type === 'histogram');
    for (const label of definition.labels) expect(allowed, name).toContain(label);
    const bounds = [...(definition.buckets ?? [])];
    expect(bounds, name).toEqual(bounds.toSorted((one, other) => one - other));
  }
});
