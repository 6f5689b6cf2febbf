import { describe, expect, test } from 'vitest';
import { SEGMENT_HEADER_BYTES, type SegmentHeaderState } from '../../../src/ingest/spool/format.ts';
import { planRecovery, type SegmentFacts } from '../../../src/ingest/spool/recover.ts';

const OURS = 'aa'.repeat(16);
const OTHER = 'bb'.repeat(16);
const IDENTITY = { spoolId: OURS, firstSequence: 10, reservedSequence: 100 };
const MARK = Buffer.alloc(16);

function segment(
  sequence: number,
  options: { spoolId?: string; says?: number; bytes?: number } = {},
): SegmentFacts['segment'] {
  const { spoolId = OURS, says = sequence, bytes = 5_000 } = options;
  return { bytes, header: { kind: 'valid', header: { spoolId, sequence: says, mark: MARK } } };
}
const damagedHeader = (bytes: number): SegmentFacts['segment'] => ({ bytes, header: { kind: 'damaged' } });
const newerHeader: SegmentHeaderState = { kind: 'newer', version: 2 };
const whole = { kind: 'whole', spoolId: OURS } as const;

describe('the plan of a recovery', () => {
  test.each<[string, SegmentFacts, string]>([
    ['sealed', { sequence: 20, segment: segment(20), footer: whole }, 'keep'],
    ['sealed, its segment gone', { sequence: 20, segment: undefined, footer: whole }, 'keep'],
    [
      'sealed, its header damaged: the footer tells all',
      { sequence: 20, segment: damagedHeader(9_000), footer: whole },
      'keep',
    ],
    ['footer damaged twice', { sequence: 20, segment: segment(20), footer: { kind: 'damaged' } }, 'quarantine'],
    [
      'footer of another spool',
      { sequence: 20, segment: segment(20), footer: { kind: 'whole', spoolId: OTHER } },
      'quarantine',
    ],
    ['not sealed', { sequence: 20, segment: segment(20), footer: undefined }, 'seal'],
    [
      'not sealed, of another spool',
      { sequence: 20, segment: segment(20, { spoolId: OTHER }), footer: undefined },
      'quarantine',
    ],
    [
      'sealed, of another spool',
      { sequence: 20, segment: segment(20, { spoolId: OTHER }), footer: whole },
      'quarantine',
    ],
    ['under another name', { sequence: 20, segment: segment(20, { says: 19 }), footer: undefined }, 'quarantine'],
    [
      'without a byte of a record',
      { sequence: 20, segment: segment(20, { bytes: SEGMENT_HEADER_BYTES }), footer: undefined },
      'remove',
    ],
    ['cut inside its header', { sequence: 20, segment: damagedHeader(900), footer: undefined }, 'remove'],
    ['header damaged', { sequence: 20, segment: damagedHeader(9_000), footer: undefined }, 'quarantine'],
    ['older than the last start', { sequence: 9, segment: segment(9), footer: undefined }, 'quarantine'],
    ['sealed before the last start', { sequence: 9, segment: segment(9), footer: whole }, 'keep'],
    ['a batch file alone', { sequence: 20, segment: undefined, footer: undefined }, 'remove'],
  ])('%s', (_, facts, action) => {
    const plan = planRecovery([facts], IDENTITY);
    expect(plan).toMatchObject({ newer: false, spoolId: OURS, segments: [{ action }] });
  });

  test('knows a newer format by a segment or a footer', () => {
    const one: SegmentFacts = { sequence: 20, segment: { bytes: 9_000, header: newerHeader }, footer: undefined };
    expect(planRecovery([one], IDENTITY).newer).toBe(true);
    expect(planRecovery([{ sequence: 20, segment: segment(20), footer: { kind: 'newer' } }], IDENTITY).newer).toBe(
      true,
    );
  });

  test('skips a number behind all that may have been used', () => {
    expect(planRecovery([], IDENTITY).nextSequence).toBe(101);
    expect(planRecovery([{ sequence: 400, segment: segment(400), footer: whole }], IDENTITY).nextSequence).toBe(402);
    expect(planRecovery([], 'missing').nextSequence).toBe(2);
  });

  test('takes a lost identity from most of the segments, and skips a whole block of numbers', () => {
    const facts: SegmentFacts[] = [
      { sequence: 4, segment: segment(4, { spoolId: OTHER }), footer: undefined },
      { sequence: 5, segment: segment(5), footer: whole },
      { sequence: 6, segment: undefined, footer: whole },
    ];
    const plan = planRecovery(facts, 'damaged');
    expect(plan.spoolId).toBe(OURS);
    expect(plan.segments.map(({ action }) => action)).toEqual(['quarantine', 'keep', 'keep']);
    expect(plan.nextSequence).toBeGreaterThan(6 + 4_096);
    expect(planRecovery([], 'missing').spoolId).toBeUndefined();
  });
});
