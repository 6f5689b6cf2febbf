/** The test certificates (certificates/README.md says how they were made), as paths and as what a port serves. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsCertificates, TlsContext } from '../../src/ingest/accept/accept-server.ts';

export type CertificateName = 'server-1' | 'server-2' | 'client' | 'untrusted-client';

export function certificatePath(name: CertificateName | 'ca'): string {
  return join(import.meta.dirname, 'certificates', `${name}.crt`);
}

export function keyPath(name: CertificateName): string {
  return join(import.meta.dirname, 'certificates', `${name}.key`);
}

/** For clients and servers of Node. */
export function pair(name: CertificateName): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(certificatePath(name)), key: readFileSync(keyPath(name)) };
}

export const CA = readFileSync(certificatePath('ca'));

/** Certificates that a test changes itself. */
export class HeldCertificates implements TlsCertificates {
  #context: TlsContext;
  #use: Array<(context: TlsContext) => void> = [];

  constructor(name: CertificateName, clientCa?: Buffer) {
    this.#context = { ...pair(name), clientCa };
  }

  current(): TlsContext {
    return this.#context;
  }

  onChange(use: (context: TlsContext) => void): void {
    this.#use.push(use);
  }

  change(name: CertificateName): void {
    this.#context = { ...pair(name), clientCa: this.#context.clientCa };
    for (const use of this.#use) use(this.#context);
  }
}
