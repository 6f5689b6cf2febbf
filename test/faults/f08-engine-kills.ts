/**
 * F8: the engine is killed while INSERTs run: at random moments, and just before a part is renamed into place, which is where
 * deduplication tokens lose rows (M20 of the reliability reference). What the table holds is asked, what is missing sent.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../corpus/seeded-random.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { killAtRename } from './support/kill-at-rename.ts';
import { violationsOf } from './support/oracle.ts';
import { cannotInject } from './support/strace.ts';

const RANDOM_KILLS = { ci: 1, full: 50 };
const RENAME_KILLS = { ci: 1, full: 20 };
const INSERT_WAIT_MS = 60_000;
const RENAME_WAIT_MS = 15_000;
/** A merge may rename first: then the kill counts as one at random. */
const TRIES_A_KILL = 5;

export const f08: Fault = {
  id: 'F8',
  title: 'the engine is killed while INSERTs run, at random and at the rename of a part',
  async run(options) {
    const notRun = cannotInject();
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    return await behindProxy({}, (behind) => run(behind, options));
  },
};

async function run(behind: BehindProxy, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const random = seededRandom(seed);
  const { engine } = behind;
  const recoveries: number[] = [];
  let atRename = 0;
  let atRandom = 0;
  behind.load();
  const startAgain = async () => {
    await engine.ended();
    await engine.start();
    const beganMs = performance.now();
    await insertRuns(behind);
    recoveries.push(Math.round(performance.now() - beganMs));
  };
  while (atRandom < RANDOM_KILLS[size]) {
    await insertRuns(behind);
    // INSERTs of this load take some 30 ms.
    await delay(random.int(0, 30));
    await engine.kill();
    atRandom++;
    say(`kill ${atRandom} at random`);
    await startAgain();
  }
  for (let tries = 0; atRename < RENAME_KILLS[size] && tries < TRIES_A_KILL * RENAME_KILLS[size]; tries++) {
    const hit = await killAtRename(engine.pid, RENAME_WAIT_MS);
    if (hit) say(`kill ${++atRename} at a rename`);
    await engine.kill();
    await startAgain();
  }
  const verdict = await behind.judge();
  const violations = violationsOf(verdict);
  if (atRename < RENAME_KILLS[size]) violations.push(`only ${atRename} kills were at the rename of a part`);
  const { acknowledged, lost, doubled } = verdict;
  const nextInsertMaxMs = Math.max(...recoveries);
  return { figures: { atRandom, atRename, acknowledged, lost, doubled, nextInsertMaxMs }, violations };
}

async function insertRuns({ proxy }: BehindProxy): Promise<void> {
  const deadline = performance.now() + INSERT_WAIT_MS;
  while (proxy.inserts.running === 0) {
    if (performance.now() > deadline) throw new Error(`no INSERT within ${INSERT_WAIT_MS} ms`);
    await delay(1);
  }
}
