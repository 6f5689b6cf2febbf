/** Random numbers that a seed repeats: xorshift128, seeded by splitmix32. For tests only; the seed is printed by who uses it. */
export interface Random {
  /** From 0 up to, not including, 1. */
  next(): number;
  /** An integer from `min` to `max`, both included. */
  int(min: number, max: number): number;
  /** True in `probability` of the calls. */
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(count: number): Buffer;
}

export function seededRandom(seed: number): Random {
  const state = new Uint32Array(4);
  let mixed = seed >>> 0;
  for (let i = 0; i < 4; i++) {
    mixed = (mixed + 0x9e3779b9) >>> 0;
    let word = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    state[i] = (word ^ (word >>> 15)) >>> 0;
  }
  state[3] = (state[3] ?? 0) | 1; // all zero would stay zero
  const word = (): number => {
    const first = state[0] ?? 0;
    const last = state[3] ?? 0;
    const shifted = first ^ (first << 11);
    state.copyWithin(0, 1);
    state[3] = last ^ (last >>> 19) ^ shifted ^ (shifted >>> 8);
    return state[3];
  };
  const next = () => word() / 0x1_0000_0000;
  const int = (min: number, max: number) => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    int,
    chance: (probability) => next() < probability,
    pick: <T>(list: readonly T[]) => list[int(0, list.length - 1)] as T,
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => int(0, 255))),
  };
}
