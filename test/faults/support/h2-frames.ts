/**
 * Conversations of HTTP/2 frames that are mutated at random, for a server that must survive them. Behind each mutated
 * frame stands a PING with its number: as many as are answered, and the frame that a GOAWAY answers, were read.
 */
import { grpcFrame } from '../../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, PREFACE } from '../../ingest/accept/raw-h2.ts';
import type { Random } from '../../corpus/seeded-random.ts';

export interface Conversation {
  readonly bytes: Buffer;
  readonly mutatedFrames: number;
}

const MUTATED_MAX = 12;
const ACK = 1;
const PRIORITY = 2;
const PUSH_PROMISE = 5;
const CONTINUATION = 9;
const FRAME_HEAD_BYTES = 9;

/** A preface, SETTINGS, and calls whose frames are mutated, cut, doubled, or made up. The same for the same `random`. */
export function mutatedConversation(random: Random, token: string): Conversation {
  const headers = headerBlock({ ...CALL_HEADERS, authorization: `Bearer ${token}` });
  const parts: Buffer[] = [PREFACE, frame(FRAME.SETTINGS, 0, 0)];
  const mutatedFrames = random.int(1, MUTATED_MAX);
  let streamId = 1;
  for (let i = 0; i < mutatedFrames; i++) {
    // A call that is whole, now and then, so that mutated frames meet streams in every state.
    if (random.chance(0.4)) {
      parts.push(frame(FRAME.HEADERS, FLAG.END_HEADERS, streamId, headers));
      if (random.chance(0.7)) parts.push(frame(FRAME.DATA, random.int(0, 1), streamId, grpcFrame(random.bytes(9))));
      streamId += 2;
    }
    // Most of what is harmless on its own: otherwise hardly any conversation comes to its second mutated frame.
    const mutated = random.chance(0.85)
      ? mutateGently(random, harmlessFrame(random, headers, streamId))
      : mutate(random, anyFrame(random, headers, streamId));
    parts.push(mutated, numberedPing(i));
    streamId += 2;
  }
  return { bytes: Buffer.concat(parts), mutatedFrames };
}

/** How many mutated frames a server has read, from all that it wrote. */
export function mutatedFramesRead(received: Buffer): number {
  let count = 0;
  for (let at = 0; at + FRAME_HEAD_BYTES <= received.length; ) {
    const type = received[at + 3];
    if (type === FRAME.GOAWAY || (type === FRAME.PING && received[at + 4] === ACK)) count++;
    at += FRAME_HEAD_BYTES + received.readUIntBE(at, 3);
  }
  return count;
}

function numberedPing(number: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(number, 4);
  return frame(FRAME.PING, 0, 0, payload);
}

/** A frame of any type, right or almost. */
function anyFrame(random: Random, headers: Buffer, streamId: number): Buffer {
  // Of this conversation, mostly: open, closed or new; else the connection, an even one, or the largest.
  const stream = random.chance(0.7) ? Math.max(1, streamId - 2 * random.int(0, 3)) : random.pick([0, 2, 4, 0x7fffffff]);
  const flags = random.chance(0.5) ? random.pick([0, 1, 4, 5]) : random.int(0, 255);
  const payloads: Record<number, () => Buffer> = {
    [FRAME.DATA]: () => grpcFrame(random.bytes(random.int(0, 40))),
    [FRAME.HEADERS]: () => (random.chance(0.5) ? headers : hpackNoise(random, headers)),
    [PRIORITY]: () => random.bytes(5),
    [FRAME.RST_STREAM]: () => random.bytes(4),
    [FRAME.SETTINGS]: () => Buffer.concat(Array.from({ length: random.int(0, 4) }, () => setting(random))),
    [PUSH_PROMISE]: () => Buffer.concat([random.bytes(4), headers]),
    [FRAME.PING]: () => random.bytes(8),
    [FRAME.GOAWAY]: () => random.bytes(8 + random.int(0, 10)),
    [FRAME.WINDOW_UPDATE]: () => random.bytes(4),
    [CONTINUATION]: () => hpackNoise(random, headers),
  };
  const type = random.chance(0.05) ? random.int(10, 255) : random.int(0, 9);
  const payload = payloads[type]?.() ?? random.bytes(random.int(0, 64));
  return frame(type, flags, stream, payload);
}

