//! The Rust client's program: the contract of test/interop/README.md with the OpenTelemetry SDK of Rust.

mod exporters;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchConfigBuilder as LogBatchConfigBuilder, BatchLogProcessor, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};

const ITEM_EVERY: Duration = Duration::from_millis(20);
const BATCH_EVERY: Duration = Duration::from_millis(300);
const ONE_HOUR: Duration = Duration::from_secs(3_600);

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// T of the known set and this many nanoseconds.
fn at(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + Duration::from_nanos(nanoseconds)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // tonic needs a runtime that runs; the blocking HTTP client must not be built inside one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let grpc = variable("INTEROP_PROTOCOL") == "grpc";
    let guard = grpc.then(|| runtime.enter());
    let exporters = exporters::create()?;
    drop(guard);

    let steady = variable("INTEROP_MODE") == "steady";
    let resource = Resource::builder()
        .with_service_name("interop")
        .with_attribute(KeyValue::new("interop.run", variable("INTEROP_RUN")))
        .with_attribute(KeyValue::new("interop.number", 7))
        .build();
    let mut span_batches = BatchConfigBuilder::default();
    let mut log_batches = LogBatchConfigBuilder::default();
    if steady {
        span_batches = span_batches.with_scheduled_delay(BATCH_EVERY);
        log_batches = log_batches.with_scheduled_delay(BATCH_EVERY);
    }
    let tracers = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_span_processor(BatchSpanProcessor::builder(exporters.spans).with_batch_config(span_batches.build()).build())
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_resource(resource.clone())
        .with_log_processor(BatchLogProcessor::builder(exporters.logs).with_batch_config(log_batches.build()).build())
        .build();
    let interval = if steady { BATCH_EVERY } else { ONE_HOUR };
    let meters = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(PeriodicReader::builder(exporters.metrics).with_interval(interval).build())
        .with_view(exponential)
        .build();
    let scope = InstrumentationScope::builder("interop.scope")
        .with_version("1.2.3")
        .with_schema_url("https://opentelemetry.io/schemas/1.30.0")
        .build();
    let tracer = tracers.tracer_with_scope(scope.clone());
    let logger = loggers.logger_with_scope(scope.clone());
    let meter = meters.meter_with_scope(scope);

    if !steady {
        let report = send_known_set(&tracer, &logger, &meter);
        tracers.shutdown()?;
        loggers.shutdown()?;
        meters.shutdown()?;
        println!("{report}");
        return Ok(());
    }
    let (items, points) = create_items(&tracer, &logger, &meter);
    complain("tracers", tracers.shutdown());
    complain("loggers", loggers.shutdown());
    complain("meters", meters.shutdown());
    let points = points.load(Ordering::SeqCst);
    println!(r#"{{"spans":{items},"logs":{items},"points":{points}}}"#);
    Ok(())
}

fn complain(what: &str, result: OTelSdkResult) {
    if let Err(error) = result {
        eprintln!("{what}: {error}");
    }
}

fn exponential(instrument: &Instrument) -> Option<Stream> {
    if instrument.name() != "interop.payload" {
        return None;
    }
    let aggregation = Aggregation::Base2ExponentialHistogram { max_size: 160, max_scale: 20, record_min_max: true };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

fn send_known_set(tracer: &SdkTracer, logger: &SdkLogger, meter: &Meter) -> String {
    let strings: Vec<StringValue> = vec!["a".into(), "b".into()];
    let mut root = tracer
        .span_builder("POST /orders")
        .with_kind(SpanKind::Server)
        .with_start_time(at(1))
        .with_attributes([
            KeyValue::new("interop.string", "größe \"1\""),
            KeyValue::new("interop.int", 9_007_199_254_740_991_i64),
            KeyValue::new("interop.double", 1.5),
            KeyValue::new("interop.bool", true),
            KeyValue::new("interop.strings", Value::Array(Array::String(strings))),
            KeyValue::new("interop.ints", Value::Array(Array::I64(vec![1, 2, 3]))),
        ])
        .start_with_context(tracer, &Context::new());
    root.add_event_with_timestamp("cache.miss", at(500_000_000), vec![KeyValue::new("key", "order-7")]);
    let root_context = root.span_context().clone();
    let linked = SpanContext::new(
        TraceId::from(0x0af7651916cd43dd8448eb211c80319c_u128),
        SpanId::from(0xb7ad6b7169203331_u64),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let parent = Context::new().with_span(root);
    let mut child = tracer
        .span_builder("SELECT orders")
        .with_kind(SpanKind::Client)
        .with_start_time(at(100_000_000))
        .with_attributes([KeyValue::new("db.rows", 3)])
        .with_links(vec![Link::new(linked, vec![KeyValue::new("why", "retry")], 0)])
        .start_with_context(tracer, &parent);
    child.set_status(Status::error("timed out"));
    let child_context = child.span_context().clone();
    child.end_with_timestamp(at(900_000_000));
    parent.span().end_with_timestamp(at(1_000_000_002));

    let mut info = logger.create_log_record();
    info.set_timestamp(at(1_000_000_003));
    info.set_severity_number(Severity::Info);
    info.set_severity_text("INFO");
    info.set_body("order placed".into());
    info.add_attribute("order.id", "o-7");
    info.add_attribute("order.items", 3);
    info.add_attribute("order.total", 12.5);
    info.add_attribute("order.paid", AnyValue::Boolean(true));
    logger.emit(info);
    let mut error = logger.create_log_record();
    error.set_timestamp(at(800_000_000));
    error.set_severity_number(Severity::Error);
    error.set_severity_text("ERROR");
    error.set_body("payment failed".into());
    error.add_attribute("exception.type", "Timeout");
    error.set_trace_context(child_context.trace_id(), child_context.span_id(), Some(child_context.trace_flags()));
    logger.emit(error);

    record_metrics(meter);
    format!(
        r#"{{"traceId":"{}","rootSpanId":"{}","childSpanId":"{}"}}"#,
        root_context.trace_id(),
        root_context.span_id(),
        child_context.span_id()
    )
}

fn record_metrics(meter: &Meter) {
    let orders = meter.u64_counter("interop.orders").with_unit("{order}").with_description("Orders placed").build();
    for count in [3, 4] {
        orders.add(count, &[KeyValue::new("kind", "web"), KeyValue::new("region", "eu")]);
    }
    let queue =
        meter.i64_up_down_counter("interop.queue").with_unit("{order}").with_description("Orders waiting").build();
    for count in [5, -2] {
        queue.add(count, &[]);
    }
    meter.f64_gauge("interop.load").with_unit("1").with_description("Load of the shop").build().record(0.25, &[]);
    let latency = meter
        .f64_histogram("interop.latency")
        .with_unit("ms")
        .with_description("Latency of orders")
        .with_boundaries(vec![10.0, 100.0])
        .build();
    for value in [5.0, 50.0, 500.0] {
        latency.record(value, &[]);
    }
    let payload = meter.f64_histogram("interop.payload").with_unit("By").with_description("Size of orders").build();
    for value in [1.0, 2.0, 4.0] {
        payload.record(value, &[]);
    }
}

fn create_items(tracer: &SdkTracer, logger: &SdkLogger, meter: &Meter) -> (i64, Arc<AtomicI64>) {
    let points = Arc::new(AtomicI64::new(0));
    let collected = Arc::clone(&points);
    let _gauge = meter
        .i64_observable_gauge("interop.tick")
        .with_callback(move |observer| observer.observe(collected.fetch_add(1, Ordering::SeqCst), &[]))
        .build();
    let seconds = variable("INTEROP_SECONDS").parse().unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut items = 0_i64;
    while Instant::now() < end {
        let attributes = [KeyValue::new("interop.seq", items)];
        tracer.span_builder("interop.item").with_attributes(attributes).start(tracer).end();
        let mut record = logger.create_log_record();
        record.set_body("interop.item".into());
        record.add_attribute("interop.seq", items);
        logger.emit(record);
        items += 1;
        std::thread::sleep(ITEM_EVERY);
    }
    (items, points)
}
