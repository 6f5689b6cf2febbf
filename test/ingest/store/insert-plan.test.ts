import { describe, expect, test } from 'vitest';
import {
  planInserts,
  type WaitingBatch,
  type WaitingLane,
  waitForCompanyMs,
} from '../../../src/ingest/store/insert-plan.ts';

const MIB = 1024 * 1024;
const EMBEDDED = { bytesMax: 32 * MIB, rowsMax: 250_000 };
const NOW_MS = 100_000;

interface NamedLane extends WaitingLane {
  readonly name: string;
}

/** Just found, small, alone in its lane. */
function batch(changes: Partial<WaitingBatch> = {}): WaitingBatch {
  return {
    rowCount: 10,
    bytes: 1_000,
    sinceMs: NOW_MS,
    urgent: false,
    togetherMax: Number.POSITIVE_INFINITY,
    ...changes,
  };
}

function lane(name: string, waiting: WaitingBatch[], changes: Partial<WaitingLane> = {}): NamedLane {
  return { name, waiting, unsettled: false, notBeforeMs: 0, inserting: 0, lastInsertAtMs: NOW_MS, ...changes };
}

function plan(
  lanes: NamedLane[],
  changes: { livePartitions?: number; freePlaces?: number; limits?: typeof EMBEDDED } = {},
) {
  const { inserts, wakeAtMs } = planInserts({
    lanes,
    nowMs: NOW_MS,
    livePartitions: lanes.length,
    freePlaces: 2,
    limits: EMBEDDED,
    ...changes,
  });
  return { inserts: inserts.map(({ lane: { name }, batchCount }) => `${name} ${batchCount}`), wakeAtMs };
}

describe('when a lane is sent', () => {
  test('a small batch waits a second for company', () => {
    expect(plan([lane('a', [batch()])])).toEqual({ inserts: [], wakeAtMs: NOW_MS + 1_000 });
    expect(plan([lane('a', [batch({ sinceMs: NOW_MS - 999 }), batch()])]).inserts).toEqual([]);
    expect(plan([lane('a', [batch({ sinceMs: NOW_MS - 1_000 }), batch()])]).inserts).toEqual(['a 2']);
  });

  test('a lane that had no INSERT within that second is sent at once, and the next one waits', () => {
    const idle = { lastInsertAtMs: NOW_MS - 1_000 };
    expect(plan([lane('a', [batch()], idle)]).inserts).toEqual(['a 1']);
    expect(plan([lane('a', [batch()], { lastInsertAtMs: Number.NEGATIVE_INFINITY })]).inserts).toEqual(['a 1']);
    const busy = lane('a', [batch()], { lastInsertAtMs: NOW_MS - 400 });
    expect(plan([busy])).toEqual({ inserts: [], wakeAtMs: NOW_MS + 600 });
  });

  test('50,000 rows do not wait', () => {
    expect(plan([lane('a', [batch({ rowCount: 49_999 })])]).inserts).toEqual([]);
    expect(plan([lane('a', [batch({ rowCount: 49_999 }), batch({ rowCount: 1 })])]).inserts).toEqual(['a 2']);
  });

  test("one INSERT's worth of bytes does not wait", () => {
    expect(plan([lane('a', [batch({ bytes: 32 * MIB })])]).inserts).toEqual(['a 1']);
    expect(plan([lane('a', [batch({ bytes: 32 * MIB - 1 })])]).inserts).toEqual([]);
  });

  test('a batch that was asked about and is missing does not wait', () => {
    expect(plan([lane('a', [batch({ urgent: true }), batch()])]).inserts).toEqual(['a 2']);
  });

  test('nothing goes before the outcome of an earlier INSERT of the lane is known', () => {
    const unsettled = lane('a', [batch({ rowCount: 100_000, sinceMs: 0 })], { unsettled: true });
    expect(plan([unsettled, lane('b', [batch({ sinceMs: 0 })])]).inserts).toEqual(['b 1']);
  });

  test('nothing goes before the backoff of the lane has passed, which wakes the plan', () => {
    const waiting = lane('a', [batch({ urgent: true, sinceMs: 0 })], { notBeforeMs: NOW_MS + 70 });
    expect(plan([waiting])).toEqual({ inserts: [], wakeAtMs: NOW_MS + 70 });
  });

  test.each([
    // live partitions ÷ 8 a second, never below 1 s, never above 5 s
    [1, 1_000],
    [8, 1_000],
    [12, 1_500],
    [40, 5_000],
    [400, 5_000],
  ])('with %i live partitions a small batch waits %i ms', (livePartitions, delayMs) => {
    expect(waitForCompanyMs(livePartitions)).toBe(delayMs);
    const old = (sinceMs: number) => plan([lane('a', [batch({ sinceMs })])], { livePartitions }).inserts;
    expect(old(NOW_MS - delayMs + 1)).toEqual([]);
    expect(old(NOW_MS - delayMs)).toEqual(['a 1']);
  });
});

