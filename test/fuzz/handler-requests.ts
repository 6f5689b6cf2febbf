/**
 * Requests for the ports, drawn from a case's random numbers: bodies as the decoders' fuzzers make them, in every coding,
 * whole or broken, under heads that are good, odd or wrong; and the answer that each must have.
 */
import zlib from 'node:zlib';
import { BackworkError } from '../../src/base/errors.ts';
import { type Coding, Inflater } from '../../src/ingest/accept/inflate.ts';
import { jsonToProtobuf } from '../../src/ingest/convert/otlp-json.ts';
import type { BodyEncoding, Signal } from '../../src/ingest/messages.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { jsonBodies } from './json.fuzz.ts';
import { RowJudge } from './judge-rows.ts';
import { mutate } from './mutate-bytes.ts';
import { protobufBodies } from './protobuf.fuzz.ts';

export type Protocol = 'grpc' | 'http';
const GRPC_PATH: Readonly<Record<Signal, string>> = {
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
};
const MALFORMED = { http: 400, grpc: 3 } as const;
const INFLATED_BYTES_MAX = 64 * 1024 * 1024;

export interface HandlerRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** As it is sent; over gRPC with its framing. */
  readonly wire: Buffer;
  readonly encoding: BodyEncoding;
  /** Answered without regard to the body, perhaps before it is read: on a connection where no other request waits. */
  readonly alone: boolean;
  /** The client goes away when this many bytes of the body are sent. */
  readonly cutAt: number | undefined;
  /** HTTP status or gRPC code that the head decides; undefined: the body decides. */
  readonly statusOfHead: number | undefined;
  /** What stands on the wire, for a body that decides. */
  readonly coding: Coding;
  /** gRPC only: what is wrong with the framing makes the message malformed. */
  readonly brokenFraming: boolean;
}

export interface ExpectedAnswer {
  readonly status: number;
  readonly accepted: number;
  readonly rejected: number;
}

interface Head {
  readonly status?: number;
  readonly method?: string;
  readonly path?: string;
  /** `null`: left out. */
  readonly headers?: Readonly<Record<string, string | null>>;
}

const ODD_TEXT = Buffer.from(Array.from({ length: 90 }, (_, i) => 33 + i)).toString('latin1');
/** Heads of OTLP/HTTP beside the usual one; without a status they change nothing. */
const HTTP_HEADS: readonly Head[] = [
  { status: 401, headers: { authorization: null } },
  { status: 401, headers: { authorization: 'Bearer bw_ing_000000000000_0000000000000000000000000000000' } },
  { status: 401, headers: { authorization: `Bearer ${'x'.repeat(5_000)}` } },
  { status: 415, headers: { 'content-type': 'text/plain' } },
  { status: 415, headers: { 'content-type': null } },
  { status: 415, headers: { 'content-encoding': 'br' } },
  { status: 404, path: '/v1/nothing' },
  { status: 405, method: 'GET' },
  { headers: { 'x-odd': ODD_TEXT, cookie: 'a=b;;=', 'accept-encoding': 'gzip;q=0' } },
  { headers: { accept: '*/*', te: 'trailers', 'x-forwarded-for': '::1, 127.0.0.1', forwarded: 'for=unknown' } },
];
const GRPC_HEADS: readonly Head[] = [
  { status: 16, headers: { authorization: null } },
  { status: 16, headers: { authorization: 'Bearer bw_ing_000000000000_0000000000000000000000000000000' } },
  { status: 12, headers: { 'grpc-encoding': 'snappy' } },
  { status: 12, headers: { 'content-type': 'application/grpc+json' } },
  { status: 12, path: '/opentelemetry.proto.collector.logs.v1.LogsService/Import' },
  { headers: { 'x-odd': ODD_TEXT, 'some-bin': 'AAECAw', 'grpc-accept-encoding': 'gzip,identity' } },
  { headers: { 'grpc-timeout': '99999999H', 'user-agent': 'u'.repeat(3_000) } },
];

/** Draws requests of one handler. The token is one that may send. */
export function handlerRequests(protocol: Protocol, signal: Signal, token: string): (random: Random) => HandlerRequest {
  const protobuf = protobufBodies(signal);
  const json = jsonBodies(signal);
  return (random) => {
    const encoding = protocol === 'http' && random.chance(0.4) ? 'json' : 'protobuf';
    const body = (encoding === 'json' ? json : protobuf)(random);
    const coding = drawCoding(protocol, random);
    const whole = compress(coding, body);
    const compressed = coding === 'identity' || random.chance(0.8) ? whole : mutate(whole, random);
    const head: Head = random.chance(0.1) ? random.pick(protocol === 'http' ? HTTP_HEADS : GRPC_HEADS) : {};
    const brokenFraming = protocol === 'grpc' && random.chance(0.05);
    const wire = protocol === 'grpc' ? framed(compressed, coding, brokenFraming, random) : compressed;
    return {
      method: head.method ?? 'POST',
      path: head.path ?? (protocol === 'http' ? `/v1/${signal}` : GRPC_PATH[signal]),
      headers: withoutNulls({ ...usualHeaders(protocol, encoding, coding, token), ...head.headers }),
      wire,
      encoding,
      alone: head.status !== undefined,
      cutAt: wire.length > 0 && random.chance(0.02) ? random.int(0, wire.length - 1) : undefined,
      statusOfHead: head.status,
      coding,
      brokenFraming,
    };
  };
}

