/** OTLP/gRPC by grpc-js: a real peer of our own handler. */
import { fileURLToPath } from 'node:url';
import { Client, compressionAlgorithms, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { Signal } from '../ingest/messages.ts';
import {
  ANSWER_WITHIN_MS,
  type Answer,
  answerOf,
  type ClientOptions,
  type OtlpClient,
  refused,
  unreachable,
} from './send-client.ts';

const PROTO_DIR = fileURLToPath(new URL('../../proto/', import.meta.url));
const SERVICE: Readonly<Record<Signal, string>> = {
  traces: 'trace.v1.TraceService',
  logs: 'logs.v1.LogsService',
  metrics: 'metrics.v1.MetricsService',
};

export function openGrpcClient(options: ClientOptions): OtlpClient {
  const definition = loadSync(
    ['trace', 'logs', 'metrics'].map((folder) => `opentelemetry/proto/collector/${folder}/v1/${folder}_service.proto`),
    { includeDirs: [PROTO_DIR], longs: Number },
  );
  const { endpoint, token } = options;
  const secure = endpoint.protocol === 'https:';
  const address = endpoint.port === '' ? `${endpoint.hostname}:${secure ? 443 : 80}` : endpoint.host;
  const client = new Client(address, secure ? credentials.createSsl() : credentials.createInsecure(), {
    'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
    // The endpoint is spoken to directly, as over HTTP, whatever the environment says of proxies.
    'grpc.enable_http_proxy': 0,
  });
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return {
    send(signal, message) {
      const service = definition[`opentelemetry.proto.collector.${SERVICE[signal]}`] as ServiceDefinition;
      return call(client, service['Export'] as MethodDefinition<object, object>, {
        signal,
        message,
        metadata,
        options,
      });
    },
    close: () => client.close(),
  };
}

interface Call {
  readonly signal: Signal;
  readonly message: object;
  readonly metadata: Metadata;
  readonly options: ClientOptions;
}

function call(client: Client, method: MethodDefinition<object, object>, { signal, message, metadata, options }: Call) {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  client.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    message,
    metadata,
    { deadline: Date.now() + ANSWER_WITHIN_MS },
    (error, response) => {
      if (error !== null) reject(failure(error, signal, options));
      else resolve(answerOf(signal, response ?? {}));
    },
  );
  return promise;
}

/** grpc-js reports its own trouble with the same codes as a server; a server's answer brings metadata of its own. */
function failure(error: ServiceError, signal: Signal, options: ClientOptions): Error {
  if (error.code === status.DEADLINE_EXCEEDED) {
    return unreachable(options, `no answer within ${ANSWER_WITHIN_MS / 1_000} s`);
  }
  const isOurs =
    error.code === status.UNAVAILABLE && /^(No connection|Name resolution|Connection dropped)/.test(error.details);
  if (isOurs) return unreachable(options, error.details);
  return refused(signal, status[error.code] ?? `gRPC status ${error.code}`, error.details, options.token);
}
