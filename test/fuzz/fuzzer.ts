/** What a fuzzer is, and the loop that all share: one seed a case, so that a violation is replayed alone. */
import { type Random, seededRandom } from '../corpus/seeded-random.ts';

export interface FuzzCounts {
  readonly cases: number;
  /** Inputs that the decoder took; the others it refused as it should. */
  readonly taken: number;
}

export interface Fuzzer {
  readonly name: string;
  /** Cases from `seed` on, until `deadlineMs` of the wall clock; one at least. Throws FuzzViolation. */
  run(seed: number, deadlineMs: number): FuzzCounts;
}

export class FuzzViolation extends Error {
  override readonly name = 'FuzzViolation';
}

/** A fuzzer of cases: `tryCase` throws when the decoder breaks a promise, and says whether the input was taken. */
export function fuzzer(name: string, tryCase: (random: Random) => boolean): Fuzzer {
  return {
    name,
    run(seed, deadlineMs) {
      let cases = 0;
      let taken = 0;
      do {
        try {
          if (tryCase(seededRandom(seed + cases))) taken++;
        } catch (error) {
          const again = `npm run fuzz -- --only ${name} --seed ${seed + cases} --seconds 0`;
          const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
          throw new FuzzViolation(`${name}, seed ${seed + cases} (again: ${again}): ${reason}`);
        }
        cases++;
      } while (Date.now() < deadlineMs);
      return { cases, taken };
    },
  };
}

/** Throws when a promise does not hold. */
export function promise(holds: boolean, what: string): void {
  if (!holds) throw new FuzzViolation(what);
}

/** One to eight small injuries: bytes flipped, inserted, removed, a part doubled, the end cut off. */
export function mutate(bytes: Uint8Array, random: Random, alphabet?: Uint8Array): Buffer {
  let result = Buffer.from(bytes);
  for (let count = random.int(1, 8); count > 0; count--) {
    const at = random.int(0, result.length);
    const byte = Buffer.from([alphabet === undefined ? random.int(0, 255) : random.pick([...alphabet])]);
    const until = Math.min(result.length, at + random.int(1, 20));
    const [before, part, after] = [result.subarray(0, at), result.subarray(at, until), result.subarray(until)];
    switch (random.int(0, 4)) {
      case 0:
        result = Buffer.concat([before, byte, result.subarray(at + 1)]);
        break;
      case 1:
        result = Buffer.concat([before, byte, result.subarray(at)]);
        break;
      case 2:
        result = Buffer.concat([before, after]);
        break;
      case 3:
        result = Buffer.concat([before, part, part, after]);
        break;
      default:
        if (random.chance(0.2)) result = Buffer.from(before);
    }
  }
  return result;
}
