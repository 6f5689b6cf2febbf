/**
 * `quarantine list|show|replay|drop`: requests that ClickHouse refused for good and bytes that no longer read, with or
 * without a running service: the files are changed under the quarantine's own lock (ingest/quarantine/entry.ts). Only
 * `replay` needs ClickHouse: the server of BACKWORK_CLICKHOUSE_URL, or the engine of the service that runs.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf, retryLater } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import { takeLock } from '../base/lock-file.ts';
import type { ClickHouse } from '../engine/clickhouse.ts';
import type { QuarantineEntry, RefusedEntry } from '../ingest/quarantine/entry.ts';
import { Quarantine } from '../ingest/quarantine/quarantine.ts';
import type { BatchReplay, ReplayDeps } from '../ingest/quarantine/replay.ts';
import { dropSegment, type QuarantinedSegment, quarantinedSegments } from '../ingest/quarantine/segments.ts';
import { realSpoolFiles } from '../ingest/spool/spool-files.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';
import { LOCK_WAIT_MS, readEngineLogin, readServiceState, storeTarget } from './data-directory.ts';

const USAGE = `quarantine list [--org ID|SLUG]
       quarantine show ID [--body]
       quarantine replay ID...|--org ID|SLUG|--all
       quarantine drop ID...|--org ID|SLUG|--all`;
const IDS_MAX = 10_000;
const READY_WITHIN_MS = 30_000;
const POLL_MS = 200;

interface Opened {
  readonly context: CommandContext;
  readonly dataDir: string;
  readonly quarantine: Quarantine;
}

type Held = QuarantineEntry | ({ readonly kind: 'segment'; readonly orgId: '' } & QuarantinedSegment);

/** `list` prints tab-separated columns, `show` JSON; `replay` and `drop` a line for each entry; exit code 1 when one stays. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  const actions = { list, show, replay, drop };
  if (action === undefined || !Object.hasOwn(actions, action)) {
    const choice = 'list, show, replay or drop?';
    throw new UsageError(action === undefined ? choice : `quarantine ${action}: ${choice}`, USAGE);
  }
  return actions[action as keyof typeof actions](rest, () => open(context));
}

function open(context: CommandContext): Opened {
  const dataDir = resolve(context.settings.dataDir);
  if (!existsSync(dataDir)) throw new BackworkError('not-found', `there is no data directory ${dataDir}`);
  const dir = join(dataDir, 'quarantine');
  const quarantine = new Quarantine({
    dir,
    files: realSpoolFiles,
    bytesMax: context.settings.quarantineMib * MIB,
    lock: () => takeLock(join(dir, 'lock'), LOCK_WAIT_MS),
  });
  return { context, dataDir, quarantine };
}

async function list(args: readonly string[], opened: () => Opened): Promise<number> {
  const { text } = readArguments(args, { org: 'text' }, USAGE);
  const { context, ...where } = opened();
  context.stdout('ID\tKIND\tORG\tSIGNAL\tSINCE\tBYTES\tMISSING\tREASON\n');
  for await (const held of everything({ context, ...where }, await organizationId(text['org'], context))) {
    context.stdout(`${columns(held).join('\t')}\n`);
  }
  return 0;
}

function columns(held: Held): (string | number)[] {
  const org = held.orgId === '' ? '-' : held.orgId;
  if (held.kind === 'segment')
    return [held.id, held.kind, org, '-', dateText(held.atMs), held.bytes, '-', 'see the log of that time'];
  if (held.kind === 'damaged') return [held.id, held.kind, org, '-', dateText(held.atMs), held.bytes, '-', held.reason];
  const missing = held.missing.map(({ table, rowCount }) => `${table}:${rowCount}`).join(',');
  const sinceMs = Math.min(...held.missing.map(({ atMs }) => atMs));
  const reasons = new Set(held.missing.map(({ reason, decided }) => (decided ? reason : `${reason} (undecided)`)));
  return [held.id, held.kind, org, held.signal, dateText(sinceMs), held.bytes, missing, [...reasons].join('; ')];
}

async function show(args: readonly string[], opened: () => Opened): Promise<number> {
  const { words, flags } = readArguments(args, { body: 'flag' }, USAGE, 1);
  const { context, quarantine, dataDir } = opened();
  const [held] = await chosen({ context, quarantine, dataDir }, words);
  if (held?.kind !== 'refused') {
    if (flags.has('body')) throw new BackworkError('invalid-input', `${words[0]} is no request that can be read`);
    context.stdout(`${JSON.stringify(held, undefined, 2)}\n`);
    return 0;
  }
  const { header, body } = await quarantine.readRecord(held);
  if (flags.has('body')) (context.output ?? process.stdout).write(body);
  else {
    const { fingerprint, ...fields } = header;
    const request = { ...fields, fingerprint: Buffer.from(fingerprint).toString('hex'), bodyBytes: body.length };
    context.stdout(`${JSON.stringify({ ...held, header: request }, undefined, 2)}\n`);
  }
  return 0;
}

async function replay(args: readonly string[], opened: () => Opened): Promise<number> {
  const where = opened();
  const held = await chosenBy(args, where);
  const entries = held.filter((one): one is RefusedEntry => one.kind === 'refused');
  for (const { id, kind } of held) if (kind !== 'refused') where.context.stderr(`${id}: ${kind}, cannot be replayed\n`);
  if (entries.length === 0) return held.length === 0 ? 0 : 1;
  const lock = await takeLock(join(where.dataDir, 'quarantine', 'replay.lock'), 0);
  try {
    const clickhouse = await connected(where);
    try {
      return (await replayAll(where, clickhouse, entries)) && entries.length === held.length ? 0 : 1;
    } finally {
      await clickhouse.close();
    }
  } finally {
    lock.release();
  }
}

/** False when something stays. */
async function replayAll(where: Opened, clickhouse: ClickHouse, entries: readonly RefusedEntry[]): Promise<boolean> {
  const { replayEntry } = await import('../ingest/quarantine/replay.ts');
  const deps = await replayDeps(where, clickhouse);
  let complete = true;
  for (const { id, orgId } of entries) {
    // As it is now: another replay or the store may have changed it.
    const entry = await where.quarantine.read(orgId, id);
    if (entry?.kind !== 'refused') continue;
    try {
      const done = await replayEntry(deps, entry);
      complete &&= done.complete;
      for (const { rows, outcome } of done.batches)
        where.context.stdout(`${[id, rows.table, rows.batchId, outcomeText(outcome)].join('\t')}\n`);
    } catch (error) {
      if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
      complete = false;
      where.context.stderr(`${id}: stays, ${messageOf(error)}\n`);
    }
  }
  return complete;
}

