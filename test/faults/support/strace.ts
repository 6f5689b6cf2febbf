/** Calls of a running process that fail on purpose: strace attached to it, with an injection. */
import { execFileSync, spawn } from 'node:child_process';

const DETACH_MS = 500;

/** Which calls, which error, and which of them: the first, the n-th, all from the n-th on. Each thread counts its own. */
export interface Injection {
  readonly calls: readonly string[];
  readonly error: 'EIO' | 'ENOSPC' | 'EINTR';
  /** As strace writes it: `1`, `3+`, `1+2`. */
  readonly when: string;
}

export interface Attached {
  /** Injected so far. */
  count(): number;
  /** The calls go their way again. Resolves when the process runs free, or has ended. */
  detach(): Promise<void>;
}

/** Why no call can be made to fail here; undefined when it can. */
export function cannotInject(): string | undefined {
  try {
    execFileSync('strace', ['-e', 'trace=none', 'true'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `strace is missing or may not trace: ${String(error).split('\n')[0]}`;
  }
}

/** Resolves when it is attached to every thread of the process. */
export async function inject(pid: number, { calls, error, when }: Injection): Promise<Attached> {
  const names = calls.join(',');
  const args = ['-f', '-e', `trace=${names}`, '-e', `inject=${names}:error=${error}:when=${when}`, '-p', String(pid)];
  return attach(args);
}

/** Every read of this file, and of its log, takes so much longer. Resolves when it is attached to every thread. */
export async function slowReads(pid: number, path: string, delayMs: number): Promise<Attached> {
  const injection = `inject=pread64:delay_enter=${delayMs * 1_000}`;
  const files = ['-P', path, '-P', `${path}-wal`];
  return attach(['-f', ...files, '-e', 'trace=pread64', '-e', injection, '-p', String(pid)]);
}

async function attach(args: readonly string[]): Promise<Attached> {
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  const ended = new Promise<void>((resolve) => strace.once('exit', () => resolve()));
  const attached = new Promise<void>((resolve) => {
    strace.stderr.on('data', (chunk: Buffer) => {
      said += chunk;
      if (said.includes('attached')) resolve();
    });
  });
  await Promise.race([attached, ended]);
  return {
    count: () => said.split('(INJECTED)').length - 1,
    detach: async () => {
      strace.kill('SIGINT');
      // It can wait for ever for a thread of a process that has ended; without it the kernel lets all of them go.
      const kill = setTimeout(() => strace.kill('SIGKILL'), DETACH_MS);
      await ended;
      clearTimeout(kill);
    },
  };
}
