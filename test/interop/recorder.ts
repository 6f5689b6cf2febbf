/**
 * A receiver that refuses the first request of each signal as temporary and takes everything after it, for one question: does a library send
 * the same bytes again? It decides by which fingerprint a repeated request can be known.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import type { Command, Transport } from './client.ts';
import { startProgram } from './programs.ts';

const PROGRAM_WITHIN_MS = 120_000;
const GRPC_UNAVAILABLE = '14';
const GRPC_PREFIX_BYTES = 5;

export interface RecorderRun {
  readonly transport: Transport;
  readonly command: Command;
  readonly run: string;
  readonly logFile: string;
}

interface Arrival {
  readonly path: string;
  readonly atMs: number;
  readonly coding: string;
  readonly raw: string;
  readonly inflated: string;
}

export interface Recording {
  /** About what came twice, a sentence a signal. */
  readonly sentences: readonly string[];
  /** Requests that were not encoded as the transport says. */
  readonly findings: readonly string[];
}

export async function recordRetries(options: RecorderRun): Promise<Recording> {
  const arrivals: Arrival[] = [];
  const server = options.transport.protocol === 'grpc' ? grpcReceiver(arrivals) : httpReceiver(arrivals);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const endpoint = `http://127.0.0.1:${port}`;
    const { run, transport } = options;
    const task = { endpoint, token: 'bw_ing_recorded', run, transport, mode: 'once' as const, seconds: 0 };
    const { code } = await startProgram(options.command, task, options.logFile, PROGRAM_WITHIN_MS).ended;
    const signals = [...new Set(arrivals.map((one) => one.path))].sort();
    const findings = arrivals
      .filter((one) => one.coding !== transport.compression)
      .map((one) => `${one.path} came with coding ${one.coding}`);
    if (arrivals.length === 0) findings.push('no request came');
    const sentences = signals.map((path) => sentence(arrivals.filter((one) => one.path === path)));
    return { sentences: [`exit code ${code}`, ...sentences], findings };
  } finally {
    server.close();
  }
}

function sentence(arrivals: readonly Arrival[]): string {
  const [first, second] = arrivals;
  if (first === undefined || second === undefined) return `${first?.path} was not sent again`;
  const raw = first.raw === second.raw ? 'the same' : 'other';
  const inflated = first.inflated === second.inflated ? 'the same' : 'other';
  const after = second.atMs - first.atMs;
  return `${first.path} came again after ${after} ms, ${raw} bytes, ${inflated} when inflated (${arrivals.length} requests)`;
}

/** Notes the body; true for the first of its path, which is refused. */
function note(arrivals: Arrival[], path: string, coding: string, raw: Buffer, message: Buffer): boolean {
  const first = !arrivals.some((one) => one.path === path);
  const inflated = digest(INFLATE[coding]?.(message) ?? message);
  arrivals.push({ path, coding, atMs: Math.round(performance.now()), raw: digest(raw), inflated });
  return first;
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const INFLATE: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  deflate: inflateSync,
  zstd: zstdDecompressSync,
};

function httpReceiver(arrivals: Arrival[]): http.Server {
  return http.createServer(async (request, response) => {
    const raw = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const refused = note(arrivals, request.url ?? '', request.headers['content-encoding'] ?? 'none', raw, raw);
    const type = request.headers['content-type'] ?? 'application/x-protobuf';
    response.writeHead(refused ? 503 : 200, { 'content-type': type });
    response.end(type.includes('json') ? '{}' : undefined);
  });
}

function grpcReceiver(arrivals: Arrival[]): http2.Http2Server {
  const server = http2.createServer();
  server.on('stream', async (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    const raw = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
    const coding = raw[0] === 1 ? String(headers['grpc-encoding']) : 'none';
    const head = { ':status': 200, 'content-type': 'application/grpc+proto' };
    if (note(arrivals, String(headers[':path']), coding, raw, raw.subarray(GRPC_PREFIX_BYTES))) {
      // The whole answer in one HEADERS frame: some libraries retry on nothing else.
      stream.respond({ ...head, 'grpc-status': GRPC_UNAVAILABLE, 'grpc-message': 'again' }, { endStream: true });
      return;
    }
    stream.respond(head, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.alloc(GRPC_PREFIX_BYTES));
  });
  return server;
}
