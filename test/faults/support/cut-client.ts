/** Exports whose connection the client ends hard: before the answer, or when its first byte has come. */
import http2 from 'node:http2';
import net from 'node:net';
import type { Signal } from '../../../src/ingest/messages.ts';

export type CutProtocol = 'http' | 'grpc';

export interface CutOptions {
  readonly protocol: CutProtocol;
  readonly port: number;
  readonly token: string;
  readonly signal: Signal;
  readonly body: Buffer;
}

const SERVICE: Readonly<Record<Signal, string>> = {
  logs: 'logs.v1.Logs',
  traces: 'trace.v1.Trace',
  metrics: 'metrics.v1.Metrics',
};

/** One request on a connection of its own. */
export class CutRequest {
  readonly #socket: net.Socket;
  readonly #answered = Promise.withResolvers<void>();

  constructor(options: CutOptions) {
    this.#socket = net.connect({ host: '127.0.0.1', port: options.port, noDelay: true });
    this.#socket.on('error', () => undefined);
    if (options.protocol === 'http') this.#sendHttp(options);
    else this.#sendGrpc(options);
  }

  /** The first byte of the answer is here. */
  answered(): Promise<void> {
    return this.#answered.promise;
  }

  /** A reset: what the server writes from now on fails. */
  async cut(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.resetAndDestroy();
    await closed;
  }

  #sendHttp({ signal, token, body }: CutOptions): void {
    const head = [
      `POST /v1/${signal} HTTP/1.1`,
      'Host: localhost',
      'Content-Type: application/x-protobuf',
      `Authorization: Bearer ${token}`,
      `Content-Length: ${body.length}`,
    ];
    this.#socket.write(`${head.join('\r\n')}\r\n\r\n`);
    this.#socket.write(body);
    this.#socket.once('data', () => this.#answered.resolve());
  }

  #sendGrpc({ port, signal, token, body }: CutOptions): void {
    const session = http2.connect(`http://127.0.0.1:${port}`, { createConnection: () => this.#socket });
    session.on('error', () => undefined);
    const call = session.request({
      ':method': 'POST',
      ':path': `/opentelemetry.proto.collector.${SERVICE[signal]}Service/Export`,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${token}`,
    });
    call.on('error', () => undefined);
    call.once('trailers', () => this.#answered.resolve());
    call.resume();
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(body.length, 1);
    call.end(Buffer.concat([frame, body]));
  }
}
