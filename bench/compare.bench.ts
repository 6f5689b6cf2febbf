/**
 * `npm run bench -- compare --base <revision>`: this tree against an earlier revision, measured side by side.
 *
 *   convert   the transcode case of convert.bench.ts for each signal, base and current in turn, a process each
 *   ingest    a service of each, started anew for every round, the same load on the one and then on the other
 *
 * Printed are the ratios current / base of CPU a row, round by round, and how they spread: neighbours in time saw the same
 * machine, and who goes first changes with every round. Above 1: this tree costs more.
 *
 * The base's files are taken out of git into a directory of their own; its packages are this tree's.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SIGNALS, type Signal } from '../src/ingest/messages.ts';
import { withCorpus } from './convert.bench.ts';
import type { CaseResult, CaseTask } from './convert-case.ts';
import { makeCorpus } from './corpus.ts';
import { startLiveService } from './live-service.ts';
import { runLoad } from './load-generator.ts';
import { machineText, ROOT } from './machine.ts';
import { processFigures } from './process-figures.ts';
import { type RequestBody, requestBodies } from './request-bodies.ts';
import { openSender, type Protocol } from './senders.ts';
import { spreadOf, spreadText, tableText } from './statistics.ts';

export interface CompareOptions {
  /** Anything git takes for a commit. */
  readonly base: string;
  readonly rounds: number;
  /** Of load on each service in each round, after as many of warm-up. */
  readonly seconds: number;
  readonly protocols: readonly Protocol[];
  readonly seed: number;
}

const CONNECTIONS = 4;
const ITEMS_CONVERT = 1_000;
const ITEMS_INGEST = 512;
const BODY_COUNT = 128;
const DRAIN_WITHIN_MS = 120_000;

const run = promisify(execFile);

export async function benchCompare(options: CompareOptions): Promise<number> {
  const base = checkOut(options.base);
  try {
    console.log(`compare   ${options.rounds} rounds against ${options.base} (${base.revision}), seed ${options.seed}`);
    console.log(machineText());
    for (const signal of SIGNALS) await compareConvert(signal, base.root, options);
    for (const protocol of options.protocols) await compareIngest(protocol, base.root, options);
    return 0;
  } finally {
    rmSync(base.root, { recursive: true, force: true });
  }
}

function checkOut(revision: string): { root: string; revision: string } {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, maxBuffer: 2 ** 28 });
  const commit = git('rev-parse', '--short=12', `${revision}^{commit}`).toString().trim();
  const root = mkdtempSync(join(tmpdir(), 'backwork-base-'));
  execFileSync('tar', ['-x', '-C', root], { input: git('archive', commit) });
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  return { root, revision: commit };
}

/** `first` and `second` of a round: base goes first in every other one. */
async function inTurn<T>(round: number, base: () => Promise<T>, current: () => Promise<T>): Promise<[T, T]> {
  if (round % 2 === 0) {
    const first = await base();
    return [first, await current()];
  }
  const second = await current();
  return [await base(), second];
}

async function compareConvert(signal: Signal, baseRoot: string, { rounds, seed }: CompareOptions): Promise<void> {
  const ratios: number[] = [];
  const [baseUs, currentUs]: [number[], number[]] = [[], []];
  await withCorpus({ signal, itemsPerRequest: ITEMS_CONVERT, seed }, async (_, task) => {
    const argument = JSON.stringify({ ...task, name: 'transcode' } satisfies CaseTask);
    const transcode = async (root: string): Promise<number> => {
      const { stdout } = await run(process.execPath, [join(root, 'bench/convert-case.ts'), argument], { cwd: root });
      return (JSON.parse(stdout) as CaseResult).totalUs;
    };
    for (let round = 0; round < rounds; round++) {
      const [before, now] = await inTurn(
        round,
        () => transcode(baseRoot),
        () => transcode(ROOT),
      );
      baseUs.push(before);
      currentUs.push(now);
      ratios.push(now / before);
    }
  });
  console.log(`\nconvert, ${signal}`);
  console.log(
    tableText([
      ['CPU µs an item', 'median (min..max)'],
      ['base', spreadText(spreadOf(baseUs))],
      ['current', spreadText(spreadOf(currentUs))],
      ['ratio', spreadText(spreadOf(ratios), 3)],
    ]),
  );
}

/** CPU µs a row of the processes between the exporter's socket and the engine's, of the engine, and rows a second. */
interface IngestRound {
  readonly ownUs: number;
  readonly engineUs: number;
  readonly rowsPerSecond: number;
}

async function compareIngest(protocol: Protocol, baseRoot: string, options: CompareOptions): Promise<void> {
  const { rounds, seconds, seed } = options;
  const corpus = makeCorpus({ signal: 'traces', itemsPerRequest: ITEMS_INGEST, requests: BODY_COUNT, seed });
  const bodies = requestBodies(corpus, { grpc: protocol === 'grpc', gzip: false });
  const pairs: [IngestRound, IngestRound][] = [];
  for (let round = 0; round < rounds; round++) {
    pairs.push(
      await inTurn(
        round,
        () => ingestRound(baseRoot, protocol, bodies, seconds),
        () => ingestRound(ROOT, protocol, bodies, seconds),
      ),
    );
  }
  const line = (label: string, figure: (one: IngestRound) => number) => [
    label,
    spreadText(spreadOf(pairs.map(([before]) => figure(before)))),
    spreadText(spreadOf(pairs.map(([, now]) => figure(now)))),
    spreadText(spreadOf(pairs.map(([before, now]) => figure(now) / figure(before))), 3),
  ];
  console.log(`\ningest, traces over ${protocol}, ${seconds} s a round`);
  console.log(
    tableText([
      ['median (min..max)', 'base', 'current', 'ratio'],
      line('ingest + store CPU µs a row', (one) => one.ownUs),
      line('engine CPU µs a row', (one) => one.engineUs),
      line('rows/s', (one) => one.rowsPerSecond),
    ]),
  );
}

async function ingestRound(
  root: string,
  protocol: Protocol,
  bodies: readonly RequestBody[],
  seconds: number,
): Promise<IngestRound> {
  const service = await startLiveService({}, root);
  try {
    const senders = Array.from({ length: CONNECTIONS }, () =>
      openSender(protocol, {
        port: service.ports[protocol],
        token: service.token,
        signal: 'traces',
        gzip: false,
        inFlight: 1,
      }),
    );
    const load = { senders, inFlight: 1, bodies, itemsPerRequest: ITEMS_INGEST, itemsPerSecond: 0, seconds };
    const warmUp = await runLoad({ ...load, firstRequestId: 0 });
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const cpuMicros = (names: RegExp) =>
      service.processes
        .filter(({ name }) => names.test(name))
        .reduce((sum, { pid }) => sum + processFigures(pid).cpuMicros, 0);
    const [ownBefore, engineBefore] = [cpuMicros(/^(ingest|store)/), cpuMicros(/^engine/)];
    const measured = await runLoad({ ...load, firstRequestId: warmUp.nextRequestId });
    for (const sender of senders) sender.close();
    await service.spoolEmpty(DRAIN_WITHIN_MS);
    const rows = measured.acknowledgedRequests * ITEMS_INGEST;
    return {
      ownUs: (cpuMicros(/^(ingest|store)/) - ownBefore) / rows,
      engineUs: (cpuMicros(/^engine/) - engineBefore) / rows,
      rowsPerSecond: (1_000 * rows) / measured.elapsedMs,
    };
  } finally {
    await service.stop();
  }
}
