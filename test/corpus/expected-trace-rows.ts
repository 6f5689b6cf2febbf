/**
 * What rows of `otel_traces` and `otel_traces_trace_id_ts` a request must become: the plain, slow reading of reference
 * otlp.md 4.2, 4.6, E1, E8 and E9, written without the converter and the oracle of its tests. Rows: see expected-values.ts.
 */
import type { RowOrigin } from '../../src/ingest/messages.ts';
import {
  type ExpectedRequest,
  idText,
  isTooLate,
  KeptAttributes,
  type KeyValue,
  nanosecondText,
  type ResourceEnvelope,
  type Row,
  repeatedColumns,
  type ScopeEnvelope,
  tenancyColumns,
} from './expected-values.ts';

interface SpanEvent {
  timeUnixNano?: string;
  name?: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
}
interface SpanLink {
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  traceState?: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  flags?: number;
}
interface Span {
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  traceState?: string;
  parentSpanId?: Uint8Array;
  name?: string;
  kind?: number;
  startTimeUnixNano?: string;
  endTimeUnixNano?: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  events?: SpanEvent[];
  droppedEventsCount?: number;
  links?: SpanLink[];
  droppedLinksCount?: number;
  status?: { message?: string; code?: number };
  flags?: number;
}
interface TracesRequest {
  resourceSpans?: (ResourceEnvelope & { scopeSpans?: (ScopeEnvelope & { spans?: Span[] })[] })[];
}

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'];
const STATUS_CODES = ['Unset', 'Ok', 'Error'];

/** `request` is decoded, plain data. */
export function expectedTraces(request: object, origin: RowOrigin): ExpectedRequest {
  const rows: Row[] = [];
  const traces = new Map<string, { start: bigint; end: bigint }>();
  let rejected = 0;
  for (const resourceSpans of (request as TracesRequest).resourceSpans ?? []) {
    for (const scopeSpans of resourceSpans.scopeSpans ?? []) {
      const repeated = repeatedColumns(resourceSpans, scopeSpans, { scopeDropped: 'ScopeDroppedAttributesCount' });
      for (const span of scopeSpans.spans ?? []) {
        if (repeated === undefined || isRejected(span)) {
          rejected++;
          continue;
        }
        rows.push({ ...tenancyColumns(origin), ...spanColumns(span), ...repeated });
        const start = BigInt(span.startTimeUnixNano ?? '0');
        const traceId = idText(span.traceId, 16);
        const seen = traces.get(traceId) ?? { start, end: start };
        traces.set(traceId, {
          start: start < seen.start ? start : seen.start,
          end: start > seen.end ? start : seen.end,
        });
      }
    }
  }
  const lookup = [...traces].map(([traceId, { start, end }]) => ({
    ...tenancyColumns(origin),
    TraceId: traceId,
    Start: nanosecondText(start),
    End: nanosecondText(end),
  }));
  return {
    tables: new Map<string, Row[]>([
      ['otel_traces', rows],
      ['otel_traces_trace_id_ts', lookup],
    ]),
    rejected,
  };
}

/** E1 and E9. */
function isRejected(span: Span): boolean {
  const parentBytes = span.parentSpanId?.length ?? 0;
  return (
    idText(span.traceId, 16) === '' ||
    idText(span.spanId, 8) === '' ||
    (parentBytes !== 0 && parentBytes !== 8) ||
    [span.startTimeUnixNano, span.endTimeUnixNano].some(isTooLate) ||
    (span.events ?? []).some((event) => isTooLate(event.timeUnixNano))
  );
}

function spanColumns(span: Span): Row {
  const start = BigInt(span.startTimeUnixNano ?? '0');
  const end = BigInt(span.endTimeUnixNano ?? '0');
  const kind = span.kind ?? 0;
  const code = span.status?.code ?? 0;
  const attributes = new KeptAttributes(span.attributes);
  return {
    Timestamp: nanosecondText(start),
    EndTimestamp: nanosecondText(end),
    TraceId: idText(span.traceId, 16),
    SpanId: idText(span.spanId, 8),
    ParentSpanId: idText(span.parentSpanId, 8),
    TraceState: span.traceState ?? '',
    SpanName: span.name ?? '',
    SpanKind: KINDS[kind] ?? String(kind),
    SpanAttributes: attributes.map,
    SpanAttributesTypes: attributes.letters,
    DroppedAttributesCount: attributes.droppedCount(span.droppedAttributesCount),
    Duration: end < start ? '0' : String(end - start),
    StatusCode: STATUS_CODES[code] ?? String(code),
    StatusMessage: span.status?.message ?? '',
    Flags: span.flags ?? 0,
    ...eventColumns(span.events ?? []),
    DroppedEventsCount: span.droppedEventsCount ?? 0,
    ...linkColumns(span.links ?? []),
    DroppedLinksCount: span.droppedLinksCount ?? 0,
  };
}

function eventColumns(events: readonly SpanEvent[]): Row {
  const kept = events.map((event) => new KeptAttributes(event.attributes));
  return {
    'Events.Timestamp': events.map((event) => nanosecondText(BigInt(event.timeUnixNano ?? '0'))),
    'Events.Name': events.map((event) => event.name ?? ''),
    'Events.Attributes': kept.map((attributes) => attributes.map),
    'Events.AttributesTypes': kept.map((attributes) => attributes.letters),
    'Events.DroppedAttributesCount': kept.map((attributes, i) =>
      attributes.droppedCount(events[i]?.droppedAttributesCount),
    ),
  };
}

function linkColumns(links: readonly SpanLink[]): Row {
  const kept = links.map((link) => new KeptAttributes(link.attributes));
  return {
    'Links.TraceId': links.map((link) => idText(link.traceId, 16)),
    'Links.SpanId': links.map((link) => idText(link.spanId, 8)),
    'Links.TraceState': links.map((link) => link.traceState ?? ''),
    'Links.Attributes': kept.map((attributes) => attributes.map),
    'Links.AttributesTypes': kept.map((attributes) => attributes.letters),
    'Links.DroppedAttributesCount': kept.map((attributes, i) =>
      attributes.droppedCount(links[i]?.droppedAttributesCount),
    ),
    'Links.Flags': links.map((link) => link.flags ?? 0),
  };
}
