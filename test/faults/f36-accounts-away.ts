/**
 * F36: the accounts database is down (gone, another kind of file, damaged), slow (its reads held up, and its writer's lock
 * held), and put back from a backup while the service stands still. Known tokens go on from memory, for 15 minutes by the
 * table's own clock; unknown ones are told to come back, and are never told that they are unknown while nobody can know.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { loadPepper } from '../../src/accounts/key-file.ts';
import { accountsPath, openSqlite } from '../../src/accounts/store/sqlite.ts';
import { openTokenSource } from '../../src/accounts/store/token-source.ts';
import { newTokenSecret } from '../../src/accounts/token.ts';
import { loadKeyedHash } from '../../src/base/keyed-hash.ts';
import { type TokenTable, openTokenTable } from '../../src/ingest/authenticate/token-table.ts';
import { encodeIds, type Protocol } from '../support/load.ts';
import { type Ports, startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { outcomeSender } from './support/outcome-sender.ts';
import { cannotInject, slowReads } from './support/strace.ts';

const ENV = { BACKWORK_WORKERS: '2' };
/** A table asks four times a second. */
const HAS_ASKED_MS = 400;
const MINUTE_MS = 60_000;
const PROTOCOLS: readonly Protocol[] = ['http', 'grpc', 'http', 'grpc'];

export const f36: Fault = {
  id: 'F36',
  title: 'the accounts database is down, slow, or restored',
  async run(options: FaultOptions): Promise<FaultReport> {
    let service = await startService({ env: ENV });
    const run = new Run(service.token, options);
    try {
      const good = new GoodClients(service);
      good.start();
      await run.down(service, good);
      await run.slow(service, good);
      await good.stop();
      await run.fifteenMinutes(service);
      service = await run.restore(service);
      run.violations.push(...(await good.judgeRows()));
    } finally {
      await service.stopAndRemove();
    }
    return { figures: run.figures, violations: run.violations };
  },
};

/** Ways in which a database is down, each done to its file and its log while they stand aside. */
const DOWN: Readonly<Record<string, (path: string) => void>> = {
  gone: () => undefined,
  'a directory': (path) => mkdirSync(path),
  empty: (path) => writeFileSync(path, ''),
  damaged: (path) => writeFileSync(path, Buffer.concat([Buffer.from('SQLite format 3\0'), randomBytes(8_192)])),
};

class Run {
  readonly violations: string[] = [];
  readonly figures: Record<string, number | string> = { strangers: 0, strangersDropped: 0, knownRefused: 0 };
  readonly #token: string;
  readonly #options: FaultOptions;

  constructor(token: string, options: FaultOptions) {
    this.#token = token;
    this.#options = options;
  }

  async down(service: TestService, good: GoodClients): Promise<void> {
    const forMs = this.#options.size === 'full' ? 15_000 : 100;
    for (const [kind, put] of Object.entries(DOWN)) {
      const path = accountsPath(service.dataDir);
      const back = setAside(path);
      put(path);
      // Until a table has asked it may still judge.
      await delay(HAS_ASKED_MS);
      good.takePhase();
      const until = performance.now() + forMs;
      do await this.#strangers(service.ports, kind, 'retried');
      while (performance.now() < until);
      this.#known(good, kind);
      rmSync(path, { recursive: true, force: true });
      back();
      await this.#readableAgain(service);
      this.#options.say(`${kind}: ${this.figures['strangers']} strangers so far`);
    }
    await this.#strangers(service.ports, 'back again', 'dropped');
  }

