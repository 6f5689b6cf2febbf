/** Bytes injured without knowledge of what they mean. */
import type { Random } from '../corpus/seeded-random.ts';

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
