/**
 * A segment's footer: what its requests were, which batches hold their rows, under which BatchIds. Decided once, written
 * twice into one file, never computed again. Layout in format.ts. Pure.
 */
import assert from 'node:assert';
import { crc32 } from 'node:zlib';
import { BackworkError } from '../../base/errors.ts';
import type { FooterBatch, FooterRequest, RecordHeader, SegmentFooter } from '../messages.ts';
import { FOOTER_PAGE_BYTES, FORMAT_VERSION, readU64, SIGNALS_ON_DISK, writeU64 } from './format.ts';

const MAGIC = Buffer.from('bwfooter', 'latin1');
const HEADER_BYTES = 20;
const REQUEST_BYTES = 52;
const BATCH_BYTES = 56;
const FLAG_ANSWER_SENT = 1;
const FLAG_OWN_BATCHES = 2;
const NO_FINGERPRINT = Buffer.alloc(16);

/** Texts of a footer, each once, in the order of their numbers. */
class Texts {
  private readonly numbers = new Map<string, number>();

  numberOf(text: string): number {
    const known = this.numbers.get(text);
    if (known !== undefined) return known;
    const number = this.numbers.size;
    this.numbers.set(text, number);
    return number;
  }

  encode(): Buffer[] {
    const parts = [u32(this.numbers.size)];
    for (const text of this.numbers.keys()) {
      const bytes = Buffer.from(text);
      assert(bytes.length < 65_536, `text of ${bytes.length} bytes in a footer`);
      parts.push(u16(bytes.length), bytes);
    }
    return parts;
  }
}

/**
 * The requests of a segment while it fills, in the very bytes of the footer: 52 a request and no objects, so that a
 * busy second leaves nothing for the garbage collector and sealing nothing to build.
 */
export class FooterRequests {
  readonly texts = new Texts();
  private bytes: Buffer = Buffer.alloc(64 * REQUEST_BYTES);
  count = 0;

  /** Appends a request; its index is the count before. Throws RangeError when a field does not fit. */
  add(header: RecordHeader): void {
    const at = this.next();
    this.bytes.writeUInt32LE(this.texts.numberOf(header.orgId), at);
    this.bytes.writeUInt32LE(this.texts.numberOf(header.tokenId), at + 4);
    this.bytes[at + 8] = SIGNALS_ON_DISK.indexOf(header.signal);
    this.bytes[at + 9] = header.ownBatches ? FLAG_OWN_BATCHES : 0;
    writeU64(this.bytes, header.receivedAtMs, at + 12);
    this.bytes.writeUInt32LE(header.itemsAccepted, at + 20);
    this.bytes.writeUInt32LE(header.itemsRejected, at + 24);
    writeU64(this.bytes, header.bytesReceived, at + 28);
    this.bytes.set(header.fingerprint, at + 36);
    this.count++;
  }

  /** The place of a request whose record is corrupt: no organization, no counts. */
  addCorrupt(): void {
    const at = this.next();
    const none = this.texts.numberOf('');
    this.bytes.writeUInt32LE(none, at);
    this.bytes.writeUInt32LE(none, at + 4);
    this.bytes.set(NO_FINGERPRINT, at + 36);
    this.count++;
  }

  answered(index: number): void {
    const at = index * REQUEST_BYTES + 9;
    this.bytes[at] = (this.bytes[at] as number) | FLAG_ANSWER_SENT;
  }

  /** The first `count` requests; valid until the next call of this object. */
  encode(count: number): Buffer {
    return this.bytes.subarray(0, count * REQUEST_BYTES);
  }

