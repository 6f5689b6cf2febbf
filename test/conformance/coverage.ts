/**
 * Which requirements the tests that passed have shown. A test names what it proves at the start of its title:
 * `G8: a message over the limit …`, `G4, T1 (TLS): …`.
 */
import type { Requirement } from './requirement.ts';

const ID = String.raw`(?:[GHACEJ]\d+|T\d+ \((?:TLS|tests)\))`;
const TITLE = new RegExp(`^(${ID}(?:, ${ID})*): `);

export interface Coverage {
  /** Titles of the passed tests of each id. */
  readonly shown: ReadonlyMap<string, readonly string[]>;
  /** Ids that bind us and that no passed test names. */
  readonly missing: readonly string[];
  /** Ids in titles that no list has, ids that stand twice in the lists, gaps in the numbering of an area. */
  readonly mistakes: readonly string[];
}

/** The ids at the start of a test's title; none when it is not a conformance test. */
export function idsOf(title: string): readonly string[] {
  return TITLE.exec(title)?.[1]?.split(', ') ?? [];
}

/** What the passed tests show of the requirements. */
export function coverageOf(requirements: readonly Requirement[], passedTitles: readonly string[]): Coverage {
  const shown = new Map<string, string[]>();
  for (const title of passedTitles) {
    for (const id of idsOf(title)) shown.set(id, [...(shown.get(id) ?? []), title]);
  }
  const ids = requirements.map(({ id }) => id);
  const missing = requirements.filter(({ id, unbound }) => unbound === undefined && !shown.has(id)).map(({ id }) => id);
  const unknown = [...shown.keys()].filter((id) => !ids.includes(id)).map((id) => `${id}: named by a test, in no list`);
  return { shown, missing, mistakes: [...unknown, ...mistakesOfLists(ids)] };
}

/** A number left out or given twice: the lists follow the numbering of the checklist. */
function mistakesOfLists(ids: readonly string[]): string[] {
  const mistakes = ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `${id}: stands twice in the lists`);
  const numbers = new Map<string, number[]>();
  for (const id of ids) {
    const area = areaOf(id);
    numbers.set(area, [...(numbers.get(area) ?? []), Number(/\d+/.exec(id)?.[0])]);
  }
  for (const [area, found] of numbers) {
    for (let number = 1; number <= Math.max(...found); number++) {
      if (!found.includes(number)) mistakes.push(`${area}: number ${number} is in no list`);
    }
  }
  return mistakes;
}

/** `G`, `T (TLS)`: the id without its number. */
export function areaOf(id: string): string {
  return id.replace(/\d+/, '');
}

/** The coverage as lines of text: a line an area, and with `all` a line a requirement. */
export function coverageLines(requirements: readonly Requirement[], coverage: Coverage, all: boolean): string[] {
  const lines: string[] = [];
  if (all) {
    for (const requirement of requirements) {
      const { id, text, unbound, departure } = requirement;
      const tests = coverage.shown.get(id)?.length ?? 0;
      const state = unbound === undefined || tests > 0 ? `${tests} tests` : 'binds no server';
      lines.push(`${id.padEnd(10)} ${state.padEnd(16)} ${text}`);
      if (unbound !== undefined) lines.push(`${' '.repeat(28)}why: ${unbound}`);
      if (departure !== undefined) lines.push(`${' '.repeat(28)}departure: ${departure}`);
    }
  }
  for (const area of new Set(requirements.map(({ id }) => areaOf(id)))) {
    const bound = requirements.filter(({ id, unbound }) => areaOf(id) === area && unbound === undefined);
    const shown = bound.filter(({ id }) => coverage.shown.has(id)).length;
    const others = requirements.filter(({ id }) => areaOf(id) === area).length - bound.length;
    lines.push(`conformance ${area.padEnd(9)} ${shown} of ${bound.length} lines shown, ${others} bind no server`);
  }
  if (coverage.missing.length > 0)
    lines.push(`conformance: not shown by a passed test: ${coverage.missing.join(', ')}`);
  return [...lines, ...coverage.mistakes.map((mistake) => `conformance: ${mistake}`)];
}
