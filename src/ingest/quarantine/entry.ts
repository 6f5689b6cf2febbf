/**
 * The quarantine: requests that were acknowledged and are not in ClickHouse, kept until an operator decides.
 *
 * Promise: nothing that was acknowledged leaves the spool unless it is stored, expired, or durable here, with the reason
 * and the (table, BatchId) it is missing from; and what is put back is put back once.
 *
 *   <dataDir>/quarantine/lock                  held for each change of a file below, some ms
 *   <dataDir>/quarantine/replay.lock           held by the one `replay` that runs
 *   <dataDir>/quarantine/<orgId>/<id>.json     an entry: this file. Replaced as a whole; its name is the sign that it is there
 *   <dataDir>/quarantine/<orgId>/<id>.record   refused: one record as in a spool (spool/format.ts), under QUARANTINE_MARK
 *   <dataDir>/quarantine/<orgId>/<id>.piece    damaged: the bytes as they stood
 *   <dataDir>/quarantine/unknown/…             of bytes that do not say whose they are
 *   <dataDir>/spool/<n>/quarantine/…           whole segments whose BatchIds are lost or that belong elsewhere (recovery
 *                                              moves them by a rename: a full disk does not keep it from that)
 *
 * How a record comes here (reference R11). An INSERT that ClickHouse refuses for good is sent again in halves, down to a
 * batch that is refused alone; the table is asked whether it holds it all the same. A batch of several requests becomes
 * two parts by requests, each a batch with a BatchId of its own; the journal says so (`split`) before a part is sent, and
 * a segment that is loaded again has its parts, never the batch they came from. A batch of one request, or of a row
 * range of one, goes here, in this order:
 *
 *   1 the entry is durable, this batch in it as undecided    crash: the batch is sent again; what is stored then, or
 *                                                            was never noted, is withdrawn when the store starts
 *   2 `quarantined` is in the journal, synced                from here on the store never sends this batch again
 *   3 the entry says decided                                 crash: said when the segment is loaded again
 *   4 the batch counts as done; its segment may go
 *
 * Only what is decided can be replayed or dropped: so never do a replay and the store send the same BatchId both.
 *
 * Bound: `bytesMax` for each organization, files counted in blocks of 4 KiB. A refused record beyond it stays in its
 * segment, which is set aside and tried again every few minutes: nothing is lost, and the log says why. A damaged piece
 * beyond it is not copied: its request is lost with or without the copy; it is logged and counted either way.
 *
 * Who touches the files: the store adds and decides, ingest processes add damaged pieces when they recover, the command
 * line replays and drops; each change is made under `lock`, so all of it works beside a running service.
 *
 * Replay (replay.ts): converts the record again for this table, partition and row range, waits until no earlier replay
 * of this BatchId runs, asks the table (R7), inserts under the recorded BatchId, syncs the table's directory, and only then takes
 * the batch out of the entry. A kill anywhere leaves the entry, and the next replay asks again.
 */
import { crc32 } from 'node:zlib';
import { BackworkError } from '../../base/errors.ts';
import type { Partition, Signal } from '../messages.ts';

export const ENTRY_FORMAT = 1;
/** The mark of records here; in a spool each segment has a random one. */
export const QUARANTINE_MARK: Buffer = Buffer.from('bwquarantinemark', 'latin1');
/** Directory of what names no organization. */
export const UNKNOWN_ORG = 'unknown';

/** Rows of a record that a table does not hold. */
export interface MissingRows {
  readonly table: string;
  readonly partition: Partition;
  readonly batchId: string;
  /** As in EncodedBatch: a row range only where one request is larger than a batch. */
  readonly rowFrom: number;
  readonly rowCount: number;
  /** What ClickHouse said, without anything of the rows. */
  readonly reason: string;
  /** When it came here. */
  readonly atMs: number;
  /** The journal says that the store never sends it again. */
  readonly decided: boolean;
}

interface EntryFields {
  /** File name without its ending; unique in a data directory. */
  readonly id: string;
  /** '' when the bytes do not say. */
  readonly orgId: string;
  readonly spoolId: string;
  readonly sequence: number;
  /** Bytes of the file beside it. */
  readonly bytes: number;
}

export interface RefusedEntry extends EntryFields {
  readonly kind: 'refused';
  /** Index of the request in its segment. */
  readonly request: number;
  readonly signal: Signal;
  readonly receivedAtMs: number;
  /** Never empty. */
  readonly missing: readonly MissingRows[];
}

export interface DamagedEntry extends EntryFields {
  readonly kind: 'damaged';
  /** Where the bytes stood in the segment. */
  readonly offset: number;
  readonly reason: string;
  readonly atMs: number;
}

export type QuarantineEntry = RefusedEntry | DamagedEntry;

const SPOOL_ID_DIGITS = 12;
const CRC_PART = /^(\{.*),"crc":"([0-9a-f]{8})"\}\n$/s;

/** Id of a refused request: the same request of the same segment always has the same. */
export function refusedId(spoolId: string, sequence: number, request: number): string {
  return `${spoolId.slice(0, SPOOL_ID_DIGITS)}-${sequence}-${request}`;
}

/** Id of damaged bytes of a segment. */
export function damagedId(spoolId: string, sequence: number, offset: number): string {
  return `${spoolId.slice(0, SPOOL_ID_DIGITS)}-${sequence}-at${offset}`;
}

/** The directory of an organization; whatever could not be a directory's name is of nobody. */
export function orgDirectory(orgId: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(orgId) ? orgId : UNKNOWN_ORG;
}

export function encodeEntry(entry: QuarantineEntry, format: number = ENTRY_FORMAT): Buffer {
  const fields = JSON.stringify({ format, ...entry }).slice(0, -1);
  return Buffer.from(`${fields},"crc":"${hex32(crc32(fields))}"}\n`);
}

/** Throws 'corrupt', and 'newer-format' when a later program wrote it. */
export function decodeEntry(bytes: Buffer, path: string): QuarantineEntry {
  const match = CRC_PART.exec(bytes.toString('utf8'));
  if (match === null || hex32(crc32(match[1] as string)) !== match[2])
    throw new BackworkError('corrupt', `${path} is damaged`);
  const { format, ...entry } = JSON.parse(`${match[1]}}`) as QuarantineEntry & { readonly format: number };
  if (format > ENTRY_FORMAT)
    throw new BackworkError('newer-format', `${path} has format ${format}; this program knows up to ${ENTRY_FORMAT}`);
  return entry;
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
