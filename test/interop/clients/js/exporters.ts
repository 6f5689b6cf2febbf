/** The three exporters for the protocol and compression of the environment; everything else at the library's defaults. */
import { credentials, Metadata } from '@grpc/grpc-js';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import type { PushMetricExporter } from '@opentelemetry/sdk-metrics';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';

export interface Exporters {
  readonly traces: SpanExporter;
  readonly logs: LogRecordExporter;
  readonly metrics: PushMetricExporter;
}

export function createExporters(): Exporters {
  const endpoint = process.env['INTEROP_ENDPOINT'] ?? '';
  const authorization = `Bearer ${process.env['INTEROP_TOKEN']}`;
  const compression =
    process.env['INTEROP_COMPRESSION'] === 'gzip' ? CompressionAlgorithm.GZIP : CompressionAlgorithm.NONE;
  if (process.env['INTEROP_PROTOCOL'] === 'grpc') {
    const metadata = new Metadata();
    metadata.set('authorization', authorization);
    const options = { url: endpoint, credentials: credentials.createInsecure(), metadata, compression };
    return { traces: new GrpcTraces(options), logs: new GrpcLogs(options), metrics: new GrpcMetrics(options) };
  }
  const options = (signal: string) => ({
    url: `${endpoint}/v1/${signal}`,
    headers: { authorization },
    compression,
  });
  if (process.env['INTEROP_PROTOCOL'] === 'http/json')
    return {
      traces: new JsonTraces(options('traces')),
      logs: new JsonLogs(options('logs')),
      metrics: new JsonMetrics(options('metrics')),
    };
  return {
    traces: new ProtoTraces(options('traces')),
    logs: new ProtoLogs(options('logs')),
    metrics: new ProtoMetrics(options('metrics')),
  };
}