/** A frame that a server may not like but has to live with, on a stream that was not used yet. */
function harmlessFrame(random: Random, headers: Buffer, streamId: number): Buffer {
  switch (random.int(0, 5)) {
    case 0:
      return frame(PRIORITY, random.int(0, 255), streamId, random.bytes(5));
    case 1:
      return frame(FRAME.PING, random.int(2, 255) & ~ACK, 0, random.bytes(8));
    case 2:
      return frame(random.int(10, 255), random.int(0, 255), random.int(0, 9), random.bytes(random.int(0, 64)));
    case 3:
      return frame(FRAME.WINDOW_UPDATE, random.int(0, 255), 0, Buffer.from([0, 0, random.int(0, 255), 1]));
    default: {
      const data = frame(FRAME.DATA, random.int(0, 1), streamId, grpcFrame(random.bytes(random.int(0, 40))));
      return Buffer.concat([frame(FRAME.HEADERS, FLAG.END_HEADERS, streamId, headers), data]);
    }
  }
}

/** A byte of the text of a header, of a message, or of another payload: the frames stay as long as they say. */
function mutateGently(random: Random, bytes: Buffer): Buffer {
  if (bytes[3] === FRAME.HEADERS) {
    // Letters only, so that lengths and indexes of the block stay what they are.
    const at = random.int(FRAME_HEAD_BYTES, bytes.length - 1);
    if (bytes[at]! >= 0x61 && bytes[at]! <= 0x7a) bytes[at] = random.int(0, 255);
    else bytes[bytes.length - 1] = random.int(0, 255);
  } else if (bytes[3] === PRIORITY || bytes[3] === FRAME.PING) {
    bytes[random.int(FRAME_HEAD_BYTES, bytes.length - 1)] = random.int(0, 255);
  }
  return bytes;
}

function setting(random: Random): Buffer {
  const one = Buffer.alloc(6);
  one.writeUInt16BE(random.int(0, 9));
  one.writeUInt32BE(random.pick([0, 1, 2, 100, 16_384, 65_535, 0x7fffffff, 0xffffffff]), 2);
  return one;
}

/** A header block with some of its bytes, indexes, lengths or table sizes wrong. */
function hpackNoise(random: Random, headers: Buffer): Buffer {
  const starts = [
    [0x80],
    [0xff, 0xff, 0xff, 0x7f],
    [0x3f, 0xe1, 0xff, 0x07],
    [0x20],
    [0x40, 0x85],
    [0xbe],
    [0x0f, 0x80],
  ];
  const start = Buffer.from(random.pick(starts));
  const block = random.chance(0.5) ? Buffer.concat([start, headers]) : Buffer.concat([headers, start]);
  if (random.chance(0.5)) block[random.int(0, block.length - 1)] = random.int(0, 255);
  return block;
}

function mutate(random: Random, bytes: Buffer): Buffer {
  const payloadBytes = bytes.length - FRAME_HEAD_BYTES;
  switch (random.int(0, 7)) {
    case 0: // a byte of the frame's head other than its length
      bytes[random.int(3, 8)] = random.int(0, 255);
      return bytes;
    case 1: // a length that is not that of what follows
      bytes.writeUIntBE(random.pick([0, 1, payloadBytes + 1, Math.max(0, payloadBytes - 1), 16_385, 0xffffff]), 0, 3);
      return bytes;
    case 2: // cut, with a length that says so
      return frame(bytes[3]!, bytes[4]!, bytes.readUInt32BE(5), bytes.subarray(9, 9 + random.int(0, payloadBytes)));
    case 3: // twice
      return Buffer.concat([bytes, bytes]);
    case 4: // padded beyond its end, where the type has padding
      bytes[4] = bytes[4]! | 8;
      return bytes;
    case 5: // bytes of the payload
      for (let i = random.int(1, 4); i > 0 && payloadBytes > 0; i--) {
        bytes[random.int(9, bytes.length - 1)] = random.int(0, 255);
      }
      return bytes;
    case 6: // noise behind it, within its length
      return frame(bytes[3]!, bytes[4]!, bytes.readUInt32BE(5), Buffer.concat([bytes.subarray(9), random.bytes(7)]));
    default: // as it was made: wrong for where it stands
      return bytes;
  }
}
