/**
 * One record: encode it, and say of bytes whether they are one: a head that verifies, torn (the file ends inside it) or
 * corrupt. Pure; layout in format.ts. The body's CRC is checked apart from the head, because a reader that looks for
 * one request passes over the bodies of the others.
 */
import { crc32 } from 'node:zlib';
import type { RecordHeader } from '../messages.ts';
import type { StoredBody } from './body.ts';
import {
  CODECS,
  MARK_BYTES,
  readU64,
  RECORD_BODY_BYTES_MAX,
  RECORD_FIXED_BYTES,
  RECORD_HEADER_BYTES_MAX,
  RECORD_HEADER_BYTES_MIN,
  SEGMENT_RECORDS_MAX,
  SIGNALS_ON_DISK,
  writeU64,
} from './format.ts';

/** A body up to this size is copied behind its header: one buffer a record keeps a group's write in fewer calls. */
const COPIED_BODY_BYTES_MAX = 4_096;
const FLAG_OWN_BATCHES = 1;

/**
 * The record's bytes, as one buffer or as header and body; the body is `body.bytes` itself when it is large, which must
 * not change until it is written. Throws RangeError when a field does not fit the format.
 */
export function encodeRecord(mark: Buffer, index: number, header: RecordHeader, body: StoredBody): Buffer[] {
  const orgBytes = Buffer.byteLength(header.orgId);
  const tokenBytes = Buffer.byteLength(header.tokenId);
  const placementBytes = Buffer.byteLength(header.placement);
  const headBytes = RECORD_HEADER_BYTES_MIN + orgBytes + tokenBytes + placementBytes;
  checkSizes(headBytes, index, header, body);
  const copied = body.bytes.length <= COPIED_BODY_BYTES_MAX;
  const bytes = Buffer.allocUnsafe(copied ? headBytes + body.bytes.length : headBytes);
  mark.copy(bytes, 0, 0, MARK_BYTES);
  bytes.writeUInt32LE(headBytes, 16);
  bytes.writeUInt32LE(index, 20);
  bytes.writeUInt32LE(body.bytes.length, 24);
  bytes.writeUInt32LE(body.crc, 28);
  bytes.writeUInt32LE(body.rawBytes, 32);
  bytes[36] = CODECS.indexOf(body.codec);
  bytes[37] = SIGNALS_ON_DISK.indexOf(header.signal);
  bytes[38] = header.ownBatches ? FLAG_OWN_BATCHES : 0;
  bytes[39] = 0;
  writeU64(bytes, header.receivedAtMs, 40);
  bytes.writeUInt32LE(header.retentionDays, 48);
  bytes.writeUInt32LE(header.expiresOnDay, 52);
  bytes.writeUInt32LE(header.itemsAccepted, 56);
  bytes.writeUInt32LE(header.itemsRejected, 60);
  writeU64(bytes, header.bytesReceived, 64);
  bytes.set(header.fingerprint, 72);
  bytes.writeUInt16LE(orgBytes, 88);
  bytes.writeUInt16LE(tokenBytes, 90);
  bytes.writeUInt16LE(placementBytes, 92);
  bytes.writeUInt16LE(0, 94);
  bytes.write(header.orgId, RECORD_FIXED_BYTES);
  bytes.write(header.tokenId, RECORD_FIXED_BYTES + orgBytes);
  bytes.write(header.placement, RECORD_FIXED_BYTES + orgBytes + tokenBytes);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, headBytes - 4)), headBytes - 4);
  if (!copied) return [bytes, body.bytes];
  body.bytes.copy(bytes, headBytes);
  return [bytes];
}

/** A record's header that verified, and where its body is, relative to the record's offset. */
export interface RecordHead {
  readonly index: number;
  readonly header: RecordHeader;
  readonly codec: (typeof CODECS)[number];
  /** Offset of the body. */
  readonly headBytes: number;
  /** Stored length of the body. */
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  readonly rawBytes: number;
}

export type HeadState =
  | { readonly kind: 'head'; readonly head: RecordHead }
  /** The file ends inside this record; `verified`: its header is whole and only its body is cut. */
  | { readonly kind: 'torn'; readonly verified: boolean }
  | { readonly kind: 'corrupt'; readonly reason: string };

