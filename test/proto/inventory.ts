/**
 * The fields of OTLP 1.11 as the protocol defines them, one message a line: `number name type`, then `rep`, `opt` or
 * `{oneof}`. Written apart from proto/ and from src/ingest/convert/otlp-schema.ts, which are both held against it.
 */
export const INVENTORY: Readonly<Record<string, string>> = {
  'opentelemetry.proto.common.v1': `
AnyValue: 1 string_value string {value}; 2 bool_value bool {value}; 3 int_value int64 {value}; 4 double_value double {value}; 5 array_value ArrayValue {value}; 6 kvlist_value KeyValueList {value}; 7 bytes_value bytes {value}; 8 string_value_strindex int32 {value}
ArrayValue: 1 values AnyValue rep
KeyValueList: 1 values KeyValue rep
KeyValue: 1 key string; 2 value AnyValue; 3 key_strindex int32
InstrumentationScope: 1 name string; 2 version string; 3 attributes KeyValue rep; 4 dropped_attributes_count uint32
EntityRef: 1 schema_url string; 2 type string; 3 id_keys string rep; 4 description_keys string rep`,

  'opentelemetry.proto.resource.v1': `
Resource: 1 attributes KeyValue rep; 2 dropped_attributes_count uint32; 3 entity_refs EntityRef rep`,

  'opentelemetry.proto.trace.v1': `
TracesData: 1 resource_spans ResourceSpans rep
ResourceSpans: 1 resource Resource; 2 scope_spans ScopeSpans rep; 3 schema_url string; reserved 1000
ScopeSpans: 1 scope InstrumentationScope; 2 spans Span rep; 3 schema_url string
Span: 1 trace_id bytes; 2 span_id bytes; 3 trace_state string; 4 parent_span_id bytes; 5 name string; 6 kind SpanKind; 7 start_time_unix_nano fixed64; 8 end_time_unix_nano fixed64; 9 attributes KeyValue rep; 10 dropped_attributes_count uint32; 11 events Event rep; 12 dropped_events_count uint32; 13 links Link rep; 14 dropped_links_count uint32; 15 status Status; 16 flags fixed32
Event: 1 time_unix_nano fixed64; 2 name string; 3 attributes KeyValue rep; 4 dropped_attributes_count uint32
Link: 1 trace_id bytes; 2 span_id bytes; 3 trace_state string; 4 attributes KeyValue rep; 5 dropped_attributes_count uint32; 6 flags fixed32
Status: 2 message string; 3 code StatusCode; reserved 1`,

  'opentelemetry.proto.logs.v1': `
LogsData: 1 resource_logs ResourceLogs rep
ResourceLogs: 1 resource Resource; 2 scope_logs ScopeLogs rep; 3 schema_url string; reserved 1000
ScopeLogs: 1 scope InstrumentationScope; 2 log_records LogRecord rep; 3 schema_url string
LogRecord: 1 time_unix_nano fixed64; 2 severity_number SeverityNumber; 3 severity_text string; 5 body AnyValue; 6 attributes KeyValue rep; 7 dropped_attributes_count uint32; 8 flags fixed32; 9 trace_id bytes; 10 span_id bytes; 11 observed_time_unix_nano fixed64; 12 event_name string; reserved 4`,

  'opentelemetry.proto.metrics.v1': `
MetricsData: 1 resource_metrics ResourceMetrics rep
ResourceMetrics: 1 resource Resource; 2 scope_metrics ScopeMetrics rep; 3 schema_url string; reserved 1000
ScopeMetrics: 1 scope InstrumentationScope; 2 metrics Metric rep; 3 schema_url string
Metric: 1 name string; 2 description string; 3 unit string; 5 gauge Gauge {data}; 7 sum Sum {data}; 9 histogram Histogram {data}; 10 exponential_histogram ExponentialHistogram {data}; 11 summary Summary {data}; 12 metadata KeyValue rep; reserved 4, 6, 8
Gauge: 1 data_points NumberDataPoint rep
Sum: 1 data_points NumberDataPoint rep; 2 aggregation_temporality AggregationTemporality; 3 is_monotonic bool
Histogram: 1 data_points HistogramDataPoint rep; 2 aggregation_temporality AggregationTemporality
ExponentialHistogram: 1 data_points ExponentialHistogramDataPoint rep; 2 aggregation_temporality AggregationTemporality
Summary: 1 data_points SummaryDataPoint rep
NumberDataPoint: 2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 as_double double {value}; 5 exemplars Exemplar rep; 6 as_int sfixed64 {value}; 7 attributes KeyValue rep; 8 flags uint32; reserved 1
HistogramDataPoint: 2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 count fixed64; 5 sum double opt; 6 bucket_counts fixed64 rep; 7 explicit_bounds double rep; 8 exemplars Exemplar rep; 9 attributes KeyValue rep; 10 flags uint32; 11 min double opt; 12 max double opt; reserved 1
ExponentialHistogramDataPoint: 1 attributes KeyValue rep; 2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 count fixed64; 5 sum double opt; 6 scale sint32; 7 zero_count fixed64; 8 positive Buckets; 9 negative Buckets; 10 flags uint32; 11 exemplars Exemplar rep; 12 min double opt; 13 max double opt; 14 zero_threshold double
Buckets: 1 offset sint32; 2 bucket_counts uint64 rep
SummaryDataPoint: 2 start_time_unix_nano fixed64; 3 time_unix_nano fixed64; 4 count fixed64; 5 sum double; 6 quantile_values ValueAtQuantile rep; 7 attributes KeyValue rep; 8 flags uint32; reserved 1
ValueAtQuantile: 1 quantile double; 2 value double
Exemplar: 2 time_unix_nano fixed64; 3 as_double double {value}; 4 span_id bytes; 5 trace_id bytes; 6 as_int sfixed64 {value}; 7 filtered_attributes KeyValue rep; reserved 1`,

  'opentelemetry.proto.collector.trace.v1': `
ExportTraceServiceRequest: 1 resource_spans ResourceSpans rep
ExportTraceServiceResponse: 1 partial_success ExportTracePartialSuccess
ExportTracePartialSuccess: 1 rejected_spans int64; 2 error_message string`,

  'opentelemetry.proto.collector.metrics.v1': `
ExportMetricsServiceRequest: 1 resource_metrics ResourceMetrics rep
ExportMetricsServiceResponse: 1 partial_success ExportMetricsPartialSuccess
ExportMetricsPartialSuccess: 1 rejected_data_points int64; 2 error_message string`,

  'opentelemetry.proto.collector.logs.v1': `
ExportLogsServiceRequest: 1 resource_logs ResourceLogs rep
ExportLogsServiceResponse: 1 partial_success ExportLogsPartialSuccess
ExportLogsPartialSuccess: 1 rejected_log_records int64; 2 error_message string`,

  'grpc.health.v1': `
HealthCheckRequest: 1 service string
HealthCheckResponse: 1 status ServingStatus`,

  'google.rpc': `
Status: 1 code int32; 2 message string; 3 details Any rep
RetryInfo: 1 retry_delay Duration
BadRequest: 1 field_violations FieldViolation rep
FieldViolation: 1 field string; 2 description string; 3 reason string; 4 localized_message LocalizedMessage
LocalizedMessage: 1 locale string; 2 message string`,

  'google.protobuf': `
Any: 1 type_url string; 2 value bytes
Duration: 1 seconds int64; 2 nanos int32`,
};

