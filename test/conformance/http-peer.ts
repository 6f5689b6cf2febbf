/** An OTLP/HTTP server of a test's own, whose path the test decides, and what an answer says on the wire. */
import { onTestFinished } from 'vitest';
import type { AcceptDeps, AcceptLimits, AcceptServer } from '../../src/ingest/accept/accept-server.ts';
import { createHttpServer } from '../../src/ingest/accept/http-server.ts';
import { type DecodedStatus, decodeStatus } from '../ingest/accept/google-rpc.ts';
import { type Behaviour, type HttpResult, QUICK, RawHttp, type Seen, watchedPath } from '../ingest/accept/peers.ts';

export interface OwnServer {
  readonly server: AcceptServer;
  readonly port: number;
  readonly seen: Seen;
}

/** Stopped when the test ends. */
export async function ownServer(
  behaviour: Behaviour = {},
  limits: Partial<AcceptLimits> = {},
  more: Partial<AcceptDeps> = {},
): Promise<OwnServer> {
  const { seen, deps } = watchedPath(behaviour);
  const server = createHttpServer({ ...deps, ...more, limits: { drainMs: 500, ...QUICK, ...limits } });
  const port = await server.listen({ host: '127.0.0.1', port: 0, reusePort: false });
  onTestFinished(() => server.drain());
  return { server, port, seen };
}

/** A connection that is closed when the test ends. */
export function connect(port: number): RawHttp {
  const client = new RawHttp(port);
  onTestFinished(() => client.close());
  return client;
}

/** Every header of an answer but its Date. */
export function headersOf(result: HttpResult): Record<string, string> {
  return Object.fromEntries(Object.entries(result.headers).filter(([name]) => name !== 'date'));
}

const KEPT = { connection: 'keep-alive', 'keep-alive': 'timeout=75' };

/** Every header of an answer that needs no other, but its Date. */
export function plainHeaders(type: string, bytes: number, connection: 'kept' | 'closed' = 'kept') {
  const end = connection === 'kept' ? KEPT : { connection: 'close' };
  return { 'content-type': type, 'content-length': String(bytes), ...end };
}

export const PROTOBUF = 'application/x-protobuf';
export const JSON_TYPE = 'application/json';

/** The google.rpc.Status of an answer, read as its content type says; fails when it is none. */
export function statusOf(result: HttpResult): DecodedStatus {
  if (result.headers['content-type'] === PROTOBUF) return decodeStatus(result.body);
  const status = JSON.parse(result.body.toString()) as { code: number; message: string; details?: object[] };
  const details = (status.details ?? []).map((detail) => {
    const { '@type': url, ...fields } = detail as Record<string, unknown>;
    return { type: String(url).replace('type.googleapis.com/google.rpc.', ''), ...fields };
  });
  return { ...status, details };
}

/** One chunk of a chunked body. */
export function chunk(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

export const LAST_CHUNK = '0\r\n\r\n';
export const CHUNKED = { 'content-length': '', 'transfer-encoding': 'chunked' };
