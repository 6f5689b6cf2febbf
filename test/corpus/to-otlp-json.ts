/**
 * Plain data as protobufjs decodes it → OTLP/JSON text, in every spelling that a receiver must take: camelCase and
 * snake_case keys, integers as numbers and as strings, hex of either case, base64 of both alphabets, escapes, unknown
 * keys, whitespace, members in any order.
 */
import protobuf from 'protobufjs';
import type { Random } from './seeded-random.ts';

export function toOtlpJson(type: protobuf.Type, message: Record<string, unknown>, random: Random): string {
  const members = Object.entries(message).map(([name, value]) => {
    const field = type.fields[name];
    if (field === undefined) throw new Error(`${type.name} has no field ${name}`);
    const key = random.chance(0.9) ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const text = Array.isArray(value)
      ? `[${value.map((element) => scalarOrMessage(field, element, random)).join(space(random, ','))}]`
      : scalarOrMessage(field, value, random);
    return `${jsonString(key, random)}${space(random, ':')}${text}`;
  });
  if (random.chance(0.05)) members.push('"unknownKey":[{"a":[1,-2.5e-3,"\\u00e9",true,null]},{}]');
  // Any order: what stands in one object is told apart by its key alone.
  for (let i = members.length - 1; i > 0; i--) {
    const other = random.int(0, i);
    [members[i], members[other]] = [members[other] as string, members[i] as string];
  }
  return `{${members.join(space(random, ','))}}`;
}

function scalarOrMessage(field: protobuf.Field, value: unknown, random: Random): string {
  if (field.resolvedType instanceof protobuf.Type) {
    return toOtlpJson(field.resolvedType, value as Record<string, unknown>, random);
  }
  if (field.resolvedType instanceof protobuf.Enum) {
    const name = field.resolvedType.valuesById[value as number];
    return name !== undefined && random.chance(0.2) ? JSON.stringify(name) : String(value);
  }
  if (field.type === 'string') return jsonString(value as string, random);
  if (field.type === 'bytes') return bytesText(field.name, Buffer.from(value as Uint8Array), random);
  if (field.type === 'bool') return String(value);
  if (field.type === 'double') return doubleText(value as number, random);
  return random.chance(0.5) ? `"${value}"` : String(value);
}

function bytesText(name: string, value: Buffer, random: Random): string {
  if (/Id$/.test(name)) {
    const hex = value.toString('hex');
    return `"${random.chance(0.5) ? hex : hex.toUpperCase()}"`;
  }
  const text = value.toString(random.chance(0.5) ? 'base64' : 'base64url');
  return `"${random.chance(0.5) ? text.replaceAll('=', '') : text}"`;
}

function doubleText(value: number, random: Random): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  const text = Object.is(value, -0) ? '-0.0' : String(value);
  return random.chance(0.2) ? `"${text}"` : text;
}

/** Escaped as JSON.stringify does, or with some characters as \u escapes that need none. */
function jsonString(value: string, random: Random): string {
  const text = JSON.stringify(value);
  if (value.length > 200 || random.chance(0.8)) return text;
  return text.replace(/[a-zé€]|[\ud800-\udfff]{2}/g, (characters) =>
    text.includes('\\') || random.chance(0.7)
      ? characters
      : [...Array(characters.length).keys()]
          .map((i) => `\\u${characters.charCodeAt(i).toString(16).padStart(4, '0')}`)
          .join(''),
  );
}

function space(random: Random, mark: string): string {
  return random.chance(0.9) ? mark : ` \n${mark}\t\r`;
}
