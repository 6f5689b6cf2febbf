/** gRPC framing: however the bytes of a call are cut, they are the message that a plain reading of them gives, or refused. */
import { BackworkError } from '../../src/base/errors.ts';
import { GrpcMessageReader } from '../../src/ingest/accept/grpc-message.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

const BYTES_MAX = 1_000;

export function grpcMessageFuzzer(): Fuzzer {
  return fuzzer('grpc-message', ({ random, time }) => {
    const bytes = makeStream(random);
    const hasCoding = random.chance(0.5);
    let reservedBytes = 0;
    const reader = new GrpcMessageReader({
      bytesMax: BYTES_MAX,
      hasCoding,
      reserve: (count) => {
        promise(count > reservedBytes && count <= BYTES_MAX, `reserves ${count} bytes after ${reservedBytes}`);
        reservedBytes = count;
      },
    });
    const wanted = plainReading(bytes, hasCoding);
    try {
      for (const chunk of cut(bytes, random)) time(() => reader.push(chunk));
      const message = time(() => reader.end());
      promise(typeof wanted !== 'string', `took what is ${String(wanted)}`);
      promise(message.bytes.equals((wanted as Message).bytes), 'another message');
      promise(message.compressed === (wanted as Message).compressed, 'another flag');
      promise(reservedBytes === message.bytes.length, `${reservedBytes} bytes reserved`);
      return true;
    } catch (error) {
      if (!(error instanceof BackworkError)) throw error;
      promise(error.code === wanted, `${error.code}: ${error.message}`);
      return false;
    }
  });
}

interface Message {
  readonly compressed: boolean;
  readonly bytes: Buffer;
}

/** The message, or the code of the refusal. */
function plainReading(bytes: Buffer, hasCoding: boolean): Message | 'malformed' | 'too-large' {
  if (bytes.length < 5) return 'malformed';
  const flag = bytes.readUInt8(0);
  if (flag > 1 || (flag === 1 && !hasCoding)) return 'malformed';
  const length = bytes.readUInt32BE(1);
  if (length > BYTES_MAX) return 'too-large';
  return bytes.length === 5 + length ? { compressed: flag === 1, bytes: bytes.subarray(5) } : 'malformed';
}

function makeStream(random: Random): Buffer {
  const message = random.bytes(random.pick([0, 1, 5, 100, BYTES_MAX - 1, BYTES_MAX, BYTES_MAX + 1]));
  const prefix = Buffer.alloc(5);
  prefix[0] = random.pick([0, 0, 0, 1, 1, 2, 128, 255]);
  const lengths = [message.length + 1, message.length - 1, 0, 2 ** 31, 2 ** 32 - 1];
  prefix.writeUInt32BE(random.chance(0.8) ? message.length : Math.max(0, random.pick(lengths)), 1);
  const whole = Buffer.concat([prefix, message]);
  if (random.chance(0.5)) return whole;
  return random.chance(0.3) ? Buffer.concat([whole, whole]) : mutate(whole, random);
}

/** Empty chunks among them. */
function cut(bytes: Buffer, random: Random): Buffer[] {
  const chunks: Buffer[] = [];
  const longest = random.pick([1, 4, 6, 200, bytes.length]);
  for (let at = 0; at < bytes.length; ) {
    const length = random.int(0, longest);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
}
