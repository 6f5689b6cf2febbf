package main

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
)

// givenUp counts the items of exports that ended with an error: what the library will not send again.
type givenUp struct {
	spans  atomic.Int64
	logs   atomic.Int64
	points atomic.Int64
}

func (g *givenUp) report() map[string]any {
	return map[string]any{"spans": g.spans.Load(), "logs": g.logs.Load(), "points": g.points.Load()}
}

// watch returns exporters that do what these do, and count.
func (g *givenUp) watch(made exporters) exporters {
	return exporters{
		traces:  watchedSpans{made.traces, g},
		logs:    watchedLogs{made.logs, g},
		metrics: watchedMetrics{made.metrics, g},
	}
}

type watchedSpans struct {
	trace.SpanExporter
	count *givenUp
}

func (w watchedSpans) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		w.count.spans.Add(int64(len(spans)))
	}
	return err
}

type watchedLogs struct {
	log.Exporter
	count *givenUp
}

func (w watchedLogs) Export(ctx context.Context, records []log.Record) error {
	err := w.Exporter.Export(ctx, records)
	if err != nil {
		w.count.logs.Add(int64(len(records)))
	}
	return err
}

type watchedMetrics struct {
	metric.Exporter
	count *givenUp
}

// Export counts one point: a steady run has one instrument.
func (w watchedMetrics) Export(ctx context.Context, collected *metricdata.ResourceMetrics) error {
	err := w.Exporter.Export(ctx, collected)
	if err != nil {
		w.count.points.Add(1)
	}
	return err
}
