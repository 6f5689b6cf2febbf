/** Addresses and ports: how a URL is written, whether a port is free. */
import { createServer, type ListenOptions } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError } from '../base/errors.ts';
import { otlpTlsPaths } from '../settings/load-settings.ts';
import type { Settings } from '../settings/settings.ts';

/** `http://host:port` that a client on this machine can use, also where the address means all of them. */
export function localUrl(host: string, port: number, scheme: 'http' | 'https' = 'http'): string {
  if (host === '0.0.0.0') return `${scheme}://127.0.0.1:${port}`;
  if (host === '::') return `${scheme}://[::1]:${port}`;
  return host.includes(':') ? `${scheme}://[${host}]:${port}` : `${scheme}://${host}:${port}`;
}

/** The same for an OTLP port: `https` where it speaks TLS. The certificate may be for other names than this one. */
export function otlpUrl(settings: Settings, port: number): string {
  return localUrl(settings.otlpHost, port, otlpTlsPaths(settings) === undefined ? 'http' : 'https');
}

/** A port and the setting that names it, for the line that says it is busy. */
export interface NamedPort {
  readonly host: string;
  readonly port: number;
  /** Environment variable. */
  readonly setting: string;
}

const POLL_MS = 100;

/**
 * Throws `port-busy` when another process listens there, or `bad-setting` when the address cannot be used. Waits up to
 * `waitMs` for a predecessor's processes to go. Workers share their ports by SO_REUSEPORT, so without this look a
 * second service of the same user would join in unnoticed; this socket does not share, so it sees them.
 */
export async function requireFree(named: NamedPort, waitMs: number): Promise<void> {
  if (named.port === 0) return;
  const deadline = performance.now() + waitMs;
  for (;;) {
    const code = await tryListen({ host: named.host, port: named.port });
    if (code === undefined) return;
    if (code !== 'EADDRINUSE') throw cannotListen(named, code);
    if (performance.now() >= deadline) throw portBusy(named);
    await sleep(POLL_MS);
  }
}

/** Whether several processes can share a port here (Linux and the BSDs: yes; macOS: no). */
export async function canSharePorts(host: string): Promise<boolean> {
  return (await tryListen({ host, port: 0, reusePort: true })) === undefined;
}

/** Whether somebody listens there: `port-busy` as a value, for the doctor. Other problems are their code. */
export async function portProblem(host: string, port: number): Promise<string | undefined> {
  return port === 0 ? undefined : tryListen({ host, port });
}

export function portBusy({ host, port, setting }: NamedPort): BackworkError {
  return new BackworkError(
    'port-busy',
    `${setting}: port ${port} on ${host} is in use by another process; stop it, or set ${setting} to another port`,
  );
}

export function cannotListen({ host, port, setting }: NamedPort, code: string): BackworkError {
  return new BackworkError('bad-setting', `${setting}: cannot listen on ${host} port ${port}: ${code}`);
}

/** The error's code, or undefined when listening works. The socket is closed again. */
function tryListen(options: ListenOptions): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const server = createServer();
  server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  server.listen(options, () => server.close(() => resolve(undefined)));
  return promise;
}
