/** google.rpc messages by protobufjs: the oracle for what accept writes by hand. */
import protobuf from 'protobufjs';

const { root } = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
  message PartialSuccess { int64 rejected = 1; string error_message = 2; }
  message ExportResponse { PartialSuccess partial_success = 1; }
`);

export interface DecodedStatus {
  code: number;
  message: string;
  /** Decoded too: `{ type: 'RetryInfo', … }`. */
  details: Array<Record<string, unknown>>;
}

export function decode(type: string, bytes: Uint8Array): Record<string, unknown> {
  const message = root.lookupType(type);
  return message.toObject(message.decode(bytes), { longs: Number, arrays: true, defaults: true });
}

export function encode(type: string, value: object): Buffer {
  const message = root.lookupType(type);
  return Buffer.from(message.encode(message.fromObject(value)).finish());
}

export function decodeStatus(bytes: Uint8Array): DecodedStatus {
  const status = decode('Status', bytes) as { code: number; message: string; details: Array<Record<string, unknown>> };
  const details = status.details.map((any) => {
    const type = String(any['typeUrl']).replace('type.googleapis.com/google.rpc.', '');
    return { type, ...decode(type, any['value'] as Buffer) };
  });
  return { ...status, details };
}
