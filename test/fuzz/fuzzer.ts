/** What a fuzzer is, and the loop that all share: one seed a case, so that a violation is replayed alone. */
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { MemoryWatch } from './memory-watch.ts';
import { StallWatch } from './stall-watch.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Inputs to try; undefined: until the deadline, one at least. */
  readonly cases: number | undefined;
  /** Of the wall clock; for runs without a number of cases. */
  readonly deadlineMs: number;
}

export interface FuzzFigures {
  readonly cases: number;
  /** Inputs that the decoder took; the others it refused as it should. */
  readonly taken: number;
  /** In words, for the line that is printed. */
  readonly told: readonly string[];
  /** What does not hold although no single case is to blame. */
  readonly violations: readonly string[];
}

export interface Fuzzer {
  readonly name: string;
  /** Throws FuzzViolation. */
  run(options: FuzzOptions): Promise<FuzzFigures>;
}

/** From here on memory and stalls are judged; of fewer cases they are only printed. */
export const JUDGED_CASES_MIN = 100_000;
/** Reference reliability-security.md 3.10: nothing holds the event loop longer. */
const STALL_MS_MAX = 50;
/** Longest time between two turns of the event loop: collectors of figures need them. */
const CASES_PER_TURN = 200;

export class FuzzViolation extends Error {
  override readonly name = 'FuzzViolation';
}

/** What a case is given. */
export interface Case {
  readonly random: Random;
  /** Times one stretch of the decoder's work that lets nothing else run; the test's own work stays outside. */
  readonly time: <T>(work: () => T) => T;
  /** Counts something that the run tells at its end: a reason not to compare, for one. */
  readonly count: (what: string) => void;
}

/**
 * A fuzzer of cases: `tryCase` throws when the decoder breaks a promise, and says whether the input was taken. What it
 * does follows from the case's random numbers alone.
 */
export function fuzzer(name: string, tryCase: (one: Case) => boolean | Promise<boolean>): Fuzzer {
  return { name, run: (options) => runCases(name, tryCase, options) };
}

async function runCases(
  name: string,
  tryCase: (one: Case) => boolean | Promise<boolean>,
  options: FuzzOptions,
): Promise<FuzzFigures> {
  const counts = new Map<string, number>();
  const count = (what: string) => void counts.set(what, (counts.get(what) ?? 0) + 1);
  const stalls = new StallWatch();
  const memory = new MemoryWatch();
  let cases = 0;
  let taken = 0;
  const tryOne = async (seed: number): Promise<boolean> => {
    try {
      const outcome = tryCase({ random: seededRandom(seed), time: stalls.time, count });
      return typeof outcome === 'boolean' ? outcome : await outcome;
    } catch (error) {
      const again = replay(name, seed);
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throw new FuzzViolation(`${name}, seed ${seed} (again: ${again}): ${reason}`);
    }
  };
  const mayGoOn = () => (options.cases === undefined ? Date.now() < options.deadlineMs : cases < options.cases);
  do {
    const seed = options.seed + cases;
    stalls.begin(seed);
    if (await tryOne(seed)) taken++;
    cases++;
    memory.caseDone(cases, options.cases ?? 0);
    if (cases % CASES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  } while (mayGoOn());
  memory.end();

  const told = [...counts].sort().map(([what, n]) => `${n} ${what}`);
  const violations: string[] = [];
  const longest = { ...stalls.longest };
  const first = `longest stretch ${longest.ms.toFixed(1)} ms (${longest.cpuMs.toFixed(1)} of CPU, seed ${longest.seed})`;
  if (longest.cpuMs <= STALL_MS_MAX) told.push(first);
  else {
    // A pause of the garbage collector comes at any case; what is the input's fault comes back with the input.
    const again = await stalls.again(longest.seed, tryOne);
    told.push(`${first}, ${again.toFixed(1)} ms when repeated`);
    if (again > STALL_MS_MAX) {
      violations.push(`a stall of ${again.toFixed(1)} ms, at most ${STALL_MS_MAX}: ${replay(name, longest.seed)}`);
    }
  }
  told.push(memory.told);
  violations.push(...memory.violations);
  return { cases, taken, told, violations: cases >= JUDGED_CASES_MIN ? violations : [] };
}

function replay(name: string, seed: number): string {
  return `npm run fuzz -- --only ${name} --seed ${seed} --cases 1`;
}

/** Throws when a promise does not hold. */
export function promise(holds: boolean, what: string): void {
  if (!holds) throw new FuzzViolation(what);
}
