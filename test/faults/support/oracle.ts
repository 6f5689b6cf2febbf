/**
 * The oracle as its test sees it: a process of its own that issues ids and remembers on disk what was acknowledged, and the
 * judgement of what is stored by what it wrote.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Signal } from '../../../src/ingest/messages.ts';
import { checkOf, type Protocol } from '../../support/load.ts';
import { type Door, queryRows, streamRows } from './door-client.ts';

export interface OracleLoad {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly token: string;
  /** `retrying`: what was not answered OK is sent again as it is, until it is. */
  readonly clients: readonly { readonly protocol: Protocol; readonly retrying: boolean }[];
  readonly rowsPerRequest: number;
  /** A client begins a request so often, when it is not still waiting for the last one. */
  readonly intervalMs: number;
  /** One after another, a request each. */
  readonly signals: readonly Signal[];
}

export interface OracleOptions extends OracleLoad {
  readonly dir: string;
}

export interface OracleStatus {
  readonly acknowledged: number;
  readonly issued: number;
  readonly failed: number;
  readonly retried: number;
  readonly by: Record<Protocol | Signal, number>;
}

export type OracleMessage =
  | ({ readonly type: 'start' } & OracleOptions)
  | { readonly type: 'stop' }
  | { readonly type: 'ended' }
  | ({ readonly type: 'status' } & OracleStatus);

const PREFIX = 'oracle-';

export function oracleId(n: number): string {
  return `${PREFIX}${n}`;
}

const PROCESS_FILE = join(import.meta.dirname, 'oracle-process.ts');
const NOTHING: OracleStatus = {
  acknowledged: 0,
  issued: 0,
  failed: 0,
  retried: 0,
  by: { grpc: 0, http: 0, logs: 0, metrics: 0, traces: 0 },
};
/** Longest that acknowledgements may take to come before the run counts as stuck. */
const PATIENCE_MS = 60_000;

export class Oracle {
  readonly dir = mkdtempSync(join(tmpdir(), 'backwork-oracle-'));
  #process: ChildProcess | undefined;
  #status: OracleStatus = NOTHING;
  #ended: Promise<void> = Promise.resolve();

  get status(): OracleStatus {
    return this.#status;
  }

