/** One run of a client with the known set: start it, wait for its rows, compare them. */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestService } from '../support/service.ts';
import type { Client, Command, StoredRows, Transport } from './client.ts';
import { compareKnownSet, expectedRows } from './compare.ts';
import { TABLES } from './known-set.ts';
import { startProgram, type Task } from './programs.ts';

const PROGRAM_WITHIN_MS = 120_000;
const ROWS_WITHIN_MS = 20_000;
/** After the last expected row came: rows that should not be there have had their chance. */
const SETTLE_MS = 300;

export interface OnceResult {
  /** Rows that were stored, and what is wrong with them. */
  readonly rows: number;
  readonly findings: readonly string[];
}

/** The running service, and whose rows its first start's token makes. */
export interface Target {
  readonly service: TestService;
  readonly token: string;
  readonly orgId: string;
}

export interface OnceOptions {
  readonly target: Target;
  readonly client: Client;
  readonly command: Command;
  readonly transport: Transport;
  readonly run: string;
  readonly logFile: string;
}

export async function runOnce(options: OnceOptions): Promise<OnceResult> {
  const { target, client, transport, run } = options;
  const startedMs = Date.now();
  const task: Task = { ...taskOf(target, transport, run), mode: 'once', seconds: 0 };
  const { ended } = startProgram(options.command, task, options.logFile, PROGRAM_WITHIN_MS);
  const { code, report, tail } = await ended;
  if (code !== 0) return { rows: 0, findings: [`exit code ${code}: ${tail.slice(-600)}`] };
  const rows = await rowsWhenComplete(target.service, client, transport, run);
  const count = Object.values(rows).flat().length;
  if (client.own !== undefined) return { rows: count, findings: client.own.compare(rows, transport) };
  const id = (name: string) => String(report?.[name] ?? '');
  const facts = {
    run,
    orgId: target.orgId,
    startedMs,
    endedMs: Date.now(),
    traceId: id('traceId'),
    rootSpanId: id('rootSpanId'),
    childSpanId: id('childSpanId'),
  };
  return { rows: count, findings: compareKnownSet(client, transport, rows, facts) };
}

export function taskOf(target: Target, transport: Transport, run: string) {
  const { grpc, http } = target.service.ports;
  const port = transport.protocol === 'grpc' ? grpc : http;
  return { endpoint: `http://127.0.0.1:${port}`, token: target.token, run, transport };
}

/** All rows of the run once as many are there as must be, or what is there when that takes too long. */
async function rowsWhenComplete(
  service: TestService,
  client: Client,
  transport: Transport,
  run: string,
): Promise<StoredRows> {
  const expected = client.own?.rowsExpected(transport) ?? knownCounts(client);
  const deadline = performance.now() + ROWS_WITHIN_MS;
  while (performance.now() < deadline) {
    const counts = await service.query<{ name: string; n: string }>(
      TABLES.map((table) => `SELECT '${table}' AS name, toString(count()) AS n FROM otel_${table} ${ofRun(run)}`).join(
        ' UNION ALL ',
      ),
    );
    const count = new Map(counts.map((one) => [one.name, Number(one.n)]));
    if (Object.entries(expected).every(([table, n]) => (count.get(table) ?? 0) >= n)) break;
    await delay(100);
  }
  await delay(SETTLE_MS);
  const rows: Record<string, Record<string, unknown>[]> = {};
  for (const table of TABLES) {
    rows[table] = await service.query<Record<string, unknown>>(
      `SELECT * FROM otel_${table} ${ofRun(run)} SETTINGS output_format_json_quote_64bit_integers = 1`,
    );
  }
  return rows;
}

function knownCounts(client: Client): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const row of expectedRows(client)) counts[row.table] = (counts[row.table] ?? 0) + 1;
  return counts;
}

export function ofRun(run: string): string {
  return `WHERE ResourceAttributes['interop.run'] = '${run}'`;
}