  private next(): number {
    const at = this.count * REQUEST_BYTES;
    if (at + REQUEST_BYTES > this.bytes.length) {
      const grown = Buffer.alloc(this.bytes.length * 2);
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    this.bytes.fill(0, at, at + REQUEST_BYTES);
    return at;
  }
}

export interface FooterParts {
  readonly spoolId: string;
  readonly sequence: number;
  readonly converterVersion: number;
  readonly requests: FooterRequests;
  /** Requests from this index on were refused: their records are not in the segment. */
  readonly requestCount: number;
  readonly batches: readonly FooterBatch[];
}

/** The whole file: both copies. */
export function encodeFooter(parts: FooterParts, version: number = FORMAT_VERSION): Buffer {
  const { texts } = parts.requests;
  const batches = encodeBatches(parts.batches, texts);
  const fixed = Buffer.alloc(28);
  fixed.write(parts.spoolId, 0, 16, 'hex');
  writeU64(fixed, parts.sequence, 16);
  fixed.writeUInt32LE(parts.converterVersion, 24);
  const requests = parts.requests.encode(parts.requestCount);
  const payload = [fixed, ...texts.encode(), u32(parts.requestCount), requests, u32(parts.batches.length), batches];
  const payloadBytes = payload.reduce((sum, part) => sum + part.length, 0);
  const copyBytes = Math.ceil((HEADER_BYTES + payloadBytes) / FOOTER_PAGE_BYTES) * FOOTER_PAGE_BYTES;
  const file = Buffer.alloc(2 * copyBytes);
  MAGIC.copy(file);
  file.writeUInt16LE(version, 8);
  file.writeUInt32LE(payloadBytes, 12);
  let at = HEADER_BYTES;
  for (const part of payload) at += part.copy(file, at);
  file.writeUInt32LE(crc32(file.subarray(HEADER_BYTES, at), crc32(file.subarray(0, 16))), 16);
  file.copy(file, copyBytes, 0, copyBytes);
  return file;
}

/**
 * Reads the copy that verifies. Throws 'corrupt' when neither does and 'newer-format' when one does but is of a version
 * above ours.
 */
export function decodeFooter(file: Buffer): SegmentFooter {
  for (const at of [0, file.length / 2]) {
    if (!Number.isInteger(at)) continue;
    const copy = file.subarray(at);
    if (copy.length < HEADER_BYTES || copy.compare(MAGIC, 0, 8, 0, 8) !== 0) continue;
    const payloadBytes = copy.readUInt32LE(12);
    if (payloadBytes > copy.length - HEADER_BYTES) continue;
    const payload = copy.subarray(HEADER_BYTES, HEADER_BYTES + payloadBytes);
    if (crc32(payload, crc32(copy.subarray(0, 16))) !== copy.readUInt32LE(16)) continue;
    const version = copy.readUInt16LE(8);
    if (version > FORMAT_VERSION)
      throw new BackworkError(
        'newer-format',
        `footer of format ${version}; this program knows up to ${FORMAT_VERSION}`,
      );
    return decodePayload(payload);
  }
  throw new BackworkError('corrupt', `both copies of a footer of ${file.length} bytes are damaged`);
}

function encodeBatches(batches: readonly FooterBatch[], texts: Texts): Buffer {
  const bytes = Buffer.alloc(batches.length * BATCH_BYTES);
  batches.forEach((batch, number) => {
    const at = number * BATCH_BYTES;
    bytes.writeUInt32LE(texts.numberOf(batch.table), at);
    bytes.writeUInt32LE(texts.numberOf(batch.partition.placement), at + 4);
    bytes.writeUInt32LE(batch.partition.retentionDays, at + 8);
    bytes.writeUInt32LE(batch.partition.expiresOnDay, at + 12);
    bytes.writeUInt32LE(Number.parseInt(batch.batchId.slice(8), 16), at + 16);
    bytes.writeUInt32LE(Number.parseInt(batch.batchId.slice(0, 8), 16), at + 20);
    bytes.writeUInt32LE(batch.firstRequest, at + 24);
    bytes.writeUInt32LE(batch.lastRequest, at + 28);
    bytes.writeUInt32LE(batch.rowFrom, at + 32);
    bytes.writeUInt32LE(batch.rowCount, at + 36);
    writeU64(bytes, batch.offset, at + 40);
    bytes.writeUInt32LE(batch.length, at + 48);
    bytes.writeUInt32LE(batch.crc, at + 52);
  });
  return bytes;
}

/** The payload's CRC was right, so its lengths are what the writer meant. */
function decodePayload(payload: Buffer): SegmentFooter {
  const texts: string[] = [];
  let at = 32;
  for (let left = payload.readUInt32LE(28); left > 0; left--) {
    const length = payload.readUInt16LE(at);
    texts.push(payload.toString('utf8', at + 2, at + 2 + length));
    at += 2 + length;
  }
  const requests: FooterRequest[] = new Array(payload.readUInt32LE(at));
  at += 4;
  for (let index = 0; index < requests.length; index++, at += REQUEST_BYTES) {
    requests[index] = decodeRequest(payload, at, texts);
  }
  const batches: FooterBatch[] = new Array(payload.readUInt32LE(at));
  at += 4;
  for (let number = 0; number < batches.length; number++, at += BATCH_BYTES) {
    batches[number] = decodeBatch(payload, at, texts);
  }
  return {
    spoolId: payload.toString('hex', 0, 16),
    sequence: readU64(payload, 16),
    converterVersion: payload.readUInt32LE(24),
    requests,
    batches,
  };
}

function decodeRequest(payload: Buffer, at: number, texts: readonly string[]): FooterRequest {
  const flags = payload.readUInt8(at + 9);
  return {
    orgId: textOf(texts, payload.readUInt32LE(at)),
    tokenId: textOf(texts, payload.readUInt32LE(at + 4)),
    signal: SIGNALS_ON_DISK[payload.readUInt8(at + 8)] ?? 'logs',
    receivedAtMs: readU64(payload, at + 12),
    itemsAccepted: payload.readUInt32LE(at + 20),
    itemsRejected: payload.readUInt32LE(at + 24),
    bytesReceived: readU64(payload, at + 28),
    fingerprint: payload.subarray(at + 36, at + 52),
    answerSent: (flags & FLAG_ANSWER_SENT) !== 0,
    ownBatches: (flags & FLAG_OWN_BATCHES) !== 0,
  };
}

function decodeBatch(payload: Buffer, at: number, texts: readonly string[]): FooterBatch {
  return {
    table: textOf(texts, payload.readUInt32LE(at)),
    partition: {
      placement: textOf(texts, payload.readUInt32LE(at + 4)),
      retentionDays: payload.readUInt32LE(at + 8),
      expiresOnDay: payload.readUInt32LE(at + 12),
    },
    batchId: hex32(payload.readUInt32LE(at + 20)) + hex32(payload.readUInt32LE(at + 16)),
    firstRequest: payload.readUInt32LE(at + 24),
    lastRequest: payload.readUInt32LE(at + 28),
    rowFrom: payload.readUInt32LE(at + 32),
    rowCount: payload.readUInt32LE(at + 36),
    offset: readU64(payload, at + 40),
    length: payload.readUInt32LE(at + 48),
    crc: payload.readUInt32LE(at + 52),
  };
}

function textOf(texts: readonly string[], number: number): string {
  const text = texts[number];
  if (text === undefined) throw new BackworkError('corrupt', `footer names text ${number} of ${texts.length}`);
  return text;
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
