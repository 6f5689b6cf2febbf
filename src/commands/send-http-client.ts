/** OTLP/HTTP with protobuf bodies, gzip as exporters send it. */
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import protobuf from 'protobufjs';
import type { Signal } from '../ingest/messages.ts';
import {
  ANSWER_WITHIN_MS,
  type Answer,
  answerOf,
  type ClientOptions,
  nameOf,
  type OtlpClient,
  refused,
  unreachable,
} from './send-client.ts';

const PROTO_DIR = fileURLToPath(new URL('../../proto/', import.meta.url));
const SERVICE: Readonly<Record<Signal, readonly [folder: string, name: string]>> = {
  traces: ['trace', 'Trace'],
  logs: ['logs', 'Logs'],
  metrics: ['metrics', 'Metrics'],
};
const gzipAsync = promisify(gzip);

export function openHttpClient(options: ClientOptions): OtlpClient {
  const root = loadProto();
  return {
    async send(signal, message) {
      const type = root.lookupType(typeName(signal, 'Request'));
      const body = await gzipAsync(type.encode(type.fromObject(message as Record<string, unknown>)).finish());
      return read(await post(options, signal, body), { root, signal, token: options.token });
    },
    // fetch keeps connections alive, which keep no process alive.
    close: () => undefined,
  };
}

async function post(options: ClientOptions, signal: Signal, body: Uint8Array<ArrayBuffer>): Promise<Response> {
  try {
    return await fetch(`${nameOf(options.endpoint)}/v1/${signal}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${options.token}`,
        'content-type': 'application/x-protobuf',
        'content-encoding': 'gzip',
      },
      body,
      // The token is for this endpoint, not for where it may point.
      redirect: 'manual',
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch (error) {
    throw unreachable(options, reasonOf(error));
  }
}

/** fetch says "fetch failed" and keeps the reason inside; of several addresses the first tells. */
function reasonOf(error: unknown): string {
  const { name, cause } = error as Error;
  if (name === 'TimeoutError') return `no answer within ${ANSWER_WITHIN_MS / 1_000} s`;
  const inner = cause instanceof AggregateError ? cause.errors[0] : (cause ?? error);
  return inner instanceof Error ? inner.message : String(inner);
}

async function read(
  response: Response,
  { root, signal, token }: { root: protobuf.Root; signal: Signal; token: string },
): Promise<Answer> {
  const isProtobuf = response.headers.get('content-type')?.startsWith('application/x-protobuf') ?? false;
  const status = `HTTP ${response.status}`;
  try {
    const bytes = new Uint8Array(await response.arrayBuffer());
    const decode = (type: string) => {
      const found = root.lookupType(type);
      return found.toObject(found.decode(bytes), { longs: Number });
    };
    // What is no OTLP (a proxy's page) is not shown, its status is.
    if (!response.ok)
      throw refused(signal, status, isProtobuf ? String(decode('google.rpc.Status')['message'] ?? '') : '', token);
    if (isProtobuf) return answerOf(signal, decode(typeName(signal, 'Response')));
  } catch (error) {
    if (error instanceof Error && error.name === 'BackworkError') throw error;
  }
  throw refused(signal, status, 'and the answer is not OTLP; is this an OTLP/HTTP endpoint?', token);
}

function typeName(signal: Signal, kind: 'Request' | 'Response'): string {
  const [folder, name] = SERVICE[signal];
  return `opentelemetry.proto.collector.${folder}.v1.Export${name}Service${kind}`;
}

function loadProto(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => PROTO_DIR + target;
  const services = Object.values(SERVICE).map(
    ([folder]) => `opentelemetry/proto/collector/${folder}/v1/${folder}_service.proto`,
  );
  root.loadSync([...services, 'google/rpc/status.proto'], { keepCase: false });
  return root;
}
