/** Loaded into a service by `node --import`: its records are not synced. For the durability bench, which shows what syncing costs. */
import { FAULT_POINTS_KEY, type FaultPoints } from '../src/base/fault-points.ts';

const faults: FaultPoints = { reached: () => undefined, planted: (bug) => bug === 'no-datasync' };
Object.assign(globalThis, { [FAULT_POINTS_KEY]: faults });
