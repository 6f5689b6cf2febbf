/**
 * The short, seeded form of fault tests as tests of `npm test`, with their figures printed. `npm run test:faults` runs the long
 * form. They are in several files because those run beside each other.
 */
import { describe, expect, it } from 'vitest';
import { FAULTS } from './all.ts';

const SEED = Number(process.env['BACKWORK_TEST_SEED'] ?? Date.now() % 1_000_000);

/** Declares those whose number `belongs` says. */
export function describeShortForms(belongs: (number: number) => boolean): void {
  describe(`faults, seed ${SEED}`, () => {
    for (const fault of FAULTS.filter(({ id }) => belongs(Number(id.slice(1))))) {
      it(`${fault.id}: ${fault.title}`, { timeout: 120_000 }, async ({ skip }) => {
        const report = await fault.run({ size: 'ci', seed: SEED, say: () => undefined });
        // What this machine lacks is reported, never counted as passed.
        if (report.notRun !== undefined) skip(`${fault.id} not run: ${report.notRun}`);
        console.log(`${fault.id} seed ${SEED} ${JSON.stringify(report.figures)}`);
        expect(report.violations).toEqual([]);
      });
    }
  });
}
