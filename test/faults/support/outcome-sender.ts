/** A client that tells how it was answered: what an exporter would do with it, and what it said. */
import http from 'node:http';
import grpc from '@grpc/grpc-js';
import type { Protocol } from '../../support/load.ts';

export interface Outcome {
  /**
   * `retried`: refused in a form that every exporter sends again, with the time to wait. `dropped`: refused otherwise, so an
   * exporter loses it. `unanswered`: no answer came within the deadline, or the connection broke.
   */
  readonly kind: 'accepted' | 'retried' | 'dropped' | 'unanswered';
  /** `429`, `gRPC 14`, and what was missing. */
  readonly status: string;
  readonly message: string;
}

export interface OutcomeSender {
  send(body: Buffer): Promise<Outcome>;
  close(): void;
}

const RETRY_INFO = 'google.rpc.RetryInfo';
const RETRYABLE_STATUS = [429, 502, 503, 504];
const MESSAGE_LENGTH = 200;

export function outcomeSender(protocol: Protocol, port: number, token: string, deadlineMs = 20_000): OutcomeSender {
  return protocol === 'grpc' ? overGrpc(port, token, deadlineMs) : overHttp(port, token, deadlineMs);
}

function overHttp(port: number, token: string, deadlineMs: number): OutcomeSender {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { 'content-type': 'application/x-protobuf', authorization: `Bearer ${token}` };
  const options = { host: '127.0.0.1', port, path: '/v1/logs', method: 'POST', headers, agent, timeout: deadlineMs };
  return {
    send: (body) =>
      new Promise((resolve) => {
        const request = http.request(options, (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('end', () => resolve(ofHttp(answer, Buffer.concat(chunks))));
          answer.on('error', (error) => resolve(unanswered(error)));
        });
        request.on('timeout', () => request.destroy(new Error('the deadline is over')));
        request.on('error', (error) => resolve(unanswered(error)));
        request.end(body);
      }),
    close: () => agent.destroy(),
  };
}

function ofHttp(answer: http.IncomingMessage, body: Buffer): Outcome {
  const message = body.toString('latin1').slice(0, MESSAGE_LENGTH);
  const status = answer.statusCode ?? 0;
  if (status === 200 && body.length === 0) return { kind: 'accepted', status: '200', message };
  const waits = Number(answer.headers['retry-after']) > 0;
  if (RETRYABLE_STATUS.includes(status) && waits) return { kind: 'retried', status: `${status}`, message };
  return { kind: 'dropped', status: `${status}${waits ? '' : ' without Retry-After'}`, message };
}

function overGrpc(port: number, token: string, deadlineMs: number): OutcomeSender {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 200,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const path = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
  const same = (bytes: Buffer) => bytes;
  return {
    send: (body) =>
      new Promise((resolve) => {
        const deadline = Date.now() + deadlineMs;
        client.makeUnaryRequest(path, same, same, body, metadata, { deadline }, (error, answer) => {
          if (error === null) resolve(ofGrpcAnswer(answer ?? Buffer.alloc(0)));
          else resolve(ofGrpcError(error));
        });
      }),
    close: () => client.close(),
  };
}

function ofGrpcAnswer(answer: Buffer): Outcome {
  const kind = answer.length === 0 ? 'accepted' : 'dropped';
  return { kind, status: 'gRPC 0', message: answer.toString('latin1').slice(0, MESSAGE_LENGTH) };
}

function ofGrpcError(error: grpc.ServiceError): Outcome {
  const details = error.metadata?.get('grpc-status-details-bin')[0];
  const waits = Buffer.isBuffer(details) && details.includes(RETRY_INFO);
  const message = error.details.slice(0, MESSAGE_LENGTH);
  // Both come from the client itself when the connection is gone; the service never sends a status without RetryInfo for them.
  const broken = error.code === grpc.status.DEADLINE_EXCEEDED || (error.code === grpc.status.UNAVAILABLE && !waits);
  if (broken && !fromServer(error)) return { kind: 'unanswered', status: `gRPC ${error.code}`, message };
  if (error.code === grpc.status.UNAVAILABLE && waits) return { kind: 'retried', status: 'gRPC 14', message };
  return { kind: 'dropped', status: `gRPC ${error.code}${waits ? '' : ' without RetryInfo'}`, message };
}

/** The service's answers come as trailers with headers of its own; an error of the client has none. */
function fromServer(error: grpc.ServiceError): boolean {
  return Object.keys(error.metadata?.getMap() ?? {}).length > 0;
}

function unanswered(error: Error): Outcome {
  return { kind: 'unanswered', status: 'no answer', message: error.message };
}
