/**
 * F4: the engine is away for three days of our clock, and the service is started again once a day. What was acknowledged in
 * the first hour is stored as surely as what came in the last; nothing is thrown away for its age.
 */
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { queryRows } from './support/door-client.ts';
import { FaultControl } from './support/fault-control.ts';
import { violationsOf } from './support/oracle.ts';

const HOURS = 72;
const STEP_HOURS = { ci: 24, full: 1 };
/** Without its engine a start waits for it for seconds: the short form has one. */
const RESTART_EVERY_HOURS = { ci: 72, full: 24 };
const ROWS_A_STEP = 400;
const MS_PER_HOUR = 3_600_000;
/** Longest that a stored row may say it came before or after what the steps say. */
const HOURS_OFF_MAX = 1;

export const f04: Fault = {
  id: 'F4',
  title: 'the engine is away for 72 hours of our clock, three restarts of the service in between',
  async run(options) {
    const control = new FaultControl();
    try {
      return await behindProxy(control.env, (behind) => run(behind, control, options), { direct: true });
    } finally {
      control.remove();
    }
  },
};

async function run(behind: BehindProxy, control: FaultControl, { size, say }: FaultOptions): Promise<FaultReport> {
  const { engine, oracle } = behind;
  behind.load();
  await oracle.acknowledged(ROWS_A_STEP);
  await engine.kill();
  let restarts = 0;
  for (let hour = STEP_HOURS[size]; hour <= HOURS; hour += STEP_HOURS[size]) {
    control.shiftClock(hour * MS_PER_HOUR);
    await oracle.acknowledged(ROWS_A_STEP);
    if (hour % RESTART_EVERY_HOURS[size] !== 0) continue;
    if (restarts++ % 2 === 0) await behind.service.killAll();
    else await behind.service.stop();
    await behind.startAgain();
    say(`hour ${hour}: ${behind.service.waitingSegments()} segments wait`);
    await oracle.acknowledged(ROWS_A_STEP);
  }
  const backlog = behind.service.waitingSegments();
  await engine.start();
  const verdict = await behind.judge();
  const violations = violationsOf(verdict);
  const hours = await hoursStored(behind);
  if (Math.abs(hours - HOURS) > HOURS_OFF_MAX) violations.push(`the stored rows came within ${hours} hours`);
  const { acknowledged, lost, doubled } = verdict;
  return { figures: { hours, restarts, backlog, acknowledged, lost, doubled }, violations };
}

/** By the times of receipt that stand in the rows. */
async function hoursStored({ engine }: BehindProxy): Promise<number> {
  const sql = "SELECT dateDiff('hour', min(ReceivedAt), max(ReceivedAt)) AS hours FROM otel_logs";
  return Number((await queryRows<{ hours: string }>(engine, sql))[0]?.hours);
}