/** What the service must answer, by the decoders themselves in this process. */
export class AnswerJudge {
  readonly #protocol: Protocol;
  readonly #signal: Signal;
  readonly #rows: RowJudge;
  readonly #inflater = new Inflater({ bytesMax: INFLATED_BYTES_MAX, atOnceMax: 2 });

  constructor(protocol: Protocol, signal: Signal) {
    this.#protocol = protocol;
    this.#signal = signal;
    this.#rows = new RowJudge(signal);
  }

  async expected(request: HandlerRequest): Promise<ExpectedAnswer> {
    const refused = { status: MALFORMED[this.#protocol], accepted: 0, rejected: 0 };
    if (request.statusOfHead !== undefined) return { ...refused, status: request.statusOfHead };
    if (request.brokenFraming) return refused;
    const body = await this.#inflated(request);
    if (body === undefined) return refused;
    const read = request.encoding === 'json' ? this.#readJson(body) : { protobuf: body, rejected: 0 };
    const result = read === undefined ? undefined : this.#rows.judge(read.protobuf, UNWATCHED, false);
    if (read === undefined || result === undefined) return refused;
    const status = this.#protocol === 'http' ? 200 : 0;
    return { status, accepted: result.accepted, rejected: result.rejected + read.rejected };
  }

  async #inflated({ wire, coding }: HandlerRequest): Promise<Buffer | undefined> {
    const bytes = this.#protocol === 'grpc' ? wire.subarray(5) : wire;
    const isMarked = this.#protocol === 'http' || wire[0] === 1;
    if (coding === 'identity' || !isMarked) return bytes;
    return this.#inflater.inflate(bytes, coding, () => {}).catch(undefinedIfMalformed);
  }

  #readJson(body: Buffer): { protobuf: Buffer; rejected: number } | undefined {
    try {
      return jsonToProtobuf(this.#signal, body);
    } catch (error) {
      return undefinedIfMalformed(error);
    }
  }
}

const UNWATCHED = { time: <T>(work: () => T): T => work(), count: () => {} };

function undefinedIfMalformed(error: unknown): undefined {
  if (!(error instanceof BackworkError) || error.code !== 'malformed') throw error;
}

function drawCoding(protocol: Protocol, random: Random): Coding {
  if (random.chance(0.6)) return 'identity';
  return protocol === 'grpc' ? 'gzip' : random.pick(['gzip', 'deflate', 'zstd'] as const);
}

function compress(coding: Coding, body: Buffer): Buffer {
  if (coding === 'gzip') return zlib.gzipSync(body, { level: 1 });
  if (coding === 'deflate') return zlib.deflateSync(body, { level: 1 });
  return coding === 'zstd' ? zlib.zstdCompressSync(body) : body;
}

function framed(message: Buffer, coding: Coding, broken: boolean, random: Random): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = coding === 'identity' ? 0 : 1;
  prefix.writeUInt32BE(message.length, 1);
  if (!broken) return Buffer.concat([prefix, message]);
  switch (random.int(0, 3)) {
    case 0:
      prefix[0] = random.int(2, 255);
      break;
    case 1:
      prefix.writeUInt32BE(message.length + random.int(1, 1_000), 1);
      break;
    case 2:
      return Buffer.concat([prefix, message, prefix, message]);
    default:
      return prefix.subarray(0, random.int(0, 4));
  }
  return Buffer.concat([prefix, message]);
}

function usualHeaders(
  protocol: Protocol,
  encoding: BodyEncoding,
  coding: Coding,
  token: string,
): Record<string, string> {
  const authorization = `Bearer ${token}`;
  if (protocol === 'grpc') {
    const ofCoding: Record<string, string> = coding === 'identity' ? {} : { 'grpc-encoding': coding };
    return { 'content-type': 'application/grpc', te: 'trailers', authorization, ...ofCoding };
  }
  const contentType = encoding === 'json' ? 'application/json' : 'application/x-protobuf';
  const ofCoding: Record<string, string> = coding === 'identity' ? {} : { 'content-encoding': coding };
  return { host: 'localhost', 'content-type': contentType, authorization, ...ofCoding };
}

function withoutNulls(headers: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== null));
}
