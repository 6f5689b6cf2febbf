/** The short, seeded form of every fault test, with its figures printed. `npm run test:faults` runs the long form. */
import { describe, expect, it } from 'vitest';
import { FAULTS } from './all.ts';

const seed = Number(process.env['BACKWORK_TEST_SEED'] ?? Date.now() % 1_000_000);

describe(`faults, seed ${seed}`, () => {
  for (const fault of FAULTS) {
    it(`${fault.id}: ${fault.title}`, { timeout: 120_000 }, async ({ skip }) => {
      const report = await fault.run({ size: 'ci', seed, say: () => undefined });
      // What this machine lacks is reported, never counted as passed.
      if (report.notRun !== undefined) skip(`${fault.id} not run: ${report.notRun}`);
      console.log(`${fault.id} seed ${seed} ${JSON.stringify(report.figures)}`);
      expect(report.violations).toEqual([]);
    });
  }
});
