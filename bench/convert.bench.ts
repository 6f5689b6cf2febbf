/**
 * `npm run bench -- convert`: CPU µs an item (span, log record, data point) of four ways with the same bytes:
 *
 *   a transcode   our converter: protobuf → builders of a segment of 40 requests (convert) → Native blocks (encode)
 *   b decode      bare protobufjs decode() into objects, with our proto/: what any way over objects begins with
 *   c plain       the obvious way: decode() → a plain object a row → JSONEachRow text (plain-rows.ts)
 *   d oracle      the tests' oracle: decode() → plain data → expected rows, every rule of the tables kept → JSONEachRow text
 *
 * Rounds alternate (a b c d a b c d …), so that a machine which gets slower does so for all. Each case of each round is a
 * process of its own, warmed up: V8's feedback and heap of one case are not another's, and the luck of JIT and memory
 * shows in the spread instead of staying for the whole run.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Signal } from '../src/ingest/messages.ts';
import { CASE_NAMES, type CaseName, type CaseResult, type CaseTask, ORIGIN } from './convert-case.ts';
import { type Corpus, makeCorpus } from './corpus.ts';
import { machineText } from './machine.ts';
import { checkPlainRows } from './plain-rows-check.ts';
import { type Spread, spreadOf, spreadText, tableText } from './statistics.ts';

export interface ConvertOptions {
  readonly signals: readonly Signal[];
  readonly itemsPerRequest: number;
  readonly rounds: number;
  readonly seed: number;
}

/** What a segment of 1 s holds at 40 requests a second; its builders are encoded once. */
export const REQUESTS_PER_SEGMENT = 40;
const WARM_UP_MS = 1_200;
const MEASURED_MS = 500;
export const CASE_FILE = join(import.meta.dirname, 'convert-case.ts');
const ITEM_NOUN: Record<Signal, string> = { traces: 'span', logs: 'log record', metrics: 'data point' };

const run = promisify(execFile);

export async function benchConvert(options: ConvertOptions): Promise<number> {
  console.log(`convert   ${options.rounds} rounds, seed ${options.seed}`);
  console.log(machineText());
  for (const signal of options.signals) {
    await withCorpus({ ...options, signal }, async (corpus, task) => {
      checkPlainRows(corpus, ORIGIN);
      console.log(`\n${corpusText(corpus)}`);
      console.log(report(signal, await runRounds(task, options.rounds)));
    });
  }
  return 0;
}

/** Writes the corpus of one segment to a file for the time of `use`. */
export async function withCorpus(
  options: { signal: Signal; itemsPerRequest: number; seed: number },
  use: (corpus: Corpus, task: Omit<CaseTask, 'name'>) => Promise<void>,
): Promise<void> {
  const corpus = makeCorpus({ ...options, requests: REQUESTS_PER_SEGMENT });
  const dir = mkdtempSync(join(tmpdir(), 'backwork-bench-'));
  try {
    const bodiesPath = join(dir, 'bodies');
    writeFileSync(bodiesPath, Buffer.concat(corpus.bodies));
    await use(corpus, {
      signal: options.signal,
      bodiesPath,
      bodyBytes: corpus.bodies.map((body) => body.length),
      itemsPerRequest: options.itemsPerRequest,
      warmUpMs: WARM_UP_MS,
      measuredMs: MEASURED_MS,
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

type Results = Record<CaseName, CaseResult[]>;

async function runRounds(task: Omit<CaseTask, 'name'>, rounds: number): Promise<Results> {
  const results: Results = { transcode: [], decode: [], plain: [], oracle: [] };
  for (let round = 0; round < rounds; round++) {
    for (const name of CASE_NAMES) {
      const argument = JSON.stringify({ ...task, name } satisfies CaseTask);
      const { stdout } = await run(process.execPath, [CASE_FILE, argument]);
      results[name].push(JSON.parse(stdout) as CaseResult);
    }
  }
  return results;
}

export function corpusText({ signal, bodies, bytes, itemsPerRequest }: Corpus): string {
  const itemBytes = (bytes / bodies.length / itemsPerRequest).toFixed(0);
  return `${signal}: ${itemBytes} bytes a ${ITEM_NOUN[signal]}, ${itemsPerRequest} a request, ${bodies.length} requests a segment`;
}

function report(signal: Signal, results: Results): string {
  const of = (name: CaseName, figure: (result: CaseResult) => number) => spreadOf(results[name].map(figure));
  const line = (label: string, spread: Spread) => [label, spreadText(spread)];
  const total = (one: CaseResult) => one.totalUs;
  const bytesOut = (name: CaseName) => of(name, (one) => one.bytesOut).median.toFixed(0);
  return [
    tableText([
      [`CPU µs a ${ITEM_NOUN[signal]}`, 'median (min..max)'],
      line('a transcode', of('transcode', total)),
      line(
        '    convert',
        of('transcode', (one) => one.convertUs),
      ),
      line(
        '    encode',
        of('transcode', (one) => one.encodeUs),
      ),
      line('b decode', of('decode', total)),
      line('c plain', of('plain', total)),
      line('d oracle', of('oracle', total)),
      line('ratio d/a', ratio(results.oracle, results.transcode)),
      line('ratio c/a', ratio(results.plain, results.transcode)),
      line('ratio b/a', ratio(results.decode, results.transcode)),
    ]),
    `bytes out: ${bytesOut('transcode')} of blocks, ${bytesOut('plain')} of JSONEachRow a ${ITEM_NOUN[signal]}`,
  ].join('\n');
}

/** Of the rounds one by one: neighbours in time saw the same machine. */
function ratio(of: readonly CaseResult[], to: readonly CaseResult[]): Spread {
  return spreadOf(of.map((one, round) => one.totalUs / (to[round]?.totalUs ?? Number.NaN)));
}
