/**
 * `npm run fuzz -- [--seconds N] [--seed S] [--only name]`: every fuzzer for its share of the time, one case at least.
 * Prints seed and counts; exit code 1 on a violation, whose line says how to see it again.
 */
import { parseArgs } from 'node:util';
import { bearerTokenFuzzer } from './bearer-token.fuzz.ts';
import type { Fuzzer } from './fuzzer.ts';
import { converterFuzzer } from './converter.fuzz.ts';
import { otlpJsonFuzzer } from './otlp-json.fuzz.ts';
import { spoolRecordFuzzer } from './spool-record.fuzz.ts';

/** Every decoder of bytes from outside has its line here. */
const FUZZERS: readonly (() => Fuzzer)[] = [bearerTokenFuzzer, converterFuzzer, otlpJsonFuzzer, spoolRecordFuzzer];

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, seed: { type: 'string' }, only: { type: 'string' } },
});
const fuzzers = FUZZERS.map((make) => make()).filter((one) => values.only === undefined || one.name === values.only);
const seconds = Number(values.seconds);
const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
if (fuzzers.length === 0 || !(seconds >= 0) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run fuzz -- [--seconds N] [--seed S] [--only name]');
  console.error(`names: ${FUZZERS.map((make) => make().name).join(', ')}`);
  process.exit(2);
}

console.log(`seed ${seed}, ${seconds} s for ${fuzzers.length} fuzzers`);
for (const one of fuzzers) {
  try {
    const { cases, taken } = one.run(seed, Date.now() + (seconds * 1_000) / fuzzers.length);
    console.log(`${one.name}: ${cases} cases, ${taken} taken, ${cases - taken} refused`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
