"""The Python client's program: the contract of test/interop/README.md with the OpenTelemetry SDK of Python."""

import json
import os
import time

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

T = 1_767_225_600 * 10**9
MS = 10**6
SCOPE = ("interop.scope", "1.2.3")
SCHEMA_URL = "https://opentelemetry.io/schemas/1.30.0"
ITEM_EVERY_SECONDS = 0.02
BATCH_EVERY_MS = 300
ONE_HOUR_MS = 3_600_000
FLUSH_WITHIN_MS = 60_000


def create_exporters():
    """The three exporters for the protocol and compression of the environment; the rest at the library's defaults."""
    endpoint = os.environ["INTEROP_ENDPOINT"]
    headers = {"authorization": f"Bearer {os.environ['INTEROP_TOKEN']}"}
    compression = os.environ["INTEROP_COMPRESSION"]
    if os.environ["INTEROP_PROTOCOL"] == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        codings = {"none": Compression.NoCompression, "gzip": Compression.Gzip}
        options = {"endpoint": endpoint, "insecure": True, "headers": headers, "compression": codings[compression]}
        return OTLPSpanExporter(**options), OTLPLogExporter(**options), OTLPMetricExporter(**options)

    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    codings = {"none": Compression.NoCompression, "gzip": Compression.Gzip, "deflate": Compression.Deflate}
    options = {"headers": headers, "compression": codings[compression]}
    return (
        OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", **options),
        OTLPLogExporter(endpoint=f"{endpoint}/v1/logs", **options),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", **options),
    )


def send_known_set(tracer, logger, meter):
    root = tracer.start_span(
        "POST /orders",
        context=Context(),
        kind=SpanKind.SERVER,
        start_time=T + 1,
        attributes={
            "interop.string": 'größe "1"',
            "interop.int": 9_007_199_254_740_991,
            "interop.double": 1.5,
            "interop.bool": True,
            "interop.strings": ["a", "b"],
            "interop.ints": [1, 2, 3],
        },
    )
    root.add_event("cache.miss", {"key": "order-7"}, timestamp=T + 500 * MS)
    linked = SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0xB7AD6B7169203331,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    child = tracer.start_span(
        "SELECT orders",
        context=trace.set_span_in_context(root, Context()),
        kind=SpanKind.CLIENT,
        start_time=T + 100 * MS,
        attributes={"db.rows": 3},
        links=[Link(linked, {"why": "retry"})],
    )
    child.set_status(Status(StatusCode.ERROR, "timed out"))
    child.end(T + 900 * MS)
    root.end(T + 10**9 + 2)

    logger.emit(
        LogRecord(
            timestamp=T + 10**9 + 3,
            context=Context(),
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body="order placed",
            attributes={"order.id": "o-7", "order.items": 3, "order.total": 12.5, "order.paid": True},
        )
    )
    logger.emit(
        LogRecord(
            timestamp=T + 800 * MS,
            context=trace.set_span_in_context(child, Context()),
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="payment failed",
            attributes={"exception.type": "Timeout"},
        )
    )
    record_metrics(meter)
    return {
        "traceId": trace.format_trace_id(root.get_span_context().trace_id),
        "rootSpanId": trace.format_span_id(root.get_span_context().span_id),
        "childSpanId": trace.format_span_id(child.get_span_context().span_id),
    }


def record_metrics(meter):
    orders = meter.create_counter("interop.orders", "{order}", "Orders placed")
    for count in (3, 4):
        orders.add(count, {"kind": "web", "region": "eu"})
    queue = meter.create_up_down_counter("interop.queue", "{order}", "Orders waiting")
    for count in (5, -2):
        queue.add(count)
    meter.create_gauge("interop.load", "1", "Load of the shop").set(0.25)
    latency = meter.create_histogram(
        "interop.latency", "ms", "Latency of orders", explicit_bucket_boundaries_advisory=[10, 100]
    )
    for value in (5.0, 50.0, 500.0):
        latency.record(value)
    payload = meter.create_histogram("interop.payload", "By", "Size of orders")
    for value in (1.0, 2.0, 4.0):
        payload.record(value)


def create_items(tracer, logger, meter, seconds, created):
    def tick(_options):
        created["points"] += 1
        return [Observation(created["points"] - 1)]

    meter.create_observable_gauge("interop.tick", [tick])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        attributes = {"interop.seq": created["spans"]}
        tracer.start_span("interop.item", attributes=attributes).end()
        logger.emit(LogRecord(body="interop.item", attributes=attributes))
        created["spans"] += 1
        created["logs"] += 1
        time.sleep(ITEM_EVERY_SECONDS)


def main():
    steady = os.environ["INTEROP_MODE"] == "steady"
    resource = Resource(
        {
            **dict(Resource.create().attributes.items()),
            "service.name": "interop",
            "interop.run": os.environ["INTEROP_RUN"],
            "interop.number": 7,
        }
    )
    spans, logs, metrics = create_exporters()
    delay = {"schedule_delay_millis": BATCH_EVERY_MS} if steady else {}
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(spans, **delay))
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs, **delay))
    interval = BATCH_EVERY_MS if steady else ONE_HOUR_MS
    meters = MeterProvider(
        resource=resource,
        metric_readers=[PeriodicExportingMetricReader(metrics, export_interval_millis=interval)],
        views=[View(instrument_name="interop.payload", aggregation=ExponentialBucketHistogramAggregation())],
        shutdown_on_exit=False,
    )
    tracer = tracers.get_tracer(*SCOPE, schema_url=SCHEMA_URL)
    logger = loggers.get_logger(*SCOPE, schema_url=SCHEMA_URL)
    meter = meters.get_meter(*SCOPE, schema_url=SCHEMA_URL)

    report = {"spans": 0, "logs": 0, "points": 0}
    if steady:
        create_items(tracer, logger, meter, float(os.environ["INTEROP_SECONDS"]), report)
    else:
        report = send_known_set(tracer, logger, meter)
    # A shutdown ends retries that are under way; a flush waits for them.
    tracers.force_flush(FLUSH_WITHIN_MS)
    loggers.force_flush(FLUSH_WITHIN_MS)
    tracers.shutdown()
    loggers.shutdown()
    meters.shutdown(timeout_millis=FLUSH_WITHIN_MS)
    print(json.dumps(report))


main()
