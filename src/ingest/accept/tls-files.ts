/**
 * Certificate, key and client CA from their files, and again whenever the files change, without a restart:
 *
 *   every second: stat of the files, links followed ─► changed? ─► the same for a second? ─► read, check ─► serve them
 *
 * - Files are looked at, not watched: Kubernetes replaces a link to the folder, certbot the links to the files, and an
 *   editor the file itself, and only a look at what stands at the path now sees all three, on any file system.
 * - They are read only after they were found unchanged twice, because certificate and key are two files and are written
 *   one after the other.
 * - What cannot be served (unreadable, unparsable, a key of another certificate) is an error in the log, once for each
 *   change, and what was served before goes on being served.
 * - No message holds anything of a file but its path, and of a certificate its expiry.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { BackworkError, messageOf } from '../../base/errors.ts';
import type { TlsCertificates, TlsContext } from './accept-server.ts';

/** Paths as the operator gave them. */
export interface TlsPaths {
  readonly certFile: string;
  readonly keyFile: string;
  /** undefined: no client certificate is asked for. */
  readonly clientCaFile: string | undefined;
}

/** What the files hold. */
export interface TlsMaterial extends TlsContext {
  /** Of the first to expire among the certificate and its chain. */
  readonly expiresMs: number;
}

export interface TlsFilesDeps {
  readonly paths: TlsPaths;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  /** Wall clock. */
  readonly nowMs: () => number;
  /** Of several processes that serve the same files one warns. */
  readonly warnsOfExpiry: boolean;
}

/** Renewal is due at 30 days left (Let's Encrypt), so by then it has failed for a while. */
export const EXPIRY_WARNING_DAYS = 14;
const DAY_MS = 86_400_000;
const LOOK_MS = 1_000;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Reads the files and checks that they can be served. Throws BackworkError `bad-setting` that names the file. An expired
 * certificate is served: clients may be told to accept it, and none would be served without it either.
 */
export function readTlsFiles(paths: TlsPaths): TlsMaterial {
  const cert = read('certificate', paths.certFile);
  const certificates = parseCertificates('certificate', paths.certFile, cert);
  const key = read('private key', paths.keyFile);
  const parsedKey = parseKey(paths.keyFile, key);
  const clientCa = paths.clientCaFile === undefined ? undefined : read('client CA', paths.clientCaFile);
  if (paths.clientCaFile !== undefined && clientCa !== undefined) {
    parseCertificates('client CA', paths.clientCaFile, clientCa);
  }
  if (certificates[0]?.checkPrivateKey(parsedKey) !== true) {
    throw bad('private key', paths.keyFile, `is not the key of the first certificate in ${paths.certFile}`);
  }
  try {
    createSecureContext({ cert, key, ca: clientCa });
  } catch (error) {
    // Code only: a key or digest that OpenSSL's policy finds too weak, for example.
    const { code } = error as NodeJS.ErrnoException;
    throw bad('certificate', paths.certFile, `cannot be used with its key: ${code ?? 'refused by OpenSSL'}`);
  }
  const expiresMs = Math.min(...certificates.map(({ validTo }) => Date.parse(validTo)));
  return { cert, key, clientCa, expiresMs };
}

/** Whole days until the certificate expires; negative when it has. */
export function daysLeft({ expiresMs }: Pick<TlsMaterial, 'expiresMs'>, nowMs: number): number {
  return Math.floor((expiresMs - nowMs) / DAY_MS);
}

export class TlsFiles implements TlsCertificates {
  readonly #deps: TlsFilesDeps;
  readonly #users: Array<(context: TlsContext) => void> = [];
  #material: TlsMaterial;
  /** The files' state that was taken over or found wrong, and the one seen at the last look. */
  #settled: string;
  #seen: string;
  #warnedMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** Throws what readTlsFiles throws. */
  static async open(deps: TlsFilesDeps): Promise<TlsFiles> {
    // The state first: a change between the two is then seen at the next look.
    const state = await stateOf(deps.paths);
    const files = new TlsFiles(deps, state, readTlsFiles(deps.paths));
    files.#warnOfExpiry();
    files.#lookLater();
    return files;
  }

  private constructor(deps: TlsFilesDeps, state: string, material: TlsMaterial) {
    this.#deps = deps;
    this.#settled = state;
    this.#seen = state;
    this.#material = material;
  }

  current(): TlsContext {
    return this.#material;
  }

  onChange(use: (context: TlsContext) => void): void {
    this.#users.push(use);
  }

  /** Stops looking. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => {
      const timer = this.#timer;
      void this.#look().finally(() => {
        if (this.#timer === timer) this.#lookLater();
      });
    }, LOOK_MS);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const state = await stateOf(this.#deps.paths);
    const atRest = state === this.#seen;
    this.#seen = state;
    if (atRest && state !== this.#settled) {
      this.#settled = state;
      this.#reload();
    }
    this.#warnOfExpiry();
  }

  #reload(): void {
    const { paths, log } = this.#deps;
    try {
      const material = readTlsFiles(paths);
      this.#material = material;
      for (const use of this.#users) use(material);
      this.#warnedMs = Number.NEGATIVE_INFINITY;
      const fields = { file: paths.certFile, expires: dateText(material.expiresMs) };
      log.info(fields, 'the TLS files have changed and are served to new connections from now on');
    } catch (error) {
      const fields = { reason: messageOf(error), expires: dateText(this.#material.expiresMs) };
      log.error(fields, 'the changed TLS files cannot be served; the certificate from before goes on being served');
    }
  }

  /** At once, and then daily. */
  #warnOfExpiry(): void {
    const { nowMs, warnsOfExpiry, log, paths } = this.#deps;
    const days = daysLeft(this.#material, nowMs());
    if (!warnsOfExpiry || days >= EXPIRY_WARNING_DAYS || nowMs() - this.#warnedMs < DAY_MS) return;
    this.#warnedMs = nowMs();
    const fields = { file: paths.certFile, expires: dateText(this.#material.expiresMs), daysLeft: days };
    log.warn(fields, days < 0 ? 'the TLS certificate has expired' : 'the TLS certificate expires soon');
  }
}

/** What tells a change of any of the files: which file stands there, its size and times; or why there is none. */
async function stateOf({ certFile, keyFile, clientCaFile }: TlsPaths): Promise<string> {
  const files = [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])];
  const states = files.map(async (file) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unreadable';
    }
  });
  return (await Promise.all(states)).join('\n');
}

type Role = 'certificate' | 'private key' | 'client CA';

function read(role: Role, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw bad(role, path, `cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`);
  }
}

/** At least one. */
function parseCertificates(role: Role, path: string, text: Buffer): X509Certificate[] {
  try {
    const certificates = (text.toString('latin1').match(PEM_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
    if (certificates.length > 0) return certificates;
  } catch {
    // Said below, without OpenSSL's words.
  }
  throw bad(role, path, 'holds no PEM certificate, or one that is damaged');
}

function parseKey(path: string, text: Buffer): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw bad('private key', path, 'holds no PEM private key, or one that is encrypted or damaged');
  }
}

function bad(role: Role, path: string, what: string): BackworkError {
  return new BackworkError('bad-setting', `TLS ${role} file ${path}: ${what}`);
}

function dateText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
