import { describe, expect, it } from 'vitest';
import type { Client, Transport } from './client.ts';
import { compareKnownSet, tally, tallyCount } from './compare.ts';
import { Check, KNOWN_SET } from './known-set.ts';

const TRANSPORT: Transport = { protocol: 'grpc', compression: 'none' };
const CLIENT: Client = {
  name: 'any',
  transports: [TRANSPORT],
  retriesByDefault: {},
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [],
  toolchain: async () => undefined,
  build: async () => {},
  versions: async () => ({}),
  command: () => ({ file: '', args: [] }),
};
const NOON = '2026-11-23 12:00:00.500000000';
const FACTS = {
  run: 'run',
  orgId: 'org_a',
  startedMs: Date.UTC(2026, 10, 23, 12, 0, 0),
  endedMs: Date.UTC(2026, 10, 23, 12, 0, 1),
  traceId: '0'.repeat(31).concat('1'),
  rootSpanId: '0'.repeat(15).concat('2'),
  childSpanId: '0'.repeat(15).concat('3'),
};

/** What the columns hold that the set checks instead of naming their value. */
const CHECKED: Readonly<Record<string, unknown>> = {
  OrgId: FACTS.orgId,
  Placement: FACTS.orgId,
  ReceivedAt: '2026-11-23 12:00:00.500',
  BatchId: '7',
  ExpiresOn: '2026-12-24',
  ResourceAttributes: {
    'telemetry.sdk.name': 'x',
    'service.name': 'interop',
    'interop.run': 'run',
    'interop.number': '7',
  },
  ResourceAttributesTypes: 'sssi',
  TraceId: FACTS.traceId,
  Flags: 0x103,
  TraceFlags: 1,
  'Links.Flags': [1],
  ObservedTimestamp: NOON,
  StartTimeUnix: NOON,
  TimeUnix: NOON,
  PositiveBucketCounts: ['1', '2'],
  NegativeBucketCounts: [],
};
const SPAN_IDS: Readonly<Record<string, object>> = {
  'span.root': { SpanId: FACTS.rootSpanId },
  'span.child': { SpanId: FACTS.childSpanId, ParentSpanId: FACTS.rootSpanId },
  'log.error': { SpanId: FACTS.childSpanId },
};

type Rows = Record<string, Record<string, unknown>[]>;

function goodRows(): Rows {
  const rows: Rows = {};
  for (const { name, table, columns } of KNOWN_SET) {
    const row: Record<string, unknown> = {};
    for (const [column, value] of Object.entries(columns))
      row[column] = value instanceof Check ? (CHECKED[column] ?? 'free') : structuredClone(value);
    rows[table] = [...(rows[table] ?? []), { ...row, ...SPAN_IDS[name] }];
  }
  return rows;
}

function first(rows: Rows, table: string): Record<string, unknown> {
  const row = rows[table]?.[0];
  if (row === undefined) throw new Error(table);
  return row;
}

const compare = (rows: Rows, client = CLIENT) => compareKnownSet(client, TRANSPORT, rows, FACTS);

describe('the comparison with the known set', () => {
  it('finds nothing when every column of every row is as it must be', () => {
    expect(compare(goodRows())).toEqual([]);
  });

  it('finds every column whose value is changed', () => {
    for (const [table, list] of Object.entries(goodRows())) {
      for (const [at, row] of list.entries()) {
        for (const column of Object.keys(row)) {
          if (row[column] === 'free') continue;
          const rows = goodRows();
          rows[table] = list.map((one, i) => (i === at ? { ...one, [column]: ['changed'] } : one));
          expect(compare(rows), `${table} ${column}`).not.toEqual([]);
        }
      }
    }
  });

  it('finds rows that are missing, doubled or strangers, and columns that the set does not know', () => {
    const missing = goodRows();
    missing['logs'] = missing['logs']?.slice(1) ?? [];
    expect(compare(missing)).toEqual(['log.info is missing']);
    const doubled = goodRows();
    doubled['traces']?.push(first(doubled, 'traces'));
    expect(compare(doubled)).toEqual(['span.root is there 2 times']);
    const strangers = goodRows();
    strangers['metrics_summary'] = [{ MetricName: 'other' }];
    expect(compare(strangers)).toEqual(['1 rows in otel_metrics_summary that the known set has not']);
    const unknown = goodRows();
    first(unknown, 'logs')['New'] = 1;
    expect(compare(unknown)).toEqual(['log.info.New is not in the known set']);
  });

  it('takes a point that was exported twice, and wants the histogram only of those who have it', () => {
    const rows = goodRows();
    rows['metrics_sum']?.push(first(rows, 'metrics_sum'));
    expect(compare(rows)).toEqual([]);
    rows['metrics_exponential_histogram'] = [];
    expect(compare(rows)).toEqual(['metric.payload is missing']);
    expect(compare(rows, { ...CLIENT, exponentialHistogram: false })).toEqual([]);
  });

  it('wants an exception to hold, and to be needed', () => {
    const exception = { rows: ['log.info'] as const, column: 'ScopeSchemaUrl', value: '', reason: 'has none' };
    const client = { ...CLIENT, exceptions: [exception] };
    expect(compare(goodRows(), client)).toEqual([
      'log.info.ScopeSchemaUrl is what the set says: the exception is not needed (has none)',
    ]);
    const rows = goodRows();
    first(rows, 'logs')['ScopeSchemaUrl'] = '';
    expect(compare(rows, client)).toEqual([]);
    first(rows, 'logs')['ScopeSchemaUrl'] = 'other';
    expect(compare(rows, client)).toHaveLength(1);
    const overHttp = { ...CLIENT, exceptions: [{ ...exception, protocols: ['http/json'] as const }] };
    expect(compare(goodRows(), overHttp)).toEqual([]);
  });
});

describe('the tally of numbered items', () => {
  it('counts what is lost, what is there twice, and what was never created', () => {
    const stored = [
      { seq: '0', n: '1' },
      { seq: '2', n: '3' },
      { seq: '9', n: '1' },
    ];
    expect(tally(5, stored)).toEqual({ created: 5, lost: 3, doubled: 2, strange: 1, lostRange: '1..4' });
    expect(tally(1, stored.slice(0, 1))).toEqual({ created: 1, lost: 0, doubled: 0, strange: 0, lostRange: '' });
  });

  it('takes too few for lost and too many for doubled when items have no numbers', () => {
    expect(tallyCount(5, 3)).toMatchObject({ lost: 2, doubled: 0 });
    expect(tallyCount(5, 8)).toMatchObject({ lost: 0, doubled: 3 });
  });
});
