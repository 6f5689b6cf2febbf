/** The loop of the fuzzers, and what judges rows: they must be able to say no. */
import { describe, expect, it } from 'vitest';
import { MapEntries } from '../corpus/expected-values.ts';
import { fuzzer, promise } from './fuzzer.ts';
import { sameCell } from './judge-rows.ts';

const options = (cases: number) => ({ seed: 40, cases, deadlineMs: 0 });

describe('a run of a fuzzer', () => {
  it('makes as many cases as it was told, each of a seed of its own, and counts what was taken and told', async () => {
    const drawn = new Set<number>();
    const figures = await fuzzer('sample', ({ random, count }) => {
      drawn.add(random.next());
      count('seen');
      return drawn.size % 4 === 0;
    }).run(options(100));
    expect(drawn.size).toBe(100);
    expect(figures).toMatchObject({ cases: 100, taken: 25, violations: [] });
    expect(figures.told).toContain('100 seen');
  });

  it('ends at a broken promise, with the command that shows that case alone', async () => {
    let cases = 0;
    const broken = fuzzer('sample', () => {
      promise(++cases < 8, 'a promise');
      return true;
    });
    await expect(broken.run(options(100))).rejects.toThrow(
      /^sample, seed 47 \(again: npm run fuzz -- --only sample --seed 47 --cases 1\): FuzzViolation: a promise/,
    );
  });

  it('reports a stretch over 50 ms of CPU that comes back with its case, and not one that does not', async () => {
    const busy = (ms: number) => {
      const end = process.threadCpuUsage().user + ms * 1_000;
      while (process.threadCpuUsage().user < end);
    };
    const slow = (again: boolean) => {
      let times = 0;
      return fuzzer('sample', ({ random, time }) => {
        const isSlow = random.next() === slowest && (again || times++ === 0);
        time(() => busy(isSlow ? 80 : 0));
        return true;
      }).run(options(100_000));
    };
    let slowest = 0;
    await fuzzer('sample', ({ random }) => {
      slowest = Math.max(slowest, random.next());
      return true;
    }).run(options(100_000));
    expect((await slow(true)).violations).toEqual([
      expect.stringMatching(/^a stall of \d+\.\d ms, at most 50: npm run/),
    ]);
    expect((await slow(false)).violations).toEqual([]);
  });

  it('reports what is kept of every case', async () => {
    const kept: Buffer[] = [];
    const leaking = fuzzer('sample', () => {
      kept.push(Buffer.alloc(400, 1));
      return true;
    });
    const { violations } = await leaking.run(options(100_000));
    expect(violations.some((line) => line.startsWith('what is alive grew by '))).toBe(true);
    expect(kept).toHaveLength(100_000);
  });
});

describe('cells of rows', () => {
  const map = (...entries: [string, string][]) => new MapEntries(entries);

  it.each([
    { a: Number.NaN, b: Number.NaN, same: true },
    { a: 0, b: -0, same: false },
    { a: '1', b: 1, same: false },
    { a: null, b: 0, same: false },
    { a: [1, [2]], b: [1, [2]], same: true },
    { a: [1], b: [1, 2], same: false },
    { a: map(['k', 'a'], ['k', 'b']), b: map(['k', 'a'], ['k', 'b']), same: true },
    { a: map(['k', 'a'], ['k', 'b']), b: map(['k', 'b'], ['k', 'a']), same: false },
    { a: [map(['k', 'a'])], b: [map(['k', 'A'])], same: false },
  ])('are the same only as stored: $a and $b', ({ a, b, same }) => {
    expect(sameCell(a, b)).toBe(same);
  });
});