  /** Once. */
  start(load: OracleLoad): void {
    const { NODE_OPTIONS: _, FAULT_AGENT: __, ...env } = process.env;
    const child = fork(PROCESS_FILE, [], { env });
    this.#process = child;
    this.#ended = new Promise((resolve, reject) => {
      child.on('message', (message: OracleMessage) => {
        if (message.type === 'status') this.#status = message;
        else if (message.type === 'ended') resolve();
      });
      child.once('exit', (code, signal) => reject(new Error(`the oracle ended (${signal ?? code})`)));
    });
    this.#ended.catch(() => undefined);
    child.send({ type: 'start', ...load, dir: this.dir } satisfies OracleMessage);
  }

  /** Waits until so many more rows are acknowledged than `since`. */
  async acknowledged(rows: number, since = this.#status.acknowledged): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (this.#status.acknowledged < since + rows) {
      if (performance.now() > deadline)
        throw new Error(`${rows} rows were not acknowledged within ${PATIENCE_MS} ms: ${JSON.stringify(this.#status)}`);
      await delay(5);
    }
  }

  /** Resolves when every client has its last answer. */
  async stop(): Promise<void> {
    if (this.#process?.connected) this.#process.send({ type: 'stop' } satisfies OracleMessage);
    await this.#ended;
  }

  /** Ends the process when it still runs, and removes its files. */
  remove(): void {
    if (this.#process?.connected) this.#process.disconnect();
    rmSync(this.dir, { recursive: true, force: true });
  }

  judge(door: Door): Promise<Verdict> {
    return judgeStored(this.dir, door);
  }

  /** Acknowledgements between two moments of the wall clock. */
  between(fromMs: number, toMs: number): Acknowledged {
    const lines = readFileSync(join(this.dir, 'acknowledged.log'), 'utf8').trimEnd().split('\n');
    const found = lines.map((line) => line.split(' ').map(Number) as [number, number, number, number]);
    const within = found.filter(([, , atMs]) => atMs >= fromMs && atMs < toMs);
    const latencies = within.map(([, , , latencyMs]) => latencyMs).sort((one, other) => one - other);
    return {
      rows: within.reduce((sum, [, count]) => sum + count, 0),
      firstId: within.reduce((first, [id]) => Math.min(first, id), Number.POSITIVE_INFINITY),
      lastId: within.reduce((last, [id, count]) => Math.max(last, id + count - 1), -1),
      p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
      p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    };
  }
}

export interface Acknowledged {
  readonly rows: number;
  /** Of the ids in that time, in the order of their issue; Infinity and -1 when there are none. */
  readonly firstId: number;
  readonly lastId: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Verdict {
  readonly issued: number;
  readonly acknowledged: number;
  readonly stored: number;
  /** Acknowledged and not stored. */
  readonly lost: number;
  /** Stored more than once. */
  readonly doubled: number;
  /** Stored and not what the id says. */
  readonly damaged: number;
  /** Rows of no id that was issued. */
  readonly neverIssued: number;
  /** The first few of each, for a look by eye. */
  readonly examples: readonly string[];
}

const EXAMPLES_MAX = 12;
const METRIC_TABLES = ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary'];
const SELECTS = [
  "SELECT LogAttributes['id'] AS id, LogAttributes['check'] AS check FROM otel_logs",
  "SELECT SpanAttributes['id'] AS id, SpanAttributes['check'] AS check FROM otel_traces",
  ...METRIC_TABLES.map(
    (kind) => `SELECT Attributes['id'] AS id, Attributes['check'] AS check FROM otel_metrics_${kind}`,
  ),
];

/** How many rows of ids from `first` to `last` are stored now. */
export async function storedBetween(door: Door, first: number, last: number): Promise<number> {
  const number = `toUInt64OrZero(substring(id, ${PREFIX.length + 1}))`;
  const sql = `SELECT count() AS n FROM (${SELECTS.join(' UNION ALL ')}) WHERE id LIKE '${PREFIX}%' AND ${number} BETWEEN ${first} AND ${last}`;
  return Number((await queryRows<{ n: string }>(door, sql))[0]?.n);
}

/** Reads every stored row of an oracle and holds it against what the oracle wrote in `dir`. */
export async function judgeStored(dir: string, door: Door): Promise<Verdict> {
  const issued = readRanges(join(dir, 'issued.log'));
  const acknowledged = readRanges(join(dir, 'acknowledged.log'));
  const counts = new Uint8Array(issued.length);
  const examples: string[] = [];
  const verdict = { stored: 0, lost: 0, doubled: 0, damaged: 0, neverIssued: 0 };
  const wrong = (what: 'lost' | 'doubled' | 'damaged' | 'neverIssued', id: string) => {
    if (verdict[what]++ < EXAMPLES_MAX / 4) examples.push(`${what}: ${id}`);
  };
  for (const select of SELECTS) {
    const lines = createInterface({ input: await streamRows(door, `${select} WHERE id LIKE '${PREFIX}%'`) });
    for await (const line of lines) {
      const [id = '', check] = line.split('\t');
      const n = Number(id.slice(PREFIX.length));
      verdict.stored++;
      if (issued[n] !== 1 || id !== oracleId(n)) wrong('neverIssued', id);
      else {
        if (counts[n]! < 255) counts[n]!++;
        if (check !== checkOf(id)) wrong('damaged', id);
      }
    }
  }
  for (const [n, count] of counts.entries()) {
    if (count > 1) wrong('doubled', oracleId(n));
    if (count === 0 && acknowledged[n] === 1) wrong('lost', oracleId(n));
  }
  const sum = (flags: Uint8Array) => flags.reduce((total, flag) => total + flag, 0);
  return { issued: sum(issued), acknowledged: sum(acknowledged), ...verdict, examples };
}

/** What a verdict says is broken, one sentence each. */
export function violationsOf(verdict: Verdict): string[] {
  const said = { lost: 'lost', doubled: 'stored more than once', damaged: 'damaged', neverIssued: 'never issued' };
  return (['lost', 'doubled', 'damaged', 'neverIssued'] as const)
    .filter((what) => verdict[what] > 0)
    .map((what) => `${verdict[what]} rows are ${said[what]} (${verdict.examples.join(', ')})`);
}

/** A flag for each id up to the last range; lines are `first count …`. */
function readRanges(path: string): Uint8Array {
  const ranges = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').map(Number) as [number, number]);
  const flags = new Uint8Array(ranges.reduce((end, [first, count]) => Math.max(end, first + count), 0));
  for (const [first, count] of ranges) flags.fill(1, first, first + count);
  return flags;
}
