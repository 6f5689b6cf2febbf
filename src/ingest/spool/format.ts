/**
 * THE on-disk layout of a spool. It is written here and only there where this file says so.
 *
 * Promise: what was synced is found again, whole; what was not is found whole or not at all; nothing that stands inside
 * a request's body is ever taken for a record. Everything is little-endian; CRC-32 is IEEE (zlib.crc32), checked before
 * a field is believed; a length is checked against its bound and the file's end before anything is allocated.
 *
 *   <dir>/spool.lock                   held by the one process that writes here (or adopts what was left here)
 *   <dir>/spool.json                   identity.ts: spool id, sequence numbers used up; {…,"crc":"<CRC-32 of the rest>"}
 *   <dir>/<sequence, 16 digits>.segment     records; grows until it is sealed, never changes after
 *                              .batches     Native blocks one after another; an unsynced cache, CRCs are in the footer
 *                              .footer      its name is the sign that the segment is sealed: written and synced as
 *                              .footer.tmp  and renamed; one found at a start was cut short and is done anew
 *   <dir>/ballast                      zeros: room for footers on a full disk
 *   <dir>/quarantine/                  what could not be read or does not belong here
 *
 * Segment = header, then records with nothing between them.
 *   header, 512 B (a sector), kept twice:  0  8 magic "bwsegmnt"
 *                                          8  2 format version      10  2 zero
 *                                         12 16 spool id            28  8 sequence number
 *                                         36 16 mark: random, of this segment alone; repeated by each record
 *                                         52  4 CRC-32 of 0..51     56    zeros
 *   record, from its offset:               0 16 mark
 *                                         16  4 header length H = 100 + lengths of the three texts
 *                                         20  4 index of the request in the segment, from 0
 *                                         24  4 body length, stored  28  4 CRC-32 of the stored body
 *                                         32  4 body length, inflated
 *                                         36  1 codec: 0 none, 1 zstd
 *                                         37  1 signal: 0 logs, 1 metrics, 2 traces
 *                                         38  1 flags: 1 = own batches
 *                                         39  1 zero
 *                                         40  8 ReceivedAt, ms since 1970
 *                                         48  4 retention, days      52  4 ExpiresOn, days since 1970
 *                                         56  4 items accepted       60  4 items rejected
 *                                         64  8 bytes received       72 16 fingerprint
 *                                         88  2 length of organization id   90  2 of token id   92  2 of placement
 *                                         94  2 zero
 *                                         96    the three texts, UTF-8
 *                                        H-4  4 CRC-32 of 0..H-5
 *                                          H    body as stored
 * H is redundant on purpose: a header whose H and text lengths agree and that the file's end cuts is torn; any other
 * disagreement is corruption.
 *
 * Footer = two equal copies, each padded to whole pages of 4 KiB, the second at half of the file.
 *   copy:     0  8 magic "bwfooter"        8  2 format version      10  2 zero
 *            12  4 payload length         16  4 CRC-32 of 0..15 and the payload      20  payload
 *   payload:  0 16 spool id               16  8 sequence number     24  4 converter version
 *            28  4 number of texts, then each: u16 length, UTF-8
 *                u32 number of requests, then each 52 B:
 *                   0  4 organization id (text number)   4  4 token id (text number)
 *                   8  1 signal    9  1 flags: 1 = answer known to have been sent, 2 = own batches    10  2 zero
 *                  12  8 ReceivedAt   20  4 accepted   24  4 rejected   28  8 bytes received   36 16 fingerprint
 *                u32 number of batches, then each 56 B:
 *                   0  4 table (text number)   4  4 placement (text number)   8  4 retention   12  4 ExpiresOn
 *                  16  8 BatchId, low word first   24  4 first request   28  4 last request
 *                  32  4 row from   36  4 rows   40  8 offset in the batch file   48  4 length   52  4 CRC-32
 * A request whose record was corrupt at recovery keeps its place, with an empty organization id and zeros.
 *
 * Versions: magic, version and the place of the CRC never change, so that an older program knows a newer format when
 * it meets one; it then refuses the spool with 'newer-format' and changes nothing.
 */
import assert from 'node:assert';
import { crc32 } from 'node:zlib';
import { BODY_BYTES_MAX, BODY_BYTES_MAX_SETTABLE } from '../../base/limits.ts';
import type { Signal } from '../messages.ts';

