// The Go client's program: the contract of test/interop/README.md with the OpenTelemetry SDK of Go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	schemaURL     = "https://opentelemetry.io/schemas/1.30.0"
	batchEvery    = 300 * time.Millisecond
	itemEvery     = 20 * time.Millisecond
	shutdownAfter = 60 * time.Second
)

// sdk is the three providers and what is got from each.
type sdk struct {
	tracers *sdktrace.TracerProvider
	loggers *sdklog.LoggerProvider
	meters  *sdkmetric.MeterProvider
	tracer  trace.Tracer
	logger  log.Logger
	meter   metric.Meter
}

func main() {
	steady := os.Getenv("INTEROP_MODE") == "steady"
	var failedExports atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		failedExports.Add(1)
		fmt.Fprintln(os.Stderr, time.Now().Format(time.StampMilli), err)
	}))
	ctx := context.Background()
	made, err := newExporters(ctx, task{
		endpoint:    os.Getenv("INTEROP_ENDPOINT"),
		protocol:    os.Getenv("INTEROP_PROTOCOL"),
		compression: os.Getenv("INTEROP_COMPRESSION"),
		token:       os.Getenv("INTEROP_TOKEN"),
	})
	if err != nil {
		fail(err)
	}
	var failed givenUp
	running := newSDK(failed.watch(made), steady)
	var report func() map[string]any
	if steady {
		report, err = running.createItems(ctx)
	} else {
		report, err = running.sendKnownSet(ctx)
	}
	if err != nil {
		fail(err)
	}
	if err := running.shutdown(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		failedExports.Add(1)
	}
	if failedExports.Load() > 0 && !steady {
		fail(fmt.Errorf("%d exports failed", failedExports.Load()))
	}
	said := report()
	if steady {
		said["givenUp"] = failed.report()
	}
	line, err := json.Marshal(said)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func newSDK(made exporters, steady bool) sdk {
	about := resource.NewSchemaless(
		attribute.String("service.name", "interop"),
		attribute.String("interop.run", os.Getenv("INTEROP_RUN")),
		attribute.Int("interop.number", 7),
	)
	var spans []sdktrace.BatchSpanProcessorOption
	var logs []sdklog.BatchProcessorOption
	var points []sdkmetric.PeriodicReaderOption
	if steady {
		spans = append(spans, sdktrace.WithBatchTimeout(batchEvery))
		logs = append(logs, sdklog.WithExportInterval(batchEvery))
		points = append(points, sdkmetric.WithInterval(batchEvery))
	}
	exponential := sdkmetric.NewView(
		sdkmetric.Instrument{Name: "interop.payload"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}},
	)
	one := sdk{
		tracers: sdktrace.NewTracerProvider(
			sdktrace.WithResource(about),
			sdktrace.WithSampler(sdktrace.AlwaysSample()),
			sdktrace.WithBatcher(made.traces, spans...),
		),
		loggers: sdklog.NewLoggerProvider(
			sdklog.WithResource(about),
			sdklog.WithProcessor(sdklog.NewBatchProcessor(made.logs, logs...)),
		),
		meters: sdkmetric.NewMeterProvider(
			sdkmetric.WithResource(about),
			sdkmetric.WithReader(sdkmetric.NewPeriodicReader(made.metrics, points...)),
			sdkmetric.WithView(exponential),
		),
	}
	const name, version = "interop.scope", "1.2.3"
	one.tracer = one.tracers.Tracer(name, trace.WithInstrumentationVersion(version), trace.WithSchemaURL(schemaURL))
	one.logger = one.loggers.Logger(name, log.WithInstrumentationVersion(version), log.WithSchemaURL(schemaURL))
	one.meter = one.meters.Meter(name, metric.WithInstrumentationVersion(version), metric.WithSchemaURL(schemaURL))
	return one
}

// shutdown flushes all three at once, so that none waits for the retries of another.
func (s sdk) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownAfter)
	defer cancel()
	ends := make(chan error)
	for _, one := range []func(context.Context) error{s.tracers.Shutdown, s.loggers.Shutdown, s.meters.Shutdown} {
		go func() { ends <- one(ctx) }()
	}
	return errors.Join(<-ends, <-ends, <-ends)
}

// createItems creates numbered items for INTEROP_SECONDS.
func (s sdk) createItems(ctx context.Context) (func() map[string]any, error) {
	seconds, err := strconv.ParseFloat(os.Getenv("INTEROP_SECONDS"), 64)
	if err != nil {
		return nil, err
	}
	var ticks atomic.Int64
	_, err = s.meter.Int64ObservableGauge("interop.tick", metric.WithInt64Callback(
		func(_ context.Context, observer metric.Int64Observer) error {
			observer.Observe(ticks.Add(1) - 1)
			return nil
		},
	))
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	items := 0
	for ; time.Now().Before(end); items++ {
		seq := int64(items)
		_, span := s.tracer.Start(ctx, "interop.item", trace.WithAttributes(attribute.Int64("interop.seq", seq)))
		span.End()
		var record log.Record
		record.SetTimestamp(time.Now())
		record.SetBody(attribute.StringValue("interop item"))
		record.AddAttributes(attribute.Int64("interop.seq", seq))
		s.logger.Emit(ctx, record)
		time.Sleep(itemEvery)
	}
	return func() map[string]any {
		return map[string]any{"spans": items, "logs": items, "points": ticks.Load()}
	}, nil
}
