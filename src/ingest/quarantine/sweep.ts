/**
 * What the store does with the quarantine when it starts and once an hour: ends what a crash left half done, and lets go
 * what has expired. Retention holds here as everywhere: a row whose day is over is not kept, and not put back.
 */
import { isSyncFailure } from '../spool/spool-files.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { StoreEvents } from '../messages.ts';
import type { MissingRows, RefusedEntry } from './entry.ts';
import type { Quarantine } from './quarantine.ts';

const MS_PER_DAY = 86_400_000;

export interface SweepDeps {
  readonly quarantine: Pick<Quarantine, 'entries' | 'decide' | 'withdraw'>;
  readonly log: Log;
  readonly nowMs: () => number;
  readonly events?: (Pick<StoreEvents, 'quarantined'> & Partial<Pick<StoreEvents, 'expired'>>) | undefined;
}

/** Whether the journal says that this batch went to quarantine. */
export type IsQuarantined = (
  segment: { readonly spoolId: string; readonly sequence: number },
  batchId: string,
) => boolean;

/**
 * Before the store sends anything: what the journal has is decided, and what it does not have is withdrawn, because the
 * store sends that again. Throws only the failure of a sync; anything else is logged and waits for the next start.
 */
export async function settleUndecided(deps: SweepDeps, isQuarantined: IsQuarantined): Promise<void> {
  await eachRefused(deps, async (entry) => {
    for (const { batchId, decided } of entry.missing) {
      if (decided) continue;
      if (isQuarantined(entry, batchId)) await deps.quarantine.decide(entry, batchId);
      else await deps.quarantine.withdraw(entry.orgId, entry.id, new Set([batchId]));
    }
  });
}

/** Lets go the rows whose day has come. Throws as settleUndecided. */
export async function expireQuarantine(deps: SweepDeps): Promise<void> {
  const today = Math.floor(deps.nowMs() / MS_PER_DAY);
  await eachRefused(deps, async (entry) => {
    const over = entry.missing.filter((rows) => rows.decided && rows.partition.expiresOnDay <= today);
    if (over.length === 0) return;
    await deps.quarantine.withdraw(entry.orgId, entry.id, new Set(over.map(({ batchId }) => batchId)));
    tell(deps, entry, over);
  });
}

function tell(deps: SweepDeps, entry: RefusedEntry, over: readonly MissingRows[]): void {
  for (const { table, rowCount } of over) {
    deps.events?.expired?.({ table, rows: rowCount });
    deps.log.warn({ id: entry.id, orgId: entry.orgId, table, rows: rowCount }, 'rows expired in quarantine');
  }
}

async function eachRefused(deps: SweepDeps, work: (entry: RefusedEntry) => Promise<void>): Promise<void> {
  const unreadable = (reason: string) => deps.log.error({ reason }, 'an entry of the quarantine cannot be read');
  try {
    for await (const entry of deps.quarantine.entries(undefined, unreadable)) {
      if (entry.kind === 'refused') await work(entry);
    }
  } catch (error) {
    if (isSyncFailure(error)) throw error;
    deps.log.error({ reason: messageOf(error) }, 'cannot look through the quarantine');
  }
}
