/** Where protobufjs refuses bytes that we may take, because the part that is wrong makes no row and is not read. */
import protobuf from 'protobufjs';

/** Messages that the converter reads from end to end, whatever they hold: one that is malformed is always refused. */
const READ_WHOLE = /^[A-Z]\w*(?:\.resource(?:Logs|Spans|Metrics)(?:\.scope(?:Logs|Spans|Metrics))?)?$/;
/** These too, unless the item was rejected before its end. */
const ITEMS = /\.(?:logRecords|spans|metrics)$/;

/** Whether bytes that protobufjs refuses hold a malformed message where we read every field. */
export function isMalformedWhereRead(type: protobuf.Type, bytes: Uint8Array, rejected: number): boolean {
  const path = malformedPath(type, bytes, type.name) ?? '.';
  return READ_WHOLE.test(path) || (rejected === 0 && ITEMS.test(path));
}

/** Path of the first message that does not end where its fields do; undefined when there is none. */
function malformedPath(type: protobuf.Type, bytes: Uint8Array, path: string): string | undefined {
  const reader = protobuf.Reader.create(bytes);
  try {
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      const field = type.fieldsById[tag >>> 3];
      if ((tag & 7) !== 2 || !(field?.resolvedType instanceof protobuf.Type)) {
        reader.skipType(tag & 7, 0, tag >>> 3);
        continue;
      }
      const inner = malformedPath(field.resolvedType, reader.bytes(), `${path}.${field.name}`);
      if (inner !== undefined) return inner;
    }
    return undefined;
  } catch {
    return path;
  }
}
