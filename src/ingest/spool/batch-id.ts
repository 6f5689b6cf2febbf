/**
 * BatchIds: 32 bits of Unix seconds above 32 random bits, as 16 hex digits (architecture 3.7). They are the only lock
 * against storing a batch twice, so one process never gives the same one out again.
 */

/** Ids remembered: far more than one process makes in a second, which is how long two could differ only in chance. */
const REMEMBERED_MAX = 65_536;

/** `random32`: 32 random bits. */
export function createBatchIds(nowMs: () => number, random32: () => number): () => string {
  const given = new Set<string>();
  return () => {
    for (;;) {
      const seconds = Math.floor(nowMs() / 1000) >>> 0;
      const id = hex32(seconds) + hex32(random32() >>> 0);
      if (given.has(id)) continue;
      given.add(id);
      if (given.size > REMEMBERED_MAX) for (const oldest of given) if (given.delete(oldest)) break;
      return id;
    }
  };
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
