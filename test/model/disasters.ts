/** What goes wrong in one simulation, and when: drawn from its seed before it begins and as it goes on. */
import { FAULT_POINTS, type FaultPoint } from '../../src/base/fault-points.ts';
import type { Random } from './random.ts';
import type { InsertFate } from './simulated-engine.ts';

export const SLOTS = ['worker 0', 'worker 1', 'store', 'engine'] as const;
export type Slot = (typeof SLOTS)[number];

export type Disaster =
  | { readonly kind: 'power cut' }
  | { readonly kind: 'kill'; readonly slots: readonly Slot[] }
  /** The next syncs of this process: one of them fails. */
  | { readonly kind: 'failing sync'; readonly slot: Slot }
  | { readonly kind: 'failing write'; readonly slot: Slot }
  | { readonly kind: 'full disk'; readonly roomBytes: number; readonly forMs: number }
  /** In order: close the spool, or stop the store. */
  | { readonly kind: 'stop'; readonly slot: Slot };

/** Fires at the n-th disk call, or the n-th write or sync of a path, or at the n-th time that a process comes to a fault point. */
export interface Trigger {
  readonly point: FaultPoint | undefined;
  readonly path: RegExp | undefined;
  left: number;
  readonly disaster: Disaster;
}

/** Where what is written matters most. */
const PATHS = [
  /\.segment$/,
  /\.segment$/,
  /\.segment$/,
  /\.segment$/,
  /\.segment$/,
  /\.footer\.tmp$/,
  /\.footer\.tmp$/,
  /\.footer(\.tmp)?$/,
  /\/store\.journal(\.tmp)?$/,
  /\/spool\.json/,
  /\/(tmp|part)-/,
];

/** The next one. */
export function drawTrigger(random: Random): Trigger {
  const disaster = drawDisaster(random);
  const where = random(6);
  if (where < 2) {
    const point = FAULT_POINTS[random(FAULT_POINTS.length)];
    return { point, path: undefined, left: random(4), disaster };
  }
  if (where < 5) {
    const struck: Disaster = random(3) > 0 ? { kind: 'power cut' } : disaster;
    return { point: undefined, path: PATHS[random(PATHS.length)], left: random(12), disaster: struck };
  }
  return { point: undefined, path: undefined, left: random(random(3) === 0 ? 30 : 250), disaster };
}

export function drawDisaster(random: Random): Disaster {
  const slot = SLOTS[random(SLOTS.length)]!;
  const draw = random(20);
  if (draw < 9) return { kind: 'power cut' };
  if (draw < 14) return { kind: 'kill', slots: [slot] };
  if (draw === 14) return { kind: 'kill', slots: SLOTS };
  if (draw === 15) return { kind: 'failing sync', slot };
  if (draw === 16) return { kind: 'failing write', slot };
  if (draw < 19) return { kind: 'full disk', roomBytes: random(6_000), forMs: 200 + random(6_000) };
  return { kind: 'stop', slot: SLOTS[random(3)]! };
}

const BAD_FATES: readonly InsertFate[] = [
  'cut-before',
  'cut-after',
  'refused',
  'refused-but-applied',
  'wrong-answer',
  'slow',
];

/** `oneIn`: so many INSERTs go well for each that does not. */
export function drawFate(random: Random, oneIn: number): InsertFate {
  return random(oneIn) === 0 ? BAD_FATES[random(BAD_FATES.length)]! : 'ordinary';
}
