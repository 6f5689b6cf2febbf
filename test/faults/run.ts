/**
 * `npm run test:faults [-- --only F22,F24] [--seed S] [--size ci]` and `npm run test:faults -- --kills N [--seed S]`: the
 * long fault suite. What it injects is in the files beside it; CI runs a short seeded slice of the same code
 * (faults.test.ts, test/end-to-end/kills.test.ts). Exit code 1 on a violation or when something could not run.
 */
import { parseArgs } from 'node:util';
import { FAULTS } from './all.ts';
import { runKills } from './kills.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string' },
    size: { type: 'string', default: 'full' },
    kills: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const say = (line: string) => process.stdout.write(`${line}\n`);
const only = values.only?.split(',');
let failed = false;

if (values.kills !== undefined || only === undefined || only.includes('F1')) await kills(Number(values.kills ?? 20));
if (values.kills === undefined) {
  for (const fault of FAULTS) {
    if (only !== undefined && !only.includes(fault.id)) continue;
    say(`${fault.id} ${fault.title}, seed ${seed} (again: --only ${fault.id} --seed ${seed})`);
    const size = values.size === 'ci' ? 'ci' : 'full';
    const report = await fault.run({ size, seed, say });
    say(`${fault.id} ${JSON.stringify(report.figures)}`);
    const verdict = report.notRun === undefined ? report.violations : [`not run: ${report.notRun}`];
    for (const line of verdict) say(`${fault.id} ${line}`);
    say(`${fault.id} ${verdict.length === 0 ? 'passed' : 'NOT passed'}`);
    failed ||= verdict.length > 0;
  }
}
process.exitCode = failed ? 1 : 0;

async function kills(count: number): Promise<void> {
  say(`F1 kills: ${count}, seed ${seed} (again: --kills ${count} --seed ${seed})`);
  const { judgement, ...report } = await runKills({ seed, kills: count, rowsBetween: 1_000, say });
  const counts = Object.fromEntries(Object.entries(judgement).map(([name, ids]) => [name, ids.length]));
  say(JSON.stringify({ seed, ...report, ...counts }));
  const violations = Object.values(judgement).flat().length + report.lookupMismatches;
  say(violations === 0 ? 'F1 every acknowledged item is stored once' : `F1 ${violations} violations`);
  failed ||= violations > 0;
}
