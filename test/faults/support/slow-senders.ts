/**
 * Clients that send one byte now and then: of their headers, or of their body, over HTTP/1.1 and HTTP/2. Each ends when its
 * connection is closed or its request answered, and tells which of the two came, and when.
 */
import http2 from 'node:http2';
import net from 'node:net';
import { FRAME, frame, headerBlock, PREFACE, RawH2 } from '../../ingest/accept/raw-h2.ts';
import { CALL_HEADERS } from '../../ingest/accept/raw-h2.ts';
import { grpcFrame, resultOf, SIGNAL_PATHS } from '../../ingest/accept/peers.ts';

export interface SlowTarget {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly token: string;
  /** Between two bytes. */
  readonly everyMs: number;
}

export interface SlowEnding {
  /** `silence`: closed, and nothing was answered. `503`, `UNAVAILABLE`: refused as a late body is. Else what came. */
  readonly outcome: string;
  /** From the first byte to the answer, or to the close when there was none. */
  readonly afterMs: number;
}

export interface SlowKind {
  readonly name: string;
  /** Which deadline ends it. */
  readonly slow: 'headers' | 'body';
  readonly expected: 'silence' | '503' | 'UNAVAILABLE';
  run(target: SlowTarget): Promise<SlowEnding>;
}

const AUTHORITY = 'Host: localhost\r\nContent-Type: application/x-protobuf\r\n';
const SETTINGS = frame(FRAME.SETTINGS, 0, 0);
const HEADER_BLOCK = headerBlock(CALL_HEADERS);

export const SLOW_KINDS: readonly SlowKind[] = [
  h1('h1 silence', 'headers', () => Buffer.alloc(0), Buffer.alloc(0)),
  h1('h1 headers', 'headers', () => Buffer.alloc(0), Buffer.from(`POST /v1/logs HTTP/1.1\r\n${AUTHORITY}`)),
  h1('h1 body with a length', 'body', (token) => h1Head(token, 'Content-Length: 1000'), Buffer.alloc(1_000)),
  h1(
    'h1 body in chunks',
    'body',
    (token) => Buffer.concat([h1Head(token, 'Transfer-Encoding: chunked'), Buffer.from('3e8\r\n')]),
    Buffer.alloc(1_000),
  ),
  h2Headers('h2 preface', Buffer.alloc(0), PREFACE),
  h2Headers(
    'h2 HEADERS frame',
    Buffer.concat([PREFACE, SETTINGS]),
    // Nothing of the frame's header is kept back: nine bytes at this pace would be another minute of nothing.
    frame(FRAME.HEADERS, 4, 1, HEADER_BLOCK),
    9,
  ),
  h2Headers(
    'h2 CONTINUATION frame',
    Buffer.concat([PREFACE, SETTINGS, frame(FRAME.HEADERS, 0, 1, HEADER_BLOCK.subarray(0, 20))]),
    frame(9, 4, 1, HEADER_BLOCK.subarray(20)),
  ),
  { name: 'h2 body', slow: 'body', expected: 'UNAVAILABLE', run: slowCall },
];

function h1Head(token: string, length: string): Buffer {
  return Buffer.from(`POST /v1/logs HTTP/1.1\r\n${AUTHORITY}Authorization: Bearer ${token}\r\n${length}\r\n\r\n`);
}

function h1(name: string, slow: 'headers' | 'body', head: (token: string) => Buffer, rest: Buffer): SlowKind {
  const run = (target: SlowTarget): Promise<SlowEnding> => {
    const { promise, resolve } = Promise.withResolvers<SlowEnding>();
    const startedMs = performance.now();
    let received = '';
    let answeredMs: number | undefined;
    const socket = net.connect(target.httpPort, '127.0.0.1');
    socket.write(head(target.token));
    const stop = drip(socket, rest, target.everyMs);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      answeredMs ??= performance.now();
      received += chunk.toString('latin1');
    });
    socket.on('close', () => {
      stop();
      resolve({ outcome: h1Outcome(received), afterMs: (answeredMs ?? performance.now()) - startedMs });
    });
    return promise;
  };
  return { name, slow, expected: slow === 'headers' ? 'silence' : '503', run };
}

function h1Outcome(received: string): string {
  if (received === '') return 'silence';
  const late = /^HTTP\/1\.1 503 /.test(received);
  const retried = /\r\nRetry-After: [1-5]\r\n/i.test(received) && /\r\nConnection: close\r\n/i.test(received);
  return late && retried ? '503' : received.slice(0, received.indexOf('\r\n\r\n'));
}

/** `sentAtOnce` bytes of `rest` go with the head. */
function h2Headers(name: string, head: Buffer, rest: Buffer, sentAtOnce = 0): SlowKind {
  const run = (target: SlowTarget): Promise<SlowEnding> => {
    const { promise, resolve } = Promise.withResolvers<SlowEnding>();
    const startedMs = performance.now();
    const client = new RawH2(target.grpcPort, { quiet: true });
    client.socket.write(Buffer.concat([head, rest.subarray(0, sentAtOnce)]));
    const stop = drip(client.socket, rest.subarray(sentAtOnce), target.everyMs);
    client.socket.on('close', () => {
      stop();
      const answered = client.frames.some(({ type }) => type === FRAME.HEADERS);
      resolve({ outcome: answered ? 'HEADERS' : 'silence', afterMs: performance.now() - startedMs });
    });
    return promise;
  };
  return { name, slow: 'headers', expected: 'silence', run };
}

/** One byte each `everyMs`, the first one at once; returns how to stop. */
function drip(socket: net.Socket, bytes: Buffer, everyMs: number): () => void {
  let sent = 0;
  const next = (): void => {
    if (sent < bytes.length && socket.writable) socket.write(bytes.subarray(sent, ++sent));
  };
  next();
  const timer = setInterval(next, everyMs);
  return () => clearInterval(timer);
}

async function slowCall(target: SlowTarget): Promise<SlowEnding> {
  const startedMs = performance.now();
  const session = http2.connect(`http://127.0.0.1:${target.grpcPort}`);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': SIGNAL_PATHS.logs,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${target.token}`,
  });
  stream.on('error', () => {});
  const body = grpcFrame(Buffer.alloc(1_000));
  let sent = 0;
  const next = (): void => {
    if (stream.writable) stream.write(body.subarray(sent, ++sent));
  };
  next();
  const timer = setInterval(next, target.everyMs);
  let answeredMs: number | undefined;
  stream.on('response', () => {
    answeredMs ??= performance.now();
  });
  const result = await resultOf(stream);
  clearInterval(timer);
  session.destroy();
  const refused = result.trailersOnly && result.headers['grpc-status'] === '14';
  const retried = result.headers['google.rpc.retryinfo-bin'] !== undefined;
  const outcome = refused && retried ? 'UNAVAILABLE' : `reset ${result.rstCode}, ${JSON.stringify(result.headers)}`;
  return { outcome, afterMs: (answeredMs ?? performance.now()) - startedMs };
}
