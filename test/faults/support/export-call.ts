/** One OTLP/HTTP request to the service and what was answered, for faults that are in the content. */
import { gzipSync } from 'node:zlib';
import type { Signal } from '../../../src/ingest/messages.ts';
import { loadProto } from '../../proto/load-proto.ts';
import type { TestService } from '../../support/service.ts';

export interface Exported {
  readonly status: number;
  readonly rejected: number;
  readonly message: string;
}

const RESPONSE: Record<Signal, readonly [type: string, count: string]> = {
  traces: ['opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse', 'rejectedSpans'],
  logs: ['opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse', 'rejectedLogRecords'],
  metrics: ['opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse', 'rejectedDataPoints'],
};

/** A string is sent as OTLP/JSON, bytes as protobuf. */
export async function exportOver(
  service: TestService,
  signal: Signal,
  body: Buffer | string,
  gzip = false,
): Promise<Exported> {
  const json = typeof body === 'string';
  const bytes = Buffer.from(body as string);
  const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/${signal}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${service.token}`,
      'content-type': json ? 'application/json' : 'application/x-protobuf',
      ...(gzip ? { 'content-encoding': 'gzip' } : {}),
    },
    body: new Uint8Array(gzip ? gzipSync(bytes) : bytes),
  });
  const answered = Buffer.from(await answer.arrayBuffer());
  if (answer.status !== 200) return { status: answer.status, rejected: 0, message: answered.toString('latin1') };
  const [typeName, count] = RESPONSE[signal];
  const plain = json ? (JSON.parse(answered.toString()) as object) : decode(typeName, answered);
  const partial = (plain as { partialSuccess?: Record<string, string> }).partialSuccess ?? {};
  return { status: 200, rejected: Number(partial[count] ?? 0), message: partial['errorMessage'] ?? '' };
}

function decode(typeName: string, bytes: Buffer): object {
  const type = loadProto().lookupType(typeName);
  return type.toObject(type.decode(bytes), { longs: String });
}
