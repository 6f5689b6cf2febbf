/**
 * Compressed bodies that are larger than they look, broken, or in a coding that is not served. The same body goes over
 * both protocols; each says what must be answered on which.
 */
import http2 from 'node:http2';
import zlib from 'node:zlib';
import { grpcFrame, httpOnce, resultOf, startCall } from '../../ingest/accept/peers.ts';
import { encodeIds } from '../../support/load.ts';
import type { TestService } from '../../support/service.ts';

export interface Bomb {
  readonly name: string;
  readonly coding: string;
  readonly body: Buffer;
  /** HTTP status; gRPC status. */
  readonly http: number;
  readonly grpc: number;
}

const MEMBER_BYTES = 1_024 * 1_024;

/** Bodies that inflate to just over the limit, by some thousand to one. */
export function inflatingBombs(limitBytes: number): readonly Bomb[] {
  const over = Buffer.alloc(limitBytes + 1);
  const member = Buffer.alloc(MEMBER_BYTES);
  const members = limitBytes / MEMBER_BYTES + 1;
  const many = (compressed: Buffer): Buffer => Buffer.concat(Array.from({ length: members }, () => compressed));
  const gzip = { coding: 'gzip', http: 413, grpc: 8 };
  const zstd = { coding: 'zstd', http: 413, grpc: 12 };
  return [
    { ...gzip, name: 'gzip', body: zlib.gzipSync(over, { level: 9 }) },
    { ...gzip, name: 'gzip of many members', body: many(zlib.gzipSync(member, { level: 9 })) },
    { ...zstd, coding: 'deflate', name: 'deflate', body: zlib.deflateSync(over, { level: 9 }) },
    { ...zstd, coding: 'deflate', name: 'raw deflate', body: zlib.deflateRawSync(over, { level: 9 }) },
    { ...zstd, name: 'zstd', body: zlib.zstdCompressSync(over) },
    { ...zstd, name: 'zstd of many frames', body: many(zlib.zstdCompressSync(member)) },
  ];
}

/** Bodies that are broken, and codings that are never decoded. */
export function brokenBombs(): readonly Bomb[] {
  const body = encodeIds(Array.from({ length: 200 }, (_, i) => `bomb-${i}`));
  const gzip = zlib.gzipSync(body);
  const zstd = zlib.zstdCompressSync(body);
  const junk = Buffer.from('junk');
  const changed = Buffer.from(gzip);
  changed[gzip.length - 6] = gzip.readUInt8(gzip.length - 6) ^ 1;
  const broken = (name: string, coding: string, bytes: Buffer): Bomb => {
    return { name, coding, body: bytes, http: 400, grpc: coding === 'gzip' ? 3 : 12 };
  };
  const notServed = (coding: string, bytes: Buffer): Bomb => {
    return { name: `coding ${coding}`, coding, body: bytes, http: 415, grpc: 12 };
  };
  return [
    broken('gzip in gzip', 'gzip', zlib.gzipSync(gzip)),
    broken('truncated gzip', 'gzip', gzip.subarray(0, gzip.length - 20)),
    broken('gzip without its trailer', 'gzip', gzip.subarray(0, gzip.length - 8)),
    broken('gzip and junk', 'gzip', Buffer.concat([gzip, junk])),
    broken('gzip and zeros', 'gzip', Buffer.concat([gzip, Buffer.alloc(100)])),
    broken('gzip with a wrong checksum', 'gzip', changed),
    broken('no gzip at all', 'gzip', body),
    broken('an empty gzip body', 'gzip', Buffer.alloc(0)),
    broken('truncated zstd', 'zstd', zstd.subarray(0, zstd.length - 10)),
    broken('zstd and junk', 'zstd', Buffer.concat([zstd, junk])),
    broken('truncated deflate', 'deflate', zlib.deflateSync(body).subarray(0, 100)),
    // A window of 2 GiB in a frame of 13 bytes: nothing of the kind may be allocated.
    broken('zstd with a window of 2 GiB', 'zstd', Buffer.from('28b52ffd00a8010000', 'hex')),
    notServed('br', zlib.brotliCompressSync(body)),
    notServed('identity, gzip', gzip),
    notServed('gzip, gzip', zlib.gzipSync(gzip)),
    notServed('snappy', body),
    notServed('compress', body),
  ];
}

/** A sentence when the answer is not the one that is due; undefined when it is. */
export async function sendHttp({ ports, token }: TestService, bomb: Bomb): Promise<string | undefined> {
  const headers = { authorization: `Bearer ${token}`, 'content-encoding': bomb.coding };
  const answer = await httpOnce(ports.http, { headers, body: bomb.body });
  if (answer.status === bomb.http && answer.headers['retry-after'] === undefined) return undefined;
  return `${bomb.name} over HTTP: answered ${answer.status} instead of ${bomb.http}`;
}

export async function sendGrpc({ ports, token }: TestService, bomb: Bomb): Promise<string | undefined> {
  const session = http2.connect(`http://127.0.0.1:${ports.grpc}`);
  session.on('error', () => {});
  try {
    const headers = { authorization: `Bearer ${token}`, 'grpc-encoding': bomb.coding };
    const result = await resultOf(startCall(session, { headers, body: grpcFrame(bomb.body, true) }));
    const { 'grpc-status': status, 'grpc-accept-encoding': accepted } = result.headers;
    const retried = result.headers['google.rpc.retryinfo-bin'] !== undefined;
    const told = status !== '12' || accepted === 'identity,gzip';
    if (status === String(bomb.grpc) && result.trailersOnly && told && !retried) return undefined;
    return `${bomb.name} over gRPC: answered ${JSON.stringify(result.headers)} instead of grpc-status ${bomb.grpc}`;
  } finally {
    session.destroy();
  }
}
