/**
 * The store process: sealed segments of every spool → rows in ClickHouse, composed. It starts and stays up while the
 * engine is away; what cannot be stored yet waits in the spool.
 *
 *   locks     <dataDir>/store.lock: one store at a time, or a predecessor that is still dying would send what this one asks about
 *   reads     <dataDir>/spool/<n>/, engine.json, the weights of accounts.sqlite
 *   writes    <dataDir>/store.journal, and removes segments
 *   adopts    spools whose worker is gone (<n> ≥ workers): seals what was left in them
 *   messages  `ready` when it runs; takes `sealed` and `stop`; ends at once when the channel is lost, which is as
 *             harmless as a kill
 */
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { placementWeights } from './accounts/store/placement-weights.ts';
import { BackworkError, messageOf } from './base/errors.ts';
import { faultPointsInForce } from './base/fault-points.ts';
import { MIB, ORGANIZATION_WEIGHT } from './base/limits.ts';
import { takeLock } from './base/lock-file.ts';
import { createLog } from './base/log.ts';
import { answerWithMetrics } from './base/metrics-process.ts';
import { readEngineLogin, storeTarget } from './commands/data-directory.ts';
import { type ClickHouse, connectClickHouse } from './engine/clickhouse.ts';
import { decodeNames, OrganizationNames } from './ingest/metrics/organization-names.ts';
import { StoreMetrics } from './ingest/metrics/store-metrics.ts';
import { openQuarantine } from './ingest/quarantine/store-quarantine.ts';
import { requireKnownJournal } from './ingest/store/journal.ts';
import { ENGINE_RETRY, retryDelayMs } from './ingest/store/retry-delay.ts';
import type { Store } from './ingest/store/store-deps.ts';
import { startStore } from './ingest/store/store-loop.ts';
import { tableSync } from './ingest/store/sync-tables.ts';
import { readIdentity } from './ingest/spool/identity.ts';
import { listSealed, listUnsealed, readBatch, readFooter, readRecords, removeSegment } from './ingest/spool/reader.ts';
import { realSpoolFiles } from './ingest/spool/spool-files.ts';
import type { ChildMessage, SupervisorMessage } from './process-messages.ts';
import { loadSettings } from './settings/load-settings.ts';

/** A predecessor ends within 1 s of losing its supervisor. */
const LOCK_WAIT_MS = 5_000;
const ADOPT_AGAIN_MS = 5_000;
/** Expiry is by days. */
const EXPIRE_EVERY_MS = 3_600_000;
/** How often the supervisor hears that this process lives, and whether it reaches the telemetry store. */
const STORING_INTERVAL_MS = 1_000;

const settings = loadSettings(process.env);
const faults = faultPointsInForce();
const log = createLog('store', settings.logLevel);
const dataDir = resolve(settings.dataDir);
const spoolRoot = join(dataDir, 'spool');
const metrics = new StoreMetrics(new OrganizationNames(decodeNames(process.env['BACKWORK_ORGANIZATION_NAMES'])));
const quarantine = openQuarantine({
  dataDir,
  files: realSpoolFiles,
  bytesMax: settings.quarantineMib * MIB,
  takeLock,
  nowMs: Date.now,
  log,
  events: metrics,
});
let store: Store | undefined;

// A signal to the process group reaches the supervisor too, which says `stop` when it is this process's turn.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(1));
process.on('message', (message: SupervisorMessage) => {
  if (message.type === 'sealed') store?.sealed(resolve(message.spoolDir), message.sequence);
  else if (message.type === 'stop') void stop();
});
answerWithMetrics({ process: 'store' }, (sheet) => {
  metrics.collect(sheet);
  const { segments, setAside } = store?.backlog() ?? { segments: 0, setAside: 0 };
  sheet.add('backwork_store_segments_waiting', segments);
  sheet.add('backwork_store_segments_set_aside', setAside);
});
setInterval(() => send({ type: 'storing', reason: metrics.unreachable ?? '' }), STORING_INTERVAL_MS).unref();

try {
  await run();
} catch (error) {
  log.error({ error }, 'the store process cannot start');
  if (error instanceof BackworkError && !error.retryable) send({ type: 'fatal', message: error.message });
  // The message has to reach the supervisor before the process ends.
  setTimeout(() => process.exit(1), 50);
}

