/** Codings, limits and refusals of bodies, over HTTP and where the plan says so over gRPC, from the whole service. */
import zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCEPT_LIMITS } from '../../src/ingest/accept/accept-server.ts';
import {
  callOnce,
  type GrpcResult,
  grpcFrame,
  type HttpRequestParts,
  httpBytes,
  httpOnce,
  RawHttp,
  until,
} from '../ingest/accept/peers.ts';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import {
  CHUNKED,
  chunk,
  connect,
  headersOf,
  JSON_TYPE,
  LAST_CHUNK,
  ownServer,
  PROTOBUF,
  plainHeaders,
  statusOf,
} from './http-peer.ts';

const MIB = 2 ** 20;
/** The service's limit, so that bodies at it and over it are cheap. */
const LIMIT = MIB;
let service: TestService;

beforeAll(async () => {
  const env = {
    BACKWORK_SEGMENT_MS: '100',
    BACKWORK_WORKERS: '1',
    BACKWORK_BODY_MIB: '1',
    BACKWORK_IN_FLIGHT_MIB: '64',
  };
  service = await startService({ env });
});
afterAll(() => service.stopAndRemove());

function withToken(request: HttpRequestParts): HttpRequestParts {
  return { ...request, headers: { authorization: `Bearer ${service.token}`, ...request.headers } };
}

const post = (request: HttpRequestParts) => httpOnce(service.ports.http, withToken(request));

function call(message: Buffer, coding?: string, compressed = coding !== undefined): Promise<GrpcResult> {
  const headers = {
    authorization: `Bearer ${service.token}`,
    ...(coding === undefined ? {} : { 'grpc-encoding': coding }),
  };
  return callOnce(service.ports.grpc, { headers, body: grpcFrame(message, compressed) });
}

/** Waits for as many log rows whose body begins so. */
async function stored(prefix: string, count: number): Promise<string[]> {
  const sql = `SELECT Body FROM otel_logs WHERE startsWith(Body, '${prefix}') ORDER BY Body`;
  return (await service.queryUntil<{ Body: string }>(sql, (rows) => rows.length >= count)).map(({ Body }) => Body);
}

type Encode = (body: Buffer) => Buffer;
const CODINGS: ReadonlyArray<readonly [name: string, coding: string, encode: Encode]> = [
  ['gzip', 'gzip', (body) => zlib.gzipSync(body)],
  ['deflate with a zlib header', 'deflate', (body) => zlib.deflateSync(body)],
  ['raw deflate', 'deflate', (body) => zlib.deflateRawSync(body)],
  ['zstd', 'zstd', (body) => zlib.zstdCompressSync(body)],
];

/** Small enough for the event loop, and too large for it: both are inflated in ways of their own. */
const SIZES = [
  ['small', 3],
  ['large', 2_000],
] as const;

function idsOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${prefix}${String(at).padStart(5, '0')}`);
}

const bodyLike = (count: number): Buffer => encodeIds(idsOf('never-', count));

/** A protobuf request of exactly this size: one unknown field, so that it is valid and holds nothing. */
function sized(bytes: number): Buffer {
  const body = Buffer.alloc(bytes, 0x20);
  const lengthBytes = 4;
  // Field 99, length-delimited; the length as a varint of four bytes.
  body.set([0x9a, 0x06], 0);
  const length = bytes - 2 - lengthBytes;
  for (let i = 0; i < lengthBytes; i++) {
    body[2 + i] = ((length >> (7 * i)) & 0x7f) | (i < lengthBytes - 1 ? 0x80 : 0);
  }
  return body;
}

/** What inflates to `mib` MiB: one member many times, so that making it costs nothing. */
function gzipBomb(mib: number): Buffer {
  const member = zlib.gzipSync(Buffer.alloc(16 * MIB));
  return Buffer.concat(Array<Buffer>(Math.ceil(mib / 16)).fill(member));
}

describe('codings', () => {
  it.each(CODINGS.flatMap((one) => SIZES.map((size) => [...one, ...size] as const)))(
    'H9: %s (%s, %o) of a %s body becomes the rows that were sent',
    async (name, coding, encode, size, count) => {
      const prefix = `h9-${name.replaceAll(' ', '-')}-${size}-`;
      const body = encode(encodeIds(idsOf(prefix, count)));
      // In any case: RFC 9110 section 8.4.1.
      const result = await post({ headers: { 'content-encoding': coding.toUpperCase() }, body });
      expect({ ...result, headers: headersOf(result) }).toEqual({
        status: 200,
        headers: plainHeaders(PROTOBUF, 0),
        body: Buffer.alloc(0),
      });
      expect(await stored(prefix, count)).toEqual(idsOf(prefix, count));
    },
  );

  it.each([
    ['gzip', (body: Buffer) => zlib.gzipSync(body)],
    ['zstd', (body: Buffer) => zlib.zstdCompressSync(body)],
  ])('H9: several %s members or frames in a row are one body', async (coding, encode) => {
    for (const [size, count] of SIZES) {
      const ids = idsOf(`h9-members-${coding}-${size}-`, count);
      const body = encodeIds(ids);
      const wire = Buffer.concat([encode(body.subarray(0, 100)), encode(body.subarray(100))]);
      expect((await post({ headers: { 'content-encoding': coding }, body: wire })).status).toBe(200);
      expect(await stored(`h9-members-${coding}-${size}-`, count)).toEqual(ids);
      const cut = await post({ headers: { 'content-encoding': coding }, body: wire.subarray(0, -1) });
      expect(cut.status).toBe(400);
    }
  });

  it.each([
    'br',
    'BR',
    'gzip, gzip',
    'identity, gzip',
    'gzip,',
    'snappy',
    'lz4',
    'zlib',
    'compress',
    'x-gzip',
    'gzip;q=1',
  ])('H8, H9: coding "%s" is 415 and names those that are read', async (coding) => {
    // Were brotli decoded, this would be a good request.
    const body = zlib.brotliCompressSync(encodeIds(['h9-never']));
    const result = await post({ headers: { 'content-encoding': coding }, body });
    expect(result.status).toBe(415);
    expect(headersOf(result)).toEqual(plainHeaders(PROTOBUF, result.body.length));
    const message = 'this content-encoding is not supported; exactly one of identity, gzip, deflate, zstd is';
    expect(statusOf(result)).toEqual({ code: 12, message, details: [] });
  });

  it('H8, H9: two Content-Encoding headers are a list, hence 415; an empty one is identity', async () => {
    const twice = { 'content-encoding': 'gzip', 'Content-Encoding': 'gzip' };
    expect((await post({ headers: twice, body: zlib.gzipSync(bodyLike(1)) })).status).toBe(415);
    const client = new RawHttp(service.ports.http);
    const lines = ['Content-Type: application/x-protobuf', 'Content-Encoding:', 'Content-Length: 0'];
    client.write(`POST /v1/logs HTTP/1.1\r\nAuthorization: Bearer ${service.token}\r\n${lines.join('\r\n')}\r\n\r\n`);
    expect((await client.response()).status).toBe(200);
    client.close();
  });
});

describe('T3 on both transports', () => {
  const BROKEN: ReadonlyArray<readonly [string, (wire: Buffer) => Buffer]> = [
    ['cut off by a byte', (wire) => wire.subarray(0, -1)],
    ['cut off in the middle', (wire) => wire.subarray(0, wire.length >> 1)],
    ['empty', () => Buffer.alloc(0)],
    ['followed by a byte', (wire) => Buffer.concat([wire, Buffer.from([0])])],
    ['followed by the beginning of another', (wire) => Buffer.concat([wire, wire.subarray(0, 3)])],
    ['followed by junk', (wire) => Buffer.concat([wire, Buffer.from('junk after the end')])],
    ['damaged', (wire) => damaged(wire)],
    ['not what the header says', () => Buffer.from('this was never compressed, whatever the header says of it')],
  ];

  it.each(
    CODINGS.flatMap(([name, coding, encode]) =>
      BROKEN.map(([how, spoil]) => [name, how, coding, encode, spoil] as const),
    ),
  )('T3 (tests), H9, H20: %s %s is 400 with BadRequest', async (name, how, coding, encode, spoil) => {
    for (const [, count] of SIZES) {
      const body = spoil(encode(bodyLike(count)));
      // Raw deflate has no checksum: a damaged one may inflate, and then is bad protobuf.
      const result = await post({ headers: { 'content-encoding': coding }, body });
      expect(result.status, `${name} ${how}`).toBe(400);
      expect(statusOf(result)).toMatchObject({ code: 3, details: [{ type: 'BadRequest' }] });
    }
  });

  it.each(BROKEN)('T3 (tests): gzip over gRPC that is %s is INVALID_ARGUMENT', async (_, spoil) => {
    for (const [, count] of SIZES) {
      const result = await call(spoil(zlib.gzipSync(bodyLike(count))), 'gzip');
      expect(result).toMatchObject({ trailersOnly: true, headers: { ':status': 200, 'grpc-status': '3' } });
    }
  });

  it.each(['deflate', 'zstd', 'br', 'snappy', 'x', 'gzip, gzip'])(
    'T3 (tests): coding %s over gRPC is UNIMPLEMENTED and says which are read',
    async (coding) => {
      const result = await call(zlib.deflateSync(bodyLike(1)), coding);
      expect(result).toMatchObject({
        trailersOnly: true,
        headers: { ':status': 200, 'grpc-status': '12', 'grpc-accept-encoding': 'identity,gzip' },
      });
    },
  );

  it('T3 (tests): identity by name and gzip are read on both transports', async () => {
    const names = ['t3-http-gzip', 't3-http-identity', 't3-rpc-gzip', 't3-rpc-identity'];
    const bytes = names.map((name) => encodeIds([name]));
    const [first, second, third, fourth] = bytes as [Buffer, Buffer, Buffer, Buffer];
    expect((await post({ headers: { 'content-encoding': 'gzip' }, body: zlib.gzipSync(first) })).status).toBe(200);
    expect((await post({ headers: { 'content-encoding': 'identity' }, body: second })).status).toBe(200);
    expect((await call(zlib.gzipSync(third), 'gzip')).trailers['grpc-status']).toBe('0');
    expect((await call(fourth, 'identity', false)).trailers['grpc-status']).toBe('0');
    expect(await stored('t3-', 4)).toEqual(names);
  });

  it('T3 (tests), H13: a bomb of 1 GiB in 1 MiB is refused at the limit on both transports, and the process survives', async () => {
    const [ingest] = service.children('ingest');
    const bomb = gzipBomb(1_000);
    expect(bomb.length).toBeLessThanOrEqual(LIMIT);
    const http = await post({ headers: { 'content-encoding': 'gzip' }, body: bomb });
    expect(http.status).toBe(413);
    const message = `the inflated body is over the limit of ${LIMIT} bytes`;
    expect(statusOf(http)).toEqual({ code: 8, message, details: [] });
    const grpc = await call(bomb, 'gzip');
    expect(grpc).toMatchObject({ trailersOnly: true, headers: { 'grpc-status': '8' } });
    expect(grpc.headers['grpc-status-details-bin']).toBeUndefined();
    for (const [, coding, encode] of CODINGS) {
      const result = await post({ headers: { 'content-encoding': coding }, body: encode(Buffer.alloc(32 * MIB)) });
      expect(result.status).toBe(413);
    }
    expect(service.children('ingest')).toEqual([ingest]);
    expect((await post({ body: encodeIds(['after-the-bombs']) })).status).toBe(200);
  }, 30_000);
});

/** The first byte is another: no magic number, no header, no kind of block. */
function damaged(wire: Buffer): Buffer {
  // Further in, raw deflate, which has no checksum, may inflate to other bytes.
  return Buffer.concat([Buffer.from([0xff]), wire.subarray(1)]);
}

describe('limits', () => {
  it('H11: the default is 64 MiB', () => {
    expect(ACCEPT_LIMITS.bodyBytesMax).toBe(64 * MIB);
  });

  it('T4 (tests), H11: the limit passes and one byte more is 413, by length, chunked and in every coding', async () => {
    const exact = sized(LIMIT);
    const over = sized(LIMIT + 1);
    expect((await post({ body: exact })).status).toBe(200);
    const declared = await post({ body: over });
    expect(declared.status).toBe(413);
    const message = `the body of ${LIMIT + 1} bytes is over the limit of ${LIMIT} bytes`;
    expect(statusOf(declared)).toEqual({ code: 8, message, details: [] });
    expect(declared.headers['retry-after']).toBeUndefined();
    for (const [body, status] of [
      [exact, 200],
      [over, 413],
    ] as const) {
      const client = connect(service.ports.http);
      client.write(httpBytes(withToken({ headers: CHUNKED })));
      for (let at = 0; at < body.length; at += 100_000) client.write(chunk(body.subarray(at, at + 100_000)));
      client.write(LAST_CHUNK);
      const chunked = await client.response();
      expect(chunked.status).toBe(status);
      if (status === 413) {
        expect(statusOf(chunked).message).toBe(`the body is over the limit of ${LIMIT} bytes`);
      }
      for (const [name, coding, encode] of CODINGS) {
        const headers = { 'content-encoding': coding };
        const result = await post({ headers, body: encode(body) });
        expect(result.status, name).toBe(status);
        if (status === 413) {
          const inflated = `the inflated body is over the limit of ${LIMIT} bytes`;
          expect(statusOf(result)).toEqual({ code: 8, message: inflated, details: [] });
        }
      }
    }
  });

  it('T4 (tests): over gRPC the limit passes and one byte more is RESOURCE_EXHAUSTED without RetryInfo', async () => {
    for (const [bytes, status] of [
      [LIMIT, '0'],
      [LIMIT + 1, '8'],
    ] as const) {
      for (const result of [await call(sized(bytes)), await call(zlib.gzipSync(sized(bytes)), 'gzip')]) {
        expect((result.trailersOnly ? result.headers : result.trailers)['grpc-status']).toBe(status);
        expect(result.headers['google.rpc.retryinfo-bin']).toBeUndefined();
      }
    }
  });

  it('H12: a body of 21 MiB, above the limit of the Collector, is taken by the default limit', async () => {
    const { port, seen } = await ownServer();
    expect((await httpOnce(port, { body: Buffer.alloc(21 * MIB) })).status).toBe(200);
    expect(seen.bodies[0]?.body).toHaveLength(21 * MIB);
  });

  it('T4 (tests), H13: a client that writes all before it reads sees the refusal', async () => {
    const body = Buffer.alloc(40 * MIB);
    const headers = { 'content-length': String(body.length) };
    const wrong = { ...headers, authorization: 'Bearer wrong' };
    for (const [status, ...parts] of [
      [413, httpBytes(withToken({ headers })), body],
      [413, httpBytes(withToken({ headers: CHUNKED })), chunk(body), Buffer.from(LAST_CHUNK)],
      [401, httpBytes({ headers: wrong }), body],
    ] as const) {
      const client = connect(service.ports.http);
      client.socket.pause();
      await new Promise<void>((resolve) => client.socket.write(Buffer.concat(parts), () => resolve()));
      client.socket.resume();
      expect(await client.response()).toMatchObject({ status, headers: { connection: 'close' } });
      await until(() => client.ended);
    }
  }, 30_000);
});

describe('refusing early', () => {
  it('H13: a too large Content-Length is refused before a byte of the body came', async () => {
    const client = connect(service.ports.http);
    client.write(httpBytes(withToken({ headers: { 'content-length': String(LIMIT + 1) } })));
    const result = await client.response();
    expect(result.status).toBe(413);
    expect(headersOf(result)).toEqual(plainHeaders(PROTOBUF, result.body.length, 'closed'));
  });

  it('H13: a chunked body is refused as soon as it is over the limit, while it is still sent', async () => {
    const { port, seen } = await ownServer({}, { bodyBytesMax: 100_000 });
    const client = connect(port);
    client.write(httpBytes({ headers: CHUNKED }), chunk(Buffer.alloc(100_001)));
    expect(await client.response()).toMatchObject({ status: 413, headers: { connection: 'close' } });
    expect(seen.bodies).toEqual([]);
    expect(seen.released).toEqual([false]);
  });

  it('H13: what still comes is read to its end, and then the connection is closed', async () => {
    const { port, seen } = await ownServer({}, { bodyBytesMax: 100_000 });
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '1000000' } }));
    expect((await client.response()).status).toBe(413);
    for (let i = 0; i < 9; i++) client.write(Buffer.alloc(100_000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.ended).toBe(false);
    client.write(Buffer.alloc(100_000));
    await until(() => client.ended);
    // Neither kept nor counted as in flight.
    expect(seen.reserved).toEqual([]);
    expect(seen.released).toEqual([false]);
  });

  it.each([
    ['bytes', { refusedDrainBytesMax: 200_000, refusedDrainMs: 60_000 }],
    ['time', { refusedDrainBytesMax: 10_000_000, refusedDrainMs: 100 }],
  ])('H13: it is read to the bound of %s at most', async (_, limits) => {
    const { port } = await ownServer({}, { bodyBytesMax: 100_000, ...limits });
    const client = connect(port);
    client.write(httpBytes({ headers: { 'content-length': '100000000' } }), Buffer.alloc(201_000));
    expect((await client.response()).status).toBe(413);
    await until(() => client.ended);
    expect(ACCEPT_LIMITS).toMatchObject({ refusedDrainBytesMax: 128 * MIB, refusedDrainMs: 10_000 });
  });

  it('H13: a refusal after the whole body leaves the connection open', async () => {
    const client = connect(service.ports.http);
    client.write(httpBytes(withToken({ headers: { 'content-type': JSON_TYPE }, body: 'no JSON' })));
    const result = await client.response();
    expect(result.status).toBe(400);
    expect(headersOf(result)).toEqual(plainHeaders(JSON_TYPE, result.body.length));
    client.write(httpBytes(withToken({ body: encodeIds(['h13-open']) })));
    expect((await client.response()).status).toBe(200);
  });

  it('H13: headers that are too long are refused though a body follows them', async () => {
    const client = connect(service.ports.http);
    // More than the buffers of both sides hold, so that it has to be read.
    client.socket.pause();
    const long = httpBytes({ headers: { x: 'a'.repeat(20_000), 'content-length': String(20 * MIB) } });
    await new Promise<void>((resolve) =>
      client.socket.write(Buffer.concat([long, Buffer.alloc(20 * MIB)]), () => resolve()),
    );
    client.socket.resume();
    const result = await client.response();
    expect(result.status).toBe(400);
    expect(headersOf(result)).toEqual({
      'content-type': JSON_TYPE,
      'content-length': String(result.body.length),
      connection: 'close',
    });
    expect(statusOf(result).message).toBe('the headers are over the limit of 16384 bytes');
  });
});
