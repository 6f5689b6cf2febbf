/**
 * What rows of `otel_logs` a request must become: the plain, slow reading of the table's definition (reference otlp.md
 * 4.1, 4.6), written without the converter and the oracle of its tests. Rows: see expected-values.ts.
 */
import type { RowOrigin } from '../../src/ingest/messages.ts';
import {
  type AnyValue,
  type ExpectedRequest,
  idText,
  isTooLate,
  KeptAttributes,
  type KeyValue,
  nanosecondText,
  parsedRow,
  type ResourceEnvelope,
  type Row,
  repeatedColumns,
  type ScopeEnvelope,
  tenancyColumns,
  valueLetter,
  valueText,
} from './expected-values.ts';

interface LogRecord {
  timeUnixNano?: string;
  observedTimeUnixNano?: string;
  severityNumber?: number;
  severityText?: string;
  body?: AnyValue;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  flags?: number;
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  eventName?: string;
}
interface LogsRequest {
  resourceLogs?: (ResourceEnvelope & { scopeLogs?: (ScopeEnvelope & { logRecords?: LogRecord[] })[] })[];
}

/** `request` is decoded, plain data. */
export function expectedLogs(request: object, origin: RowOrigin): ExpectedRequest {
  const rows: Row[] = [];
  let rejected = 0;
  for (const resourceLogs of (request as LogsRequest).resourceLogs ?? []) {
    for (const scopeLogs of resourceLogs.scopeLogs ?? []) {
      const repeated = repeatedColumns(resourceLogs, scopeLogs, { scopeDropped: 'ScopeDroppedAttributesCount' });
      for (const record of scopeLogs.logRecords ?? []) {
        if (repeated === undefined || isTooLate(record.timeUnixNano) || isTooLate(record.observedTimeUnixNano)) {
          rejected++;
          continue;
        }
        rows.push({ ...tenancyColumns(origin), ...recordColumns(record, origin), ...repeated });
      }
    }
  }
  return { tables: new Map([['otel_logs', rows]]), rejected };
}

/** Rows as JSON.parse gives them, in the order of the log records; a record that is rejected has none. */
export function expectedLogRows(request: object, origin: RowOrigin): Row[] {
  return (expectedLogs(request, origin).tables.get('otel_logs') ?? []).map(parsedRow);
}

/** How many log records of the request make no row. */
export function expectedRejectedLogs(request: object): number {
  const anyone = { orgId: '', receivedAtMs: 0, placement: '', retentionDays: 1, expiresOnDay: 0 };
  return expectedLogs(request, anyone).rejected;
}

function recordColumns(record: LogRecord, origin: RowOrigin): Row {
  const observed = BigInt(record.observedTimeUnixNano ?? '0');
  const received = BigInt(origin.receivedAtMs) * 1_000_000n;
  const time = BigInt(record.timeUnixNano ?? '0') || observed || received;
  const attributes = new KeptAttributes(record.attributes);
  const flags = record.flags ?? 0;
  return {
    Timestamp: nanosecondText(time),
    ObservedTimestamp: nanosecondText(observed),
    TraceId: idText(record.traceId, 16),
    SpanId: idText(record.spanId, 8),
    TraceFlags: flags % 256,
    Flags: flags,
    SeverityText: record.severityText ?? '',
    SeverityNumber: record.severityNumber ?? 0,
    Body: valueText(record.body),
    BodyType: valueLetter(record.body),
    LogAttributes: attributes.map,
    LogAttributesTypes: attributes.letters,
    DroppedAttributesCount: attributes.droppedCount(record.droppedAttributesCount),
    EventName: record.eventName ?? '',
  };
}