async function run(): Promise<void> {
  await takeLock(join(dataDir, 'store.lock'), LOCK_WAIT_MS);
  const journalPath = join(dataDir, 'store.journal');
  // Before ready, so that the start is refused: what would be accepted now could never be stored.
  await requireKnownJournal(journalPath, realSpoolFiles);
  send({ type: 'ready' });
  const clickhouse = await connect();
  const embedded = await isEmbedded(clickhouse);
  store = await startStore({
    clickhouse,
    embedded,
    identicalOnce: settings.identicalOnce,
    weightOf: placementWeights({
      dataDir,
      defaultWeight: ORGANIZATION_WEIGHT,
      nowMs: () => performance.now(),
      onUnreadable: (error) =>
        log.warn({ error }, 'the weights of organizations cannot be read: they stay as they were'),
    }),
    spoolDirs: async () => (await spoolNumbers()).map((number) => join(spoolRoot, number)),
    files: realSpoolFiles,
    readers: {
      listSealed,
      listUnsealed,
      readFooter,
      readRecords: quarantine.reading(readRecords),
      readBatch,
      removeSegment,
      readIdentity,
    },
    // Rarely needed, and the converter is the larger part of the program: loaded when it is.
    reencode: async (...given) => (await import('./ingest/convert/reconvert.ts')).reencodeBatch(...given),
    quarantine: quarantine.store,
    journalPath,
    nowMs: Date.now,
    log,
    syncTables: tableSync({ clickhouse }),
    events: metrics,
    faults,
    onFatal: (error) => {
      log.error({ error }, 'the store cannot go on: this process ends');
      process.exit(1);
    },
  });
  void adoptOrphans();
  await expireQuarantine();
  setInterval(expireQuarantine, EXPIRE_EVERY_MS).unref();
}

async function expireQuarantine(): Promise<void> {
  try {
    await quarantine.expire();
  } catch (error) {
    log.error({ error }, 'a sync of the quarantine failed: this process ends');
    process.exit(1);
  }
}

/** The engine's login is made by the supervisor at its first start, before this process; waited for all the same. */
async function connect(): Promise<ClickHouse> {
  for (let attempt = 1; ; attempt++) {
    const login = settings.clickhouseUrl === '' ? readEngineLogin(dataDir) : undefined;
    if (settings.clickhouseUrl !== '' || login !== undefined) {
      return connectClickHouse(storeTarget(settings, login, settings.enginePort));
    }
    await sleep(retryDelayMs(attempt, Math.random(), ENGINE_RETRY));
  }
}

/** By a URL too it may be the door that answers; nothing can be stored before it is known. */
async function isEmbedded(clickhouse: ClickHouse): Promise<boolean> {
  if (settings.clickhouseUrl === '') return true;
  for (let attempt = 1; ; attempt++) {
    try {
      return await clickhouse.isDoor();
    } catch (error) {
      if (attempt === 1)
        log.warn({ reason: messageOf(error) }, 'the telemetry store cannot be reached; the spool takes what comes');
      await sleep(retryDelayMs(attempt, Math.random(), ENGINE_RETRY));
    }
  }
}

async function spoolNumbers(): Promise<string[]> {
  try {
    return (await readdir(spoolRoot))
      .filter((name) => /^\d+$/.test(name))
      .sort((one, other) => Number(one) - Number(other));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Seals what workers of a former, larger number left. Whoever holds a lock still is dying: asked again until it is done. */
async function adoptOrphans(): Promise<void> {
  const orphans = new Set((await spoolNumbers()).filter((number) => Number(number) >= settings.workers));
  while (orphans.size > 0) {
    for (const number of orphans) if (await adopt(join(spoolRoot, number))) orphans.delete(number);
    if (orphans.size > 0) await sleep(ADOPT_AGAIN_MS);
  }
}

/** True when nothing is left to do there. */
async function adopt(dir: string): Promise<boolean> {
  try {
    const lock = await takeLock(join(dir, 'spool.lock'), 0);
    try {
      const [{ recoverSpool }, { encodeRecords }, { CONVERTER_VERSION }] = await Promise.all([
        import('./ingest/spool/recover-spool.ts'),
        import('./ingest/convert/reconvert.ts'),
        import('./ingest/convert/convert.ts'),
      ]);
      await recoverSpool({
        dir,
        files: realSpoolFiles,
        log,
        encodeRecords,
        converterVersion: CONVERTER_VERSION,
        nowMs: Date.now,
        onSealed: (sequence) => store?.sealed(dir, sequence),
        keepPiece: quarantine.keepPiece,
        faults,
      });
    } finally {
      lock.release();
    }
    return true;
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'locked') return false;
    log.error({ dir, error }, 'cannot adopt the spool of a former worker');
    // A failed sync ends the process (R9); what an operator must mend is not mended by asking again.
    if (error instanceof BackworkError && error.code === 'spool-failed') process.exit(1);
    return true;
  }
}

async function stop(): Promise<void> {
  try {
    await store?.stop();
    process.exit(0);
  } catch (error) {
    log.error({ error }, 'the store did not stop in order');
    process.exit(1);
  }
}

function send(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
