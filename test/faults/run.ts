/**
 * `npm run test:faults [-- --kills N --seed S]`: the long fault suite. What it injects is in the files beside it; CI runs a
 * short seeded slice of the same code (test/end-to-end/kills.test.ts).
 */
import { parseArgs } from 'node:util';
import { runKills } from './kills.ts';

const { values } = parseArgs({ options: { kills: { type: 'string' }, seed: { type: 'string' } } });
const kills = Number(values.kills ?? 20);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const say = (line: string) => process.stdout.write(`${line}\n`);

say(`kills: ${kills}, seed ${seed} (replay with --kills ${kills} --seed ${seed})`);
const { judgement, ...report } = await runKills({ seed, kills, rowsBetween: 1_000, say });
const counts = Object.fromEntries(Object.entries(judgement).map(([name, ids]) => [name, ids.length]));
say(JSON.stringify({ seed, ...report, ...counts }));
const violations = Object.values(judgement).flat().length + report.lookupMismatches;
say(violations === 0 ? 'every acknowledged item is stored once' : `${violations} violations`);
process.exitCode = violations === 0 ? 0 : 1;
