package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

type exporters struct {
	traces  trace.SpanExporter
	logs    log.Exporter
	metrics metric.Exporter
}

// task is what the INTEROP_ variables say about sending.
type task struct {
	endpoint    string
	protocol    string
	compression string
	token       string
}

// newExporters makes the library's exporters with its defaults but for endpoint, compression and the authorization header.
func newExporters(ctx context.Context, t task) (exporters, error) {
	headers := map[string]string{"authorization": "Bearer " + t.token}
	switch {
	case t.compression != "none" && t.compression != "gzip":
		return exporters{}, fmt.Errorf("no compression %q", t.compression)
	case t.protocol == "grpc":
		return grpcExporters(ctx, t, headers)
	case t.protocol == "http/protobuf", t.protocol == "http/json":
		return httpExporters(ctx, t, headers)
	default:
		return exporters{}, fmt.Errorf("no protocol %q", t.protocol)
	}
}

func grpcExporters(ctx context.Context, t task, headers map[string]string) (made exporters, err error) {
	// An endpoint with the scheme http sends without TLS, as WithInsecure does; the default is TLS.
	traces := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(t.endpoint), otlptracegrpc.WithHeaders(headers)}
	logs := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(t.endpoint), otlploggrpc.WithHeaders(headers)}
	metrics := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpointURL(t.endpoint), otlpmetricgrpc.WithHeaders(headers)}
	if t.compression == "gzip" {
		traces = append(traces, otlptracegrpc.WithCompressor("gzip"))
		logs = append(logs, otlploggrpc.WithCompressor("gzip"))
		metrics = append(metrics, otlpmetricgrpc.WithCompressor("gzip"))
	}
	if made.traces, err = otlptrace.New(ctx, otlptracegrpc.NewClient(traces...)); err != nil {
		return
	}
	if made.logs, err = otlploggrpc.New(ctx, logs...); err != nil {
		return
	}
	made.metrics, err = otlpmetricgrpc.New(ctx, metrics...)
	return
}

func httpExporters(ctx context.Context, t task, headers map[string]string) (made exporters, err error) {
	traces := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(t.endpoint + "/v1/traces"), otlptracehttp.WithHeaders(headers)}
	logs := []otlploghttp.Option{otlploghttp.WithEndpointURL(t.endpoint + "/v1/logs"), otlploghttp.WithHeaders(headers)}
	metrics := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpointURL(t.endpoint + "/v1/metrics"), otlpmetrichttp.WithHeaders(headers)}
	// The exporters of logs and metrics have no JSON.
	if t.protocol == "http/json" {
		traces = append(traces, otlptracehttp.WithEncoding(otlptracehttp.EncodingJSON))
	}
	if t.compression == "gzip" {
		traces = append(traces, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
		logs = append(logs, otlploghttp.WithCompression(otlploghttp.GzipCompression))
		metrics = append(metrics, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	}
	if made.traces, err = otlptrace.New(ctx, otlptracehttp.NewClient(traces...)); err != nil {
		return
	}
	if made.logs, err = otlploghttp.New(ctx, logs...); err != nil {
		return
	}
	made.metrics, err = otlpmetrichttp.New(ctx, metrics...)
	return
}
