package main

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// at is a time of the known set, nanoseconds after its T.
func at(afterNs int64) time.Time {
	return time.Unix(1_767_225_600, afterNs)
}

const (
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

func (s sdk) sendKnownSet(ctx context.Context) (func() map[string]any, error) {
	root, child, err := s.sendTrace(ctx)
	if err != nil {
		return nil, err
	}
	s.sendLogs(ctx, child)
	if err := s.sendMetrics(ctx); err != nil {
		return nil, err
	}
	return func() map[string]any {
		return map[string]any{
			"traceId":     root.TraceID().String(),
			"rootSpanId":  root.SpanID().String(),
			"childSpanId": child.SpanID().String(),
		}
	}, nil
}

func (s sdk) sendTrace(ctx context.Context) (root, child trace.SpanContext, err error) {
	rootCtx, rootSpan := s.tracer.Start(ctx, "POST /orders",
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(at(1)),
		trace.WithAttributes(
			attribute.String("interop.string", `größe "1"`),
			attribute.Int64("interop.int", 9007199254740991),
			attribute.Float64("interop.double", 1.5),
			attribute.Bool("interop.bool", true),
			attribute.StringSlice("interop.strings", []string{"a", "b"}),
			attribute.IntSlice("interop.ints", []int{1, 2, 3}),
		),
	)
	rootSpan.AddEvent("cache.miss",
		trace.WithTimestamp(at(500*millisecond)),
		trace.WithAttributes(attribute.String("key", "order-7")),
	)
	traceID, errTrace := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	spanID, errSpan := trace.SpanIDFromHex("b7ad6b7169203331")
	linked := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled})
	_, childSpan := s.tracer.Start(rootCtx, "SELECT orders",
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(at(100*millisecond)),
		trace.WithAttributes(attribute.Int("db.rows", 3)),
		trace.WithLinks(trace.Link{SpanContext: linked, Attributes: []attribute.KeyValue{attribute.String("why", "retry")}}),
	)
	childSpan.SetStatus(codes.Error, "timed out")
	childSpan.End(trace.WithTimestamp(at(900 * millisecond)))
	rootSpan.End(trace.WithTimestamp(at(second + 2)))
	return rootSpan.SpanContext(), childSpan.SpanContext(), errors.Join(errTrace, errSpan)
}

func (s sdk) sendLogs(ctx context.Context, child trace.SpanContext) {
	var info log.Record
	info.SetTimestamp(at(second + 3))
	info.SetSeverity(log.SeverityInfo)
	info.SetSeverityText("INFO")
	info.SetBody(attribute.StringValue("order placed"))
	info.AddAttributes(
		attribute.String("order.id", "o-7"),
		attribute.Int("order.items", 3),
		attribute.Float64("order.total", 12.5),
		attribute.Bool("order.paid", true),
	)
	s.logger.Emit(ctx, info)

	var failure log.Record
	failure.SetTimestamp(at(800 * millisecond))
	failure.SetSeverity(log.SeverityError)
	failure.SetSeverityText("ERROR")
	failure.SetBody(attribute.StringValue("payment failed"))
	failure.AddAttributes(attribute.String("exception.type", "Timeout"))
	s.logger.Emit(trace.ContextWithSpanContext(ctx, child), failure)
}

func (s sdk) sendMetrics(ctx context.Context) error {
	orders, errOrders := s.meter.Int64Counter("interop.orders",
		metric.WithUnit("{order}"), metric.WithDescription("Orders placed"))
	queue, errQueue := s.meter.Int64UpDownCounter("interop.queue",
		metric.WithUnit("{order}"), metric.WithDescription("Orders waiting"))
	load, errLoad := s.meter.Float64Gauge("interop.load",
		metric.WithUnit("1"), metric.WithDescription("Load of the shop"))
	latency, errLatency := s.meter.Float64Histogram("interop.latency",
		metric.WithUnit("ms"), metric.WithDescription("Latency of orders"), metric.WithExplicitBucketBoundaries(10, 100))
	payload, errPayload := s.meter.Float64Histogram("interop.payload",
		metric.WithUnit("By"), metric.WithDescription("Size of orders"))
	if err := errors.Join(errOrders, errQueue, errLoad, errLatency, errPayload); err != nil {
		return err
	}
	kinds := metric.WithAttributes(attribute.String("kind", "web"), attribute.String("region", "eu"))
	orders.Add(ctx, 3, kinds)
	orders.Add(ctx, 4, kinds)
	queue.Add(ctx, 5)
	queue.Add(ctx, -2)
	load.Record(ctx, 0.25)
	for _, ms := range []float64{5, 50, 500} {
		latency.Record(ctx, ms)
	}
	for _, bytes := range []float64{1, 2, 4} {
		payload.Record(ctx, bytes)
	}
	return nil
}
