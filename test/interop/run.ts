/**
 * `npm run test:interop [-- --only python,rust] [--no-outage] [--recorder] [--keep] [--allow-missing]`: real clients against the whole
 * service. README.md beside this file has the plan and the contract of a client. Exit code 1 when rows differ, an item is
 * lost, or a client could not run.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startService } from '../support/service.ts';
import type { Client, Transport } from './client.ts';
import { runOnce, type Target } from './once.ts';
import { isVoid, type OutageOutcome, type OutageResult, outageTransports, runOutage } from './outage.ts';
import { recordRetries } from './recorder.ts';
import { type ClientResult, markdownTable, type TransportResult } from './table.ts';

const CLIENTS = join(import.meta.dirname, 'clients');
const CACHE = join(import.meta.dirname, '../../.tmp/interop');
const LOGS = join(CACHE, 'logs');

/** How often an outage is run when the machine makes it longer than was meant. */
const OUTAGE_TURNS_MAX = 3;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
    'allow-missing': { type: 'boolean', default: false },
    'no-outage': { type: 'boolean', default: false },
    recorder: { type: 'boolean', default: false },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let failed = false;

interface NamedClient {
  readonly directory: string;
  readonly client: Client;
}

const clients = await findClients(values.only?.split(','));
mkdirSync(LOGS, { recursive: true });
if (values.recorder) await record();
else await test();
process.exitCode = failed ? 1 : 0;

async function findClients(only: readonly string[] | undefined): Promise<NamedClient[]> {
  const all = readdirSync(CLIENTS).sort();
  const unknown = only?.filter((name) => !all.includes(name)) ?? [];
  if (unknown.length > 0) throw new Error(`--only ${unknown.join(',')}: there are ${all.join(', ')}`);
  const found: NamedClient[] = [];
  for (const directory of only ?? all) {
    const module = (await import(`./clients/${directory}/client.ts`)) as { client: Client };
    found.push({ directory, client: module.client });
  }
  return found;
}

async function test(): Promise<void> {
  const service = await startService();
  const token = service.token;
  let target: Target = { service, token, orgId: await organization(service.command.bind(service)) };
  const results: ClientResult[] = [];
  try {
    for (const one of clients) {
      const { result, target: next } = await runClient(one, target);
      target = next;
      results.push(result);
    }
  } finally {
    if (values.keep) {
      await target.service.stop();
      say(`kept: ${target.service.dataDir}`);
    } else await target.service.stopAndRemove();
  }
  const table = markdownTable(results, !values['no-outage']);
  writeFileSync(join(CACHE, 'table.md'), table);
  say(`\n${table}`);
  say(failed ? 'NOT passed' : 'passed');
}

async function organization(command: (...args: string[]) => Promise<{ stdout: string }>): Promise<string> {
  return /org_\w+/.exec((await command('org', 'list')).stdout)?.[0] ?? '';
}

async function runClient(named: NamedClient, target: Target): Promise<{ result: ClientResult; target: Target }> {
  const { client } = named;
  const prepared = await prepare(named);
  if (typeof prepared === 'string')
    return { result: { client, notRun: prepared, versions: {}, transports: [] }, target };
  const transports: TransportResult[] = [];
  for (const transport of client.transports) {
    const run = runName(named.directory, transport, 'once');
    const command = client.command(prepared.cacheDir, transport);
    const once = await runOnce({ target, client, transport, command, run, logFile: logFile(run) });
    complain(`${client.name} ${nameOf(transport)}`, once.findings, `${once.rows} rows equal`);
    transports.push({ transport, once, outage: undefined });
  }
  const outcome = values['no-outage'] ? { target, results: [] } : await outages(named, prepared.cacheDir, target);
  const withOutages = transports.map((one) => ({
    ...one,
    outage: outcome.results.find((outage) => nameOf(outage.transport) === nameOf(one.transport)),
  }));
  const result = { client, notRun: undefined, versions: prepared.versions, transports: withOutages };
  return { result, target: outcome.target };
}

