import { describe, expect, it } from 'vitest';
import { coverageLines, coverageOf, idsOf } from './coverage.ts';
import type { Requirement } from './requirement.ts';

const LIST: readonly Requirement[] = [
  { id: 'G1', level: 'must', text: 'serves three methods' },
  { id: 'G2', level: 'peer', text: 'others do this', unbound: 'what a peer does' },
  { id: 'T1 (TLS)', level: 'rec', text: 'TLS 1.2 or newer' },
];

describe('the coverage of the checklist', () => {
  it('reads the ids at the start of a title, and nothing else', () => {
    expect(idsOf('G1, T1 (TLS), H22: three at once')).toEqual(['G1', 'T1 (TLS)', 'H22']);
    expect(idsOf('a title that speaks of G1: nothing')).toEqual([]);
    expect(idsOf('G1 without a colon')).toEqual([]);
  });

  it('misses a line that binds us and that no passed test names', () => {
    expect(coverageOf(LIST, ['G1: it serves them']).missing).toEqual(['T1 (TLS)']);
    expect(coverageOf(LIST, ['G1, T1 (TLS): both']).missing).toEqual([]);
  });

  it('complains of ids that no list has, of doubles and of gaps', () => {
    expect(coverageOf(LIST, ['G9: what is it']).mistakes).toEqual(['G9: named by a test, in no list']);
    const [first] = LIST as [Requirement];
    const mistakes = coverageOf([first, first, { ...first, id: 'G3' }], []).mistakes;
    expect(mistakes).toEqual(['G1: stands twice in the lists', 'G: number 2 is in no list']);
  });

  it('prints a line an area, and every line when asked', () => {
    const coverage = coverageOf(LIST, ['G1: it serves them']);
    expect(coverageLines(LIST, coverage, false)).toEqual([
      'conformance G         1 of 1 lines shown, 1 bind no server',
      'conformance T (TLS)   0 of 1 lines shown, 0 bind no server',
      'conformance: not shown by a passed test: T1 (TLS)',
    ]);
    expect(coverageLines(LIST, coverage, true)).toContain('G1         1 tests          serves three methods');
  });
});
