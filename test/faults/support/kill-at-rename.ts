/** Kills a process at the moment when it is about to rename a part of a table into place, by strace. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CALLS = 'rename,renameat,renameat2';

/**
 * SIGKILL at the first rename of any of its threads. Resolves when the process is gone, to whether it was the rename of a
 * part that an INSERT had written; false too when none came within `withinMs`.
 */
export async function killAtRename(pid: number, withinMs: number): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'backwork-strace-'));
  const out = join(dir, 'calls');
  const inject = ['-e', `trace=${CALLS}`, '-e', `inject=${CALLS}:signal=SIGKILL:when=1`];
  const strace = spawn('strace', ['-f', '-s', '300', '-o', out, ...inject, '-p', String(pid)], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => strace.once('exit', () => resolve()));
  const timer = setTimeout(() => strace.kill('SIGKILL'), withinMs);
  await ended;
  clearTimeout(timer);
  try {
    return /rename[^\n]*tmp_insert_/.test(readFileSync(out, 'utf8'));
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
