/**
 * JSON's grammar (RFC 8259) over UTF-8 bytes, without JavaScript strings: the caller looks at the byte ahead, asks for
 * the token it wants and gets a range. Nothing recurses; what nests in a skipped value costs one bit a level.
 * A violation throws JsonSyntaxError with the byte where it stands.
 */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
}

/** Flags of the string read last. */
export const HAS_ESCAPE = 1;
/** A byte above 127: the text may be invalid UTF-8. */
export const HAS_HIGH_BYTE = 0x80;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** What `ahead` gives where the input is over. */
const END = -1;

export class JsonCursor {
  readonly bytes: Uint8Array;
  readonly end: number;
  position = 0;
  /** The token read last: what stands between the quotes of a string, or all of a number. */
  tokenStart = 0;
  tokenEnd = 0;
  /** Flags of the string read last. */
  flags = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  /** First byte of the next token, or -1 where the input is over. Whitespace before it is consumed. */
  ahead(): number {
    const bytes = this.bytes;
    let at = this.position;
    while (at < this.end) {
      const byte = bytes[at]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        this.position = at;
        return byte;
      }
      at++;
    }
    this.position = at;
    return END;
  }

  /** Consumes the token `byte`, which `ahead` has just shown or which must follow. */
  expect(byte: number, meaning: string): void {
    if (this.ahead() !== byte) this.fail(`expected ${meaning}`);
    this.position++;
  }

  /** Consumes `null` and says true, or says false and consumes nothing. */
  null(): boolean {
    if (this.ahead() !== 0x6e) return false;
    this.#literal('null');
    return true;
  }

  /** true, false, or undefined when the value ahead is no boolean; then nothing is consumed. */
  boolean(): boolean | undefined {
    const byte = this.ahead();
    if (byte === 0x74) {
      this.#literal('true');
      return true;
    }
    if (byte === 0x66) {
      this.#literal('false');
      return false;
    }
    return undefined;
  }

  /** Reads a string into tokenStart, tokenEnd and flags. `ahead` has shown its quote. */
  string(): void {
    const bytes = this.bytes;
    const end = this.end;
    const start = this.position + 1;
    let flags = 0;
    let at = start;
    for (;;) {
      if (at >= end) this.#failAt(at, 'a string is cut off');
      const byte = bytes[at]!;
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        flags |= HAS_ESCAPE;
        at = this.#escape(at + 1);
        continue;
      }
      if (byte < 0x20) this.#failAt(at, 'a control character stands unescaped in a string');
      flags |= byte & HAS_HIGH_BYTE;
      at++;
    }
    this.tokenStart = start;
    this.tokenEnd = at;
    this.flags = flags;
    this.position = at + 1;
  }

  /** Reads a number into tokenStart and tokenEnd, or says false and consumes nothing when the value ahead is none. */
  number(): boolean {
    const byte = this.ahead();
    if (byte !== 0x2d && !isDigit(byte)) return false;
    const after = numberEnd(this.bytes, this.position, this.end);
    if (after < 0) this.fail('a number is malformed');
    this.tokenStart = this.position;
    this.tokenEnd = after;
    this.position = after;
    return true;
  }

  /** Reads a key and the colon behind it; the key is the token. */
  key(): void {
    if (this.ahead() !== QUOTE) this.fail('expected a key');
    this.string();
    // The colon is no token of interest: the key's range stays.
    this.expect(COLON, 'a colon');
  }

  /** Skips a value of any kind and depth, held to the grammar. */
  skipValue(): void {
    // One bit a level: 1 for an object, 0 for an array.
    let levels = new Uint8Array(32);
    let depth = 0;
    for (;;) {
      const byte = this.ahead();
      let opened = false;
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        this.position++;
        if (depth >>> 3 === levels.length) levels = grown(levels);
        const isObject = byte === OPEN_OBJECT;
        opened = this.ahead() !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY);
        if (!opened) this.position++;
        else {
          setBit(levels, depth, isObject);
          depth++;
          if (isObject) this.key();
        }
      } else this.#skipScalar(byte);
      if (!opened) depth = this.#closeLevels(levels, depth);
      if (depth === 0) return;
    }
  }

  /** Throws with the position of the token ahead. */
  fail(message: string): never {
    this.#failAt(this.position, message);
  }

  /** A value has ended: closes the levels that end here, or moves to the next member. Returns the depth that is left. */
  #closeLevels(levels: Uint8Array, depth: number): number {
    let open = depth;
    while (open > 0) {
      const isObject = (levels[(open - 1) >>> 3]! & (1 << ((open - 1) & 7))) !== 0;
      const byte = this.ahead();
      if (byte === COMMA) {
        this.position++;
        if (isObject) this.key();
        return open;
      }
      if (byte !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY))
        this.fail('expected a comma or the end of a list or object');
      this.position++;
      open--;
    }
    return 0;
  }

  #skipScalar(byte: number): void {
    if (byte === QUOTE) return void this.string();
    if (this.number() || this.boolean() !== undefined || this.null()) return;
    this.fail(byte === END ? 'the body is cut off' : 'expected a value');
  }

  #literal(text: string): void {
    for (let i = 0; i < text.length; i++) {
      if (this.bytes[this.position + i] !== text.charCodeAt(i)) this.fail('expected a value');
    }
    this.position += text.length;
  }

  /** Checks the escape whose letter stands at `at`; returns where it ends. */
  #escape(at: number): number {
    const letter = at < this.end ? this.bytes[at]! : 0;
    if (letter !== 0x75) {
      if (letter === 0 || !'"\\/bfnrt'.includes(String.fromCharCode(letter))) this.#failAt(at, 'an escape is unknown');
      return at + 1;
    }
    for (let i = at + 1; i < at + 5; i++) {
      if (i >= this.end || hexValue(this.bytes[i]!) < 0) this.#failAt(i, 'a \\u escape is not four hex digits');
    }
    return at + 5;
  }

  #failAt(at: number, message: string): never {
    throw new JsonSyntaxError(`${message}, at byte ${at}`);
  }
}

/** End of the JSON number that starts at `start`, or -1 when none does. */
export function numberEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  if (at < end && bytes[at] === 0x2d) at++;
  const integer = digitsEnd(bytes, at, end);
  if (integer === at || (bytes[at] === 0x30 && integer > at + 1)) return -1;
  at = integer;
  if (at < end && bytes[at] === 0x2e) {
    const fraction = digitsEnd(bytes, at + 1, end);
    if (fraction === at + 1) return -1;
    at = fraction;
  }
  if (at < end && (bytes[at]! | 0x20) === 0x65) {
    let digits = at + 1;
    if (digits < end && (bytes[digits] === 0x2b || bytes[digits] === 0x2d)) digits++;
    const exponent = digitsEnd(bytes, digits, end);
    if (exponent === digits) return -1;
    at = exponent;
  }
  return at;
}

/** 0 to 15, or -1 when the byte is no hex digit. */
export function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function digitsEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isDigit(bytes[at]!)) at++;
  return at;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function setBit(bits: Uint8Array, index: number, value: boolean): void {
  const mask = 1 << (index & 7);
  if (value) bits[index >>> 3]! |= mask;
  else bits[index >>> 3]! &= ~mask;
}

function grown(bits: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bits.length * 2);
  larger.set(bits);
  return larger;
}
