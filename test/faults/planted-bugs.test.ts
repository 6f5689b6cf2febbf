/**
 * The test of the kill test: mistakes that the service makes on purpose, each of which the oracle must find. (Removing a
 * segment before its tables are synced shows in the simulated file system only: test/model.)
 */
import { describe, expect, it } from 'vitest';
import type { PlantedBug } from '../../src/base/fault-points.ts';
import { type KillReport, runKills } from './kills.ts';
import type { KillStep } from './support/kill-plan.ts';

const seed = Number(process.env['BACKWORK_TEST_SEED'] ?? Date.now() % 1_000_000);
const at = { nth: 1, whole: false, powerCut: false };

interface Case {
  readonly bug: PlantedBug;
  readonly times: number;
  readonly steps: readonly KillStep[];
  readonly found: 'lost' | 'doubled';
}

const CASES: readonly Case[] = [
  // The file is all that is left of what was not sealed.
  { bug: 'drop-record', times: -1, steps: [{ kind: 'group', chance: 0 }], found: 'lost' },
  { bug: 'answer-before-sync', times: -1, steps: [{ ...at, point: 'record-synced', powerCut: true }], found: 'lost' },
  { bug: 'double-batch', times: 1, steps: [], found: 'doubled' },
  { bug: 'skip-question', times: -1, steps: [{ ...at, point: 'insert-answered' }], found: 'doubled' },
  {
    bug: 'recompute-footer',
    times: -1,
    // The store that comes too late reads the footers that the workers wrote.
    steps: [{ ...at, point: 'insert-answered', workersFirst: true }],
    found: 'doubled',
  },
];

const run = (steps: readonly KillStep[], plant: Partial<Record<PlantedBug, number>>): Promise<KillReport> =>
  runKills({
    seed,
    steps,
    plant,
    rowsBetween: 500,
    undisturbedMs: 0,
    clients: Array.from({ length: 8 }, (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: false })),
    say: () => undefined,
  });

describe(`the oracle of the kill test, seed ${seed}`, () => {
  it.each(CASES)('finds $bug', { timeout: 120_000 }, async ({ bug, times, steps, found }) => {
    const { verdict, kills } = await run(steps, { [bug]: times });
    expect(kills).toBe(steps.length);
    expect(verdict[found], JSON.stringify(verdict)).toBeGreaterThan(0);
  });

  it('finds nothing after the same kills without a mistake', { timeout: 120_000 }, async () => {
    const { verdict, kills, hits } = await run(
      CASES.flatMap(({ steps }) => steps),
      {},
    );
    expect(kills).toBe(4);
    expect(hits).toEqual({ 'record-synced': 1, 'insert-answered': 2 });
    expect({ ...verdict, issued: 0, stored: 0, acknowledged: 0 }).toEqual({
      ...{ issued: 0, stored: 0, acknowledged: 0, lost: 0, doubled: 0, damaged: 0, neverIssued: 0 },
      examples: [],
    });
    expect(verdict.acknowledged).toBeGreaterThan(2_000);
  });
});
