/** Which kills a run makes, in which order; pure, so that a seed repeats it. */
import { FAULT_POINTS, type FaultPoint } from '../../../src/base/fault-points.ts';
import type { Random } from '../../corpus/seeded-random.ts';
import type { Role } from './fault-agent.ts';

/** `group`: every process of the service at once. `supervisor`: it alone; its children end when they lose it. */
export const KILL_KINDS = ['group', 'supervisor', 'ingest', 'store', 'engine'] as const;
export type KillKind = (typeof KILL_KINDS)[number];

/**
 * At a fault point, or at any time. `whole`: all processes die there, not only the one that came to it. `workersFirst`: the
 * store is started again only after the workers, which are killed too, have recovered their spools.
 */
export type KillStep =
  | {
      readonly point: FaultPoint;
      readonly nth: number;
      readonly whole: boolean;
      readonly powerCut: boolean;
      readonly workersFirst?: boolean;
    }
  | { readonly kind: KillKind; readonly chance: number };

const FIRST_OF_STORE: FaultPoint = 'insert-sent';

/** Whose code has the point. */
export function roleOf(point: FaultPoint): Role {
  return FAULT_POINTS.indexOf(point) < FAULT_POINTS.indexOf(FIRST_OF_STORE) ? 'ingest' : 'store';
}

/**
 * Each point `hitsEach` times and each kind at random times `timesEach` times, shuffled. `wholeShare` of those at points kill
 * all processes, not only the one that is there.
 */
export function killPlan(
  random: Random,
  { hitsEach, timesEach, wholeShare }: { hitsEach: number; timesEach: number; wholeShare: number },
): KillStep[] {
  const steps: KillStep[] = [];
  for (const point of FAULT_POINTS) {
    for (let i = 0; i < hitsEach; i++) {
      // A question is asked of each lane only once after a start; other points come again and again.
      const nth = point === 'question-answered' ? random.int(1, 2) : random.int(1, 3);
      const powerCut = (point === 'record-written' || point === 'record-synced') && random.chance(0.5);
      steps.push({ point, nth, whole: random.chance(wholeShare), powerCut });
    }
  }
  for (const kind of KILL_KINDS) {
    for (let i = 0; i < timesEach; i++) steps.push({ kind, chance: random.next() });
  }
  for (let i = steps.length - 1; i > 0; i--) {
    const other = random.int(0, i);
    [steps[i], steps[other]] = [steps[other] as KillStep, steps[i] as KillStep];
  }
  return steps;
}
