/**
 * Makes it durable that a table's parts are in its directory. ClickHouse syncs a part's files and the part's own
 * directory (table settings), but renames the part into the table's directory without syncing that one.
 */
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf } from '../../base/errors.ts';
import type { ClickHouse } from '../../engine/clickhouse.ts';

/** With a server, whose disk we cannot sync, the kernel there has written back what is older than this. */
const SERVER_WAIT_MS = 30_000;

export interface TableSyncDeps {
  readonly clickhouse: Pick<ClickHouse, 'query' | 'isDoor'>;
  /** `fsync` of a directory. */
  readonly syncDirectory?: (path: string) => Promise<void>;
  readonly serverWaitMs?: number;
}

/**
 * The function that the store calls before it removes segments. It throws what the engine throws; a failed sync is
 * `spool-failed`: the process must end (R9).
 */
export function tableSync(deps: TableSyncDeps): (tables: readonly string[]) => Promise<void> {
  const syncDirectory = deps.syncDirectory ?? syncRealDirectory;
  const knownPaths = new Set<string>();
  return async (tables) => {
    // The door is always on this machine, whatever stands between.
    if (!(await deps.clickhouse.isDoor())) {
      await sleep(deps.serverWaitMs ?? SERVER_WAIT_MS);
      return;
    }
    for (const path of await dataPaths(deps.clickhouse, tables)) {
      await syncDirectory(path);
      if (knownPaths.has(path)) continue;
      // Made by CREATE TABLE, perhaps a moment ago: its own name must be durable too, and that of its parent.
      await syncDirectory(dirname(path));
      await syncDirectory(dirname(dirname(path)));
      knownPaths.add(path);
    }
  };
}

async function dataPaths(clickhouse: Pick<ClickHouse, 'query'>, tables: readonly string[]): Promise<string[]> {
  const rows = await clickhouse.query<{ path: string }>(
    'SELECT arrayJoin(data_paths) AS path FROM system.tables WHERE database = currentDatabase() AND name IN {tables:Array(String)}',
    { tables },
  );
  // ClickHouse ends directories with a slash.
  return rows.map(({ path }) => path.replace(/\/+$/, ''));
}

async function syncRealDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    throw new BackworkError('spool-failed', `sync of the directory ${path} failed: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    await handle.close();
  }
}
