/**
 * F32: organizations export what is up to 400 days old. Partitions follow the day of receipt, so old events open none; no
 * INSERT is refused for its partitions or parts, and every row is stored.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Signal, SIGNALS } from '../../src/ingest/messages.ts';
import { httpSender } from '../support/load.ts';
import { encodeRequest } from '../support/log-request.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { makeOrganization } from './support/noisy-neighbour.ts';
import { holds, linesWith, TWO_WORKERS } from './support/spool-service.ts';

const DAYS = 400;
const SIZES = { ci: { organizations: 3, requests: 1 }, full: { organizations: 50, requests: 10 } };
/** From 300 parts in a partition on ClickHouse would slow INSERTs down in our tables; 252 is what it then says. */
const PARTS_MAX = 300;
/** Logs, traces and the view on their trace ids, gauges: a partition in each. */
const TABLES_OF_AN_ORGANIZATION = 4;
const PATIENCE_MS = 120_000;
const LOOK_MS = 250;
const NS_PER_DAY = 86_400_000_000_000n;

export const f32: Fault = {
  id: 'F32',
  title: 'organizations export telemetry of the last 400 days',
  async run(options: FaultOptions): Promise<FaultReport> {
    const service = await startService({ env: TWO_WORKERS });
    try {
      return await run(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

async function run(service: TestService, { size, say }: FaultOptions): Promise<FaultReport> {
  const { organizations, requests } = SIZES[size];
  const violations: string[] = [];
  const tokens = [service.token];
  while (tokens.length < organizations) tokens.push(await makeOrganization(service, `org-${tokens.length}`, {}));
  say(`${tokens.length} organizations`);
  const day = today();
  // The same items, all of now: what they open is the measure.
  await send(service, tokens, 1, () => 0, violations);
  await stored(service, tokens.length * DAYS * SIGNALS.length, violations);
  // A table's view has its rows a moment after the table.
  let fresh = 0;
  const opened = async () => {
    fresh = await partitions(service);
    return fresh >= tokens.length * TABLES_OF_AN_ORGANIZATION;
  };
  await holds(opened, PATIENCE_MS);
  say(`times of today: ${fresh} partitions`);
  const watch = watchParts(service);
  await send(service, tokens, requests, (item) => item, violations);
  const rows = tokens.length * DAYS * SIGNALS.length * (requests + 1);
  await stored(service, rows, violations);
  const partsMax = await watch.end();
  const old = await partitions(service);
  if (old > fresh && today() === day) violations.push(`times of ${DAYS} days: ${old} partitions, ${fresh} before`);
  if (partsMax >= PARTS_MAX) violations.push(`${partsMax} parts in one partition`);
  const refused = linesWith(service, 'TOO_MANY_PARTS').concat(linesWith(service, '"code":252'));
  if (refused.length > 0) violations.push(`INSERTs were refused: ${refused[0]}`);
  const [span] = await service.query<{ days: string }>(
    "SELECT toString(dateDiff('day', min(Timestamp), max(Timestamp))) AS days FROM otel_logs",
  );
  if (Number(span?.days) < DAYS - 1) violations.push(`the stored times span ${span?.days} days`);
  const figures = {
    organizations,
    rows,
    partitionsOfToday: fresh,
    partitionsAfter: old,
    partsMax,
    code252: refused.length,
  };
  return { figures, violations };
}

/** Each organization sends so many requests a signal, an item for each of the last 400 days, `ageDays` old. */
async function send(
  service: TestService,
  tokens: readonly string[],
  requests: number,
  ageDays: (item: number) => number,
  violations: string[],
): Promise<void> {
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const bodies = SIGNALS.map((signal) => encoded(signal, nowNs, ageDays));
  for (const token of tokens) {
    const sender = httpSender(service.ports.http, token, PATIENCE_MS);
    for (let request = 0; request < requests; request++)
      for (const [i, signal] of SIGNALS.entries())
        if (!(await sender.send(bodies[i]!, signal))) violations.push(`a request of ${signal} was refused`);
    sender.close();
  }
}

function encoded(signal: Signal, nowNs: bigint, ageDays: (item: number) => number): Buffer {
  const times = Array.from({ length: DAYS }, (_, item) => String(nowNs - BigInt(ageDays(item)) * NS_PER_DAY));
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'backdated' } }] };
  switch (signal) {
    case 'logs': {
      const logRecords = times.map((timeUnixNano) => ({ timeUnixNano, body: { stringValue: 'old' } }));
      return encodeRequest(signal, { resourceLogs: [{ resource, scopeLogs: [{ logRecords }] }] });
    }
    case 'traces': {
      const ids = { traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 2) };
      const spans = times.map((time) => ({ ...ids, startTimeUnixNano: time, endTimeUnixNano: time }));
      return encodeRequest(signal, { resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
    }
    case 'metrics': {
      const dataPoints = times.map((timeUnixNano) => ({ timeUnixNano, asInt: '1' }));
      const metrics = [{ name: 'old', gauge: { dataPoints } }];
      return encodeRequest(signal, { resourceMetrics: [{ resource, scopeMetrics: [{ metrics }] }] });
    }
  }
}

/** Waits until the spools are empty, and counts. */
async function stored(service: TestService, rows: number, violations: string[]): Promise<void> {
  const sql = `SELECT toString((SELECT count() FROM otel_logs) + (SELECT count() FROM otel_traces)
               + (SELECT count() FROM otel_metrics_gauge)) AS n`;
  let n = 0;
  const done = async () => {
    n = Number((await service.query<{ n: string }>(sql).catch(() => []))[0]?.n ?? 0);
    return n >= rows;
  };
  await holds(done, PATIENCE_MS);
  if (n !== rows) violations.push(`${n} rows are stored of ${rows}`);
}

/** Live ones of all tables of telemetry. */
async function partitions(service: TestService): Promise<number> {
  const [row] = await service.query<{ n: string }>(
    "SELECT toString(uniqExact(table, partition_id)) AS n FROM system.parts WHERE active AND table LIKE 'otel_%'",
  );
  return Number(row?.n);
}

/** Looks again and again; `end` tells the most parts that one partition had. */
function watchParts(service: TestService): { end(): Promise<number> } {
  let [most, ending] = [0, false];
  const sql = `SELECT toString(max(n)) AS n FROM (SELECT count() AS n FROM system.parts
               WHERE active AND table LIKE 'otel_%' GROUP BY table, partition_id)`;
  const running = (async () => {
    while (!ending) {
      const [row] = await service.query<{ n: string }>(sql).catch(() => []);
      most = Math.max(most, Number(row?.n ?? 0));
      await delay(LOOK_MS);
    }
  })();
  return {
    async end() {
      ending = true;
      await running;
      return most;
    },
  };
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
