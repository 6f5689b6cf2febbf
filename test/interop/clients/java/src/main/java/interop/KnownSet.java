package interop;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.metrics.DoubleHistogram;
import io.opentelemetry.api.metrics.LongCounter;
import io.opentelemetry.api.metrics.LongUpDownCounter;
import io.opentelemetry.api.metrics.Meter;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import java.time.Instant;
import java.util.List;

/** The known set of test/interop/README.md. */
final class KnownSet {
  private static final Instant T = Instant.ofEpochSecond(1_767_225_600L);

  private KnownSet() {}

  /** Sends all three signals; the line to print. */
  static String send(Sdk sdk) {
    Span root = startRoot(sdk.tracer());
    Span child = sendChild(sdk.tracer(), root);
    root.end(T.plusSeconds(1).plusNanos(2));
    sendLogs(sdk.logger(), child);
    sendMetrics(sdk.meter());
    return String.format(
        "{\"traceId\":\"%s\",\"rootSpanId\":\"%s\",\"childSpanId\":\"%s\"}",
        root.getSpanContext().getTraceId(),
        root.getSpanContext().getSpanId(),
        child.getSpanContext().getSpanId());
  }

  private static Span startRoot(Tracer tracer) {
    Span root =
        tracer
            .spanBuilder("POST /orders")
            .setNoParent()
            .setSpanKind(SpanKind.SERVER)
            .setStartTimestamp(T.plusNanos(1))
            .setAttribute("interop.string", "größe \"1\"")
            .setAttribute("interop.int", 9007199254740991L)
            .setAttribute("interop.double", 1.5)
            .setAttribute("interop.bool", true)
            .setAttribute(AttributeKey.stringArrayKey("interop.strings"), List.of("a", "b"))
            .setAttribute(AttributeKey.longArrayKey("interop.ints"), List.of(1L, 2L, 3L))
            .startSpan();
    Attributes key = Attributes.of(AttributeKey.stringKey("key"), "order-7");
    root.addEvent("cache.miss", key, T.plusMillis(500));
    return root;
  }

  private static Span sendChild(Tracer tracer, Span root) {
    SpanContext linked =
        SpanContext.create(
            "0af7651916cd43dd8448eb211c80319c",
            "b7ad6b7169203331",
            TraceFlags.getSampled(),
            TraceState.getDefault());
    Span child =
        tracer
            .spanBuilder("SELECT orders")
            .setParent(Context.root().with(root))
            .setSpanKind(SpanKind.CLIENT)
            .setStartTimestamp(T.plusMillis(100))
            .setAttribute("db.rows", 3)
            .addLink(linked, Attributes.of(AttributeKey.stringKey("why"), "retry"))
            .startSpan();
    child.setStatus(StatusCode.ERROR, "timed out");
    child.end(T.plusMillis(900));
    return child;
  }

  private static void sendLogs(Logger logger, Span child) {
    logger
        .logRecordBuilder()
        .setContext(Context.root())
        .setTimestamp(T.plusSeconds(1).plusNanos(3))
        .setSeverity(Severity.INFO)
        .setSeverityText("INFO")
        .setBody("order placed")
        .setAttribute("order.id", "o-7")
        .setAttribute("order.items", 3)
        .setAttribute("order.total", 12.5)
        .setAttribute("order.paid", true)
        .emit();
    logger
        .logRecordBuilder()
        .setContext(Context.root().with(child))
        .setTimestamp(T.plusMillis(800))
        .setSeverity(Severity.ERROR)
        .setSeverityText("ERROR")
        .setBody("payment failed")
        .setAttribute("exception.type", "Timeout")
        .emit();
  }

  private static void sendMetrics(Meter meter) {
    LongCounter orders =
        meter.counterBuilder("interop.orders").setUnit("{order}").setDescription("Orders placed").build();
    Attributes web =
        Attributes.of(AttributeKey.stringKey("kind"), "web", AttributeKey.stringKey("region"), "eu");
    orders.add(3, web);
    orders.add(4, web);
    LongUpDownCounter queue =
        meter.upDownCounterBuilder("interop.queue").setUnit("{order}").setDescription("Orders waiting").build();
    queue.add(5);
    queue.add(-2);
    meter.gaugeBuilder("interop.load").setUnit("1").setDescription("Load of the shop").build().set(0.25);
    DoubleHistogram latency =
        meter
            .histogramBuilder("interop.latency")
            .setUnit("ms")
            .setDescription("Latency of orders")
            .setExplicitBucketBoundariesAdvice(List.of(10.0, 100.0))
            .build();
    List.of(5.0, 50.0, 500.0).forEach(latency::record);
    DoubleHistogram payload =
        meter.histogramBuilder("interop.payload").setUnit("By").setDescription("Size of orders").build();
    List.of(1.0, 2.0, 4.0).forEach(payload::record);
  }
}