async function replayDeps({ quarantine }: Opened, clickhouse: ClickHouse): Promise<ReplayDeps> {
  const { storedRowCounts } = await import('../ingest/store/insert-outcome.ts');
  const { tableSync } = await import('../ingest/store/sync-tables.ts');
  const { reencodeBatch } = await import('../ingest/convert/reconvert.ts');
  return {
    quarantine,
    clickhouse,
    storedRowCounts: (where, batchIds) => storedRowCounts(clickhouse, where, batchIds),
    reencode: reencodeBatch,
    syncTables: tableSync({ clickhouse }),
    nowMs: Date.now,
  };
}

function outcomeText(outcome: BatchReplay): string {
  switch (outcome.kind) {
    case 'inserted':
      return `inserted ${outcome.rows} rows`;
    case 'found':
      return `stored already, ${outcome.rows} rows`;
    case 'no-rows':
      return 'has no rows any more';
    case 'expired':
      return 'stays: its retention is over; drop it';
    case 'undecided':
      return 'stays: the store has not decided yet';
    case 'refused':
      return `stays: ${outcome.reason}`;
  }
}

async function drop(args: readonly string[], opened: () => Opened): Promise<number> {
  const where = opened();
  let complete = true;
  for (const held of await chosenBy(args, where)) {
    if (held.kind === 'refused' && held.missing.some(({ decided }) => !decided)) {
      complete = false;
      where.context.stderr(`${held.id}: stays, the store has not decided yet\n`);
      continue;
    }
    if (held.kind === 'segment') await dropSegment(realSpoolFiles, join(where.dataDir, 'spool'), held);
    else await where.quarantine.remove(held);
    where.context.stdout(`${held.id}\tdropped\n`);
  }
  return complete ? 0 : 1;
}

