/**
 * Protobuf messages injured with knowledge of their structure: what random bytes hardly ever make, because the lengths of
 * all messages around an injury are kept right, unless a wrong length is the injury.
 */
import protobuf from 'protobufjs';
import { field, nestedArrays } from '../corpus/hand-made-protobuf.ts';
import type { Random } from '../corpus/seeded-random.ts';

/** One field as it stands on the wire. */
export interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** Value without tag and length; empty when there are children. */
  readonly value: Buffer;
  /** The field's message type, where it has one. */
  readonly type: protobuf.Type | undefined;
  readonly packedWireType: number | undefined;
  readonly children: readonly WireField[] | undefined;
}

export interface WireMessage {
  readonly children: readonly WireField[];
  /** Every field at every depth. */
  readonly all: readonly WireField[];
}

const PACKED: Readonly<Record<string, number | undefined>> = protobuf.types.packed;

/** Reads valid bytes of `type`. */
export function readMessage(type: protobuf.Type, bytes: Uint8Array): WireMessage {
  const all: WireField[] = [];
  return { children: readFields(type, bytes, all), all };
}

function readFields(type: protobuf.Type, bytes: Uint8Array, all: WireField[]): WireField[] {
  const reader = protobuf.Reader.create(bytes);
  const fields: WireField[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const known = type.fieldsById[tag >>> 3];
    const inner = known?.resolvedType instanceof protobuf.Type ? known.resolvedType : undefined;
    const wireType = tag & 7;
    let value: Uint8Array;
    if (wireType === 2) value = reader.bytes();
    else {
      const start = reader.pos;
      reader.skipType(wireType);
      value = bytes.subarray(start, reader.pos);
    }
    const one: WireField = {
      number: tag >>> 3,
      wireType,
      value: inner === undefined ? Buffer.from(value) : Buffer.alloc(0),
      type: inner,
      packedWireType: known?.repeated === true && wireType === 2 ? PACKED[known.type] : undefined,
      children: inner === undefined ? undefined : readFields(inner, value, all),
    };
    all.push(one);
    fields.push(one);
  }
  return fields;
}

type Edit = (whole: Buffer, content: Buffer) => Buffer;

/** One to three injuries at fields drawn from all of the message. */
export function mutateMessage(message: WireMessage, random: Random): Buffer {
  const edits = new Map<WireField, Edit>();
  const shuffled = new Set<WireField>();
  for (let count = random.int(1, 3); count > 0 && message.all.length > 0; count--) {
    const target = random.pick(message.all);
    if (target.children !== undefined && random.chance(0.15)) shuffled.add(target);
    else edits.set(target, drawEdit(target, message, random));
  }
  const write = (fields: readonly WireField[], inAnyOrder: boolean): Buffer => {
    const order = inAnyOrder ? shuffle(fields, random) : fields;
    return Buffer.concat(
      order.map((one) => {
        const content = one.children === undefined ? one.value : write(one.children, shuffled.has(one));
        const whole = wireField(one.number, one.wireType, content);
        return edits.get(one)?.(whole, content) ?? whole;
      }),
    );
  };
  return write(message.children, false);
}

function drawEdit(target: WireField, message: WireMessage, random: Random): Edit {
  const { number, wireType } = target;
  switch (random.int(0, 12)) {
    case 0:
      return () => EMPTY;
    case 1:
      return (whole) => Buffer.concat([whole, whole]);
    case 2:
      return (_whole, content) => wireField(otherNumber(number, random), wireType, content);
    case 3:
      return (_whole, content) => Buffer.concat([varint(number * 8 + random.int(0, 7)), content]);
    case 4:
      return (_whole, content) => lyingLength(number, content, random);
    case 5:
      return (whole, content) => inGroup(number, whole, content, random);
    case 6:
      return (whole, content) =>
        target.packedWireType === undefined ? twoParts(whole, number, content) : unpack(target);
    case 7:
      return (whole) => deepNesting(target, whole, random);
    case 8:
      return () => wireField(number, wireType, edgeValue(target, random));
    case 9: {
      // A part of another kind in this one's place, under this one's number or its own.
      const other = random.pick(message.all);
      const content = other.children === undefined ? other.value : Buffer.concat(other.children.map(plainField));
      return () => wireField(random.chance(0.7) ? number : other.number, other.wireType, content);
    }
    case 10:
      return (whole) => Buffer.concat([unknownField(random), whole]);
    case 11:
      return (whole) => Buffer.concat([whole, plainField(random.pick(message.all))]);
    default:
      return (_whole, content) => wireField(number, wireType, content.subarray(0, random.int(0, content.length)));
  }
}

const EMPTY = Buffer.alloc(0);

function plainField(one: WireField): Buffer {
  const content = one.children === undefined ? one.value : Buffer.concat(one.children.map(plainField));
  return wireField(one.number, one.wireType, content);
}

function wireField(number: number, wireType: number, content: Buffer): Buffer {
  const tag = varint(number * 8 + wireType);
  return wireType === 2 ? Buffer.concat([tag, varint(content.length), content]) : Buffer.concat([tag, content]);
}

