/** Bodies for tests, encoded by protobufjs from plain data under the OTLP/JSON names. */
import type protobuf from 'protobufjs';
import type { RowOrigin, Signal } from '../../src/ingest/messages.ts';
import { loadProto, requestType } from '../proto/load-proto.ts';

const types = new Map<Signal, protobuf.Type>();

function typeOf(signal: Signal): protobuf.Type {
  let type = types.get(signal);
  if (type === undefined) {
    type = requestType(loadProto(), signal);
    types.set(signal, type);
  }
  return type;
}

export function logsRequestType(): protobuf.Type {
  return typeOf('logs');
}

/** The Export…ServiceRequest of the signal. */
export function encodeRequest(signal: Signal, request: object): Buffer {
  const type = typeOf(signal);
  return Buffer.from(type.encode(type.fromObject(request)).finish());
}

export function encodeLogs(request: object): Buffer {
  return encodeRequest('logs', request);
}

/** One resource, one scope, these records. */
export function encodeRecords(records: readonly object[], resource?: object, scope?: object): Buffer {
  return encodeLogs({ resourceLogs: [{ resource, scopeLogs: [{ scope, logRecords: records }] }] });
}

export const ORIGIN: RowOrigin = {
  orgId: 'org_aaaabbbbccccdddd',
  receivedAtMs: Date.UTC(2026, 10, 23, 12, 0, 0, 123),
  placement: 'org_aaaabbbbccccdddd',
  retentionDays: 30,
  expiresOnDay: 20_812,
};
