/**
 * The messages of OTLP 1.11 as one table: number, name and type of every field, from which the JSON reader is driven.
 * test/proto holds it against the .proto files of proto/.
 *
 * A row reads `number name type`, then `rep` (repeated), `opt` (proto3 optional) or `{group}` (member of that oneof).
 * A type that starts with a capital is a message or an enum. `id` is bytes that OTLP/JSON writes as hex.
 */
import assert from 'node:assert';
import type { Signal } from '../messages.ts';

/** How a value is written on the wire. */
export type ScalarType =
  | 'string'
  | 'bytes'
  | 'id'
  | 'bool'
  | 'int32'
  | 'sint32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'fixed32'
  | 'fixed64'
  | 'sfixed64'
  | 'double'
  | 'enum';

export interface Field {
  readonly number: number;
  /** Original name, `time_unix_nano`. */
  readonly name: string;
  /** `timeUnixNano`. */
  readonly jsonName: string;
  readonly type: ScalarType | 'message';
  readonly repeated: boolean;
  readonly optional: boolean;
  readonly oneof: string | undefined;
  /** Of the fields of one message, those that exclude each other share a slot: a oneof, else the field alone. Below SLOTS_MAX. */
  readonly slot: number;
  /** Set when the type is `message`. */
  readonly message: Message | undefined;
  /** Known names of the numbers when the type is `enum`. */
  readonly enumNumbers: ReadonlyMap<string, number> | undefined;
}

/** One spelling of a field's name in JSON. */
export interface FieldKey {
  readonly bytes: Uint8Array;
  readonly field: Field;
}

export interface Message {
  readonly name: string;
  readonly fields: readonly Field[];
  /** The keys of each length in bytes: `timeUnixNano`, and leniently `time_unix_nano` (J1). */
  readonly keysByLength: readonly (readonly FieldKey[] | undefined)[];
  /** A span, log record or data point: what is rejected alone and counted. */
  readonly isItem: boolean;
  /** ArrayValue or KeyValueList: what nests. */
  readonly isContainer: boolean;
}

const ENUMS: Readonly<Record<string, readonly string[]>> = {
  SpanKind: ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'].map((name) => `SPAN_KIND_${name}`),
  StatusCode: ['UNSET', 'OK', 'ERROR'].map((name) => `STATUS_CODE_${name}`),
  AggregationTemporality: ['UNSPECIFIED', 'DELTA', 'CUMULATIVE'].map((name) => `AGGREGATION_TEMPORALITY_${name}`),
  SeverityNumber: [
    'SEVERITY_NUMBER_UNSPECIFIED',
    ...['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'].flatMap((name) =>
      ['', '2', '3', '4'].map((step) => `SEVERITY_NUMBER_${name}${step}`),
    ),
  ],
};

const ITEMS: ReadonlySet<string> = new Set([
  'Span',
  'LogRecord',
  'NumberDataPoint',
  'HistogramDataPoint',
  'ExponentialHistogramDataPoint',
  'SummaryDataPoint',
]);

const MESSAGES: Readonly<Record<string, string>> = {
  AnyValue: `1 string_value string {value}; 2 bool_value bool {value}; 3 int_value int64 {value};
    4 double_value double {value}; 5 array_value ArrayValue {value}; 6 kvlist_value KeyValueList {value};
    7 bytes_value bytes {value}; 8 string_value_strindex int32 {value}`,
  ArrayValue: '1 values AnyValue rep',
  KeyValueList: '1 values KeyValue rep',
  KeyValue: '1 key string; 2 value AnyValue; 3 key_strindex int32',
  InstrumentationScope: '1 name string; 2 version string; 3 attributes KeyValue rep; 4 dropped_attributes_count uint32',
  EntityRef: '1 schema_url string; 2 type string; 3 id_keys string rep; 4 description_keys string rep',
  Resource: '1 attributes KeyValue rep; 2 dropped_attributes_count uint32; 3 entity_refs EntityRef rep',

  ExportTraceServiceRequest: '1 resource_spans ResourceSpans rep',
  ResourceSpans: '1 resource Resource; 2 scope_spans ScopeSpans rep; 3 schema_url string',
  ScopeSpans: '1 scope InstrumentationScope; 2 spans Span rep; 3 schema_url string',
  Span: `1 trace_id id; 2 span_id id; 3 trace_state string; 4 parent_span_id id; 5 name string; 6 kind SpanKind;
    7 start_time_unix_nano fixed64; 8 end_time_unix_nano fixed64; 9 attributes KeyValue rep;
    10 dropped_attributes_count uint32; 11 events Event rep; 12 dropped_events_count uint32; 13 links Link rep;
    14 dropped_links_count uint32; 15 status Status; 16 flags fixed32`,
  Event: '1 time_unix_nano fixed64; 2 name string; 3 attributes KeyValue rep; 4 dropped_attributes_count uint32',
  Link: `1 trace_id id; 2 span_id id; 3 trace_state string; 4 attributes KeyValue rep;
    5 dropped_attributes_count uint32; 6 flags fixed32`,
  Status: '2 message string; 3 code StatusCode',

  ExportLogsServiceRequest: '1 resource_logs ResourceLogs rep',
  ResourceLogs: '1 resource Resource; 2 scope_logs ScopeLogs rep; 3 schema_url string',
  ScopeLogs: '1 scope InstrumentationScope; 2 log_records LogRecord rep; 3 schema_url string',
  LogRecord: `1 time_unix_nano fixed64; 2 severity_number SeverityNumber; 3 severity_text string; 5 body AnyValue;
    6 attributes KeyValue rep; 7 dropped_attributes_count uint32; 8 flags fixed32; 9 trace_id id; 10 span_id id;
    11 observed_time_unix_nano fixed64; 12 event_name string`,

  ExportMetricsServiceRequest: '1 resource_metrics ResourceMetrics rep',
  ResourceMetrics: '1 resource Resource; 2 scope_metrics ScopeMetrics rep; 3 schema_url string',
  ScopeMetrics: '1 scope InstrumentationScope; 2 metrics Metric rep; 3 schema_url string',
  Metric: `1 name string; 2 description string; 3 unit string; 5 gauge Gauge {data}; 7 sum Sum {data};
    9 histogram Histogram {data}; 10 exponential_histogram ExponentialHistogram {data}; 11 summary Summary {data};
    12 metadata KeyValue rep`,
  Gauge: '1 data_points NumberDataPoint rep',
  Sum: '1 data_points NumberDataPoint rep; 2 aggregation_temporality AggregationTemporality; 3 is_monotonic bool',
  Histogram: '1 data_points HistogramDataPoint rep; 2 aggregation_temporality AggregationTemporality',
  ExponentialHistogram: `1 data_points ExponentialHistogramDataPoint rep;
    2 aggregation_temporality AggregationTemporality`,
  Summary: '1 data_points SummaryDataPoint rep',
  NumberDataPoint: `2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 as_double double {value};
    5 exemplars Exemplar rep; 6 as_int sfixed64 {value}; 7 attributes KeyValue rep; 8 flags uint32`,
  HistogramDataPoint: `2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 count fixed64; 5 sum double opt;
    6 bucket_counts fixed64 rep; 7 explicit_bounds double rep; 8 exemplars Exemplar rep; 9 attributes KeyValue rep;
    10 flags uint32; 11 min double opt; 12 max double opt`,
  ExponentialHistogramDataPoint: `1 attributes KeyValue rep; 2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64;
    4 count fixed64; 5 sum double opt; 6 scale sint32; 7 zero_count fixed64; 8 positive Buckets; 9 negative Buckets;
    10 flags uint32; 11 exemplars Exemplar rep; 12 min double opt; 13 max double opt; 14 zero_threshold double`,
  Buckets: '1 offset sint32; 2 bucket_counts uint64 rep',
  SummaryDataPoint: `2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 count fixed64; 5 sum double;
    6 quantile_values ValueAtQuantile rep; 7 attributes KeyValue rep; 8 flags uint32`,
  ValueAtQuantile: '1 quantile double; 2 value double',
  Exemplar: `2 time_unix_nano fixed64; 3 as_double double {value}; 4 span_id id; 5 trace_id id;
    6 as_int sfixed64 {value}; 7 filtered_attributes KeyValue rep`,
};

