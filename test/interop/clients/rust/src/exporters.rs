//! The three exporters for the protocol and compression of the environment; everything else at the library's defaults.

use std::collections::HashMap;

use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use tonic::metadata::MetadataMap;

use crate::variable;

pub struct Exporters {
    pub spans: SpanExporter,
    pub logs: LogExporter,
    pub metrics: MetricExporter,
}

pub fn create() -> Result<Exporters, Box<dyn std::error::Error>> {
    let compression = match variable("INTEROP_COMPRESSION").as_str() {
        "none" => None,
        "gzip" => Some(Compression::Gzip),
        "zstd" => Some(Compression::Zstd),
        other => return Err(format!("no compression {other}").into()),
    };
    match variable("INTEROP_PROTOCOL").as_str() {
        "grpc" => grpc(compression),
        "http/protobuf" => Ok(http(Protocol::HttpBinary, compression)?),
        "http/json" => Ok(http(Protocol::HttpJson, compression)?),
        other => Err(format!("no protocol {other}").into()),
    }
}

fn authorization() -> String {
    format!("Bearer {}", variable("INTEROP_TOKEN"))
}

fn grpc(compression: Option<Compression>) -> Result<Exporters, Box<dyn std::error::Error>> {
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", authorization().parse()?);
    let mut spans = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(variable("INTEROP_ENDPOINT"))
        .with_metadata(metadata.clone());
    let mut logs = LogExporter::builder()
        .with_tonic()
        .with_endpoint(variable("INTEROP_ENDPOINT"))
        .with_metadata(metadata.clone());
    let mut metrics =
        MetricExporter::builder().with_tonic().with_endpoint(variable("INTEROP_ENDPOINT")).with_metadata(metadata);
    if let Some(coding) = compression {
        spans = spans.with_compression(coding);
        logs = logs.with_compression(coding);
        metrics = metrics.with_compression(coding);
    }
    Ok(Exporters { spans: spans.build()?, logs: logs.build()?, metrics: metrics.build()? })
}

fn http(protocol: Protocol, compression: Option<Compression>) -> Result<Exporters, ExporterBuildError> {
    let headers = HashMap::from([("authorization".to_string(), authorization())]);
    let url = |signal: &str| format!("{}/v1/{signal}", variable("INTEROP_ENDPOINT"));
    let mut spans = SpanExporter::builder()
        .with_http()
        .with_protocol(protocol)
        .with_endpoint(url("traces"))
        .with_headers(headers.clone());
    let mut logs = LogExporter::builder()
        .with_http()
        .with_protocol(protocol)
        .with_endpoint(url("logs"))
        .with_headers(headers.clone());
    let mut metrics = MetricExporter::builder()
        .with_http()
        .with_protocol(protocol)
        .with_endpoint(url("metrics"))
        .with_headers(headers);
    if let Some(coding) = compression {
        spans = spans.with_compression(coding);
        logs = logs.with_compression(coding);
        metrics = metrics.with_compression(coding);
    }
    Ok(Exporters { spans: spans.build()?, logs: logs.build()?, metrics: metrics.build()? })
}
