/**
 * The same message in other bytes: fields in any order (those of one number keep theirs, and those of one oneof),
 * repeated numbers packed, unpacked and in pieces, messages that stand once in two parts, and unknown fields of every
 * wire type at every level. A reader must see no difference.
 */
import protobuf from 'protobufjs';
import type { Random } from './seeded-random.ts';

/** Wire types of numbers that may be packed. */
const PACKED: Readonly<Record<string, number | undefined>> = protobuf.types.packed;

export function scrambleProtobuf(type: protobuf.Type, bytes: Uint8Array, random: Random): Buffer {
  const reader = protobuf.Reader.create(bytes);
  const queueOf = new Map<number | protobuf.OneOf, Buffer[]>();
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    const number = tag >>> 3;
    const field = type.fieldsById[number];
    const key = field?.partOf ?? number;
    const queue = queueOf.get(key) ?? [];
    queueOf.set(key, queue);
    if (field?.resolvedType instanceof protobuf.Type) {
      const inner = scrambleProtobuf(field.resolvedType, reader.bytes(), random);
      // Protobuf merges the parts of a message that is no element of a list.
      const parts = !field.repeated && random.chance(0.1) ? splitFields(inner, random) : [inner];
      for (const part of parts) queue.push(Buffer.concat([varint(tag), varint(part.length), part]));
    } else if (field?.repeated === true && PACKED[field.type] !== undefined && (tag & 7) === 2) {
      queue.push(...repack(field, reader.bytes(), random));
    } else {
      reader.skipType(tag & 7);
      queue.push(Buffer.from(bytes.subarray(start, reader.pos)));
    }
  }
  const unknown = random.chance(0.3) ? [unknownField(random, 0)] : [];
  const queues = [...queueOf.values(), unknown].filter((queue) => queue.length > 0);
  const fields: Buffer[] = [];
  while (queues.length > 0) {
    const index = random.int(0, queues.length - 1);
    const queue = queues[index] as Buffer[];
    fields.push(queue.shift() as Buffer);
    if (queue.length === 0) queues.splice(index, 1);
  }
  return Buffer.concat(fields);
}

/** Cut in two between fields; either part may be empty. */
function splitFields(message: Uint8Array, random: Random): Uint8Array[] {
  const reader = protobuf.Reader.create(message);
  const cuts = [0];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    reader.skipType(tag & 7, undefined, tag >>> 3);
    cuts.push(reader.pos);
  }
  const cut = random.pick(cuts);
  return [message.subarray(0, cut), message.subarray(cut)];
}

/** The same numbers in one packed field, in several, as fields of their own, or in a mixture of these. */
function repack(field: protobuf.Field, packed: Uint8Array, random: Random): Buffer[] {
  const wireType = PACKED[field.type] as number;
  const reader = protobuf.Reader.create(packed);
  const pieces: Buffer[] = [];
  const longest = random.pick([1, 2, 1_000]);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const count = random.int(1, longest);
    for (let i = 0; i < count && reader.pos < reader.len; i++) reader.skipType(wireType);
    const numbers = Buffer.from(packed.subarray(start, reader.pos));
    const alone = count === 1 && random.chance(0.7);
    pieces.push(
      alone
        ? Buffer.concat([varint(field.id * 8 + wireType), numbers])
        : Buffer.concat([varint(field.id * 8 + 2), varint(numbers.length), numbers]),
    );
  }
  return pieces;
}

/** No OTLP message has fields 500 to 999; 1000 is reserved. */
function unknownField(random: Random, depth: number): Buffer {
  const number = random.int(500, 1_000);
  switch (random.int(0, depth < 3 ? 4 : 3)) {
    case 0:
      return Buffer.concat([varint(number * 8), varint(random.int(0, 1e9))]);
    case 1:
      return Buffer.concat([varint(number * 8 + 1), random.bytes(8)]);
    case 2: {
      const length = random.int(0, 200);
      return Buffer.concat([varint(number * 8 + 2), varint(length), random.bytes(length)]);
    }
    case 3:
      return Buffer.concat([varint(number * 8 + 5), random.bytes(4)]);
    default:
      return Buffer.concat([varint(number * 8 + 3), unknownField(random, depth + 1), varint(number * 8 + 4)]);
  }
}

function varint(value: number): Buffer {
  return Buffer.from(protobuf.Writer.create().uint32(value).finish());
}
