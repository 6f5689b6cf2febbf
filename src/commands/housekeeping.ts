/** Looks after what is stored while the service runs: retention. In the supervisor, which nothing that receives waits for. */
import type { ClickHouse } from '../engine/clickhouse.ts';
import { RetentionKeeper, type RetentionState } from '../housekeeping/retention-keeper.ts';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { signalOf, TABLES } from '../tables/all-tables.ts';

export interface HousekeepingDeps {
  readonly dataDir: string;
  readonly log: Log;
  /** A connection for one look; it is closed after it. */
  readonly connect: () => Promise<ClickHouse>;
}

export interface Housekeeping {
  readonly retention: () => RetentionState;
  /** Waits for the look that runs. */
  stop(): Promise<void>;
}

/** Retention is by days, and what is due waits a quarter of an hour for a clock that may be set right. */
const LOOK_EVERY_MS = 5 * 60_000;

export function startHousekeeping(deps: HousekeepingDeps): Housekeeping {
  const { dataDir, log } = deps;
  const keeper = new RetentionKeeper({
    tables: new Map(TABLES.map(({ name }) => [name, signalOf(name)])),
    policies: () => policiesOf(dataDir),
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
    log,
  });
  let failing = false;
  const look = async (): Promise<void> => {
    try {
      const clickhouse = await deps.connect();
      try {
        await keeper.look(clickhouse);
      } finally {
        await clickhouse.close();
      }
      failing = false;
    } catch (error) {
      if (!failing) log.warn({ reason: messageOf(error) }, 'retention cannot be looked after now; it is tried again');
      failing = true;
    }
  };
  let running = look();
  const timer = setInterval(() => {
    running = running.then(look);
  }, LOOK_EVERY_MS).unref();
  return {
    retention: () => keeper.state,
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}

async function policiesOf(dataDir: string) {
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir, readOnly: true });
  try {
    return new Map((await accounts.organizations.list()).map(({ id, retentionDays }) => [id, retentionDays]));
  } finally {
    await accounts.close();
  }
}
