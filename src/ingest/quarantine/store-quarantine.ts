/**
 * The quarantine as the store process holds it: what refuses and damaged pieces go into, settled at a start, let go
 * when it has expired. An ingest process holds the part of it that recovery needs (`openPieces`).
 */
import { join } from 'node:path';
import type { LockFile } from '../../base/lock-file.ts';
import type { Log } from '../../base/log.ts';
import type { StoreEvents } from '../messages.ts';
import type { DamagedPiece, readRecords } from '../spool/reader.ts';
import type { SpoolFiles } from '../spool/spool-files.ts';
import { DamagedPieces, readingPieces } from './pieces.ts';
import { Quarantine } from './quarantine.ts';
import { expireQuarantine, type IsQuarantined, settleUndecided } from './sweep.ts';

/** A command that changes a file holds the lock some ms. */
const LOCK_WAIT_MS = 5_000;

export interface OpenQuarantineDeps {
  readonly dataDir: string;
  readonly files: SpoolFiles;
  /** For each organization. */
  readonly bytesMax: number;
  /** base/lock-file.ts */
  readonly takeLock: (path: string, waitMs: number) => Promise<LockFile>;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly events?: (Pick<StoreEvents, 'quarantined'> & Partial<Pick<StoreEvents, 'expired'>>) | undefined;
}

/** What the store room is given (store-deps.ts). */
export interface StoreQuarantine extends Pick<Quarantine, 'keep' | 'decide'> {
  /** Once, before the store sends anything. */
  readonly settleUndecided: (isQuarantined: IsQuarantined) => Promise<void>;
}

export interface OpenQuarantine {
  readonly store: StoreQuarantine;
  readonly keepPiece: (piece: DamagedPiece) => Promise<void>;
  /** `readRecords` whose damaged bytes go to quarantine. */
  readonly reading: (read: typeof readRecords) => typeof readRecords;
  /** To be called now and then. */
  readonly expire: () => Promise<void>;
}

/** Nothing is read or written yet. */
export function openQuarantine(deps: OpenQuarantineDeps): OpenQuarantine {
  const { files, bytesMax, takeLock, nowMs, log, events } = deps;
  const dir = quarantineDirectory(deps.dataDir);
  const lock = () => takeLock(join(dir, 'lock'), LOCK_WAIT_MS);
  const quarantine = new Quarantine({ dir, files, bytesMax, lock });
  const pieces = new DamagedPieces({ quarantine, log, events });
  const sweep = { quarantine, log, nowMs, events };
  return {
    store: {
      keep: (refused, missing) => quarantine.keep(refused, missing),
      decide: (request, batchId) => quarantine.decide(request, batchId),
      settleUndecided: (isQuarantined) => settleUndecided(sweep, isQuarantined),
    },
    keepPiece: (piece) => pieces.keep(piece),
    reading: (read) => readingPieces(read, pieces, nowMs),
    expire: () => expireQuarantine(sweep),
  };
}

export function quarantineDirectory(dataDir: string): string {
  return join(dataDir, 'quarantine');
}
