/**
 * Request bodies that are encoded once and sent many times: before each sending the request's id is written over the last
 * one, in place, so that a generator costs little and still every row has an id of its own.
 *
 * - Plain: the digits of each resource's REQUEST_KEY, and the bytes after ID_MARK of each trace and span id, so that
 *   traces of different requests are different traces.
 * - gzip: the body is cut at the digits, and each part is a gzip member of its own (RFC 1952 2.2: members follow each other).
 *   The digits are members whose one block is stored, so digits and CRC-32 are written over in place. Trace and span
 *   ids stay as they are: those of a body that is sent again repeat.
 *
 * A body may be in one request at a time: the socket reads from it until the answer has come.
 */
import { crc32, gzipSync } from 'node:zlib';
import { type Corpus, REQUEST_ID_DIGITS, REQUEST_ID_UNSET } from './corpus.ts';
import { ID_MARK, REQUEST_KEY } from './corpus-values.ts';

export interface RequestBody {
  /** The whole wire form; for gRPC the 5 bytes in front of the message are part of it. */
  readonly bytes: Buffer;
  /** Writes the request's id; `requestId` is below 10^REQUEST_ID_DIGITS. */
  setId(requestId: number): void;
}

export interface BodyForm {
  /** Puts gRPC's compressed flag and length in front. */
  readonly grpc: boolean;
  readonly gzip: boolean;
}

const GRPC_PREFIX_BYTES = 5;

export function requestBodies(corpus: Corpus, form: BodyForm): RequestBody[] {
  return corpus.bodies.map((body) => (form.gzip ? zippedBody(body, form) : plainBody(body, form)));
}

function plainBody(body: Buffer, form: BodyForm): RequestBody {
  const bytes = framed([body], form);
  const digits = digitPositions(bytes);
  const ids = Uint32Array.from(positionsOf(bytes, ID_MARK), (at) => at + ID_MARK.length);
  return {
    bytes,
    setId(requestId) {
      const text = digitsOf(requestId);
      for (const at of digits) bytes.write(text, at, 'latin1');
      for (const at of ids) {
        bytes[at] = requestId;
        bytes[at + 1] = requestId >>> 8;
        bytes[at + 2] = requestId >>> 16;
      }
    },
  };
}

/** A member whose one block is stored, without its trailer's CRC: header, block head, digits, CRC-32, length. */
const STORED_DIGITS_AT = 10 + 5;

function zippedBody(body: Buffer, form: BodyForm): RequestBody {
  const parts: Buffer[] = [];
  const digitParts: Buffer[] = [];
  let from = 0;
  for (const at of digitPositions(body)) {
    const stored = gzipSync(REQUEST_ID_UNSET, { level: 0 });
    digitParts.push(stored);
    parts.push(gzipSync(body.subarray(from, at)), stored);
    from = at + REQUEST_ID_DIGITS;
  }
  parts.push(gzipSync(body.subarray(from)));
  const bytes = framed(parts, form);
  const offsets = partOffsets(parts, form).filter((_, index) => digitParts.includes(parts[index]!));
  return {
    bytes,
    setId(requestId) {
      const text = digitsOf(requestId);
      const crc = crc32(text);
      for (const at of offsets) {
        bytes.write(text, at + STORED_DIGITS_AT, 'latin1');
        bytes.writeUInt32LE(crc, at + STORED_DIGITS_AT + REQUEST_ID_DIGITS);
      }
    },
  };
}

function partOffsets(parts: readonly Buffer[], form: BodyForm): number[] {
  let at = form.grpc ? GRPC_PREFIX_BYTES : 0;
  return parts.map((part) => {
    at += part.length;
    return at - part.length;
  });
}

function framed(parts: readonly Buffer[], form: BodyForm): Buffer {
  if (!form.grpc) return Buffer.concat(parts);
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix[0] = form.gzip ? 1 : 0;
  prefix.writeUInt32BE(
    parts.reduce((sum, part) => sum + part.length, 0),
    1,
  );
  return Buffer.concat([prefix, ...parts]);
}

/** Where the digits of each REQUEST_KEY stand: after its key, the value's two heads of two bytes. */
function digitPositions(body: Buffer): number[] {
  return positionsOf(body, Buffer.from(REQUEST_KEY)).map((at) => {
    const digitsAt = at + REQUEST_KEY.length + 4;
    const found = body.toString('latin1', digitsAt, digitsAt + REQUEST_ID_DIGITS);
    if (found !== REQUEST_ID_UNSET) throw new Error(`at ${digitsAt} stands ${found}, not the digits of ${REQUEST_KEY}`);
    return digitsAt;
  });
}

function positionsOf(body: Buffer, part: Buffer): number[] {
  const found: number[] = [];
  for (let at = body.indexOf(part); at >= 0; at = body.indexOf(part, at + part.length)) found.push(at);
  return found;
}

function digitsOf(requestId: number): string {
  return String(requestId).padStart(REQUEST_ID_DIGITS, '0');
}
