package interop;

import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.Map;

/** The library's exporters with its defaults but for endpoint, compression and the authorization header. */
record Exporters(SpanExporter traces, LogRecordExporter logs, MetricExporter metrics) {

  static Exporters create(Map<String, String> environment) {
    String endpoint = environment.get("INTEROP_ENDPOINT");
    String compression = environment.get("INTEROP_COMPRESSION");
    String authorization = "Bearer " + environment.get("INTEROP_TOKEN");
    String protocol = environment.get("INTEROP_PROTOCOL");
    return switch (protocol) {
      case "grpc" -> grpc(endpoint, compression, authorization);
      case "http/protobuf" -> http(endpoint, compression, authorization);
      default -> throw new IllegalArgumentException("no protocol " + protocol);
    };
  }

  private static Exporters grpc(String endpoint, String compression, String authorization) {
    return new Exporters(
        OtlpGrpcSpanExporter.builder()
            .setEndpoint(endpoint)
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build(),
        OtlpGrpcLogRecordExporter.builder()
            .setEndpoint(endpoint)
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build(),
        OtlpGrpcMetricExporter.builder()
            .setEndpoint(endpoint)
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build());
  }

  private static Exporters http(String endpoint, String compression, String authorization) {
    return new Exporters(
        OtlpHttpSpanExporter.builder()
            .setEndpoint(endpoint + "/v1/traces")
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build(),
        OtlpHttpLogRecordExporter.builder()
            .setEndpoint(endpoint + "/v1/logs")
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build(),
        OtlpHttpMetricExporter.builder()
            .setEndpoint(endpoint + "/v1/metrics")
            .setCompression(compression)
            .addHeader("authorization", authorization)
            .build());
  }
}
