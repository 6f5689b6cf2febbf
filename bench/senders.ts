/** The generator's two clients: one connection each, requests of ready bytes, as little work as the protocol allows. */
import http from 'node:http';
import http2 from 'node:http2';
import type { Signal } from '../src/ingest/messages.ts';

export type Protocol = 'grpc' | 'http';

export interface Sender {
  /** Resolves to undefined when all of the request was accepted, else to what was answered. Never rejects. */
  send(bytes: Buffer): Promise<string | undefined>;
  close(): void;
}

export interface SenderOptions {
  readonly port: number;
  readonly token: string;
  readonly signal: Signal;
  readonly gzip: boolean;
  /** Requests at once. */
  readonly inFlight: number;
}

const DEADLINE_MS = 30_000;
/** The whole connection and each stream may have a request of this size unread by the server. */
const WINDOW_BYTES = 16 * 1024 * 1024;

export function openSender(protocol: Protocol, options: SenderOptions): Sender {
  return protocol === 'grpc' ? openGrpc(options) : openHttp(options);
}

/** Success is grpc-status 0 and a message without content: no partial success. */
function openGrpc({ port, token, signal, gzip }: SenderOptions): Sender {
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: WINDOW_BYTES } });
  let broken: string | undefined;
  session.on('error', (error) => {
    broken = error.message;
  });
  const folder = { traces: 'trace', logs: 'logs', metrics: 'metrics' }[signal];
  const service = { traces: 'Trace', logs: 'Logs', metrics: 'Metrics' }[signal];
  const headers = {
    ':method': 'POST',
    ':path': `/opentelemetry.proto.collector.${folder}.v1.${service}Service/Export`,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${token}`,
    ...(gzip ? { 'grpc-encoding': 'gzip' } : {}),
  };
  return {
    send: (bytes) =>
      new Promise((resolve) => {
        if (broken !== undefined || session.destroyed) return resolve(broken ?? 'the connection is closed');
        const stream = session.request(headers);
        let status: string | undefined;
        let answerBytes = 0;
        const note = (fields: http2.IncomingHttpHeaders) => {
          const code = fields['grpc-status'];
          if (code !== undefined) status = code === '0' ? 'OK' : `grpc-status ${code}: ${fields['grpc-message'] ?? ''}`;
        };
        stream.setTimeout(DEADLINE_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL));
        stream.on('response', note);
        stream.on('trailers', note);
        stream.on('data', (chunk: Buffer) => {
          answerBytes += chunk.length;
        });
        stream.on('error', (error) => resolve(error.message));
        stream.on('close', () => resolve(verdict(status, answerBytes - 5)));
        stream.end(bytes);
      }),
    close: () => session.close(),
  };
}

/** Success is 200 and an empty body. */
function openHttp({ port, token, signal, gzip, inFlight }: SenderOptions): Sender {
  const agent = new http.Agent({ keepAlive: true, maxSockets: inFlight });
  const headers = {
    'content-type': 'application/x-protobuf',
    authorization: `Bearer ${token}`,
    ...(gzip ? { 'content-encoding': 'gzip' } : {}),
  };
  const options = { host: '127.0.0.1', port, path: `/v1/${signal}`, method: 'POST', agent, timeout: DEADLINE_MS };
  return {
    send: (bytes) =>
      new Promise((resolve) => {
        const request = http.request(
          { ...options, headers: { ...headers, 'content-length': bytes.length } },
          (answer) => {
            let answerBytes = 0;
            answer.on('data', (chunk: Buffer) => {
              answerBytes += chunk.length;
            });
            answer.on('end', () =>
              resolve(verdict(answer.statusCode === 200 ? 'OK' : `status ${answer.statusCode}`, answerBytes)),
            );
            answer.on('error', (error) => resolve(error.message));
          },
        );
        request.on('timeout', () => request.destroy(new Error(`no answer within ${DEADLINE_MS} ms`)));
        request.on('error', (error) => resolve(error.message));
        request.end(bytes);
      }),
    close: () => agent.destroy(),
  };
}

function verdict(status: string | undefined, answerBytes: number): string | undefined {
  if (status !== 'OK') return status ?? 'the stream was closed without a status';
  return answerBytes === 0 ? undefined : `accepted with ${answerBytes} bytes of partial success`;
}