/** Version 1: the first. Golden files of every version stay in test/ingest/spool/golden. */
export const FORMAT_VERSION = 1;
export const SECTOR_BYTES = 512;
export const SEGMENT_HEADER_BYTES = 2 * SECTOR_BYTES;
export const MARK_BYTES = 16;
export const RECORD_FIXED_BYTES = 96;
export const RECORD_HEADER_BYTES_MIN = RECORD_FIXED_BYTES + 4;
/** Organization, token and placement ids are below 64 bytes each; this leaves room and bounds a read. */
export const RECORD_HEADER_BYTES_MAX = 1_024;
/** One body, stored or inflated. OTLP/JSON may grow on its way to protobuf: `1,` becomes 8 bytes of a packed double. */
export const RECORD_BODY_BYTES_MAX = 4 * BODY_BYTES_MAX;
/** A segment with this many is sealed: bounds the footer (3.4 MiB a copy) and the time to write it. */
export const SEGMENT_RECORDS_MAX = 65_536;
export const FOOTER_PAGE_BYTES = 4_096;

export const CODECS = ['none', 'zstd'] as const;
/** Position = number on disk. Fixed here, whatever order SIGNALS has elsewhere. */
export const SIGNALS_ON_DISK: readonly Signal[] = ['logs', 'metrics', 'traces'];

export const LOCK_NAME = 'spool.lock';
export const BALLAST_NAME = 'ballast';
export const QUARANTINE_NAME = 'quarantine';
export const FILE_KINDS = ['segment', 'batches', 'footer', 'footer.tmp'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

const SEGMENT_MAGIC = Buffer.from('bwsegmnt', 'latin1');
const HEADER_FIELDS_BYTES = 52;
const FILE_NAME = /^(\d{16})\.(segment|batches|footer|footer\.tmp)$/;

assert(SEGMENT_HEADER_BYTES >= 2 * (HEADER_FIELDS_BYTES + 4));
assert(RECORD_BODY_BYTES_MAX < 2 ** 31, 'lengths stay in the range of small integers');
assert(RECORD_BODY_BYTES_MAX >= 2 * BODY_BYTES_MAX_SETTABLE, 'whatever may be received can be stored');

export function fileName(sequence: number, kind: FileKind): string {
  return `${String(sequence).padStart(16, '0')}.${kind}`;
}

/** What a name in a spool directory stands for; undefined when it is not a segment's file. */
export function parseFileName(name: string): { sequence: number; kind: FileKind } | undefined {
  const match = FILE_NAME.exec(name);
  return match === null ? undefined : { sequence: Number(match[1]), kind: match[2] as FileKind };
}

export interface SegmentHeader {
  /** 32 hex digits. */
  readonly spoolId: string;
  readonly sequence: number;
  /** MARK_BYTES random bytes. */
  readonly mark: Buffer;
}

/** Both copies: SEGMENT_HEADER_BYTES bytes. */
export function encodeSegmentHeader(header: SegmentHeader, version: number = FORMAT_VERSION): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes, 0);
  bytes.writeUInt16LE(version, 8);
  bytes.write(header.spoolId, 12, 16, 'hex');
  writeU64(bytes, header.sequence, 28);
  header.mark.copy(bytes, 36, 0, MARK_BYTES);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER_FIELDS_BYTES)), HEADER_FIELDS_BYTES);
  bytes.copy(bytes, SECTOR_BYTES, 0, SECTOR_BYTES);
  return bytes;
}

export type SegmentHeaderState =
  | { readonly kind: 'valid'; readonly header: SegmentHeader }
  | { readonly kind: 'newer'; readonly version: number }
  | { readonly kind: 'damaged' };

/** Reads the first copy that verifies. `bytes`: the first SEGMENT_HEADER_BYTES of the file, or all it has. */
export function readSegmentHeader(bytes: Buffer): SegmentHeaderState {
  for (const at of [0, SECTOR_BYTES]) {
    const copy = bytes.subarray(at, at + SECTOR_BYTES);
    if (copy.length < HEADER_FIELDS_BYTES + 4 || copy.compare(SEGMENT_MAGIC, 0, 8, 0, 8) !== 0) continue;
    if (crc32(copy.subarray(0, HEADER_FIELDS_BYTES)) !== copy.readUInt32LE(HEADER_FIELDS_BYTES)) continue;
    const version = copy.readUInt16LE(8);
    if (version > FORMAT_VERSION) return { kind: 'newer', version };
    const header = {
      spoolId: copy.toString('hex', 12, 28),
      sequence: readU64(copy, 28),
      mark: Buffer.from(copy.subarray(36, 36 + MARK_BYTES)),
    };
    return { kind: 'valid', header };
  }
  return { kind: 'damaged' };
}

/** A whole number below 2^53 as 8 bytes. Throws RangeError for anything else. */
export function writeU64(bytes: Buffer, value: number, at: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a whole number from 0 to 2^53-1: ${value}`);
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

export function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
}
