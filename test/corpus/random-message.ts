/** A random message of any OTLP type, field by field from its protobuf definition: for round trips, not for meaning. */
import protobuf from 'protobufjs';
import { type PlainValue, randomAnyValue, randomDouble, randomInt64, randomList, randomText } from './random-values.ts';
import type { Random } from './seeded-random.ts';

export function randomMessage(type: protobuf.Type, random: Random): PlainValue {
  if (type.name === 'AnyValue') return randomAnyValue(random, 3);
  const message: PlainValue = {};
  for (const field of type.fieldsArray) {
    if (field.partOf === null && random.chance(0.7)) message[field.name] = randomField(field, random);
  }
  for (const oneof of type.oneofsArray) {
    // proto3 optional fields are oneofs of one member.
    if (!random.chance(0.7)) continue;
    const field = random.pick(oneof.fieldsArray);
    message[field.name] = randomField(field, random);
  }
  return message;
}

function randomField(field: protobuf.Field, random: Random): unknown {
  if (!field.repeated) return randomOne(field, random);
  return randomList(random, 3, () => randomOne(field, random));
}

function randomOne(field: protobuf.Field, random: Random): unknown {
  if (field.resolvedType instanceof protobuf.Type) return randomMessage(field.resolvedType, random);
  if (field.resolvedType instanceof protobuf.Enum) return random.pick([0, 1, 2, 7, -1, 2_147_483_647]);
  switch (field.type) {
    case 'string':
      return randomText(random);
    case 'bytes':
      return random.bytes(random.pick([0, 1, 8, 16]));
    case 'bool':
      return random.chance(0.5);
    case 'double':
      return randomDouble(random);
    case 'int32':
    case 'sint32':
      return random.pick([0, 1, -1, 2_147_483_647, -2_147_483_648]);
    case 'uint32':
    case 'fixed32':
      return random.pick([0, 1, 127, 128, 4_294_967_295]);
    case 'int64':
    case 'sfixed64':
      return randomInt64(random);
    default:
      return random.pick(['0', '1', '4294967296', '9007199254740993', '18446744073709551615']);
  }
}
