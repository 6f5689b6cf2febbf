/**
 * The one length-prefixed message of a unary call, cut out of the DATA frames as they come:
 *
 *   compressed flag (1 byte: 0 or 1) | length (4 bytes, big-endian) | message
 */
import { BackworkError } from '../../base/errors.ts';
import { BodyBuffer, tooLarge } from './request-body.ts';
import { GRPC_PREFIX_BYTES } from './request-head.ts';

export interface GrpcMessage {
  readonly compressed: boolean;
  /** As on the wire. It belongs to the caller. */
  readonly bytes: Buffer;
}

export class GrpcMessageReader {
  readonly #bytesMax: number;
  readonly #hasCoding: boolean;
  readonly #reserve: (bytes: number) => void;
  readonly #expect: (bytes: number) => void;
  readonly #prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  #prefixBytes = 0;
  #messageBytes = 0;
  #body: BodyBuffer | undefined;

  /**
   * `reserve` is asked before bytes are kept, with all that will then be held, `expect` once with what the prefix says; what
   * they throw comes out of `push`.
   */
  constructor(options: {
    bytesMax: number;
    hasCoding: boolean;
    reserve: (bytes: number) => void;
    expect?: (bytes: number) => void;
  }) {
    this.#bytesMax = options.bytesMax;
    this.#hasCoding = options.hasCoding;
    this.#reserve = options.reserve;
    this.#expect = options.expect ?? (() => undefined);
  }

  /** Throws `malformed` and, as soon as the prefix says so and before anything is kept, `too-large`. */
  push(chunk: Buffer): void {
    let rest = chunk;
    if (this.#body === undefined) {
      const taken = rest.copy(this.#prefix, this.#prefixBytes, 0, GRPC_PREFIX_BYTES - this.#prefixBytes);
      this.#prefixBytes += taken;
      if (this.#prefixBytes < GRPC_PREFIX_BYTES) return;
      this.#body = this.#begin();
      rest = rest.subarray(taken);
    }
    if (rest.length === 0) return;
    const bytes = this.#body.bytes + rest.length;
    if (bytes > this.#messageBytes) throw malformed('more than one message in a unary call');
    this.#reserve(bytes);
    this.#body.append(rest);
  }

  /** Nobody wants what came any more. */
  discard(): void {
    this.#body?.discard();
  }

  /** After the last byte. Throws `malformed` for no message and for a cut-off one. */
  end(): GrpcMessage {
    if (this.#body === undefined) throw malformed(this.#prefixBytes === 0 ? 'no message' : 'the message is cut off');
    if (this.#body.bytes < this.#messageBytes) {
      throw malformed(`the message is cut off: ${this.#body.bytes} of ${this.#messageBytes} bytes came`);
    }
    return { compressed: this.#prefix[0] === 1, bytes: this.#body.take() };
  }

  #begin(): BodyBuffer {
    const flag = this.#prefix.readUInt8(0);
    if (flag > 1) throw malformed(`the compressed flag is ${flag}; 0 and 1 are known`);
    if (flag === 1 && !this.#hasCoding)
      throw malformed('the message is marked compressed, but no grpc-encoding is given');
    this.#messageBytes = this.#prefix.readUInt32BE(1);
    if (this.#messageBytes > this.#bytesMax) throw tooLarge('message', this.#messageBytes, this.#bytesMax);
    this.#expect(this.#messageBytes);
    return new BodyBuffer(this.#messageBytes);
  }
}

function malformed(message: string): BackworkError {
  return new BackworkError('malformed', message);
}
