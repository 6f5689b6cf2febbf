/**
 * The obvious way to the same rows: a request decoded by protobufjs → one plain object a row → JSONEachRow text. Written as
 * one would who wants it short and has no cause to waste: no bigint, no second decoding, the columns that repeat made
 * once a resource and once a scope. The limits of the converter (caps, depth, wrong ids) are left out, in its favour.
 */
import type { RowOrigin, Signal } from '../src/ingest/messages.ts';
import { plainMetricRows } from './plain-metric-rows.ts';
import {
  attributeColumns,
  type Decoded,
  hexText,
  letterOf,
  type Row,
  resourceColumns,
  scopeColumns,
  tenancyColumns,
  textOf,
  timeText,
} from './plain-values.ts';

const SPAN_KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'];
const STATUS_CODES = ['Unset', 'Ok', 'Error'];

/** JSONEachRow of all rows of a decoded request, one text for each table. */
export function plainJsonRows(signal: Signal, request: Decoded, origin: RowOrigin): string[] {
  if (signal === 'traces') return plainSpanRows(request, origin);
  if (signal === 'logs') return plainLogRows(request, origin);
  return plainMetricRows(request, origin);
}

function plainLogRows(request: Decoded, origin: RowOrigin): string[] {
  const tenancy = tenancyColumns(origin);
  let text = '';
  for (const resourceLogs of request['resourceLogs']) {
    const resource = { ...tenancy, ...resourceColumns(resourceLogs) };
    for (const scopeLogs of resourceLogs.scopeLogs) {
      const repeated = { ...resource, ...scopeColumns(scopeLogs) };
      for (const record of scopeLogs.logRecords) text += `${JSON.stringify({ ...repeated, ...logColumns(record) })}\n`;
    }
  }
  return [text];
}

function logColumns(record: Decoded): Row {
  const attributes = attributeColumns(record['attributes']);
  return {
    Timestamp: timeText(record['timeUnixNano']),
    ObservedTimestamp: timeText(record['observedTimeUnixNano']),
    TraceId: hexText(record['traceId']),
    SpanId: hexText(record['spanId']),
    TraceFlags: record['flags'] % 256,
    Flags: record['flags'],
    SeverityText: record['severityText'],
    SeverityNumber: record['severityNumber'],
    Body: textOf(record['body']),
    BodyType: letterOf(record['body']),
    LogAttributes: attributes.map,
    LogAttributesTypes: attributes.letters,
    DroppedAttributesCount: record['droppedAttributesCount'],
    EventName: record['eventName'],
  };
}

function plainSpanRows(request: Decoded, origin: RowOrigin): string[] {
  const tenancy = tenancyColumns(origin);
  const times = new Map<string, { start: string; end: string }>();
  let text = '';
  for (const resourceSpans of request['resourceSpans']) {
    const resource = { ...tenancy, ...resourceColumns(resourceSpans) };
    for (const scopeSpans of resourceSpans.scopeSpans) {
      const repeated = { ...resource, ...scopeColumns(scopeSpans) };
      for (const span of scopeSpans.spans) {
        const row = spanColumns(span);
        noteTime(times, row['TraceId'] as string, row['Timestamp'] as string);
        text += `${JSON.stringify({ ...repeated, ...row })}\n`;
      }
    }
  }
  let lookup = '';
  for (const [TraceId, { start, end }] of times) {
    lookup += `${JSON.stringify({ ...tenancy, TraceId, Start: start, End: end })}\n`;
  }
  return [text, lookup];
}

function noteTime(times: Map<string, { start: string; end: string }>, traceId: string, time: string): void {
  const known = times.get(traceId);
  if (known === undefined) times.set(traceId, { start: time, end: time });
  else if (time < known.start) known.start = time;
  else if (time > known.end) known.end = time;
}

function spanColumns(span: Decoded): Row {
  const attributes = attributeColumns(span['attributes']);
  return {
    Timestamp: timeText(span['startTimeUnixNano']),
    EndTimestamp: timeText(span['endTimeUnixNano']),
    TraceId: hexText(span['traceId']),
    SpanId: hexText(span['spanId']),
    ParentSpanId: hexText(span['parentSpanId']),
    TraceState: span['traceState'],
    SpanName: span['name'],
    SpanKind: SPAN_KINDS[span['kind']] ?? '',
    SpanAttributes: attributes.map,
    SpanAttributesTypes: attributes.letters,
    DroppedAttributesCount: span['droppedAttributesCount'],
    Duration: span['endTimeUnixNano'].subtract(span['startTimeUnixNano']).toString(),
    StatusCode: STATUS_CODES[span['status']?.code ?? 0] ?? '',
    StatusMessage: span['status']?.message ?? '',
    Flags: span['flags'],
    ...eventColumns(span['events']),
    DroppedEventsCount: span['droppedEventsCount'],
    ...linkColumns(span['links']),
    DroppedLinksCount: span['droppedLinksCount'],
  };
}

function eventColumns(events: Decoded[]): Row {
  const attributes = events.map((event) => attributeColumns(event['attributes']));
  return {
    'Events.Timestamp': events.map((event) => timeText(event['timeUnixNano'])),
    'Events.Name': events.map((event) => event['name']),
    'Events.Attributes': attributes.map((one) => one.map),
    'Events.AttributesTypes': attributes.map((one) => one.letters),
    'Events.DroppedAttributesCount': events.map((event) => event['droppedAttributesCount']),
  };
}

function linkColumns(links: Decoded[]): Row {
  const attributes = links.map((link) => attributeColumns(link['attributes']));
  return {
    'Links.TraceId': links.map((link) => hexText(link['traceId'])),
    'Links.SpanId': links.map((link) => hexText(link['spanId'])),
    'Links.TraceState': links.map((link) => link['traceState']),
    'Links.Attributes': attributes.map((one) => one.map),
    'Links.AttributesTypes': attributes.map((one) => one.letters),
    'Links.DroppedAttributesCount': links.map((link) => link['droppedAttributesCount']),
    'Links.Flags': links.map((link) => link['flags']),
  };
}
