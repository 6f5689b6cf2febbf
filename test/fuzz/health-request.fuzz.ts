/** The health service's request: the same service as protobufjs reads, or refused. */
import protobuf from 'protobufjs';
import { BackworkError } from '../../src/base/errors.ts';
import { serviceOf } from '../../src/ingest/accept/health-service.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Case, type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';
import { mutateMessage, readMessage, type WireMessage } from './mutate-protobuf.ts';

const PROTO = 'syntax = "proto3"; message HealthCheckRequest { string service = 1; }';
const NAMES = ['', 'opentelemetry.proto.collector.logs.v1.LogsService', 'a', 'é€😀', 'x'.repeat(300)];

export function healthRequestFuzzer(): Fuzzer {
  const type = protobuf.parse(PROTO).root.lookupType('HealthCheckRequest');
  const valid = NAMES.map((service) => Buffer.from(type.encode({ service }).finish()));
  const messages = valid.filter((bytes) => bytes.length > 0).map((bytes) => readMessage(type, bytes));
  return fuzzer('health-request', (one) => {
    const bytes = makeRequest(valid, messages, one.random);
    const decoded = decode(type, bytes);
    const service = read(bytes, one);
    if (service === undefined) {
      promise(
        decoded === undefined || hasGroupOrLongVarint(bytes),
        `refused what protobufjs takes: ${bytes.toString('hex')}`,
      );
    } else if (decoded === undefined) one.count('taken, but refused by protobufjs');
    else promise(service === decoded, 'read another service');
    return service !== undefined;
  });
}

function makeRequest(valid: readonly Buffer[], messages: readonly WireMessage[], random: Random): Buffer {
  const kind = random.next();
  if (kind < 0.1) return random.bytes(random.int(0, 50));
  if (kind < 0.2) return random.pick(valid);
  return kind < 0.5 ? mutate(random.pick(valid), random) : mutateMessage(random.pick(messages), random);
}

function decode(type: protobuf.Type, bytes: Buffer): string | undefined {
  try {
    return (type.toObject(type.decode(bytes), { defaults: true }) as { service: string }).service;
  } catch {
    return undefined;
  }
}

function read(bytes: Buffer, { time }: Case): string | undefined {
  try {
    return time(() => serviceOf(bytes));
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'malformed') return undefined;
    throw error;
  }
}

/** In what protobufjs takes: it skips groups, and unknown varints of any length where protobuf has 10 bytes at most. */
function hasGroupOrLongVarint(bytes: Buffer): boolean {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    const start = reader.pos;
    if ((tag & 7) === 3) return true;
    reader.skipType(tag & 7, 0, tag >>> 3);
    if ((tag & 7) === 0 && reader.pos - start > 10) return true;
  }
  return false;
}