function shuffle(fields: readonly WireField[], random: Random): WireField[] {
  const list = [...fields];
  for (let i = list.length - 1; i > 0; i--) {
    const other = random.int(0, i);
    [list[i], list[other]] = [list[other] as WireField, list[i] as WireField];
  }
  return list;
}

function otherNumber(number: number, random: Random): number {
  return random.pick([number + 1, Math.max(0, number - 1), random.int(1, 15), 0, 19_000, 2 ** 29 - 1, 2 ** 29, 1_000]);
}

function lyingLength(number: number, content: Buffer, random: Random): Buffer {
  const length = content.length;
  const lie = random.pick([length + 1, length - 1, length * 2, 0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53]);
  const written = random.chance(0.1) ? Buffer.alloc(random.int(9, 11), 0xff) : varint(Math.max(0, lie));
  return Buffer.concat([varint(number * 8 + 2), written, content]);
}

/** As a group, beside one, inside an unknown one, or one that never ends or never began. */
function inGroup(number: number, whole: Buffer, content: Buffer, random: Random): Buffer {
  const group = random.chance(0.5) ? number : random.int(1, 600);
  const [begin, end] = [varint(group * 8 + 3), varint(group * 8 + 4)];
  switch (random.int(0, 5)) {
    case 0:
      return Buffer.concat([begin, content, end]);
    case 1:
      return Buffer.concat([begin, whole, end]);
    case 2:
      return Buffer.concat([begin, whole]);
    case 3:
      return Buffer.concat([whole, end]);
    case 4:
      return Buffer.concat([begin, whole, varint((group + 1) * 8 + 4)]);
    default: {
      const depth = random.pick([2, 50, 99, 100, 101, 5_000]);
      return Buffer.concat([...Array<Buffer>(depth).fill(begin), whole, ...Array<Buffer>(depth).fill(end)]);
    }
  }
}

/** A message in two parts: protobuf merges them. Of what is no message, the last one counts. */
function twoParts(whole: Buffer, number: number, content: Buffer): Buffer {
  return Buffer.concat([whole, wireField(number, 2, content.subarray(0, Math.floor(content.length / 2)))]);
}

function unpack(target: WireField): Buffer {
  const wireType = target.packedWireType as number;
  const reader = protobuf.Reader.create(target.value);
  const parts: Buffer[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    reader.skipType(wireType);
    parts.push(wireField(target.number, wireType, target.value.subarray(start, reader.pos)));
  }
  return Buffer.concat(parts);
}

function deepNesting(target: WireField, whole: Buffer, random: Random): Buffer {
  if (target.type?.name === 'AnyValue') {
    return field(target.number, nestedArrays(random.chance(0.02) ? 20_000 : random.int(28, 40)));
  }
  let nested = whole;
  for (let depth = random.pick([1, 3, 40]); depth > 0; depth--) nested = wireField(target.number, 2, nested);
  return nested;
}

const TEXTS = ['', 'service.name', '\u0000', '\ufeff', '😀'].map((text) => Buffer.from(text));
const BAD_TEXTS = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82]].map((text) =>
  Buffer.from(text),
);
const VARINTS = [0n, 1n, 127n, 128n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 63n];
const DOUBLES = [0, -0, Number.NaN, Infinity, -Infinity, 5e-324, 1e21, 2 ** 53];

function edgeValue(target: WireField, random: Random): Buffer {
  switch (target.wireType) {
    case 0:
      return random.chance(0.1)
        ? random.pick([Buffer.alloc(10, 0xff), Buffer.from([0x80, 0x80, 0]), Buffer.alloc(11, 0x80)])
        : bigVarint(random.pick([...VARINTS, 2n ** 64n - 1n]));
    case 1: {
      const bytes = Buffer.alloc(8);
      if (random.chance(0.5)) bytes.writeDoubleLE(random.pick(DOUBLES));
      else bytes.writeBigUInt64LE(random.pick([...VARINTS, 2n ** 64n - 1n]));
      return bytes;
    }
    case 2:
      if (random.chance(0.3)) return random.bytes(random.pick([0, 1, 7, 8, 9, 15, 16, 17, 32]));
      if (random.chance(0.3)) return Buffer.alloc(random.pick([127, 128, 16_383, 16_384, 70_000]), 0x61);
      return random.pick(random.chance(0.5) ? TEXTS : BAD_TEXTS);
    default:
      return Buffer.from([0xff, 0xff, 0xff, random.pick([0x7f, 0xff])]);
  }
}

function unknownField(random: Random): Buffer {
  const number = random.int(500, 1_000);
  const wireType = random.pick([0, 1, 2, 5]);
  const content = {
    0: Buffer.from([1]),
    1: Buffer.alloc(8, 2),
    2: random.bytes(random.int(0, 20)),
    5: Buffer.alloc(4),
  };
  return wireField(number, wireType, content[wireType as 0 | 1 | 2 | 5]);
}

const ONE_BYTE = Array.from({ length: 128 }, (_, byte) => Buffer.from([byte]));

function varint(value: number): Buffer {
  return ONE_BYTE[value] ?? bigVarint(BigInt(value));
}

function bigVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}
