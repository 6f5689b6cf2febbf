/**
 * Disks that a test can fill: small tmpfs mounts. Needs root and mount(8); what is mounted is unmounted at the end of
 * the process whatever happens.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const mounted = new Set<string>();
process.on('exit', () => {
  for (const dir of [...mounted].reverse()) unmount(dir);
});

/** Why no disk can be mounted here; undefined when one can. */
export function cannotMount(scratch: string): string | undefined {
  const dir = join(scratch, 'mount-test');
  try {
    mkdirSync(dir, { recursive: true });
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir);
    unmount(dir);
    return undefined;
  } catch (error) {
    return `no tmpfs can be mounted (needs root and mount): ${String(error).split('\n')[0]}`;
  }
}

/** A disk of its own under this directory. */
export class SmallDisk {
  readonly dir: string;

  constructor(dir: string, mib: number) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    mount('-t', 'tmpfs', '-o', `size=${mib}m,mode=0700`, 'tmpfs', dir);
    this.dir = dir;
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.dir);
    return bavail * bsize;
  }

  /** Takes all but so many bytes, as somebody else's file would. Called again it takes what has become free since. */
  fill(leaveBytes = 0): void {
    const file = openSync(join(this.dir, 'filler'), 'a');
    try {
      const chunk = Buffer.alloc(256 * 1_024);
      for (let rest = this.freeBytes() - leaveBytes; rest > 0; rest = this.freeBytes() - leaveBytes) {
        const before = fstatSync(file).size;
        writeSync(file, chunk, 0, Math.min(rest, chunk.length));
        if (fstatSync(file).size === before) break;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
  }

  /** Gives back what `fill` took. */
  free(): void {
    rmSync(join(this.dir, 'filler'), { force: true });
  }

  unmount(): void {
    unmount(this.dir);
  }
}

/** `target` shows what is in `source`, on whatever disk that is. */
export function bindMount(source: string, target: string): void {
  mkdirSync(source, { recursive: true, mode: 0o700 });
  mkdirSync(target, { recursive: true, mode: 0o700 });
  mount('--bind', source, target);
}

/** The directory as it is, but nobody writes to it any more, root neither. */
export function mountReadOnly(dir: string): void {
  mount('--bind', dir, dir);
  execFileSync('mount', ['-o', 'remount,ro,bind', dir], { stdio: 'pipe' });
}

/** Lazily: what a process still has open there is let go when it closes it. */
export function unmount(dir: string): void {
  if (!mounted.delete(dir)) return;
  execFileSync('umount', ['-l', dir], { stdio: 'pipe' });
}

function mount(...args: string[]): void {
  execFileSync('mount', args, { stdio: 'pipe' });
  mounted.add(args.at(-1)!);
}
