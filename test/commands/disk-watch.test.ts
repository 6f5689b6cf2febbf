import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DiskWatch } from '../../src/commands/disk-watch.ts';
import { fileName } from '../../src/ingest/spool/format.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-disk-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function put(path: string, bytes: number): void {
  mkdirSync(join(dir, path, '..'), { recursive: true });
  writeFileSync(join(dir, path), Buffer.alloc(bytes));
}

test('spools are summed by worker, without what is no data, and quarantines of all kinds together', async () => {
  const anHourAgoMs = Date.now() - 3_600_000;
  put(`spool/0/${fileName(7, 'segment')}`, 100);
  put(`spool/0/${fileName(7, 'batches')}`, 20);
  put(`spool/0/${fileName(7, 'footer')}`, 3);
  put(`spool/0/${fileName(8, 'segment')}`, 1_000);
  // Of the oldest sequence, whatever the order in which the directory names them.
  for (let sequence = 9; sequence < 40; sequence++) put(`spool/0/${fileName(sequence, 'segment')}`, 0);
  utimesSync(join(dir, 'spool/0', fileName(7, 'segment')), anHourAgoMs / 1_000, anHourAgoMs / 1_000);
  put('spool/0/ballast', 50_000);
  put('spool/0/spool.json', 50);
  put('spool/0/quarantine/7-1.record', 11);
  put('quarantine/org_a/1.json', 5);
  put('spool/10/spool.json', 50);
  const { spools, quarantineBytes } = await new DiskWatch(dir).figures();
  expect(spools).toEqual([
    { worker: '0', bytes: 1_123, segments: 33, oldestMs: expect.any(Number) },
    { worker: '10', bytes: 0, segments: 0, oldestMs: undefined },
  ]);
  expect(Math.abs((spools[0]?.oldestMs ?? 0) - anHourAgoMs)).toBeLessThan(2_000);
  expect(quarantineBytes).toBe(16);
});

test('a directory without anything has no figures, and one that is gone no room', async () => {
  const watch = new DiskWatch(join(dir, 'gone'));
  expect(await watch.figures()).toEqual({ spools: [], quarantineBytes: 0 });
  expect(await watch.room()).toBeUndefined();
  const room = await new DiskWatch(dir).room();
  expect(room?.freeBytes).toBeGreaterThan(0);
  expect(room?.bytesPerSecond).toBe(0);
});
