/**
 * `npm run test:faults [-- --only F1,F22] [--seed S] [--minutes M] [--size ci]`: the long fault suite. What it injects is in
 * the files beside it; CI runs a short seeded slice of the same code (kills-and-disks.test.ts). Exit code 1 on a violation or when
 * something could not run.
 */
import { parseArgs } from 'node:util';
import { FAULTS } from './all.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    size: { type: 'string', default: 'full' },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const size = values.size === 'ci' ? 'ci' : 'full';
const time = values.minutes === undefined ? {} : { minutes: Number(values.minutes) };
const only = values.only?.split(',');
const say = (line: string) => process.stdout.write(`${line}\n`);

const unknown = only?.filter((id) => !FAULTS.some((fault) => fault.id === id)) ?? [];
for (const id of unknown) say(`there is no ${id}: ${FAULTS.map((fault) => fault.id).join(', ')}`);
let failed = unknown.length > 0;
for (const fault of FAULTS) {
  if (only !== undefined && !only.includes(fault.id)) continue;
  say(`${fault.id} ${fault.title}, seed ${seed} (again: --only ${fault.id} --seed ${seed})`);
  const beganMs = performance.now();
  const report = await fault.run({ size, seed, ...time, say });
  say(`${fault.id} ${JSON.stringify(report.figures)}`);
  const verdict = report.notRun === undefined ? report.violations : [`not run: ${report.notRun}`];
  for (const line of verdict) say(`${fault.id} ${line}`);
  const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1);
  say(`${fault.id} ${verdict.length === 0 ? 'passed' : 'NOT passed'}, seed ${seed}, ${seconds} s`);
  failed ||= verdict.length > 0;
}
process.exitCode = failed ? 1 : 0;
