/**
 * A body while it arrives. One chunk is kept as it is, without a copy; more are copied into one buffer that grows by
 * doubling, so that memory taken stays in proportion to bytes received, whatever length the client announced.
 */
import { BackworkError } from '../../base/errors.ts';
import { BODY_BYTES_UNKNOWN } from '../../base/limits.ts';

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

  /** Keeps `chunk`, which must not be written to afterwards. */
  append(chunk: Buffer): void {
    const bytes = this.#bytes + chunk.length;
    if (this.#bytes === 0) {
      this.#buffer = chunk;
    } else {
      this.#makeRoom(bytes).set(chunk, this.#bytes);
    }
    this.#bytes = bytes;
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
    const capacity = Math.max(bytes, Math.min(this.#bytesExpected, Math.max(believed, held.length * 2)));
    const buffer = Buffer.allocUnsafeSlow(capacity);
    buffer.set(held.subarray(0, this.#bytes));
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