describe('what one INSERT holds', () => {
  const old = { sinceMs: 0 };

  test.each([
    ['rows', [100_000, 150_000, 1], [], ['a 2', 'a 1']],
    ['rows of a batch that is larger alone', [300_000, 10], [], ['a 1', 'a 1']],
    ['bytes', [1, 1, 1], [16 * MIB, 16 * MIB, 1], ['a 2', 'a 1']],
    ['bytes of a batch that is larger alone', [1, 1], [40 * MIB, 1], ['a 1', 'a 1']],
  ])('is bounded by %s', (_what, rows, bytes, expected) => {
    const waiting = rows.map((rowCount, index) => batch({ ...old, rowCount, bytes: bytes[index] ?? 1 }));
    expect(plan([lane('a', waiting)]).inserts).toEqual(expected);
  });

  test('with a server is larger', () => {
    const waiting = [
      batch({ ...old, rowCount: 250_000, bytes: 64 * MIB }),
      batch({ ...old, rowCount: 250_000, bytes: 64 * MIB }),
    ];
    expect(plan([lane('a', waiting)], { limits: { bytesMax: 128 * MIB, rowsMax: 500_000 } }).inserts).toEqual(['a 2']);
  });

  test('is halved after a refusal, so that what is refused ends up alone', () => {
    const half = (togetherMax: number) => batch({ ...old, togetherMax });
    expect(plan([lane('a', [half(2), half(2), half(2), half(2)])]).inserts).toEqual(['a 2', 'a 2']);
    expect(plan([lane('a', [half(1), half(1), batch(old)])]).inserts).toEqual(['a 1', 'a 1']);
    expect(plan([lane('a', [batch(old), half(1), half(1)])]).inserts).toEqual(['a 1', 'a 1']);
  });
});

describe('which lanes go first', () => {
  test('at most as many INSERTs as there are free places', () => {
    const lanes = ['a', 'b', 'c'].map((name, index) => lane(name, [batch({ sinceMs: index })]));
    expect(plan(lanes).inserts).toEqual(['a 1', 'b 1']);
    expect(plan(lanes, { freePlaces: 1 }).inserts).toEqual(['a 1']);
    expect(plan(lanes, { freePlaces: 0 })).toEqual({ inserts: [], wakeAtMs: undefined });
  });

  test('what is missing after an unknown outcome, then the oldest', () => {
    const lanes = [
      lane('young', [batch({ sinceMs: 5_000 })]),
      lane('old', [batch({ sinceMs: 1_000 })]),
      lane('missing', [batch({ sinceMs: 9_000, urgent: true })]),
    ];
    expect(plan(lanes).inserts).toEqual(['missing 1', 'old 1']);
  });

  test('a lane with a long backlog leaves one place to its neighbours', () => {
    const backlog = Array.from({ length: 4 }, () => batch({ sinceMs: 0, rowCount: 250_000 }));
    expect(plan([lane('backlog', backlog), lane('b', [batch({ sinceMs: 90_000 })])]).inserts).toEqual([
      'backlog 1',
      'b 1',
    ]);
    const second = lane('backlog', backlog, { inserting: 1 });
    expect(plan([second, lane('b', [batch({ sinceMs: 90_000 })])], { freePlaces: 1 }).inserts).toEqual(['b 1']);
    expect(plan([lane('backlog', backlog)]).inserts).toEqual(['backlog 1', 'backlog 1']);
  });
});
