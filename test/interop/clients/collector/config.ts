/** The Collector's configuration of one run, as text. */

/** What a run sets; everything else stays at the Collector's defaults. */
export interface CollectorRun {
  readonly exporter: 'otlp_grpc' | 'otlp_http';
  /** Of the service that the exporter sends to, with scheme. */
  readonly endpoint: string;
  readonly token: string;
  readonly receiverPort: number;
  /** The Collector's own metrics. */
  readonly metricsPort: number;
  /** Where the persistent queue keeps its file; undefined: the default queue, in memory. */
  readonly queueDirectory: string | undefined;
}

/** JSON is YAML, so that no value needs YAML's quoting. */
export function collectorConfig(run: CollectorRun): string {
  const pipeline = { receivers: ['otlp'], processors: ['batch'], exporters: [run.exporter] };
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${run.receiverPort}` } } } },
    processors: { batch: {} },
    exporters: { [run.exporter]: exporter(run) },
    extensions: run.queueDirectory === undefined ? {} : { file_storage: { directory: run.queueDirectory } },
    service: {
      extensions: run.queueDirectory === undefined ? [] : ['file_storage'],
      telemetry: { metrics: { readers: [metricsReader(run.metricsPort)] } },
      pipelines: { traces: pipeline, metrics: pipeline, logs: pipeline },
    },
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

function exporter(run: CollectorRun): Record<string, unknown> {
  // The gRPC exporter expects TLS unless it is told; the HTTP one sees it from the scheme.
  const target =
    run.exporter === 'otlp_grpc'
      ? { endpoint: new URL(run.endpoint).host, tls: { insecure: true } }
      : { endpoint: run.endpoint };
  const queue = run.queueDirectory === undefined ? {} : { sending_queue: { storage: 'file_storage' } };
  return { ...target, headers: { authorization: `Bearer ${run.token}` }, ...queue };
}

function metricsReader(port: number): Record<string, unknown> {
  return { pull: { exporter: { prometheus: { host: '127.0.0.1', port } } } };
}
