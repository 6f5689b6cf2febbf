package interop;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import java.time.Instant;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;

/** The Java client's program: the contract of test/interop/README.md with the OpenTelemetry SDK of Java. */
public final class Main {
  private static final long ITEM_EVERY_MS = 20;

  private Main() {}

  public static void main(String[] args) throws InterruptedException {
    // The exporters show a failed export in their log and nowhere else.
    AtomicInteger warnings = new AtomicInteger();
    java.util.logging.Logger.getLogger("").addHandler(new Counter(warnings));
    boolean steady = "steady".equals(System.getenv("INTEROP_MODE"));
    Sdk sdk = new Sdk(Exporters.create(System.getenv()), System.getenv("INTEROP_RUN"), steady);
    AtomicLong ticks = new AtomicLong();
    int items = 0;
    String report = "";
    if (steady) items = createItems(sdk, ticks, Double.parseDouble(System.getenv("INTEROP_SECONDS")));
    else report = KnownSet.send(sdk);
    boolean sent = sdk.shutdown();
    if (!steady && (!sent || warnings.get() > 0)) System.exit(1);
    if (steady) report = String.format("{\"spans\":%d,\"logs\":%d,\"points\":%d}", items, items, ticks.get());
    System.out.println(report);
    System.exit(0);
  }

  /** Creates numbered items; how many. */
  private static int createItems(Sdk sdk, AtomicLong ticks, double seconds) throws InterruptedException {
    sdk.meter()
        .gaugeBuilder("interop.tick")
        .ofLongs()
        .buildWithCallback(measurement -> measurement.record(ticks.getAndIncrement()));
    Tracer tracer = sdk.tracer();
    Logger logger = sdk.logger();
    long end = System.nanoTime() + (long) (seconds * 1e9);
    int items = 0;
    for (; System.nanoTime() < end; items++) {
      Attributes number = Attributes.of(AttributeKey.longKey("interop.seq"), (long) items);
      tracer.spanBuilder("interop.item").setNoParent().setAllAttributes(number).startSpan().end();
      logger
          .logRecordBuilder()
          .setContext(Context.root())
          .setTimestamp(Instant.now())
          .setBody("interop item")
          .setAllAttributes(number)
          .emit();
      Thread.sleep(ITEM_EVERY_MS);
    }
    return items;
  }

  /** Counts what is logged as a warning or worse. */
  private static final class Counter extends Handler {
    private final AtomicInteger count;

    Counter(AtomicInteger count) {
      this.count = count;
    }

    @Override
    public void publish(LogRecord logged) {
      if (logged.getLevel().intValue() >= Level.WARNING.intValue()) count.incrementAndGet();
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }
}
