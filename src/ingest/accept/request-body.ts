/**
 * A body while it arrives. One chunk is kept as it is, without a copy; more are copied into one buffer that grows by
 * steps, so that memory in use stays in proportion to bytes received, whatever length the client announced.
 */
import { freeNow } from '../../base/byte-writer.ts';
import { BackworkError } from '../../base/errors.ts';
import { BODY_BYTES_UNKNOWN } from '../../base/limits.ts';

/**
 * Of the buffer, each time it is full: 1, 8, 64 MiB. The system gives memory to a page when it is written to, so what is not
 * filled costs none; by doubling, buffers that were left behind made the process grow by 26 MiB beside the largest body.
 */
const GROWTH = 8;

export class BodyBuffer {
  readonly #bytesExpected: number;
  /** The first chunk itself until a second one comes, then our own buffer of which `#bytes` are filled. */
  #buffer: Buffer | undefined;
  #own = false;
  #bytes = 0;

  /**
   * `bytesExpected`: announced length, or the largest allowed; never exceeded by `append` (the caller checks).
   */
  constructor(bytesExpected: number) {
    this.#bytesExpected = bytesExpected;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Returns whether `chunk` was copied; if not it is kept, and must not be written to afterwards. */
  append(chunk: Buffer): boolean {
    const copied = this.#bytes > 0;
    const bytes = this.#bytes + chunk.length;
    if (copied) this.#makeRoom(bytes).set(chunk, this.#bytes);
    else this.#buffer = chunk;
    this.#bytes = bytes;
    return copied;
  }

  /** Nobody wants it any more: its memory is free now, not when garbage is collected. Must not be used again. */
  discard(): void {
    if (this.#own) freeNow(this.#buffer as Buffer);
    this.#buffer = undefined;
  }

  /** The body; it belongs to the caller, and this object must not be used again. */
  take(): Buffer {
    const buffer = this.#buffer ?? Buffer.alloc(0);
    this.#buffer = undefined;
    return buffer.length === this.#bytes ? buffer : buffer.subarray(0, this.#bytes);
  }

  #makeRoom(bytes: number): Buffer {
    const held = this.#buffer as Buffer;
    if (this.#own && held.length >= bytes) return held;
    // Up to BODY_BYTES_UNKNOWN a length is believed at once: that much is reserved for every request.
    const believed = Math.min(this.#bytesExpected, BODY_BYTES_UNKNOWN);
    const capacity = Math.max(bytes, Math.min(this.#bytesExpected, Math.max(believed, held.length * GROWTH)));
    const buffer = Buffer.allocUnsafeSlow(capacity);
    buffer.set(held.subarray(0, this.#bytes));
    if (this.#own) freeNow(held);
    this.#buffer = buffer;
    this.#own = true;
    return buffer;
  }
}

/** The one text for every limit of size, on the wire or inflated. */
export function tooLarge(what: string, bytes: number | undefined, bytesMax: number): BackworkError {
  const size = bytes === undefined ? '' : ` of ${bytes} bytes`;
  return new BackworkError('too-large', `the ${what}${size} is over the limit of ${bytesMax} bytes`);
}
