/** What the store room is given: other rooms as functions, the clock and the engine as narrow interfaces. */
import type { FaultPoints } from '../../base/fault-points.ts';
import type { Log } from '../../base/log.ts';
import type { ClickHouse } from '../../engine/clickhouse.ts';
import type { FooterBatch, SegmentFooter, SpoolRecord, StoreEvents } from '../messages.ts';
import type { StoreQuarantine } from '../quarantine/store-quarantine.ts';
import type { SpoolFiles } from '../spool/spool-files.ts';

/** The reading half of the spool room (spool/reader.ts, spool/identity.ts). */
export interface SpoolReaders {
  /** Which spool the directory is; its segments carry the same id. */
  readonly readIdentity: (
    files: SpoolFiles,
    dir: string,
  ) => Promise<{ readonly spoolId: string } | 'missing' | 'damaged'>;
  /** Sequences whose footer is in place, ascending. */
  readonly listSealed: (files: SpoolFiles, dir: string) => Promise<number[]>;
  /** Sequences that have records and no footer yet. Missing: there may always be some, so keys of requests stay longer. */
  readonly listUnsealed?: (files: SpoolFiles, dir: string) => Promise<number[]>;
  /** Throws BackworkError `corrupt` or `newer-format`. */
  readonly readFooter: (files: SpoolFiles, dir: string, sequence: number) => Promise<SegmentFooter>;
  readonly readRecords: (
    files: SpoolFiles,
    dir: string,
    sequence: number,
    range?: { first: number; last: number },
  ) => AsyncIterable<{ index: number; record: SpoolRecord }>;
  /** Undefined: the batch file is missing or damaged there, so the batch is converted again. */
  readonly readBatch: (
    files: SpoolFiles,
    dir: string,
    sequence: number,
    batch: FooterBatch,
  ) => Promise<Buffer | undefined>;
  readonly removeSegment: (files: SpoolFiles, dir: string, sequence: number) => Promise<void>;
}

export interface StoreDeps {
  readonly clickhouse: ClickHouse;
  /** Directories of all spools, whose segments are stored; asked again each second. */
  readonly spoolDirs: () => Promise<string[]>;
  readonly files: SpoolFiles;
  readonly readers: SpoolReaders;
  /** Converts one batch again from its records, without those of the requests (indexes) in `without`. */
  readonly reencode: (
    records: AsyncIterable<{ index: number; record: SpoolRecord }>,
    batch: FooterBatch,
    without: ReadonlySet<number>,
  ) => Promise<{ bytes: Uint8Array; rowCount: number }>;
  /** Where requests go that ClickHouse refuses for good. Undefined: they stay in the spool. */
  readonly quarantine?: StoreQuarantine;
  readonly journalPath: string;
  /** The engine is ours, on this disk: smaller INSERTs, and no second look for doubles. */
  readonly embedded: boolean;
  /** Wall clock: what has expired. */
  readonly nowMs: () => number;
  readonly log: Log;
  /** Makes the directories of these tables durable; only then are segments removed. */
  readonly syncTables: (tables: readonly string[]) => Promise<void>;
  /** A sync failed or an invariant broke: the process must end (R9). */
  readonly onFatal: (error: unknown) => void;
  /** Monotonic clock of all timers. */
  readonly monotonicMs?: () => number;
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
  /** A request with the same body is stored once in ten minutes, even when the earlier one's answer was sent (R4). */
  readonly identicalOnce?: boolean;
  /** A placement's part of the INSERTs when several have something to send; 1 each without it. Asked before every plan. */
  readonly weightOf?: (placement: string) => number;
  /** Segments whose footers are in memory at once. */
  readonly segmentsLoadedMax?: number;
  readonly faults?: FaultPoints;
  readonly events?: StoreEvents;
}

export interface Store {
  /** This segment is sealed: look at it now instead of at the next round. */
  sealed(spoolDir: string, sequence: number): void;
  /** Sends nothing more, waits up to 10 s for the INSERTs that run, closes the journal. What is not finished is asked about at the next start. */
  stop(): Promise<void>;
  /** Resolves when every segment that is sealed now is removed or set aside. */
  idle(): Promise<void>;
  /** Segments that are known and not removed yet, and how many of them are set aside. */
  backlog(): { readonly segments: number; readonly setAside: number };
}
