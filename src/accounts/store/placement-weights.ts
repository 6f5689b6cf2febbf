/**
 * What part of the telemetry store a placement gets when several want more than there is: the weight of the organization
 * that has it to itself, or the largest weight among those that share it (as much as that one would get alone; adding up
 * the weights of organizations that may send nothing would let one of them take what is meant for all). Read again every
 * WEIGHTS_AGE_MS_MAX; while accounts cannot be read, what was read last goes on, and before that everybody's is the default:
 * weights decide who waits, never what is stored.
 */
import { accountsPath, openSqlite } from './sqlite.ts';

export interface PlacementWeightsDeps {
  readonly dataDir: string;
  /** Of organizations without a weight of their own. */
  readonly defaultWeight: number;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly onUnreadable: (error: unknown) => void;
}

const WEIGHTS_AGE_MS_MAX = 10_000;
/** This runs on the store's loop: better to keep what is known than to wait here. */
const BUSY_MS = 20;

// Placements of which nobody has a weight of its own are the default's.
const WEIGHTS = `
  SELECT placement, MAX(COALESCE(weight, ?)) AS weight FROM organizations GROUP BY placement HAVING COUNT(weight) > 0`;

/** Never throws. A look that reads takes about 1 ms, at most every 10 s; any other is one in a map. */
export function placementWeights(deps: PlacementWeightsDeps): (placement: string) => number {
  let weights = new Map<string, number>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  return (placement) => {
    const nowMs = deps.nowMs();
    if (nowMs - readAtMs >= WEIGHTS_AGE_MS_MAX) {
      readAtMs = nowMs;
      try {
        weights = readWeights(deps);
      } catch (error) {
        deps.onUnreadable(error);
      }
    }
    return weights.get(placement) ?? deps.defaultWeight;
  };
}

/** A connection for each look: whatever file stands there now is the one that is read. */
function readWeights({ dataDir, defaultWeight }: PlacementWeightsDeps): Map<string, number> {
  const database = openSqlite(accountsPath(dataDir), { readOnly: true, busyMs: BUSY_MS });
  try {
    const rows = database.prepare(WEIGHTS).all(defaultWeight) as { placement: string; weight: number }[];
    return new Map(rows.map(({ placement, weight }) => [placement, weight]));
  } finally {
    database.close();
  }
}