/** Names and numbers of the enums, in the order of their numbers. */
export const ENUMS: Readonly<Record<string, string>> = {
  SpanKind:
    'SPAN_KIND_UNSPECIFIED 0, SPAN_KIND_INTERNAL 1, SPAN_KIND_SERVER 2, SPAN_KIND_CLIENT 3, SPAN_KIND_PRODUCER 4, SPAN_KIND_CONSUMER 5',
  StatusCode: 'STATUS_CODE_UNSET 0, STATUS_CODE_OK 1, STATUS_CODE_ERROR 2',
  SpanFlags:
    'SPAN_FLAGS_DO_NOT_USE 0, SPAN_FLAGS_TRACE_FLAGS_MASK 255, SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK 256, SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK 512',
  SeverityNumber:
    'SEVERITY_NUMBER_UNSPECIFIED 0, SEVERITY_NUMBER_TRACE 1, SEVERITY_NUMBER_TRACE2 2, SEVERITY_NUMBER_TRACE3 3, SEVERITY_NUMBER_TRACE4 4, SEVERITY_NUMBER_DEBUG 5, SEVERITY_NUMBER_DEBUG2 6, SEVERITY_NUMBER_DEBUG3 7, SEVERITY_NUMBER_DEBUG4 8, SEVERITY_NUMBER_INFO 9, SEVERITY_NUMBER_INFO2 10, SEVERITY_NUMBER_INFO3 11, SEVERITY_NUMBER_INFO4 12, SEVERITY_NUMBER_WARN 13, SEVERITY_NUMBER_WARN2 14, SEVERITY_NUMBER_WARN3 15, SEVERITY_NUMBER_WARN4 16, SEVERITY_NUMBER_ERROR 17, SEVERITY_NUMBER_ERROR2 18, SEVERITY_NUMBER_ERROR3 19, SEVERITY_NUMBER_ERROR4 20, SEVERITY_NUMBER_FATAL 21, SEVERITY_NUMBER_FATAL2 22, SEVERITY_NUMBER_FATAL3 23, SEVERITY_NUMBER_FATAL4 24',
  LogRecordFlags: 'LOG_RECORD_FLAGS_DO_NOT_USE 0, LOG_RECORD_FLAGS_TRACE_FLAGS_MASK 255',
  AggregationTemporality:
    'AGGREGATION_TEMPORALITY_UNSPECIFIED 0, AGGREGATION_TEMPORALITY_DELTA 1, AGGREGATION_TEMPORALITY_CUMULATIVE 2',
  ServingStatus: 'UNKNOWN 0, SERVING 1, NOT_SERVING 2, SERVICE_UNKNOWN 3',
  DataPointFlags: 'DATA_POINT_FLAGS_DO_NOT_USE 0, DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK 1',
};
