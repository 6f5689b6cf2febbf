/**
 * Whether bytes are whole zstd frames and nothing else (RFC 8878 section 3). node:zlib takes the first bytes of a second
 * frame's header without complaint when the body ends there, so the structure is checked before decoding:
 *
 *   frame     magic FD2FB528 | descriptor | window 0–1 | dictionary id 0–4 | content size 0–8 | blocks | checksum 0 or 4
 *   block     3 bytes little-endian: last (1 bit), type (2 bits), size (21 bits) | content (type 1, RLE: 1 byte)
 *   skippable magic 184D2A5? | size, 4 bytes | content
 */
const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

/**
 * Frames and blocks in one body. 64 MiB in full blocks are 512 (128 KiB each); a body made of millions of empty ones
 * would hold the event loop here, and counts as broken.
 */
const PIECES_MAX = 1_000_000;

/** Reads headers only: a few bytes for each block. */
export function isWholeZstd(bytes: Buffer): boolean {
  const pieces = { left: PIECES_MAX };
  let at = 0;
  while (at < bytes.length) {
    at = frameEnd(bytes, at, pieces);
    if (at < 0 || at > bytes.length) return false;
  }
  return bytes.length > 0;
}

/** Where the frame at `start` ends, possibly beyond the bytes; −1 when it is none, is cut off, or has too many pieces. */
function frameEnd(bytes: Buffer, start: number, pieces: { left: number }): number {
  if (start + 8 > bytes.length || --pieces.left < 0) return -1;
  const magic = bytes.readUInt32LE(start);
  if ((magic & ~0x0f) >>> 0 === SKIPPABLE_MAGIC) return start + 8 + bytes.readUInt32LE(start + 4);
  if (magic !== MAGIC) return -1;
  const descriptor = bytes.readUInt8(start + 4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const contentSizeFlag = descriptor >> 6;
  let contentSizeBytes: number = CONTENT_SIZE_BYTES[contentSizeFlag as 0 | 1 | 2 | 3];
  if (contentSizeFlag === 0 && singleSegment) contentSizeBytes = 1;
  const dictionaryIdBytes = DICTIONARY_ID_BYTES[(descriptor & 3) as 0 | 1 | 2 | 3];
  let at = start + 5 + (singleSegment ? 0 : 1) + dictionaryIdBytes + contentSizeBytes;
  for (;;) {
    if (at + 3 > bytes.length || --pieces.left < 0) return -1;
    const header = bytes.readUIntLE(at, 3);
    at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
    if ((header & 1) === 1) return at + ((descriptor & 4) !== 0 ? 4 : 0);
  }
}