/** Slots of a message; Span has the most. */
export const SLOTS_MAX = 16;

interface MutableMessage extends Message {
  readonly fields: Field[];
  readonly keysByLength: (FieldKey[] | undefined)[];
}

/** Every message by name, nested ones without their parent's: `Event`, `Buckets`. */
export const OTLP_MESSAGES: ReadonlyMap<string, Message> = readTable();

/** The message that a body of the signal is. */
export const EXPORT_REQUEST: Readonly<Record<Signal, Message>> = {
  logs: messageNamed('ExportLogsServiceRequest'),
  metrics: messageNamed('ExportMetricsServiceRequest'),
  traces: messageNamed('ExportTraceServiceRequest'),
};

function messageNamed(name: string): Message {
  const message = OTLP_MESSAGES.get(name);
  if (message === undefined) throw new Error(`${name} is not in the table`);
  return message;
}

function readTable(): ReadonlyMap<string, Message> {
  // All messages first, then their fields: messages refer to each other in circles.
  const messages = new Map<string, MutableMessage>();
  for (const name of Object.keys(MESSAGES)) {
    const isContainer = name === 'ArrayValue' || name === 'KeyValueList';
    messages.set(name, { name, fields: [], keysByLength: [], isItem: ITEMS.has(name), isContainer });
  }
  for (const [name, rows] of Object.entries(MESSAGES)) {
    const message = messages.get(name);
    if (message === undefined) continue;
    for (const row of rows.split(';')) {
      const field = readRow(name, row.trim(), message.fields, messages);
      message.fields.push(field);
      addKeys(message.keysByLength, field);
    }
    assert(message.fields.every((field) => field.slot < SLOTS_MAX));
  }
  return messages;
}

function addKeys(keysByLength: (FieldKey[] | undefined)[], field: Field): void {
  for (const spelling of new Set([field.jsonName, field.name])) {
    const keys = keysByLength[spelling.length] ?? [];
    keys.push({ bytes: Buffer.from(spelling), field });
    keysByLength[spelling.length] = keys;
  }
}

function readRow(owner: string, row: string, before: readonly Field[], messages: ReadonlyMap<string, Message>): Field {
  const [number, name, typeName, mark] = row.split(/\s+/);
  if (number === undefined || name === undefined || typeName === undefined) throw new Error(`${owner}: ${row}`);
  const oneof = mark?.startsWith('{') ? mark.slice(1, -1) : undefined;
  const sibling = oneof === undefined ? undefined : before.find((field) => field.oneof === oneof);
  const message = messages.get(typeName);
  const values = ENUMS[typeName];
  return {
    number: Number(number),
    name,
    jsonName: name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
    type: message !== undefined ? 'message' : values !== undefined ? 'enum' : (typeName as ScalarType),
    repeated: mark === 'rep',
    optional: mark === 'opt',
    oneof,
    slot: sibling?.slot ?? before.length,
    message,
    enumNumbers: values === undefined ? undefined : new Map(values.map((value, index) => [value, index])),
  };
}
