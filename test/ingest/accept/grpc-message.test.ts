import { describe, expect, test } from 'vitest';
import { GrpcMessageReader } from '../../../src/ingest/accept/grpc-message.ts';
import { grpcFrame } from './peers.ts';

const MESSAGE = Buffer.from('a message of twenty-nine bytes');

function reader(options: { bytesMax?: number; hasCoding?: boolean; reserve?: (bytes: number) => void } = {}) {
  return new GrpcMessageReader({ bytesMax: 1_000, hasCoding: false, reserve: () => {}, ...options });
}

test('a message is read however it is cut into frames', () => {
  const wire = grpcFrame(MESSAGE);
  for (let first = 0; first <= wire.length; first++) {
    for (let second = first; second <= wire.length; second += 3) {
      const under = reader();
      for (const part of [wire.subarray(0, first), wire.subarray(first, second), wire.subarray(second)]) {
        under.push(part);
      }
      expect(under.end().bytes.equals(MESSAGE)).toBe(true);
    }
  }
});

test('a message in one chunk is not copied', () => {
  const wire = grpcFrame(MESSAGE);
  const under = reader();
  under.push(wire);
  expect(under.end().bytes.buffer).toBe(wire.buffer);
});

test('room is asked for before bytes are kept', () => {
  const asked: number[] = [];
  const under = reader({ reserve: (bytes) => void asked.push(bytes) });
  const wire = grpcFrame(MESSAGE);
  for (const part of [wire.subarray(0, 3), wire.subarray(3, 15), wire.subarray(15)]) under.push(part);
  expect(asked).toEqual([10, MESSAGE.length]);
});

describe('malformed', () => {
  test.each([
    ['nothing at all', Buffer.alloc(0), /no message/],
    ['a cut-off prefix', Buffer.from([0, 0, 0]), /cut off/],
    ['a cut-off message', grpcFrame(MESSAGE).subarray(0, -1), /29 of 30 bytes came/],
    ['two messages', Buffer.concat([grpcFrame(MESSAGE), grpcFrame(MESSAGE)]), /more than one/],
    ['a second prefix begun', Buffer.concat([grpcFrame(MESSAGE), Buffer.from([0])]), /more than one/],
    ['an unknown compressed flag', Buffer.from([2, 0, 0, 0, 0]), /flag is 2/],
    ['a compressed message without a coding', grpcFrame(MESSAGE, true), /no grpc-encoding/],
  ])('%s', (_, wire, message) => {
    const under = reader();
    expect(() => {
      under.push(wire);
      under.end();
    }).toThrow(expect.objectContaining({ code: 'malformed', message: expect.stringMatching(message) }));
  });
});

test('the size limit is held against the prefix, before any byte of the message', () => {
  const asked: number[] = [];
  const under = reader({ bytesMax: 1_000, reserve: (bytes) => void asked.push(bytes) });
  const prefix = Buffer.from([0, 0, 0, 0x03, 0xe9]);
  expect(() => under.push(prefix)).toThrow(expect.objectContaining({ code: 'too-large' }));
  expect(asked).toEqual([]);

  const atLimit = reader({ bytesMax: 1_000 });
  atLimit.push(grpcFrame(Buffer.alloc(1_000)));
  expect(atLimit.end().bytes).toHaveLength(1_000);
});