/** One outage under all the ways of sending that retry; again when the machine made it longer than was meant. */
async function outages({ directory, client }: NamedClient, cacheDir: string, target: Target): Promise<OutageOutcome> {
  const under = outageTransports(client);
  let outcome: OutageOutcome = { target, results: [] };
  if (under.length === 0) return outcome;
  for (let turn = 1; turn <= OUTAGE_TURNS_MAX; turn++) {
    say(`${client.name}: the service goes away for ${client.outageSeconds} s (${under.map(nameOf).join('; ')})`);
    const runs = under.map((transport) => {
      const run = runName(directory, transport, turn === 1 ? 'outage' : `outage ${turn}`);
      return { transport, command: client.command(cacheDir, transport), run, logFile: logFile(run) };
    });
    outcome = await runOutage(client, outcome.target, runs);
    const again = turn < OUTAGE_TURNS_MAX && outcome.results.some((one) => isVoid(client, one));
    if (!again) break;
    for (const one of outcome.results) say(`${client.name} ${nameOf(one.transport)}, outage: void, ${figures(one)}`);
  }
  for (const one of outcome.results) {
    const tooLong = isVoid(client, one)
      ? ['the machine was too busy: the service was away for too long each time']
      : [];
    complain(`${client.name} ${nameOf(one.transport)}, outage`, [...one.findings, ...tooLong], figures(one));
  }
  return outcome;
}

/** Built and ready, or why not. */
async function prepare({ directory, client }: NamedClient) {
  const cacheDir = join(CACHE, directory);
  mkdirSync(cacheDir, { recursive: true });
  const missing = await client.toolchain();
  if (missing !== undefined) {
    say(`${client.name} not run: ${missing}`);
    failed ||= !values['allow-missing'];
    return missing;
  }
  const startedAt = performance.now();
  try {
    await client.build(cacheDir);
    const versions = await client.versions(cacheDir);
    say(
      `${client.name}: built in ${Math.round((performance.now() - startedAt) / 1_000)} s, ${JSON.stringify(versions)}`,
    );
    return { cacheDir, versions };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    say(`${client.name} not built: ${reason}`);
    failed = true;
    return reason;
  }
}

/** Refuses every first request and says whether what comes again has the same bytes. */
async function record(): Promise<void> {
  for (const named of clients) {
    const { client } = named;
    const prepared = await prepare(named);
    if (typeof prepared === 'string') continue;
    for (const transport of client.transports) {
      const run = runName(named.directory, transport, 'recorder');
      const command = client.command(prepared.cacheDir, transport);
      const { sentences, findings } = await recordRetries({ transport, command, run, logFile: logFile(run) });
      for (const line of sentences) say(`${client.name} ${nameOf(transport)}: ${line}`);
      for (const line of findings) say(`${client.name} ${nameOf(transport)}: NOT as it should be: ${line}`);
      failed ||= findings.length > 0;
    }
  }
}

function figures({ spans, logs, points, givenUp, awaySeconds }: OutageResult): string {
  const parts = Object.entries({ spans, logs, points }).map(
    ([name, one]) => `${one.created} ${name} created, ${one.lost} lost, ${one.doubled} doubled`,
  );
  if (givenUp > 0) parts.push(`${givenUp} of the lost were given up by the library`);
  return `away ${awaySeconds} s: ${parts.join('; ')}`;
}

function complain(what: string, findings: readonly string[], otherwise: string): void {
  if (findings.length === 0) {
    say(`${what}: ${otherwise}`);
    return;
  }
  failed = true;
  say(`${what}: NOT as it should be${otherwise.startsWith('away') ? ` (${otherwise})` : ''}`);
  for (const finding of findings) say(`  ${finding}`);
}

function nameOf({ protocol, compression, variant }: Transport): string {
  return [protocol, compression, ...(variant === undefined ? [] : [variant])].join(' ');
}

function runName(directory: string, transport: Transport, mode: string): string {
  return `${directory} ${nameOf(transport)} ${mode}`.replaceAll(/\W+/g, '-');
}

function logFile(run: string): string {
  return join(LOGS, `${run}.log`);
}