/** Ids, or --org, or --all: one of them. */
async function chosenBy(args: readonly string[], where: Opened): Promise<Held[]> {
  const { words, text, flags } = readArguments(args, { org: 'text', all: 'flag' }, USAGE, 0, IDS_MAX);
  const ways = Number(words.length > 0) + Number(text['org'] !== undefined) + Number(flags.has('all'));
  if (ways !== 1) throw new UsageError('which? ids, --org or --all', USAGE);
  if (words.length > 0) return chosen(where, words);
  return Array.fromAsync(everything(where, await organizationId(text['org'], where.context)));
}

async function chosen(where: Opened, ids: readonly string[]): Promise<Held[]> {
  const wanted = new Set(ids);
  const found: Held[] = [];
  for await (const held of everything(where, undefined)) if (wanted.delete(held.id)) found.push(held);
  const [missing] = wanted;
  if (missing !== undefined) throw new BackworkError('not-found', `nothing in quarantine has the id ${missing}`);
  return found;
}

async function* everything({ context, dataDir, quarantine }: Opened, orgId: string | undefined): AsyncGenerator<Held> {
  yield* quarantine.entries(orgId, (reason) => context.stderr(`${reason}\n`));
  if (orgId !== undefined) return;
  for (const segment of await quarantinedSegments(realSpoolFiles, join(dataDir, 'spool')))
    yield { kind: 'segment', orgId: '', ...segment };
}

async function organizationId(idOrSlug: string | undefined, context: CommandContext): Promise<string | undefined> {
  if (idOrSlug === undefined) return undefined;
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir, readOnly: true });
  try {
    const organization = await accounts.organizations.find(idOrSlug);
    // What is left of an organization that is gone is found by its id.
    if (organization !== undefined || idOrSlug.startsWith('org_')) return organization?.id ?? idOrSlug;
    throw new BackworkError('not-found', `there is no organization ${JSON.stringify(idOrSlug)}; see org list`);
  } finally {
    await accounts.close();
  }
}

/** Waits for an engine that starts or restarts; throws `store-unreachable`. */
async function connected({ context, dataDir }: Opened): Promise<ClickHouse> {
  const { connectClickHouse } = await import('../engine/clickhouse.ts');
  const { settings } = context;
  for (const deadline = performance.now() + READY_WITHIN_MS; ; ) {
    const login = settings.clickhouseUrl === '' ? readEngineLogin(dataDir) : undefined;
    const port = readServiceState(dataDir)?.ports.engine ?? settings.enginePort;
    if (settings.clickhouseUrl !== '' || (login !== undefined && port !== 0)) {
      const clickhouse = connectClickHouse(storeTarget(settings, login, port));
      if (await clickhouse.ping()) return clickhouse;
      await clickhouse.close();
    }
    if (performance.now() > deadline) {
      const advice = 'replay needs the running service, or the server of BACKWORK_CLICKHOUSE_URL';
      throw retryLater('store-unreachable', `ClickHouse did not answer within ${READY_WITHIN_MS / 1_000} s: ${advice}`);
    }
    await sleep(POLL_MS);
  }
}

function dateText(ms: number): string {
  return new Date(ms).toISOString();
}
