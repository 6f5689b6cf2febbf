/** A quarantine in a test's directory, as the store and as the command line hold it. */
import { join } from 'node:path';
import { takeLock } from '../../../src/base/lock-file.ts';
import type { QuarantineEntry, RefusedEntry } from '../../../src/ingest/quarantine/entry.ts';
import { Quarantine } from '../../../src/ingest/quarantine/quarantine.ts';
import { type OpenQuarantine, openQuarantine } from '../../../src/ingest/quarantine/store-quarantine.ts';
import type { StoreEvents } from '../../../src/ingest/messages.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import type { Log } from '../../../src/base/log.ts';
import { recordingLog } from '../store/recording-log.ts';

export const BYTES_MAX = 1_048_576;

export interface QuarantineOptions {
  readonly bytesMax?: number;
  readonly nowMs?: () => number;
  readonly log?: Log;
  readonly events?: StoreEvents;
}

export function storeQuarantine(dataDir: string, options: QuarantineOptions = {}): OpenQuarantine {
  return openQuarantine({
    dataDir,
    files: realSpoolFiles,
    bytesMax: BYTES_MAX,
    takeLock,
    nowMs: Date.now,
    log: recordingLog(),
    ...options,
  });
}

export function quarantineFiles(dataDir: string, bytesMax = BYTES_MAX): Quarantine {
  const dir = join(dataDir, 'quarantine');
  return new Quarantine({ dir, files: realSpoolFiles, bytesMax, lock: () => takeLock(join(dir, 'lock'), 5_000) });
}

export function entriesIn(dataDir: string): Promise<QuarantineEntry[]> {
  return Array.fromAsync(quarantineFiles(dataDir).entries());
}

export async function refusedIn(dataDir: string): Promise<RefusedEntry[]> {
  return (await entriesIn(dataDir)).filter((entry): entry is RefusedEntry => entry.kind === 'refused');
}
