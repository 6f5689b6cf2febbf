/**
 * `npm run bench -- <bench> [options]`: checks the command line and runs one bench. Exit code 0: ran and kept its promise;
 * 1: rows are missing or doubled; 2: a wrong command line.
 */
import { parseArgs } from 'node:util';
import { SIGNALS, type Signal } from '../src/ingest/messages.ts';
import { benchCompare } from './compare.bench.ts';
import { benchConvert } from './convert.bench.ts';
import { CASE_NAMES, type CaseName } from './convert-case.ts';
import { benchDurability } from './durability.bench.ts';
import { benchIngest } from './ingest.bench.ts';
import { profileConvert } from './profile.ts';
import type { Protocol } from './senders.ts';
import { benchTokens } from './tokens.bench.ts';

const USAGE = `usage: npm run bench -- convert [--items 1000] [--rounds 10] [--signal traces|logs|metrics|all] [--seed 1]
       npm run bench -- ingest  [--protocol grpc|http|both] [--signal traces|logs|metrics] [--seconds 30 | --minutes 5]
                                [--connections 4] [--in-flight 1] [--items 512] [--rate 0] [--gzip] [--workers N]
                                [--warm-up 3] [--seed 1]
       npm run bench -- compare --base <revision> [--rounds 10] [--seconds 5] [--protocol grpc|http|both] [--seed 1]
       npm run bench -- durability [--protocol grpc|http] [--rounds 10] [--seconds 15] [--connections 4] [--items 512] [--seed 1]
       npm run bench -- tokens [--organizations 10000] [--tokens 10] [--rounds 10]
       npm run bench -- profile convert [--case ${CASE_NAMES.join('|')}] [--signal traces|logs|metrics] [--items 1000]
--rate: items a second, 0 for full speed. --in-flight: requests at once on each connection.`;

const OPTIONS = {
  items: { type: 'string' },
  organizations: { type: 'string', default: '10000' },
  tokens: { type: 'string', default: '10' },
  rounds: { type: 'string', default: '10' },
  signal: { type: 'string' },
  seed: { type: 'string', default: '1' },
  protocol: { type: 'string', default: 'both' },
  base: { type: 'string' },
  seconds: { type: 'string' },
  minutes: { type: 'string' },
  'warm-up': { type: 'string', default: '3' },
  connections: { type: 'string', default: '4' },
  'in-flight': { type: 'string', default: '1' },
  rate: { type: 'string', default: '0' },
  gzip: { type: 'boolean', default: false },
  workers: { type: 'string' },
  case: { type: 'string', default: 'transcode' },
} as const;

class UsageError extends Error {}

try {
  process.exitCode = await runBench();
} catch (error) {
  if (!(error instanceof UsageError) && !(error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS'))
    throw error;
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}

function runBench(): Promise<number> {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const bench = positionals.join(' ');
  const seed = whole('seed', values.seed, 0);
  if (bench === 'convert') {
    const signals = values.signal === undefined || values.signal === 'all' ? SIGNALS : [signalOf(values.signal)];
    const itemsPerRequest = whole('items', values.items ?? '1000', 1);
    return benchConvert({ signals, itemsPerRequest, rounds: whole('rounds', values.rounds, 1), seed });
  }
  if (bench === 'profile convert') {
    const name = oneOf<CaseName>('case', values.case, CASE_NAMES);
    const itemsPerRequest = whole('items', values.items ?? '1000', 1);
    return profileConvert({ name, signal: signalOf(values.signal), itemsPerRequest, seed });
  }
  const protocol = oneOf('protocol', values.protocol, ['grpc', 'http', 'both']);
  const protocols: Protocol[] = protocol === 'both' ? ['grpc', 'http'] : [protocol as Protocol];
  if (bench === 'compare') {
    if (values.base === undefined) throw new UsageError('compare with what? --base <revision>');
    const rounds = whole('rounds', values.rounds, 1);
    return benchCompare({
      base: values.base,
      rounds,
      seconds: whole('seconds', values.seconds ?? '5', 1),
      protocols,
      seed,
    });
  }
  if (bench === 'durability') {
    return benchDurability({
      protocol: oneOf<Protocol>('protocol', values.protocol === 'both' ? 'grpc' : values.protocol, ['grpc', 'http']),
      rounds: whole('rounds', values.rounds, 1),
      seconds: whole('seconds', values.seconds ?? '15', 1),
      connections: whole('connections', values.connections, 1),
      itemsPerRequest: whole('items', values.items ?? '512', 1),
      seed,
    });
  }
  if (bench === 'tokens') {
    return benchTokens({
      organizations: whole('organizations', values.organizations, 1),
      tokensEach: whole('tokens', values.tokens, 1),
      changes: whole('rounds', values.rounds, 1),
    });
  }
  if (bench !== 'ingest') throw new UsageError(bench === '' ? 'which bench?' : `there is no bench ${bench}`);
  const minutes = values.minutes === undefined ? 0 : whole('minutes', values.minutes, 1);
  return benchIngest({
    protocols,
    signal: signalOf(values.signal),
    seconds: minutes === 0 ? whole('seconds', values.seconds ?? '30', 1) : minutes * 60,
    minutes,
    warmUpSeconds: whole('warm-up', values['warm-up'], 0),
    connections: whole('connections', values.connections, 1),
    inFlight: whole('in-flight', values['in-flight'], 1),
    itemsPerRequest: whole('items', values.items ?? '512', 1),
    itemsPerSecond: whole('rate', values.rate, 0),
    gzip: values.gzip,
    workers: values.workers === undefined ? undefined : whole('workers', values.workers, 1),
    seed,
  });
}

function signalOf(text = 'traces'): Signal {
  return oneOf('signal', text, SIGNALS);
}

function oneOf<T extends string>(name: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--${name} is one of ${allowed.join(', ')}, not ${text}`);
  return found;
}

function whole(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < min || text.trim() === '') {
    throw new UsageError(`--${name} is a whole number from ${min} on, not ${text}`);
  }
  return value;
}