/**
 * Judges the record that begins at bytes[at]. `left`: bytes from there to the end of the file, of which `bytes` must
 * hold the first min(left, RECORD_HEADER_BYTES_MAX).
 */
export function readHead(bytes: Buffer, at: number, left: number, mark: Buffer): HeadState {
  const markBytes = Math.min(left, MARK_BYTES);
  if (bytes.compare(mark, 0, markBytes, at, at + markBytes) !== 0) return corrupt('not the mark of the segment');
  if (left < RECORD_FIXED_BYTES) return { kind: 'torn', verified: false };
  const headBytes = bytes.readUInt32LE(at + 16);
  const orgBytes = bytes.readUInt16LE(at + 88);
  const tokenBytes = bytes.readUInt16LE(at + 90);
  const textBytes = orgBytes + tokenBytes + bytes.readUInt16LE(at + 92);
  if (headBytes !== RECORD_HEADER_BYTES_MIN + textBytes || headBytes > RECORD_HEADER_BYTES_MAX)
    return corrupt(`header length ${headBytes}`);
  if (headBytes > left) return { kind: 'torn', verified: false };
  const record = bytes.subarray(at, at + headBytes);
  if (crc32(record.subarray(0, headBytes - 4)) !== record.readUInt32LE(headBytes - 4)) return corrupt('header CRC');
  const head = decodeHead(record, headBytes, orgBytes, tokenBytes);
  if (head === undefined) return corrupt('header field outside its range');
  if (head.bodyBytes > left - headBytes) return { kind: 'torn', verified: true };
  return { kind: 'head', head };
}

function decodeHead(record: Buffer, headBytes: number, orgBytes: number, tokenBytes: number): RecordHead | undefined {
  const codec = CODECS[record[36] as number];
  const signal = SIGNALS_ON_DISK[record[37] as number];
  const index = record.readUInt32LE(20);
  const bodyBytes = record.readUInt32LE(24);
  const rawBytes = record.readUInt32LE(32);
  if (codec === undefined || signal === undefined || index >= SEGMENT_RECORDS_MAX) return undefined;
  if (bodyBytes > RECORD_BODY_BYTES_MAX || rawBytes > RECORD_BODY_BYTES_MAX) return undefined;
  if (codec === 'none' && bodyBytes !== rawBytes) return undefined;
  const tokenAt = RECORD_FIXED_BYTES + orgBytes;
  const placementAt = tokenAt + tokenBytes;
  const header: RecordHeader = {
    orgId: record.toString('utf8', RECORD_FIXED_BYTES, tokenAt),
    tokenId: record.toString('utf8', tokenAt, placementAt),
    placement: record.toString('utf8', placementAt, headBytes - 4),
    signal,
    receivedAtMs: readU64(record, 40),
    retentionDays: record.readUInt32LE(48),
    expiresOnDay: record.readUInt32LE(52),
    itemsAccepted: record.readUInt32LE(56),
    itemsRejected: record.readUInt32LE(60),
    bytesReceived: readU64(record, 64),
    fingerprint: Buffer.from(record.subarray(72, 88)),
    ownBatches: ((record[38] as number) & FLAG_OWN_BATCHES) !== 0,
  };
  return { index, header, codec, headBytes, bodyBytes, bodyCrc: record.readUInt32LE(28), rawBytes };
}

function checkSizes(headBytes: number, index: number, header: RecordHeader, body: StoredBody): void {
  if (headBytes > RECORD_HEADER_BYTES_MAX)
    throw new RangeError(`record header of ${headBytes} bytes, at most ${RECORD_HEADER_BYTES_MAX}`);
  if (index >= SEGMENT_RECORDS_MAX)
    throw new RangeError(`record ${index} of a segment, at most ${SEGMENT_RECORDS_MAX}`);
  if (header.fingerprint.length !== 16)
    throw new RangeError(`fingerprint of ${header.fingerprint.length} bytes, not 16`);
  if (Math.max(body.bytes.length, body.rawBytes) > RECORD_BODY_BYTES_MAX)
    throw new RangeError(`body of ${body.rawBytes} bytes, at most ${RECORD_BODY_BYTES_MAX}`);
}

function corrupt(reason: string): HeadState {
  return { kind: 'corrupt', reason };
}
