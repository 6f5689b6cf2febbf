import { describe, expect, test } from 'vitest';
import { FreeSpace } from '../../../src/ingest/spool/free-space.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { type CollectedLog, collectLog, diskError } from './fixtures.ts';

const MIB = 1_048_576;

function spaceOf(overrides: { free: () => number; create?: () => never; ballastBytes?: number }): {
  space: FreeSpace;
  clock: { ms: number };
  looks: () => number;
  log: CollectedLog;
} {
  const clock = { ms: 0 };
  const log = collectLog();
  let looks = 0;
  const freeBytes = async (): Promise<number> => {
    looks++;
    return overrides.free();
  };
  const files = { ...realSpoolFiles, freeBytes, ...(overrides.create ? { create: overrides.create } : {}) };
  const { ballastBytes = 0 } = overrides;
  const deps = { files, dir: '/nowhere', reserveBytes: 10 * MIB, ballastBytes, log };
  return { space: new FreeSpace({ ...deps, monotonicMs: () => clock.ms }), clock, looks: () => looks, log };
}

describe('the low-water mark', () => {
  test('counts what was written since the last look, and looks again after a second', async () => {
    let free = 20 * MIB;
    const { space, clock, looks } = spaceOf({ free: () => free });
    await space.measure();
    expect(space.isFull(10 * MIB)).toBe(false);
    expect(space.isFull(10 * MIB + 1)).toBe(true);
    space.used(6 * MIB);
    expect(space.isFull(4 * MIB + 1)).toBe(true);
    free = 11 * MIB;
    clock.ms = 1_000;
    expect(space.isFull(4 * MIB)).toBe(false);
    expect(looks()).toBe(1);
    clock.ms = 1_001;
    space.isFull(0);
    await space.measure();
    expect(looks()).toBe(2);
    expect(space.isFull(2 * MIB)).toBe(true);
    expect(space.isFull(MIB)).toBe(false);
  });

  test('looks again after 16 MiB were written', async () => {
    const { space, looks } = spaceOf({ free: () => 100 * MIB });
    await space.measure();
    space.used(17 * MIB);
    space.isFull(0);
    await space.measure();
    expect(looks()).toBe(2);
    expect(space.isFull(90 * MIB)).toBe(false);
  });

  test('is full once a write found it so, until the next look', async () => {
    const { space, clock } = spaceOf({ free: () => 100 * MIB });
    await space.measure();
    space.foundFull();
    expect(space.isFull(0)).toBe(true);
    clock.ms = 1_001;
    space.isFull(0);
    await space.measure();
    expect(space.isFull(0)).toBe(false);
  });

  test('keeps the last figure when the disk does not tell', async () => {
    let broken = false;
    const { space } = spaceOf({
      free: () => {
        if (broken) throw diskError('EIO');
        return 100 * MIB;
      },
    });
    await space.measure();
    broken = true;
    await space.measure();
    expect(space.isFull(0)).toBe(false);
  });
});

describe('the ballast', () => {
  test('is left out without room for it, or when it cannot be written', async () => {
    const create = (): never => {
      throw diskError('ENOSPC');
    };
    const full = spaceOf({ free: () => 12 * MIB, create, ballastBytes: 4 * MIB });
    await full.space.measure();
    await full.space.setAside();
    expect(full.log.lines).toEqual([]);
    const refusing = spaceOf({ free: () => 100 * MIB, create, ballastBytes: 4 * MIB });
    await refusing.space.measure();
    await refusing.space.setAside();
    expect(refusing.log.lines.map(({ level }) => level)).toEqual(['warn']);
    expect(refusing.space.isFull(90 * MIB)).toBe(false);
  });
});