  async slow(service: TestService, good: GoodClients): Promise<void> {
    good.takePhase();
    const writer = openSqlite(accountsPath(service.dataDir), { readOnly: false, busyMs: 1_000 });
    writer.exec('BEGIN IMMEDIATE; UPDATE organizations SET revision = revision');
    await this.#strangers(service.ports, 'a writer that does not end', 'dropped');
    await delay(this.#options.size === 'full' ? 10_000 : 300);
    writer.exec('ROLLBACK');
    writer.close();
    this.#known(good, 'a writer that does not end');
    if (this.#options.size === 'ci') return;
    const cannot = cannotInject();
    this.figures['slowReads'] = cannot ?? 'held up 300 ms each';
    if (cannot !== undefined) return;
    const attached = await Promise.all(
      service.children('ingest').map((pid) => slowReads(pid, accountsPath(service.dataDir), 300)),
    );
    for (let n = 0; n < 5; n++) {
      await service.command('token', 'create', '--org', 'default', '--name', `slow ${n}`);
      await delay(2_000);
    }
    await Promise.all(attached.map((one) => one.detach()));
    this.#known(good, 'slow reads');
  }

  /** The table of an ingest process over the service's own database, on a clock of ours. */
  async fifteenMinutes(service: TestService): Promise<void> {
    const clock = { nowMs: Date.now() };
    const limits = { bytesPerSecond: 0, itemsPerSecond: 0, requestsAtOnce: 0, spoolBytes: 0, weight: 10 };
    const quiet = { debug() {}, info() {}, warn() {}, error() {} };
    const table = await openTokenTable({
      source: openTokenSource(service.dataDir),
      pepper: loadPepper(service.dataDir).key,
      hash: await loadKeyedHash(),
      limits,
      nowMs: () => clock.nowMs,
      log: quiet,
      pollMs: 20,
    });
    const back = setAside(accountsPath(service.dataDir));
    try {
      const stranger = await strangerToken();
      await this.#becomes(table, stranger, 'accounts-unavailable');
      for (const [minutes, expected] of [
        [14.9, 'served'],
        [15.1, 'accounts-unavailable'],
        [60 * 24, 'accounts-unavailable'],
      ] as const) {
        clock.nowMs += minutes * MINUTE_MS;
        const answers = [await answerOf(table, this.#token), await answerOf(table, stranger)];
        if (answers[0] !== expected || answers[1] !== 'accounts-unavailable')
          this.violations.push(`after ${minutes} min a known and an unknown token were answered ${answers.join(', ')}`);
        clock.nowMs -= minutes * MINUTE_MS;
      }
      back();
      clock.nowMs += 60 * MINUTE_MS;
      await this.#becomes(table, this.#token, 'served');
      await this.#becomes(table, stranger, 'unauthenticated');
    } finally {
      table.close();
    }
  }

  /** A backup is put back while the service stands still: what it holds works, what was made later is gone, nothing stored is. */
  async restore(service: TestService): Promise<TestService> {
    const path = accountsPath(service.dataDir);
    const backup = `${path}.backup`;
    const reader = openSqlite(path, { readOnly: false, busyMs: 1_000 });
    reader.exec(`VACUUM INTO '${backup}'`);
    reader.close();
    const late = (await service.command('token', 'create', '--org', 'default', '--name', 'late')).stdout.trim();
    await this.#expect(service.ports, late, 'a token made after the backup', 'accepted');
    await service.stop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    await this.#startWithoutAccounts(service);
    renameSync(backup, path);
    const again = await startService({ dataDir: service.dataDir, env: ENV, ports: service.ports });
    await this.#expect(again.ports, this.#token, 'a token of the backup', 'accepted');
    await this.#expect(again.ports, late, 'a token that the backup does not know', 'dropped');
    return again;
  }

  /** Between the two the database is missing: a start would make a new one, and all tokens would be unknown. */
  async #startWithoutAccounts(service: TestService): Promise<void> {
    const started = await startService({ dataDir: service.dataDir, env: ENV, ports: service.ports }).then(
      (wrong) => wrong.stop(),
      (error: Error) => error,
    );
    if (!(started instanceof Error)) this.violations.push('the service started with a new accounts database');
    else if (!/accounts\.sqlite/.test(started.message)) this.violations.push(`the refusal was ${started.message}`);
  }

  #known(good: GoodClients, when: string): void {
    const { failed, requests } = good.takePhase();
    this.figures['knownRefused'] = Number(this.figures['knownRefused']) + failed;
    if (failed > 0 || requests === 0) this.violations.push(`${when}: ${failed} of ${requests} known requests failed`);
  }

  async #strangers(ports: Ports, when: string, expected: 'retried' | 'dropped'): Promise<void> {
    await Promise.all(
      PROTOCOLS.map(async (protocol) => {
        const sender = outcomeSender(protocol, ports[protocol], await strangerToken());
        const { kind, status } = await sender.send(encodeIds(['stranger']));
        sender.close();
        this.figures['strangers'] = Number(this.figures['strangers']) + 1;
        if (kind === expected) return;
        if (kind === 'dropped') this.figures['strangersDropped'] = Number(this.figures['strangersDropped']) + 1;
        this.violations.push(`${when}: an unknown token was answered ${kind} ${status} over ${protocol}`);
      }),
    );
  }

  /** Until every worker judges strangers again: each connection may land on another. */
  async #readableAgain(service: TestService): Promise<void> {
    for (let deadline = performance.now() + 10_000, row = 0; row < 6 && performance.now() < deadline; ) {
      const sender = outcomeSender('http', service.ports.http, await strangerToken());
      row = (await sender.send(encodeIds(['stranger']))).status.startsWith('401') ? row + 1 : 0;
      sender.close();
      await delay(20);
    }
  }

  async #expect(ports: Ports, token: string, what: string, expected: string): Promise<void> {
    for (const protocol of PROTOCOLS) {
      const sender = outcomeSender(protocol, ports[protocol], token);
      const { kind, status } = await sender.send(encodeIds([`${what}-${protocol}`]));
      sender.close();
      if (kind !== expected) this.violations.push(`${what} was answered ${kind} ${status} over ${protocol}`);
    }
  }

  async #becomes(table: TokenTable, token: string, expected: string): Promise<void> {
    const deadline = performance.now() + 10_000;
    let answer = '';
    while (performance.now() < deadline) {
      answer = await answerOf(table, token);
      if (answer === expected) return;
      await delay(20);
    }
    this.violations.push(`a token was answered ${answer}, not ${expected}`);
  }
}

/** Puts the database and its log out of the way; what it returns puts them back. */
function setAside(path: string): () => void {
  const moved: string[] = [];
  for (const suffix of ['', '-wal', '-shm']) {
    try {
      renameSync(`${path}${suffix}`, `${path}.aside${suffix}`);
      moved.push(suffix);
    } catch {
      // A database that nobody has open has no log.
    }
  }
  return () => {
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    for (const suffix of moved.reverse()) renameSync(`${path}.aside${suffix}`, `${path}${suffix}`);
  };
}

async function strangerToken(): Promise<string> {
  const pepper = { id: '00000000', key: randomBytes(32) };
  return newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes }).token;
}

async function answerOf(table: TokenTable, token: string): Promise<string> {
  try {
    await table.tenant(`Bearer ${token}`, 'logs');
    return 'served';
  } catch (error) {
    return (error as { code: string }).code;
  }
}
