/**
 * F10: the same again is no mistake when the first one was answered. The same requests sent twice and answered twice, and
 * equal blocks, BatchId too, straight through the door: both are stored, with the table as it is and with a deduplication
 * window set on it. Nothing may rest on a window, so a start on such a table is refused.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connectClickHouse } from '../../src/engine/clickhouse.ts';
import { encodeIds, httpSender, STORED_IDS, type StoredRow } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type Door, queryBytes } from './support/door-client.ts';
import { holds, TWO_WORKERS } from './support/spool-service.ts';

const ROUNDS = { ci: 5, full: 20 } as const;
const WINDOW = 10;
const IDS_PER_REQUEST = 10;
const PATIENCE_MS = 30_000;

export const f10: Fault = {
  id: 'F10',
  title: 'identical batches, each of them meant',
  async run(options: FaultOptions): Promise<FaultReport> {
    const rounds = ROUNDS[options.size];
    const dataDir = temporaryDirectory();
    const violations: string[] = [];
    const figures: Record<string, number | string> = { rounds };
    let service = await startService({ dataDir, env: TWO_WORKERS });
    try {
      const { ports, token } = service;
      figures['requestsTwice'] = await sentTwice(service, token, rounds, options.seed, violations);
      figures['blocksTwice'] = await blocksTwice(service, rounds, 'as it is', violations);
      await service.query(`ALTER TABLE otel_logs MODIFY SETTING non_replicated_deduplication_window = ${WINDOW}`);
      figures['blocksTwiceWithWindow'] = await blocksTwice(service, rounds, 'with a window', violations);
      await service.stop();
      const refusal = await startService({ dataDir, env: TWO_WORKERS, ports }).then(
        (started) => {
          service = started;
          return undefined;
        },
        (error: Error) => error.message,
      );
      figures['startRefused'] = String(refusal !== undefined);
      if (refusal === undefined) violations.push('a start on a table with a window was not refused');
      else if (!refusal.includes('non_replicated_deduplication_window'))
        violations.push(`the refused start does not name the setting: ${refusal.slice(-500)}`);
    } finally {
      await service.stopAndRemove();
    }
    return { figures, violations };
  },
};

/** Each of these requests is sent, answered, and sent once more. Returns how many are stored twice. */
async function sentTwice(
  service: TestService,
  token: string,
  rounds: number,
  seed: number,
  violations: string[],
): Promise<number> {
  const sender = httpSender(service.ports.http, token);
  const bodies = Array.from({ length: rounds }, (_, round) =>
    encodeIds(Array.from({ length: IDS_PER_REQUEST }, (_, i) => `s${seed}-${round}-${i}`)),
  );
  // An answer counts as sent when it went before its segment was sealed: so both times all go right after one was opened.
  for (let time = 0; time < 2; time++) {
    for (const body of bodies) if (!(await sender.send(body))) violations.push('a request was refused');
    const stored = await holds(() => service.waitingSegments() === 0, PATIENCE_MS);
    if (!stored) violations.push(`segments wait after ${PATIENCE_MS} ms`);
    await delay(100);
  }
  sender.close();
  await holds(() => service.waitingSegments() === 0, PATIENCE_MS);
  const rows = await service.queryUntil<StoredRow>(STORED_IDS, (found) => found.length === rounds * IDS_PER_REQUEST);
  const other = rows.filter(({ n }) => n !== '2');
  if (other.length > 0) violations.push(`${other.length} rows of requests sent twice are stored ${other[0]!.n} times`);
  return (rows.length - other.length) / IDS_PER_REQUEST;
}

/** One stored batch as a block, `rounds` times twice more by the INSERT of the store. Returns how many pairs are there. */
async function blocksTwice(service: TestService, rounds: number, which: string, violations: string[]): Promise<number> {
  const door = doorOf(service);
  const clickhouse = connectClickHouse({
    url: `http://127.0.0.1:${door.port()}`,
    user: door.user,
    password: door.password,
    database: 'default',
  });
  try {
    let pairs = 0;
    for (let round = 0; round < rounds; round++) {
      const [batch] = await service.query<{ id: string; n: string }>(
        'SELECT toString(BatchId) AS id, toString(count()) AS n FROM otel_logs GROUP BY BatchId ORDER BY n LIMIT 1',
      );
      const { id, n } = batch!;
      const copies = await queryBytes(
        door,
        `SELECT * FROM otel_logs WHERE BatchId = ${id} LIMIT ${IDS_PER_REQUEST}`,
        'Native',
      );
      const insert = { table: 'otel_logs', blocks: [copies], rowCount: IDS_PER_REQUEST, timeoutMs: PATIENCE_MS };
      for (const time of [1, 2])
        await clickhouse.insertNative({ ...insert, queryId: `f10-${which.length}-${round}-${time}` });
      const [after] = await service.query<{ n: string }>(
        `SELECT toString(count()) AS n FROM otel_logs WHERE BatchId = ${id}`,
      );
      const added = Number(after!.n) - Number(n);
      if (added === 2 * IDS_PER_REQUEST) pairs++;
      else violations.push(`${which}: two equal blocks of ${IDS_PER_REQUEST} rows added ${added} rows`);
    }
    return pairs;
  } finally {
    await clickhouse.close();
  }
}

function doorOf(service: TestService): Door {
  const login = JSON.parse(readFileSync(join(service.dataDir, 'engine.json'), 'utf8')) as Omit<Door, 'port'>;
  return { ...login, port: () => service.ports.engine };
}
