/**
 * `npm run bench -- profile convert`: one case of the convert bench under V8's CPU profiler, in a process of its own so that
 * nothing else warms the JIT. Prints the functions with the most time of their own.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Signal } from '../src/ingest/messages.ts';
import type { CaseName, CaseTask } from './convert-case.ts';
import { CASE_FILE, corpusText, withCorpus } from './convert.bench.ts';
import { machineText, ROOT } from './machine.ts';
import { tableText } from './statistics.ts';

export interface ProfileOptions {
  readonly name: CaseName;
  readonly signal: Signal;
  readonly itemsPerRequest: number;
  readonly seed: number;
}

const FUNCTIONS_SHOWN = 25;
const WARM_UP_MS = 500;
const MEASURED_MS = 4_000;
const SAMPLE_EVERY_US = 500;

const run = promisify(execFile);

export async function profileConvert(options: ProfileOptions): Promise<number> {
  console.log(
    `profile   convert, case ${options.name}, ${MEASURED_MS} ms of CPU, a sample every ${SAMPLE_EVERY_US} µs`,
  );
  console.log(machineText());
  const dir = mkdtempSync(join(tmpdir(), 'backwork-profile-'));
  try {
    await withCorpus(options, async (corpus, task) => {
      console.log(`\n${corpusText(corpus)}\n`);
      const whole: CaseTask = { ...task, name: options.name, warmUpMs: WARM_UP_MS, measuredMs: MEASURED_MS };
      const flags = ['--cpu-prof', `--cpu-prof-dir=${dir}`, `--cpu-prof-interval=${SAMPLE_EVERY_US}`];
      await run(process.execPath, [...flags, CASE_FILE, JSON.stringify(whole)]);
    });
    const [file] = readdirSync(dir);
    if (file === undefined) throw new Error('the profiler wrote no file');
    console.log(hottest(JSON.parse(readFileSync(join(dir, file), 'utf8')) as Profile));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return 0;
}

/** What this file reads of V8's .cpuprofile. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

function hottest(profile: Profile): string {
  const micros = new Map<number, number>();
  let all = 0;
  profile.samples.forEach((id, index) => {
    const delta = profile.timeDeltas[index] ?? 0;
    micros.set(id, (micros.get(id) ?? 0) + delta);
    all += delta;
  });
  const byFunction = new Map<string, number>();
  for (const { id, callFrame } of profile.nodes) {
    const place = `${callFrame.functionName || '(anonymous)'}  ${placeOf(callFrame)}`;
    byFunction.set(place, (byFunction.get(place) ?? 0) + (micros.get(id) ?? 0));
  }
  const rows = [...byFunction].sort((a, b) => b[1] - a[1]).slice(0, FUNCTIONS_SHOWN);
  const cells = rows.map(([place, time]) => [place, `${((100 * time) / all).toFixed(1)} %`, (time / 1_000).toFixed(0)]);
  return tableText([['function', 'self', 'ms'], ...cells]);
}

function placeOf({ url, lineNumber }: { url: string; lineNumber: number }): string {
  if (url === '') return '';
  const path = url.startsWith('file:') ? relative(ROOT, fileURLToPath(url)) : url;
  return `${path}:${lineNumber + 1}`;
}
