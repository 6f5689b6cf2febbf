/** What the kernel says of running processes, from /proc: memory, processor time, open files. Linux only. */
import { readFileSync, writeFileSync } from 'node:fs';

/** Of /proc/<pid>/stat; 100 a second on every Linux that Node runs on. */
const TICK_MS = 10;

/** Resident bytes of all of them together. */
export function rssBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + statusBytes(pid, 'VmRSS'), 0);
}

/** The largest resident size since `resetRssPeak`, summed over them: an upper bound of their peak together. */
export function rssPeakBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + statusBytes(pid, 'VmHWM'), 0);
}

/** From now on the peak counts anew (`5` in clear_refs, proc(5)). */
export function resetRssPeak(pids: readonly number[]): void {
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** Processor time of all their threads, user and system, to 10 ms. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    // The second field is a name in brackets that may hold blanks; 14 and 15 are counted from behind it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ');
    return sum + (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }, 0);
}

/** How many files it may have open. */
export function openFilesMax(pid: number | 'self'): number {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'));
  return line?.[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line?.[1]);
}

function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  if (line === null) throw new Error(`process ${pid} has no ${field}: it has ended`);
  return Number(line[1]) * 1_024;
}
