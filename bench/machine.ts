/** What figures depend on besides the code: printed above each of them. */
import { execFileSync } from 'node:child_process';
import { cpus, freemem, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..');

/** Load average is of now: a machine that others use gives other figures. */
export function machineText(): string {
  const processors = cpus();
  const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  const load = loadavg()
    .map((one) => one.toFixed(2))
    .join(' ');
  return [
    `machine   ${processors[0]?.model ?? 'unknown'}, ${processors.length} cores, ${gib(totalmem())} GiB (${gib(freemem())} free), ${process.platform}`,
    `node      ${process.version}, V8 ${process.versions.v8}`,
    `load      ${load}`,
    `revision  ${revision()}`,
  ].join('\n');
}

function revision(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  try {
    const changed =
      git('status', '--porcelain', '--', 'src', 'bench', 'package-lock.json') === '' ? '' : ' and changes';
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed}`;
  } catch {
    return 'unknown';
  }
}
