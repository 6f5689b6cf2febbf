/**
 * F6: the connection to the engine breaks after the engine has applied an INSERT and before the store reads the answer; and
 * while an INSERT still waits in the door for its turn. What is there is found by its BatchIds and not inserted again; what
 * waited never starts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../corpus/seeded-random.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { queryRows, runningQueries, streamRows } from './support/door-client.ts';
import { violationsOf } from './support/oracle.ts';
import type { Exchange } from './support/tcp-proxy.ts';

const CUTS = { ci: 6, full: 470 };
/** Of INSERTs that wait in the door. */
const WAITING_CUTS = { ci: 1, full: 30 };
/** INSERTs that the door runs at once (session-pool.ts); so many sleepers keep all others waiting. */
const DOOR_INSERT_SLOTS = 4;
/** The longest that ClickHouse lets a block sleep. */
const SLEEP_S = 3;
const PATIENCE_MS = 600_000;

export const f06: Fault = {
  id: 'F6',
  title: 'the connection breaks after an INSERT was applied, and while one waits in the door',
  run: (options) => behindProxy({}, (behind) => run(behind, options)),
};

async function run(behind: BehindProxy, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const random = seededRandom(seed);
  let cuts = 0;
  let questions = 0;
  behind.proxy.fate = ({ kind }) => {
    if (kind === 'question') questions++;
    if (kind !== 'insert' || cuts >= CUTS[size] || !random.chance(0.5)) return 'pass';
    if (++cuts % 50 === 0) say(`${cuts} answers cut`);
    return 'cut-reply';
  };
  behind.load();
  await until(() => cuts >= CUTS[size], 'cuts');
  const waiting = await cutWhileWaiting(behind, WAITING_CUTS[size]);
  const verdict = await behind.judge();
  const violations = violationsOf(verdict);
  if (questions === 0) violations.push('no table was ever asked which batches it holds');
  if (waiting.stored > 0) violations.push(`${waiting.stored} INSERTs that were cut while they waited were started`);
  const { acknowledged, lost, doubled } = verdict;
  return { figures: { cuts, cutWhileWaiting: waiting.cuts, acknowledged, lost, doubled }, violations };
}

/** Fills the door with INSERTs that sleep, and cuts those of the store that arrive meanwhile. */
async function cutWhileWaiting(behind: BehindProxy, wanted: number): Promise<{ cuts: number; stored: number }> {
  const { engine, proxy } = behind;
  const table = `CREATE TABLE sleepers (n UInt8, s UInt8 DEFAULT sleep(${SLEEP_S})) ENGINE = Memory`;
  await (await streamRows(engine, table)).resume();
  let cuts = 0;
  let stored = 0;
  while (cuts < wanted) {
    const waiting: Exchange[] = [];
    // None of the store's has a slot, or a place before the sleepers.
    proxy.fate = ({ kind }) => (kind === 'insert' ? 'cut-before' : 'pass');
    await until(async () => (await running(behind)).stores === 0, 'a door without INSERTs of the store');
    const sleepers = Array.from({ length: DOOR_INSERT_SLOTS }, (_, n) =>
      streamRows(engine, `INSERT INTO sleepers (n) FORMAT TSV\n${n}\n`).then((answer) => answer.resume()),
    );
    await until(async () => (await running(behind)).others >= DOOR_INSERT_SLOTS, 'sleepers in the door');
    const sleepersMs = performance.now();
    proxy.fate = (exchange) => {
      if (exchange.kind === 'insert') waiting.push(exchange);
      return 'pass';
    };
    await until(() => waiting.length > 0 || performance.now() > sleepersMs + (SLEEP_S * 1_000) / 2, 'an INSERT');
    await delay(200);
    const before = await rowCount(behind);
    for (const exchange of waiting) exchange.cut();
    cuts += waiting.length;
    // From the cut until the sleepers wake, nothing of the store's may be started; afterwards it asks and inserts again.
    proxy.fate = () => 'cut-before';
    await Promise.all(sleepers);
    await until(async () => (await runningQueries(engine))?.length === 0, 'an empty door');
    if (waiting.length > 0 && (await rowCount(behind)) > before) stored++;
    proxy.fate = () => 'pass';
  }
  return { cuts, stored };
}

/** Queries in the door: the store's, and all others. */
async function running({ engine }: BehindProxy): Promise<{ stores: number; others: number }> {
  const ids = (await runningQueries(engine)) ?? [];
  const stores = ids.filter((id) => id.startsWith('backwork-')).length;
  return { stores, others: ids.length - stores };
}

async function rowCount({ engine }: BehindProxy): Promise<number> {
  const sql = "SELECT sum(total_rows) AS n FROM system.tables WHERE database = 'default' AND name LIKE 'otel%'";
  return Number((await queryRows<{ n: string }>(engine, sql))[0]?.n);
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} did not come within ${PATIENCE_MS} ms`);
    await delay(10);
  }
}
