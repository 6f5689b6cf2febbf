/**
 * Passwords: what is stored of one is an argon2id string with its parameters in it (RFC 9106; the PHC string format), so that
 * they can be raised: a password is hashed anew at the next login. Rules: reference 2.3.
 *
 *   $argon2id$v=19$m=65536,t=2,p=1$<salt, 16 bytes>$<hash, 32 bytes>      both base64 without padding
 *
 * A hash takes 64 MiB and about 100 ms of a thread of the pool: few run at once, few wait, and more is refused.
 */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { BackworkError, retryLater } from '../base/errors.ts';

export interface Passwords {
  /** The string to store. Throws `invalid-input` (length), `overloaded` (too many wait). */
  hash(password: string): Promise<string>;
  /**
   * Whether it is the password that `stored` was made of. `stored` undefined stands for a user that does not exist: false,
   * after the same work. Throws `overloaded`, and `corrupt` for a string that is none of ours.
   */
  verify(password: string, stored: string | undefined): Promise<boolean>;
  /** True when `stored` was made with other parameters than `hash` uses now. */
  isOutdated(stored: string): boolean;
}

export interface Argon2Parameters {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** Above OWASP's least (19 MiB, 2 passes, 1 lane). */
export const ARGON2_PARAMETERS: Argon2Parameters = { memoryKib: 65_536, passes: 2, lanes: 1 };
export const PASSWORD_BYTES_MIN = 12;
/** Of UTF-8. Bounds the work of one attempt; nothing is ever cut off. */
export const PASSWORD_BYTES_MAX = 1_024;
const WAITING_MAX = 32;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const ARGON2_VERSION = 19;
const STORED = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/;
const RETRY_AFTER_MS = 1_000;

const derive = promisify(argon2);

/** `atOnceMax`: cores − 1, at least 1. */
export function createPasswords(options: { atOnceMax: number; parameters?: Argon2Parameters }): Passwords {
  const parameters = options.parameters ?? ARGON2_PARAMETERS;
  const turns = new Turns(options.atOnceMax, WAITING_MAX);
  // What a password of a user that does not exist is held against; nobody knows what it was made of.
  const nobody = format(parameters, randomBytes(SALT_BYTES), randomBytes(HASH_BYTES));
  return {
    async hash(password) {
      checkPasswordLength(password);
      return turns.run(async () => {
        const salt = randomBytes(SALT_BYTES);
        return format(parameters, salt, await hashOf(password, salt, parameters));
      });
    },
    async verify(password, stored) {
      const { parameters: used, salt, hash } = parse(stored ?? nobody);
      // No password of another length was ever stored; the work is done all the same.
      const tried = isOfLength(password) ? password : '';
      const found = await turns.run(() => hashOf(tried, salt, used));
      return timingSafeEqual(found, hash) && stored !== undefined;
    },
    isOutdated(stored) {
      const { parameters: used } = parse(stored);
      return (
        used.memoryKib !== parameters.memoryKib || used.passes !== parameters.passes || used.lanes !== parameters.lanes
      );
    },
  };
}

/** Throws `invalid-input`. */
export function checkPasswordLength(password: string): void {
  if (isOfLength(password)) return;
  const bytes = Buffer.byteLength(password);
  const rule = `a password has ${PASSWORD_BYTES_MIN} to ${PASSWORD_BYTES_MAX} bytes, this one ${bytes}`;
  throw new BackworkError('invalid-input', rule, { field: 'password' });
}

function isOfLength(password: string): boolean {
  const bytes = Buffer.byteLength(password);
  return bytes >= PASSWORD_BYTES_MIN && bytes <= PASSWORD_BYTES_MAX;
}

/** Two ways to type one character are one password: NFKC, as NIST SP 800-63B advises. */
function hashOf(password: string, salt: Buffer, { memoryKib, passes, lanes }: Argon2Parameters): Promise<Buffer> {
  const message = Buffer.from(password.normalize('NFKC'));
  const lengths = { tagLength: HASH_BYTES, memory: memoryKib, passes, parallelism: lanes };
  return derive('argon2id', { message, nonce: salt, ...lengths });
}

function format({ memoryKib, passes, lanes }: Argon2Parameters, salt: Buffer, hash: Buffer): string {
  const [saltText, hashText] = [salt, hash].map((bytes) => bytes.toString('base64').replaceAll('=', ''));
  return `$argon2id$v=${ARGON2_VERSION}$m=${memoryKib},t=${passes},p=${lanes}$${saltText}$${hashText}`;
}

function parse(stored: string): { parameters: Argon2Parameters; salt: Buffer; hash: Buffer } {
  const match = STORED.exec(stored);
  if (match === null) throw new BackworkError('corrupt', 'a stored password is no argon2id string');
  const [, memoryKib, passes, lanes, salt = '', hash = ''] = match;
  return {
    parameters: { memoryKib: Number(memoryKib), passes: Number(passes), lanes: Number(lanes) },
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  };
}

/** So many at once, so many waiting in their order, and no more. */
class Turns {
  readonly #atOnceMax: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(atOnceMax: number, waitingMax: number) {
    this.#atOnceMax = atOnceMax;
    this.#waitingMax = waitingMax;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running < this.#atOnceMax) this.#running++;
    else await this.#wait();
    try {
      return await work();
    } finally {
      // Who waits takes this one's place, so the count stays.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      const text = `${this.#waitingMax} logins wait already`;
      throw retryLater('overloaded', text, RETRY_AFTER_MS);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
