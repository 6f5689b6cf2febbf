/**
 * `npm run fuzz -- [--cases N | --seconds N] [--seed S] [--only name,…]`: every fuzzer for its number of cases, or for its
 * share of the time. Prints seed and figures; exit code 1 on a violation, whose line says how to see it again.
 */
import { parseArgs } from 'node:util';
import { type Signal, SIGNALS } from '../../src/ingest/messages.ts';
import { bearerTokenFuzzer } from './bearer-token.fuzz.ts';
import type { Fuzzer } from './fuzzer.ts';
import { grpcMessageFuzzer } from './grpc-message.fuzz.ts';
import { handlersFuzzer } from './handlers.fuzz.ts';
import { healthRequestFuzzer } from './health-request.fuzz.ts';
import { inflateFuzzer } from './inflate.fuzz.ts';
import { jsonFuzzer } from './json.fuzz.ts';
import { protobufFuzzer } from './protobuf.fuzz.ts';
import { requestHeadFuzzer } from './request-head.fuzz.ts';
import { spoolFooterFuzzer } from './spool-footer.fuzz.ts';
import { spoolRecordFuzzer } from './spool-record.fuzz.ts';
import { spoolSegmentFuzzer } from './spool-segment.fuzz.ts';

type Make = () => Fuzzer;
const forEachSignal = (prefix: string, make: (signal: Signal) => Fuzzer): [string, Make][] =>
  SIGNALS.map((signal) => [`${prefix}-${signal}`, () => make(signal)]);

/** Every decoder of bytes from outside has its line here. */
const FUZZERS: ReadonlyMap<string, Make> = new Map<string, Make>([
  ...forEachSignal('protobuf', protobufFuzzer),
  ...forEachSignal('json', jsonFuzzer),
  ['grpc-message', grpcMessageFuzzer],
  ['inflate-gzip', () => inflateFuzzer('gzip')],
  ['inflate-deflate', () => inflateFuzzer('deflate')],
  ['inflate-zstd', () => inflateFuzzer('zstd')],
  ['request-head', requestHeadFuzzer],
  ['health-request', healthRequestFuzzer],
  ['bearer-token', bearerTokenFuzzer],
  ['spool-record', spoolRecordFuzzer],
  ['spool-segment', spoolSegmentFuzzer],
  ['spool-footer', spoolFooterFuzzer],
  ['handlers', handlersFuzzer],
]);

const { values } = parseArgs({
  options: {
    cases: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string' },
  },
});
const names = values.only?.split(',') ?? [...FUZZERS.keys()];
const seconds = Number(values.seconds);
const cases = values.cases === undefined ? undefined : Number(values.cases);
const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
const areKnown = names.every((name) => FUZZERS.has(name));
if (!areKnown || !(seconds >= 0) || !Number.isSafeInteger(seed) || !((cases ?? 1) >= 1)) {
  console.error('usage: npm run fuzz -- [--cases N | --seconds N] [--seed S] [--only name,…]');
  console.error(`names: ${[...FUZZERS.keys()].join(', ')}`);
  process.exit(2);
}

console.log(
  `seed ${seed}, ${cases === undefined ? `${seconds} s` : `${cases} cases each`} for ${names.length} fuzzers`,
);
for (const name of names) {
  const startMs = Date.now();
  try {
    const fuzzer = (FUZZERS.get(name) as Make)();
    const figures = await fuzzer.run({ seed, cases, deadlineMs: startMs + (seconds * 1_000) / names.length });
    const counts = `${figures.cases} cases, ${figures.taken} taken, ${figures.cases - figures.taken} refused`;
    const elapsed = `${((Date.now() - startMs) / 1_000).toFixed(1)} s`;
    console.log(`${name}: ${[counts, ...figures.told, elapsed].join('; ')}`);
    for (const violation of figures.violations) fail(`${name}: ${violation}`);
  } catch (error) {
    fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

function fail(line: string): void {
  console.error(line);
  process.exitCode = 1;
}
