/**
 * F20: the wall clock jumps 400 days ahead, back, and to yesterday, a step after the other, while clients send and processes
 * are killed. Waits, backoff and deadlines do not notice; retention follows the clock that a row was received by; every row
 * is exact. (Sign-ins are the accounts' own matter.)
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../corpus/seeded-random.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { queryRows } from './support/door-client.ts';
import { FaultControl } from './support/fault-control.ts';
import { storedBetween, violationsOf } from './support/oracle.ts';
import { cpuMs } from './support/process-figures.ts';
import { holds } from './support/spool-service.ts';

const RETENTION_DAYS = 730;
/** Buckets of ExpiresOn are that wide at this retention (tables/retention.ts). */
const BUCKET_DAYS = 46;
/** Each step is another than the one before it. */
const CLOCKS_DAYS = [0, 400, -1, 399] as const;
const STEPS = { ci: 4, full: 30 };
const STEP_MS = { ci: 0, full: 10_000 };
const ROWS_A_STEP = 500;
/** A wait that was reckoned by the wall clock would last a day or longer. */
const STORED_WITHIN_MS = 20_000;
/** A loop that turns without waiting takes a whole core; this load takes a process a tenth of one. */
const CORE_SHARE_MAX = 0.6;
const MS_PER_DAY = 86_400_000;

export const f20: Fault = {
  id: 'F20',
  title: 'the clock jumps by 400 days, and back, and to yesterday',
  async run(options) {
    const control = new FaultControl();
    try {
      const env = { BACKWORK_RETENTION_DAYS: String(RETENTION_DAYS), ...control.env };
      return await behindProxy(env, (behind) => run(behind, control, options));
    } finally {
      control.remove();
    }
  },
};

async function run(behind: BehindProxy, control: FaultControl, options: FaultOptions): Promise<FaultReport> {
  const { size, seed, say } = options;
  const { oracle } = behind;
  const random = seededRandom(seed);
  const violations: string[] = [];
  let [storedMsMax, coreShareMax, kills, days] = [0, 0, 0, 0];
  behind.load();
  await oracle.acknowledged(ROWS_A_STEP);
  for (let step = 1; step <= STEPS[size]; step++) {
    // The first step is the long one, so that the short form has it too.
    days = step === 1 ? 400 : random.pick(CLOCKS_DAYS.filter((one) => one !== days));
    const atMs = Date.now();
    control.shiftClock(days * MS_PER_DAY);
    await oracle.acknowledged(ROWS_A_STEP);
    const storedMs = await msUntilStored(behind, atMs);
    if (storedMs === undefined) violations.push(`at ${days} days, rows are not stored after ${STORED_WITHIN_MS} ms`);
    storedMsMax = Math.max(storedMsMax, storedMs ?? 0);
    if (STEP_MS[size] > 0) coreShareMax = Math.max(coreShareMax, await coreShare(behind, STEP_MS[size]));
    // What is started now has never seen another time, and meets notes and segments of other times.
    if (step % 3 === 0) {
      killOne(behind, step % 2 === 0 ? 'ingest' : 'store');
      kills++;
      await oracle.acknowledged(ROWS_A_STEP);
    }
    say(`step ${step}: ${days} days, ${oracle.status.acknowledged} rows acknowledged`);
  }
  if (coreShareMax > CORE_SHARE_MAX) violations.push(`a process took ${coreShareMax} of a core`);
  const verdict = await behind.judge();
  violations.push(...violationsOf(verdict), ...(await judgeExpiry(behind)));
  const { acknowledged, lost, doubled } = verdict;
  return {
    figures: { steps: STEPS[size], kills, storedMsMax, coreShareMax, acknowledged, lost, doubled },
    violations,
  };
}

/** From now until what was acknowledged since `atMs` is stored; undefined when that does not come. */
async function msUntilStored({ oracle, engine }: BehindProxy, atMs: number): Promise<number | undefined> {
  const { rows, firstId, lastId } = oracle.between(atMs, Date.now());
  const beganMs = performance.now();
  const stored = await holds(
    async () => (await storedBetween(engine, firstId, lastId).catch(() => 0)) >= rows,
    STORED_WITHIN_MS,
  );
  return stored ? Math.round(performance.now() - beganMs) : undefined;
}

/** The largest share of a core that one process took. */
async function coreShare({ service }: BehindProxy, forMs: number): Promise<number> {
  const pids = [service.pid, ...service.children('ingest'), ...service.children('store')];
  const before = pids.map((pid) => cpuMs([pid]));
  const beganMs = performance.now();
  await delay(forMs);
  const tookMs = performance.now() - beganMs;
  const shares = pids.map((pid, i) => (cpuMs([pid]) - before[i]!) / tookMs);
  return Math.round(100 * Math.max(...shares)) / 100;
}

function killOne({ service }: BehindProxy, kind: 'ingest' | 'store'): void {
  const [pid] = service.children(kind);
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
}

/** By the rows themselves: what each says of its receipt and its end, and that the jumps reached them. */
async function judgeExpiry({ engine }: BehindProxy): Promise<string[]> {
  const least = RETENTION_DAYS + 1;
  const keptDays = "dateDiff('day', toDate(ReceivedAt), ExpiresOn)";
  const [row] = await queryRows<{ wrong: string; days: string }>(
    engine,
    `SELECT countIf(${keptDays} < ${least} OR ${keptDays} >= ${least + BUCKET_DAYS}) AS wrong,
            dateDiff('day', min(ReceivedAt), max(ReceivedAt)) AS days FROM otel_logs`,
  );
  const violations: string[] = [];
  if (row?.wrong !== '0' && Number(row?.wrong) !== 0) violations.push(`${row?.wrong} rows expire at another time`);
  if (Number(row?.days) < 400) violations.push(`rows were received within ${row?.days} days: the clock did not jump`);
  return violations;
}
