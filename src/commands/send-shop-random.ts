/** Random numbers that a seed repeats (splitmix32), for the sample of `send`. Not for secrets. */
export interface Random {
  /** From 0 up to, not including, 1. */
  next(): number;
  /** An integer from `min` to `max`, both included. */
  int(min: number, max: number): number;
  pick<T>(list: readonly [T, ...T[]]): T;
  /** `bytes` random bytes in hex, never all zero. */
  hex(bytes: number): string;
}

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  const next = () => word() / 0x1_0000_0000;
  const int = (min: number, max: number) => min + Math.floor(next() * (max - min + 1));
  const hex = (bytes: number): string => {
    let text = '';
    while (text.length < 2 * bytes) text += word().toString(16).padStart(8, '0');
    text = text.slice(0, 2 * bytes);
    return /[^0]/.test(text) ? text : hex(bytes);
  };
  return { next, int, hex, pick: (list) => list[int(0, list.length - 1)] ?? list[0] };
}
