import { describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/limits.ts';
import {
  leastIngestMemoryMib,
  PROGRAM_MIB,
  planMemory,
  usualInFlightMib,
  usualIngestMemoryMib,
} from '../../src/base/memory-plan.ts';

const planOf = (ingestMemoryMib: number, bodyMib: number) =>
  planMemory({ ingestMemoryMib, bodyMib, inFlightMib: usualInFlightMib(ingestMemoryMib, bodyMib) });

describe('the plan of an ingest process’s memory', () => {
  it.each([
    [512, 64],
    [1_024, 64],
    [320, 4],
    [4_096, 128],
  ])('adds up to the ceiling of %d MiB with bodies of %d MiB', (ceilingMib, bodyMib) => {
    const plan = planOf(ceilingMib, bodyMib);
    const parts = plan.inFlightBytesMax + plan.largeWorkBytesMax + 2 * plan.rowBytesMax;
    expect(parts / MIB + PROGRAM_MIB).toBeLessThanOrEqual(ceilingMib);
    expect(plan.poolBytesMax).toBeLessThanOrEqual(plan.rowBytesMax);
    expect(plan.segmentRowBytesMax * 3).toBeLessThanOrEqual(plan.rowBytesMax);
  });

  it.each([1, 4, 16, 64, 128])('is there for every least ceiling, and takes a JSON body of %d MiB whole', (bodyMib) => {
    const plan = planOf(leastIngestMemoryMib(bodyMib, 0), bodyMib);
    expect(plan.inFlightBytesMax).toBeGreaterThanOrEqual(2 * bodyMib * MIB);
    expect(plan.largeWorkBytesMax).toBeGreaterThan(bodyMib * MIB + 2 * plan.largeCutBytes);
  });

  it('chooses a ceiling by the machine, within bounds, and never below what the bodies need', () => {
    expect(usualIngestMemoryMib({ memoryMib: 1_024, workers: 1, bodyMib: 64 })).toBe(512);
    expect(usualIngestMemoryMib({ memoryMib: 3_000, workers: 1, bodyMib: 64 })).toBe(750);
    expect(usualIngestMemoryMib({ memoryMib: 65_536, workers: 4, bodyMib: 64 })).toBe(1_024);
    expect(usualIngestMemoryMib({ memoryMib: 1_024, workers: 4, bodyMib: 128 })).toBe(leastIngestMemoryMib(128, 0));
  });
});
