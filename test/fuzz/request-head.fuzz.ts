/**
 * The heads of requests: whatever a path and headers say, there is a route or 'unknown-path', a coding or a fault; a body's
 * declared size is a number or absent; and no refusal repeats what the client wrote.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { BackworkError } from '../../src/base/errors.ts';
import {
  bodyEncoding,
  grpcRoute,
  httpRoute,
  isGrpc,
  readGrpcHead,
  readHttpHead,
} from '../../src/ingest/accept/request-head.ts';
import { readBearerToken } from '../../src/ingest/authenticate/bearer-token.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Case, type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

const BODY_BYTES_MAX = 1_000;
const CANARY = 'canary-7f3a';
const VALUES: Readonly<Record<string, readonly string[]>> = {
  'content-type': ['application/x-protobuf', 'application/json; charset=utf-8', 'application/grpc+proto', 'text/plain'],
  'content-encoding': ['gzip', 'deflate', 'zstd', 'identity', 'br', 'gzip, gzip', ''],
  'grpc-encoding': ['gzip', 'identity', 'deflate', 'snappy'],
  'content-length': ['0', '1000', '1001', '-1', '1e3', '99999999999999999999999', '00', '0x10', '1000, 1000'],
  authorization: ['Bearer bw_ing_0123456789ab_x', 'Basic YTpi', 'Bearer%20a', 'bearer', `${'Bearer '.repeat(50)}`],
  'x-api-key': ['bw_ing_0123456789ab_x', ',', 'a,b'],
};
const PATHS = [
  ...['/v1/logs', '/v1/traces/', '/v1/metrics?a=b', '/v1/logs//', '/v1/profiles', '/', '', '*', 'http://a/v1/logs'],
  '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export',
];

export function requestHeadFuzzer(): Fuzzer {
  return fuzzer('request-head', (one) => {
    const { random } = one;
    const headers: IncomingHttpHeaders = {};
    for (const [name, values] of Object.entries(VALUES)) {
      if (random.chance(0.7)) headers[name] = hostile(random.pick(values), random);
    }
    const path = hostile(random.pick(PATHS), random);
    const isOfHttp = random.chance(0.5);
    const taken = isOfHttp ? takesHttp(path, headers, one) : takesGrpc(path, headers, one);
    const { authorization } = headers;
    if (authorization !== undefined) {
      const token = one.time(() => readBearerToken(authorization));
      promise(token === undefined || authorization.includes(token.token), 'a token that was not sent');
    }
    return taken;
  });
}

function takesHttp(path: string, headers: IncomingHttpHeaders, { time }: Case): boolean {
  time(() => bodyEncoding(headers['content-type']));
  const route = routeOf(() => time(() => httpRoute(path)));
  return (
    route !== undefined &&
    isTaken(
      time(() => readHttpHead(route, headers, BODY_BYTES_MAX)),
      BODY_BYTES_MAX,
    )
  );
}

function takesGrpc(path: string, headers: IncomingHttpHeaders, { time }: Case): boolean {
  if (!time(() => isGrpc(headers['content-type']))) return false;
  const route = routeOf(() => time(() => grpcRoute(path)));
  return (
    route !== undefined &&
    isTaken(
      time(() => readGrpcHead(route, headers, BODY_BYTES_MAX)),
      BODY_BYTES_MAX + 5,
    )
  );
}

function isTaken(read: ReturnType<typeof readHttpHead>, bytesMax: number): boolean {
  const { head, coding, fault } = read;
  promise(['identity', 'gzip', 'deflate', 'zstd'].includes(coding), `a coding called ${coding}`);
  const { bodyBytesDeclared } = head;
  if (bodyBytesDeclared !== undefined) {
    const isSize = Number.isInteger(bodyBytesDeclared) && bodyBytesDeclared >= 0 && bodyBytesDeclared <= bytesMax;
    promise(isSize, `${bodyBytesDeclared} bytes declared`);
  }
  if (fault !== undefined) {
    const codes = ['unsupported-content-type', 'unsupported-coding', 'too-large'];
    promise(codes.includes(fault.code), `a fault of code ${fault.code}`);
    promise(!fault.message.includes(CANARY), 'a fault repeats what the client wrote');
  }
  return fault === undefined;
}

function routeOf<T>(find: () => T): T | undefined {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof BackworkError) || error.code !== 'unknown-path') throw error;
    promise(!error.message.includes(CANARY), 'a refusal repeats what the client wrote');
    return undefined;
  }
}

/** Latin-1, as Node gives header values. */
function hostile(value: string, random: Random): string {
  const kind = random.next();
  if (kind < 0.75) return value;
  if (kind < 0.8) return `${value}${CANARY}`;
  if (kind < 0.82) return random.pick([' ', '\t', 'a', ',', '/', '%20', 'Bearer ']).repeat(random.int(1, 16_000));
  if (kind < 0.84) return `${value}${' '.repeat(random.int(1, 8_000))}${CANARY}`;
  if (kind < 0.9) return random.chance(0.5) ? value.toUpperCase() : ` \t${value}\t `;
  return mutate(Buffer.from(value), random).toString('latin1');
}
