import { expect, test } from 'vitest';
import { describeState } from '../../src/commands/doctor-state.ts';
import { MetricsReading } from '../../src/commands/metrics-reading.ts';

/** A page as of a service where all is well, with these lines besides. */
function state(...lines: string[]) {
  const well = [
    '# TYPE backwork_process_up gauge',
    'backwork_process_up{process="main"} 1',
    'backwork_store_reachable 1',
    'backwork_disk_free_bytes 1073741824',
    'backwork_disk_reserve_bytes 536870912',
  ];
  const findings = describeState(new MetricsReading([...well, ...lines].join('\n')));
  return (subject: string) => findings.find((finding) => finding.subject === subject);
}

test('where all is well, six lines say so', () => {
  const found = state();
  for (const subject of ['processes', 'refusals', 'backlog', 'quarantine', 'losses', 'disk rate'])
    expect(found(subject)?.level, subject).toBe('ok');
  expect(found('backlog')?.found).toBe('everything that was answered is stored');
  expect(found('disk rate')?.found).toBe('512 MiB until ingest refuses; the disk does not fill');
});

test('a process that does not answer is a problem, one that was started again a warning', () => {
  const silent = state('backwork_process_up{process="ingest",worker="1"} 0')('processes');
  expect(silent).toMatchObject({ level: 'problem', found: 'no answer from ingest 1' });
  const again = state('backwork_process_restarts_total{process="engine"} 3')('processes');
  expect(again).toMatchObject({
    level: 'warn',
    found: 'all answer; started again since the start: engine 3 times',
  });
});

test('refusals are named by reason, and only those that are ours to mend are a warning', () => {
  const line = (reason: string, count: number, signal = 'logs') =>
    `backwork_requests_refused_total{signal="${signal}",protocol="http",organization="none",reason="${reason}"} ${count}`;
  const clients = state(line('unauthenticated', 3), line('unauthenticated', 4, 'traces'), line('malformed', 1));
  expect(clients('refusals')).toMatchObject({
    level: 'ok',
    found: '8 requests were refused since the start: unauthenticated 7, malformed 1',
  });
  expect(state(line('overloaded', 1))('refusals')?.level).toBe('warn');
});

test('a backlog is a warning from a minute on, and its reason is told apart', () => {
  const waiting = (ageS: number) => [
    `backwork_spool_oldest_record_age_seconds ${ageS}`,
    'backwork_spool_segments{worker="0"} 5',
    'backwork_spool_bytes{worker="0"} 3145728',
  ];
  expect(state(...waiting(3))('backlog')).toEqual({
    level: 'ok',
    subject: 'backlog',
    found: '5 segments (3 MiB) in the spools, the oldest record for 3 s',
  });
  const slow = state(...waiting(600))('backlog');
  expect(slow?.level).toBe('warn');
  expect(slow?.found).toContain('for 10 minutes');
  expect(slow?.mend).toContain('slower than what arrives');
  const failing = state(...waiting(600), 'backwork_inserts_total{table="otel_logs",outcome="store-temporary"} 9');
  expect(failing('backlog')?.mend).toContain('INSERTs failed: store-temporary 9');
  const aside = state(...waiting(600), 'backwork_store_segments_set_aside 2');
  expect(aside('backlog')?.mend).toContain('2 of them were set aside');
});

test('a telemetry store that is away is named before anything else', () => {
  const page =
    'backwork_spool_oldest_record_age_seconds 90\nbackwork_spool_segments{worker="0"} 1\nbackwork_store_reachable 0';
  const findings = describeState(new MetricsReading(page));
  expect(findings.find(({ subject }) => subject === 'backlog')?.mend).toContain('the telemetry store is away');
});

test('quarantine, gaps and expired rows are said', () => {
  const quarantined = state(
    'backwork_quarantine_bytes 900',
    'backwork_records_quarantined_total{organization="other",reason="refused"} 2',
    'backwork_records_quarantined_total{organization="default",reason="damaged"} 0',
  )('quarantine');
  expect(quarantined).toMatchObject({
    level: 'warn',
    found: '900 bytes of acknowledged requests are not stored; since the start came 2 refused',
  });
  expect(state('backwork_segment_gaps_total 1')('losses')?.level).toBe('problem');
  expect(state('backwork_rows_expired_total{table="otel_logs"} 7')('losses')).toMatchObject({
    level: 'warn',
    found: '7 rows expired before they were stored',
  });
});

test('time until the disk is full is the room above the reserve over the present rate', () => {
  const at = (rate: number) => state(`backwork_disk_fill_bytes_per_second ${rate}`)('disk rate');
  // 512 MiB
  expect(at(1_024)).toMatchObject({
    level: 'ok',
    found: expect.stringContaining('at the present 1 KiB/s that is in 6 days'),
  });
  expect(at(65_536)).toMatchObject({ level: 'warn', found: expect.stringContaining('in 2 hours') });
  expect(at(1_048_576)).toMatchObject({ level: 'problem', found: expect.stringContaining('in 8 minutes') });
  expect(at(-5)?.level).toBe('ok');
});
