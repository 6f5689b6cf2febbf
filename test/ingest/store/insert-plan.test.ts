import { describe, expect, test } from 'vitest';
import {
  planInserts,
  type Share,
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

function newShare(weight = 1): Share {
  return { weight, usedMs: 0, active: false };
}

function lane(name: string, waiting: WaitingBatch[], changes: Partial<WaitingLane> = {}): NamedLane {
  return {
    name,
    share: newShare(),
    waiting,
    unsettled: false,
    notBeforeMs: 0,
    inserting: 0,
    lastInsertAtMs: NOW_MS,
    ...changes,
  };
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

describe('which lanes of one placement go first', () => {
  test('at most as many INSERTs as there are free places', () => {
    const share = newShare();
    const lanes = ['a', 'b', 'c'].map((name, index) => lane(name, [batch({ sinceMs: index })], { share }));
    expect(plan(lanes).inserts).toEqual(['a 1', 'b 1']);
    expect(plan(lanes, { freePlaces: 1 }).inserts).toEqual(['a 1']);
    expect(plan(lanes, { freePlaces: 0 })).toEqual({ inserts: [], wakeAtMs: undefined });
  });

  test('what is missing after an unknown outcome, then the oldest', () => {
    const share = newShare();
    const lanes = [
      lane('young', [batch({ sinceMs: 5_000 })], { share }),
      lane('old', [batch({ sinceMs: 1_000 })], { share }),
      lane('missing', [batch({ sinceMs: 9_000, urgent: true })], { share }),
    ];
    expect(plan(lanes).inserts).toEqual(['missing 1', 'old 1']);
  });

  test('a lane with a long backlog leaves one place to its neighbours', () => {
    const backlog = Array.from({ length: 4 }, () => batch({ sinceMs: 0, rowCount: 250_000 }));
    const share = newShare();
    const young = lane('b', [batch({ sinceMs: 90_000 })], { share });
    expect(plan([lane('backlog', backlog, { share }), young]).inserts).toEqual(['backlog 1', 'b 1']);
    const second = lane('backlog', backlog, { inserting: 1, share });
    expect(plan([second, young], { freePlaces: 1 }).inserts).toEqual(['b 1']);
    expect(plan([lane('backlog', backlog)]).inserts).toEqual(['backlog 1', 'backlog 1']);
  });
});

/** Rows that each lane sends in so many plans of one INSERT, its backlog refilled: what is sent is gone, and the rest is old. */
function rowsSent(lanes: NamedLane[], plans: number, rowsEach: (name: string) => number): Map<string, number> {
  const rows = new Map<string, number>();
  for (let i = 0; i < plans; i++) {
    for (const sent of plan(lanes, { freePlaces: 1 }).inserts) {
      const name = sent.split(' ')[0]!.split('/')[0]!;
      rows.set(name, (rows.get(name) ?? 0) + rowsEach(name));
    }
  }
  return rows;
}

const backlogOf = (rowCount: number) => [batch({ sinceMs: 0, rowCount }), batch({ sinceMs: 0, rowCount })];

describe('placements that all have something to send', () => {
  test('get the same of the engine, whatever the number of their partitions, their age and how much they have', () => {
    const noisy = newShare();
    const lanes = Array.from({ length: 8 }, (_, i) => lane(`noisy/${i}`, backlogOf(200_000), { share: noisy }));
    lanes.push(
      lane('quiet', [batch({ sinceMs: 90_000, rowCount: 50_000 }), batch({ sinceMs: 90_000, rowCount: 200_000 })]),
    );
    const rows = rowsSent(lanes, 200, (name) => (name === 'quiet' ? 250_000 : 200_000));
    expect(rows.get('quiet')! / rows.get('noisy')!).toBeGreaterThan(0.95);
    expect(rows.get('quiet')! / rows.get('noisy')!).toBeLessThan(1.05);
  });

  test('get it by their weights', () => {
    const lanes = [
      lane('heavy', backlogOf(240_000), { share: newShare(3) }),
      lane('light', backlogOf(240_000), { share: newShare(1) }),
    ];
    const rows = rowsSent(lanes, 400, () => 240_000);
    expect(rows.get('heavy')! / rows.get('light')!).toBeCloseTo(3, 1);
  });

  test('do not wait longer because another one has batches that are missing after an unknown outcome', () => {
    const missing = [batch({ sinceMs: 0, urgent: true, rowCount: 200_000 }), batch({ sinceMs: 0, urgent: true })];
    const lanes = [lane('restarted', missing), lane('other', backlogOf(200_000))];
    const rows = rowsSent(lanes, 100, () => 1);
    expect(rows.get('other')).toBeGreaterThanOrEqual(49);
  });

  test('save nothing up while they have nothing to send', () => {
    const busy = lane('busy', backlogOf(200_000));
    const idle = lane('idle', []);
    rowsSent([busy, idle], 100, () => 1);
    const back = { ...idle, waiting: backlogOf(200_000) };
    const rows = rowsSent([busy, back], 100, () => 1);
    expect(rows.get('busy')).toBeGreaterThanOrEqual(49);
    expect(rows.get('idle')).toBeGreaterThanOrEqual(49);
    // After a pause of all, one that is new is ahead of nobody.
    rowsSent([{ ...busy, waiting: [] }], 1, () => 1);
    const afterPause = rowsSent([busy, lane('new', backlogOf(200_000))], 100, () => 1);
    expect(afterPause.get('busy')).toBeGreaterThanOrEqual(49);
  });
});
