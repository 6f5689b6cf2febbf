/**
 * What `doctor` says of a service that runs, from its /metrics: backlog, refusals, quarantine, gaps, restarts, disk. Each
 * line says what is, and, where something is amiss, what it means and what to do (OPERATING.md has more on each).
 */
import { MIB } from '../base/limits.ts';
import { localUrl } from './addresses.ts';
import type { ServiceState } from './data-directory.ts';
import type { Finding } from './doctor-machine.ts';
import { MetricsReading } from './metrics-reading.ts';

/** Sealed segments are stored within seconds while the store keeps up. */
const BACKLOG_OLD_S = 60;
const DISK_WARNING_S = 24 * 3_600;
const DISK_PROBLEM_S = 3_600;
/** Refusals that are for us to mend; the others are the clients' mistakes, or limits that hold as they should. */
const OURS = ['overloaded', 'spool-full', 'spool-failed', 'accounts-unavailable', 'internal'];
const ANSWER_MS_MAX = 5_000;

/** Empty when the service does not show its metrics: then readiness has said why. */
export async function checkState(apiHost: string, state: ServiceState): Promise<Finding[]> {
  let text: string;
  try {
    const answer = await fetch(`${localUrl(apiHost, state.ports.api)}/metrics`, {
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    if (!answer.ok) return [];
    text = await answer.text();
  } catch {
    return [];
  }
  return describeState(new MetricsReading(text));
}

/** One finding a subject, in the order in which data flows. */
export function describeState(metrics: MetricsReading): Finding[] {
  return [
    processes(metrics),
    refusals(metrics),
    backlog(metrics),
    quarantine(metrics),
    losses(metrics),
    diskRate(metrics),
  ];
}

function processes(metrics: MetricsReading): Finding {
  const subject = 'processes';
  const silent = metrics.labelsWhere('backwork_process_up', 0).map(nameOf);
  const restarts = metrics.by('backwork_process_restarts_total', 'process');
  const restarted = restarts.map(([name, count]) => `${name} ${times(count)}`).join(', ');
  const tail = restarted === '' ? '' : `; started again since the start: ${restarted}`;
  if (silent.length > 0) {
    const mend = 'it hangs or is being started again: see its last lines in the log, and kill it when it stays silent';
    return { level: 'problem', subject, found: `no answer from ${silent.join(', ')}${tail}`, mend };
  }
  if (restarted === '') return { level: 'ok', subject, found: 'all answer, none had to be started again' };
  return { level: 'warn', subject, found: `all answer${tail}`, mend: 'the log says why each ended' };
}

function refusals(metrics: MetricsReading): Finding {
  const subject = 'refusals';
  const byReason = metrics.by('backwork_requests_refused_total', 'reason');
  if (byReason.length === 0) return { level: 'ok', subject, found: 'no request was refused since the start' };
  const total = byReason.reduce((sum, [, count]) => sum + count, 0);
  const list = byReason.map(([reason, count]) => `${reason} ${count}`).join(', ');
  const found = `${total} requests were refused since the start: ${list}`;
  if (!byReason.some(([reason]) => OURS.includes(reason))) return { level: 'ok', subject, found };
  return { level: 'warn', subject, found, mend: 'OPERATING.md says what each reason means' };
}

function backlog(metrics: MetricsReading): Finding {
  const subject = 'backlog';
  const ageS = metrics.sum('backwork_spool_oldest_record_age_seconds');
  const segments = metrics.sum('backwork_spool_segments');
  const size = mib(metrics.sum('backwork_spool_bytes'));
  const found =
    segments === 0
      ? 'everything that was answered is stored'
      : `${segments} segments (${size}) in the spools, the oldest record for ${duration(ageS)}`;
  if (ageS <= BACKLOG_OLD_S) return { level: 'ok', subject, found };
  const setAside = metrics.sum('backwork_store_segments_set_aside');
  if (metrics.value('backwork_store_reachable') === 0) {
    const mend = 'the telemetry store is away: nothing is lost while the disk has room; start it';
    return { level: 'warn', subject, found, mend };
  }
  if (setAside > 0) {
    const mend = `${setAside} of them were set aside for a reason of their own: the log names segment and reason`;
    return { level: 'warn', subject, found, mend };
  }
  const failed = metrics.by('backwork_inserts_total', 'outcome').filter(([outcome]) => outcome !== 'stored');
  const list = failed.map(([outcome, count]) => `${outcome} ${count}`).join(', ');
  const why = list === '' ? 'the telemetry store is slower than what arrives' : `INSERTs failed: ${list}`;
  return { level: 'warn', subject, found, mend: `${why}; see the log` };
}

function quarantine(metrics: MetricsReading): Finding {
  const subject = 'quarantine';
  const bytes = metrics.sum('backwork_quarantine_bytes');
  const byReason = metrics.by('backwork_records_quarantined_total', 'reason');
  const list = byReason.map(([reason, count]) => `${count} ${reason}`).join(', ');
  const since = list === '' ? '' : `; since the start came ${list}`;
  if (bytes === 0 && list === '') return { level: 'ok', subject, found: 'empty' };
  const mend = 'npm run -s backwork -- quarantine list shows why; replay them after a fix, or drop them';
  return { level: 'warn', subject, found: `${bytes} bytes of acknowledged requests are not stored${since}`, mend };
}

function losses(metrics: MetricsReading): Finding {
  const subject = 'losses';
  const gaps = metrics.sum('backwork_segment_gaps_total');
  const expired = metrics.sum('backwork_rows_expired_total');
  const late = expired === 0 ? '' : `${expired} rows expired before they were stored`;
  if (gaps > 0) {
    const found = `${gaps} segments are gone without having been stored${late === '' ? '' : `; ${late}`}`;
    const mend = 'somebody or something removed files of the spool: the log names them; restore them if you can';
    return { level: 'problem', subject, found, mend };
  }
  if (expired > 0) {
    const mend = 'the backlog was older than the retention: see backlog';
    return { level: 'warn', subject, found: late, mend };
  }
  return { level: 'ok', subject, found: 'none since the start: no gap in the spools, no row expired unstored' };
}

function diskRate(metrics: MetricsReading): Finding {
  const subject = 'disk rate';
  const roomBytes = metrics.sum('backwork_disk_free_bytes') - metrics.sum('backwork_disk_reserve_bytes');
  const rate = metrics.sum('backwork_disk_fill_bytes_per_second');
  const left = `${mib(Math.max(0, roomBytes))} until ingest refuses`;
  if (rate <= 0) return { level: 'ok', subject, found: `${left}; the disk does not fill` };
  const seconds = Math.max(0, roomBytes) / rate;
  const found = `${left}; at the present ${Math.ceil(rate / 1_024)} KiB/s that is in ${duration(seconds)}`;
  const mend = 'free some space, shorten a retention, or give it a larger disk';
  if (seconds < DISK_PROBLEM_S) return { level: 'problem', subject, found, mend };
  return seconds < DISK_WARNING_S ? { level: 'warn', subject, found, mend } : { level: 'ok', subject, found };
}

function nameOf({ process = '', worker }: Readonly<Record<string, string>>): string {
  return worker === undefined ? process : `${process} ${worker}`;
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}

/** The largest unit of which there are two. */
function duration(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} hours`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} minutes`;
  return `${Math.floor(seconds)} s`;
}
