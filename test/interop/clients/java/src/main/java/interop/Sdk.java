package interop;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.metrics.Meter;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessorBuilder;
import io.opentelemetry.sdk.metrics.Aggregation;
import io.opentelemetry.sdk.metrics.InstrumentSelector;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.View;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReaderBuilder;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessorBuilder;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The three providers and what is got from each. */
final class Sdk {
  private static final String SCOPE = "interop.scope";
  private static final String VERSION = "1.2.3";
  private static final String SCHEMA_URL = "https://opentelemetry.io/schemas/1.30.0";
  private static final Duration BATCH_EVERY = Duration.ofMillis(300);
  /**
   * The reader waits for an export as long as its interval is, and then collects again into the same points, under a
   * request that is still being retried. So a shorter interval keeps the wait of the default one.
   */
  private static final Duration READER_WAITS = Duration.ofSeconds(60);

  private static final long SHUTDOWN_SECONDS = 60;

  private final SdkTracerProvider tracers;
  private final SdkLoggerProvider loggers;
  private final SdkMeterProvider meters;

  Sdk(Exporters exporters, String run, boolean steady) {
    Resource resource =
        Resource.create(
            Attributes.of(
                AttributeKey.stringKey("service.name"), "interop",
                AttributeKey.stringKey("interop.run"), run,
                AttributeKey.longKey("interop.number"), 7L));
    BatchSpanProcessorBuilder spans = BatchSpanProcessor.builder(exporters.traces());
    BatchLogRecordProcessorBuilder logs = BatchLogRecordProcessor.builder(exporters.logs());
    PeriodicMetricReaderBuilder points = PeriodicMetricReader.builder(exporters.metrics());
    if (steady) {
      spans.setScheduleDelay(BATCH_EVERY);
      logs.setScheduleDelay(BATCH_EVERY);
      points.setInterval(BATCH_EVERY).setExporterTimeout(READER_WAITS);
    }
    tracers =
        SdkTracerProvider.builder()
            .setResource(resource)
            .setSampler(Sampler.alwaysOn())
            .addSpanProcessor(spans.build())
            .build();
    loggers = SdkLoggerProvider.builder().setResource(resource).addLogRecordProcessor(logs.build()).build();
    meters =
        SdkMeterProvider.builder()
            .setResource(resource)
            .registerMetricReader(points.build())
            .registerView(
                InstrumentSelector.builder().setName("interop.payload").build(),
                View.builder().setAggregation(Aggregation.base2ExponentialBucketHistogram()).build())
            .build();
  }

  Tracer tracer() {
    return tracers.tracerBuilder(SCOPE).setInstrumentationVersion(VERSION).setSchemaUrl(SCHEMA_URL).build();
  }

  Logger logger() {
    return loggers.loggerBuilder(SCOPE).setInstrumentationVersion(VERSION).setSchemaUrl(SCHEMA_URL).build();
  }

  Meter meter() {
    return meters.meterBuilder(SCOPE).setInstrumentationVersion(VERSION).setSchemaUrl(SCHEMA_URL).build();
  }

  /** Flushes all three at once, so that none waits for the retries of another; whether all was sent. */
  boolean shutdown() {
    CompletableResultCode all =
        CompletableResultCode.ofAll(List.of(tracers.shutdown(), loggers.shutdown(), meters.shutdown()));
    return all.join(SHUTDOWN_SECONDS, TimeUnit.SECONDS).isSuccess();
  }
}
