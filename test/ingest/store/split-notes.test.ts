import { describe, expect, test } from 'vitest';
import type { FooterBatch } from '../../../src/ingest/messages.ts';
import { JOURNAL_MAGIC, JournalState, type Note, readJournal } from '../../../src/ingest/store/journal-notes.ts';
import { batchOfPart, partBatchId } from '../../../src/ingest/store/split-notes.ts';
import { partition } from './spool-fixture.ts';

const NAME = { spool: '0', spoolId: 'aa', sequence: 1 };
const NOW_MS = 1_800_000_000_000;
const WHOLE: FooterBatch = {
  table: 'otel_logs',
  partition: partition('org_a'),
  batchId: '0000000000000001',
  firstRequest: 0,
  lastRequest: 7,
  rowFrom: 0,
  rowCount: 80,
  offset: 100,
  length: 200,
  crc: 300,
};
const OTHER: FooterBatch = { ...WHOLE, batchId: '0000000000000009', table: 'otel_traces' };
const part = (batchId: string, firstRequest: number, lastRequest: number, rowCount: number) => ({
  batchId,
  firstRequest,
  lastRequest,
  rowCount,
});
const SPLIT: Note = {
  kind: 'split',
  ...NAME,
  batchId: WHOLE.batchId,
  parts: [part('0000000000000002', 0, 3, 40), part('0000000000000003', 4, 7, 40)],
};
const AGAIN: Note = {
  kind: 'split',
  ...NAME,
  batchId: '0000000000000003',
  parts: [part('0000000000000004', 4, 4, 10), part('0000000000000005', 5, 7, 30)],
};
const GONE = {
  kind: 'quarantined',
  ...NAME,
  batchId: '0000000000000004',
  request: 4,
  orgId: 'org_a',
  rowCount: 10,
} as const satisfies Note;

function stateOf(notes: readonly Note[]): JournalState {
  const state = new JournalState();
  for (const note of notes) state.apply(note);
  return state;
}

const idsOf = (state: JournalState) => state.refused.open(NAME, [WHOLE, OTHER]).map(({ batchId }) => batchId);

describe('the batches of a segment that is loaded again', () => {
  test('are those of its footer, but for parts in the place of what was split, and without what is in quarantine', () => {
    expect(idsOf(stateOf([]))).toEqual([WHOLE.batchId, OTHER.batchId]);
    expect(idsOf(stateOf([SPLIT]))).toEqual(['0000000000000002', '0000000000000003', OTHER.batchId]);
    const all = stateOf([SPLIT, AGAIN, GONE]);
    expect(idsOf(all)).toEqual(['0000000000000002', '0000000000000005', OTHER.batchId]);
    expect(all.refused.quarantined(NAME)).toEqual([GONE]);
    expect(all.refused.isQuarantined(NAME, GONE.batchId)).toBe(true);
    expect(all.refused.isQuarantined({ ...NAME, sequence: 2 }, GONE.batchId)).toBe(false);
  });

  test('are never read from the batch file when they are parts', () => {
    const [first] = stateOf([SPLIT]).refused.open(NAME, [WHOLE]);
    expect(first).toEqual({ ...WHOLE, ...SPLIT.parts[0], offset: 0, length: 0, crc: 0 });
  });

  test.each<[string, readonly Note[]]>([
    ['the journal was rewritten', [{ kind: 'found', ...NAME }]],
    [
      'a power cut brought the segment back',
      [
        { kind: 'removed', ...NAME, atMs: NOW_MS },
        { kind: 'found', ...NAME },
      ],
    ],
    [
      'it was moved away and put back',
      [
        { kind: 'gap', ...NAME },
        { kind: 'found', ...NAME },
      ],
    ],
  ])('are the same after %s', (_what, notes) => {
    const written = stateOf([{ kind: 'found', ...NAME }, SPLIT, AGAIN, GONE, ...notes]);
    const again = readJournal(written.encode(NOW_MS)).state;
    expect(idsOf(again)).toEqual(['0000000000000002', '0000000000000005', OTHER.batchId]);
  });

  test('leave nothing in the journal when the segment is gone for long', () => {
    const state = stateOf([{ kind: 'found', ...NAME }, SPLIT, GONE, { kind: 'removed', ...NAME, atMs: NOW_MS }]);
    expect(state.encode(NOW_MS + 600_001)).toEqual(JOURNAL_MAGIC);
  });
});

test('a part has the BatchId that it had when it was cut before, and no other part has it', () => {
  const id = partBatchId(WHOLE.batchId, 0, 3);
  expect(id).toMatch(/^00000000[0-9a-f]{8}$/);
  expect(partBatchId(WHOLE.batchId, 0, 3)).toBe(id);
  const others = [partBatchId(WHOLE.batchId, 0, 4), partBatchId(WHOLE.batchId, 1, 3), partBatchId(OTHER.batchId, 0, 3)];
  expect(new Set([id, ...others]).size).toBe(4);
  expect(batchOfPart(WHOLE, part(id, 0, 3, 5)).batchId).toBe(id);
});
