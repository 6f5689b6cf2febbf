/**
 * Bodies over the limit, and bodies whose announced length is a lie either way. Each says what must be answered and how
 * many bytes of the body may have been read when it is.
 */
import http2 from 'node:http2';
import { grpcFrame, httpBytes, RawHttp, resultOf, startCall } from '../../ingest/accept/peers.ts';
import type { TestService } from '../../support/service.ts';

export interface OversizedBody {
  readonly name: string;
  /** HTTP status, with ` close` when the answer ends the connection; gRPC status, with ` retry` for RetryInfo. */
  readonly expected: RegExp;
  /** Of the body, before the answer; undefined: it is accepted, or all of it belongs to it. */
  readonly bytesReadMax?: number;
  /** Resolves with what was answered. */
  send(service: TestService): Promise<string>;
}

/** What a read of the socket may bring beyond the limit. */
const READ_BYTES = 64 * 1_024;
const CHUNK_BYTES = 1_024 * 1_024;
const FEW = 1_000;
/** Of a client that has a whole body waiting to be sent: by default its own session resets the stream at 10 MB. */
const CLIENT_MEMORY_MB = 1_000;

export function oversizedBodies(limitBytes: number): readonly OversizedBody[] {
  const [all, over] = [Buffer.alloc(limitBytes), Buffer.alloc(limitBytes + 1)];
  const whole = unknownField(limitBytes);
  const overRead = { bytesReadMax: limitBytes + READ_BYTES };
  const unread = { bytesReadMax: 0 };
  const fewRead = { bytesReadMax: READ_BYTES };
  return [
    // HTTP, by Content-Length
    { name: 'a body of the limit', expected: /^200$/, send: http({}, whole) },
    { name: 'a length of the limit + 1', expected: /^413 close$/, ...unread, send: http({}, over) },
    { name: 'a length of 2^53', expected: /^413 close$/, ...unread, send: http(length(2 ** 53), all.subarray(0, FEW)) },
    // Node's parser refuses what does not fit 64 bits.
    { name: 'a length of 10^30', expected: /^400 close$/, ...unread, send: http(length(`1${'0'.repeat(30)}`), all) },
    { name: 'a negative length', expected: /^400 close$/, ...unread, send: http(length('-1'), all.subarray(0, FEW)) },
    // The first hundred bytes are the body; what follows them is no request.
    { name: 'more than the length says', expected: /^400/, bytesReadMax: 100, send: http(length(100), over) },
    {
      name: 'less than the length says',
      expected: /^400 close$/,
      send: http(length(limitBytes), all.subarray(0, FEW), true),
    },
    // HTTP, in chunks
    { name: 'chunks of the limit', expected: /^200$/, send: chunked(whole) },
    { name: 'chunks of the limit + 1', expected: /^413/, ...overRead, send: chunked(over) },
    {
      name: 'chunks of the limit + 8 MiB',
      expected: /^413 close$/,
      ...overRead,
      send: chunked(Buffer.alloc(limitBytes + 8 * CHUNK_BYTES)),
    },
    {
      name: 'a chunk that says 4 GiB',
      expected: /^400 close$/,
      ...fewRead,
      send: http(CHUNKED, Buffer.concat([Buffer.from('ffffffff\r\n'), all.subarray(0, FEW)]), true),
    },
    // gRPC
    { name: 'a message of the limit', expected: /^grpc 0$/, send: grpc(grpcFrame(whole)) },
    { name: 'a prefix of the limit + 1', expected: /^grpc 8$/, ...fewRead, send: grpc(grpcFrame(over)) },
    {
      name: 'a prefix of 4 GiB',
      expected: /^grpc 8$/,
      ...fewRead,
      send: grpc(prefixed(2 ** 32 - 1, all.subarray(0, FEW)), {}, false),
    },
    { name: 'a prefix smaller than the message', expected: /^grpc 3$/, ...fewRead, send: grpc(prefixed(FEW, over)) },
    {
      name: 'a prefix larger than the message',
      expected: /^grpc 3$/,
      send: grpc(prefixed(limitBytes, all.subarray(0, FEW))),
    },
    {
      name: 'a content-length over the limit',
      expected: /^grpc 8$/,
      ...unread,
      send: grpc(grpcFrame(over), { 'content-length': String(over.length + 5) }),
    },
    {
      // HTTP/2 itself forbids it (RFC 9113, 8.1.1): the stream alone is reset.
      name: 'a content-length smaller than the message',
      expected: /^reset [12]$/,
      send: grpc(grpcFrame(over), { 'content-length': '100' }),
    },
  ];
}

const CHUNKED = { 'transfer-encoding': 'chunked', 'content-length': '' };

function length(value: number | string): Record<string, string> {
  return { 'content-length': String(value) };
}

/** A request of that many bytes without items: a field that no version of the protocol has. */
function unknownField(bytes: number): Buffer {
  const body = Buffer.alloc(bytes);
  // Field 1,000, length-delimited, and a length in four bytes.
  body.set([0xc2, 0x3e]);
  const length = bytes - 6;
  for (let i = 0; i < 4; i++) body[2 + i] = ((length >>> (7 * i)) & 0x7f) | (i < 3 ? 0x80 : 0);
  return body;
}

function prefixed(length: number, bytes: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

function chunked(body: Buffer): OversizedBody['send'] {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    const part = body.subarray(at, at + CHUNK_BYTES);
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  return http(CHUNKED, Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]));
}

/** `thenEnds`: the client closes its side after the last byte. */
function http(headers: Record<string, string>, body: Buffer, thenEnds = false): OversizedBody['send'] {
  return async ({ ports, token }) => {
    const client = new RawHttp(ports.http);
    const own = { authorization: `Bearer ${token}`, 'content-length': String(body.length), ...headers };
    client.write(httpBytes({ headers: own }), body);
    if (thenEnds) client.socket.end();
    try {
      const answer = await client.response();
      return `${answer.status}${answer.headers['connection'] === 'close' ? ' close' : ''}`;
    } finally {
      client.close();
    }
  };
}

function grpc(body: Buffer, headers: http2.OutgoingHttpHeaders = {}, ends = true): OversizedBody['send'] {
  return async ({ ports, token }) => {
    const session = http2.connect(`http://127.0.0.1:${ports.grpc}`, { maxSessionMemory: CLIENT_MEMORY_MB });
    session.on('error', () => {});
    try {
      const stream = startCall(session, { headers: { authorization: `Bearer ${token}`, ...headers }, body, end: ends });
      if (!ends) stream.on('response', () => stream.close());
      const { headers: first, trailers, rstCode } = await resultOf(stream);
      const status = first['grpc-status'] ?? trailers['grpc-status'];
      if (status === undefined) return `reset ${rstCode}`;
      return `grpc ${status}${first['google.rpc.retryinfo-bin'] === undefined ? '' : ' retry'}`;
    } finally {
      session.destroy();
    }
  };
}
