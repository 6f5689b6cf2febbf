/**
 * The service is stopped under a client that creates numbered items, stays away, and comes back on the same ports and
 * directory. What was created is then held against what is stored.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { startService, type TestService } from '../support/service.ts';
import type { Client, Command, InteropProtocol, Transport } from './client.ts';
import { type StoredNumber, type Tally, tally, tallyCount } from './compare.ts';
import { ofRun, type Target, taskOf } from './once.ts';
import { type Ended, startProgram } from './programs.ts';

/** Items are created this long beside the outage: before it, after it, and while a runtime starts. */
const CREATE_SECONDS = 17;
/** The exporters' queues are worked off within this time. */
const FLUSH_WITHIN_MS = 120_000;
const FLOWING_WITHIN_MS = 60_000;
const FLOWING_BEFORE_MS = 2_000;
const STORED_WITHIN_MS = 20_000;
/**
 * Stopping and starting take about 1 s on an idle machine. Much more means that the machine was busy; libraries give up
 * after 10 s, backoff included, so what is lost then says nothing about the outage that was meant.
 */
const AWAY_BEYOND_SECONDS_MAX = 3;

export interface OutageRun {
  readonly transport: Transport;
  readonly run: string;
  readonly command: Command;
  readonly logFile: string;
}

export interface OutageResult {
  readonly transport: Transport;
  /** From SIGTERM until the ready line of the next start. */
  readonly awaySeconds: number;
  readonly spans: Tally;
  readonly logs: Tally;
  readonly points: Tally;
  /** Of the lost ones: those whose export the library itself reported as failed, where it may. */
  readonly givenUp: number;
  readonly findings: readonly string[];
}

export interface OutageOutcome {
  /** With the service that runs now; the one that was handed in has ended. */
  readonly target: Target;
  readonly results: readonly OutageResult[];
}

/** The ways of sending that the outage is run with. */
export function outageTransports(client: Client): readonly Transport[] {
  if (client.outageTransports !== undefined) return client.outageTransports;
  const protocols = Object.entries(client.retriesByDefault).filter(([, retries]) => retries);
  return protocols
    .map(([protocol]) => client.transports.find((one) => one.protocol === (protocol as InteropProtocol)))
    .filter((one) => one !== undefined);
}

/** Items were lost, and the service was away for much longer than was meant: the outage proves nothing, and is repeated. */
export function isVoid(client: Client, { spans, logs, points, givenUp, awaySeconds }: OutageResult): boolean {
  const lost = spans.lost + logs.lost + points.lost;
  return lost > givenUp && awaySeconds > client.outageSeconds + AWAY_BEYOND_SECONDS_MAX;
}

/** All runs of one client at once, with one outage under them. */
export async function runOutage(client: Client, target: Target, runs: readonly OutageRun[]): Promise<OutageOutcome> {
  const seconds = CREATE_SECONDS + client.outageSeconds;
  const { service } = target;
  const programs = runs.map((one) => {
    const task = { ...taskOf(target, one.transport, one.run), mode: 'steady' as const, seconds };
    return startProgram(one.command, task, one.logFile, seconds * 1_000 + FLOWING_WITHIN_MS + FLUSH_WITHIN_MS);
  });
  const ends = Promise.all(programs.map((one) => one.ended));
  let flowing = '';
  try {
    await Promise.all(runs.map((one) => itemsFlow(service, one.run)));
  } catch {
    flowing = `no items within ${FLOWING_WITHIN_MS} ms`;
  }
  await delay(FLOWING_BEFORE_MS);
  const stoppedAt = performance.now();
  await service.stop();
  await delay(client.outageSeconds * 1_000);
  const next = await startService({ dataDir: service.dataDir, ports: service.ports });
  const awaySeconds = Math.round((performance.now() - stoppedAt) / 100) / 10;
  const ended = await ends;
  const results: OutageResult[] = [];
  for (const [i, one] of runs.entries()) {
    const end = ended[i];
    if (end !== undefined) results.push(await judge(client, next, one, end, awaySeconds, flowing));
  }
  return { target: { ...target, service: next }, results };
}

async function itemsFlow(service: TestService, run: string): Promise<void> {
  await service.queryUntil<{ n: number }>(
    `SELECT toUInt32(count()) AS n FROM otel_traces ${ofRun(run)}`,
    ([row]) => (row?.n ?? 0) > 0,
    FLOWING_WITHIN_MS,
  );
}

async function judge(
  client: Client,
  service: TestService,
  one: OutageRun,
  end: Ended,
  awaySeconds: number,
  flowing: string,
): Promise<OutageResult> {
  const created = (name: string) => Number(end.report?.[name] ?? 0);
  const findings = flowing === '' ? [] : [flowing];
  if (end.code !== 0 || end.report === undefined) findings.push(`exit code ${end.code}: ${end.tail.slice(-600)}`);
  const numbered = client.own === undefined;
  const spans = await tallyOf(service, created('spans'), numbered, spansOf(one.run));
  const logs = await tallyOf(service, created('logs'), numbered, logsOf(one.run));
  const points = await tallyOf(service, created('points'), numbered, pointsOf(one.run, numbered));
  const failedExports =
    client.givesUp?.[one.transport.protocol] === undefined
      ? {}
      : ((end.report?.['givenUp'] ?? {}) as Readonly<Record<string, number>>);
  let givenUp = 0;
  for (const [signal, { lost, strange, lostRange }] of Object.entries({ spans, logs, points })) {
    const failed = failedExports[signal] ?? 0;
    if (lost <= failed) givenUp += lost;
    else findings.push(`${lost} ${signal} lost${lostRange === '' ? '' : ` (${lostRange})`}`);
    if (strange > 0) findings.push(`${strange} ${signal} stored that were not created`);
  }
  if (spans.created + logs.created + points.created === 0) findings.push('nothing was created');
  return { transport: one.transport, awaySeconds, spans, logs, points, givenUp, findings };
}

const spansOf = (run: string) => `SELECT SpanAttributes['interop.seq'] AS seq FROM otel_traces ${ofRun(run)}`;
const logsOf = (run: string) => `SELECT LogAttributes['interop.seq'] AS seq FROM otel_logs ${ofRun(run)}`;

/** Numbered points are those of one gauge; points without numbers may be of any kind. */
function pointsOf(run: string, numbered: boolean): string {
  const gauge = `SELECT toString(ValueInt) AS seq FROM otel_metrics_gauge ${ofRun(run)}`;
  if (numbered) return `${gauge} AND MetricName = 'interop.tick'`;
  const others = ['sum', 'histogram', 'exponential_histogram', 'summary'];
  return [gauge, ...others.map((kind) => `SELECT '' AS seq FROM otel_metrics_${kind} ${ofRun(run)}`)].join(
    ' UNION ALL ',
  );
}

/** Asks until nothing is missing any more, or for as long as rows may take to become visible. */
async function tallyOf(service: TestService, created: number, numbered: boolean, items: string): Promise<Tally> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  for (;;) {
    const result = numbered
      ? tally(
          created,
          await service.query<StoredNumber>(`SELECT seq, toString(count()) AS n FROM (${items}) GROUP BY seq`),
        )
      : tallyCount(
          created,
          Number((await service.query<{ n: string }>(`SELECT toString(count()) AS n FROM (${items})`))[0]?.n),
        );
    if (result.lost === 0 || performance.now() > deadline) return result;
    await delay(500);
  }
}
