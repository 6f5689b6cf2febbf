/** Bodies for tests of the log path, encoded by protobufjs from plain data under the OTLP/JSON names. */
import type protobuf from 'protobufjs';
import type { RowOrigin } from '../../src/ingest/messages.ts';
import { loadProto, requestType } from '../proto/load-proto.ts';

let type: protobuf.Type | undefined;

export function logsRequestType(): protobuf.Type {
  type ??= requestType(loadProto(), 'logs');
  return type;
}

/** An ExportLogsServiceRequest. */
export function encodeLogs(request: object): Buffer {
  const message = logsRequestType().fromObject(request);
  return Buffer.from(logsRequestType().encode(message).finish());
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
