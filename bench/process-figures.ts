/** CPU and memory of other processes, from Linux's /proc. */
import { readFileSync } from 'node:fs';

export interface ProcessFigures {
  /** User and system time since the process started. In steps of 10 ms. */
  readonly cpuMicros: number;
  readonly rssBytes: number;
  /** The greatest RSS so far (VmHWM). */
  readonly peakRssBytes: number;
  /** Handed to the disk so far. */
  readonly writtenBytes: number;
}

/** Of Linux on every platform that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Throws when there is no such process. */
export function processFigures(pid: number): ProcessFigures {
  // After the name in parentheses: state is the first field, utime the 12th, stime the 13th.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const io = readFileSync(`/proc/${pid}/io`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN);
  return {
    cpuMicros: ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / TICKS_PER_SECOND,
    rssBytes: kib('VmRSS') * 1024,
    peakRssBytes: kib('VmHWM') * 1024,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? Number.NaN),
  };
}

/** Children of `parent` whose command line names one of these files. */
export function childrenOf(parent: number, files: readonly string[]): { pid: number; file: string }[] {
  const pids = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ');
  return pids.filter(Boolean).flatMap((pid) => {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    const file = files.find((one) => command.includes(one));
    return file === undefined ? [] : [{ pid: Number(pid), file }];
  });
}
