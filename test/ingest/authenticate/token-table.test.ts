import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadPepper } from '../../../src/accounts/key-file.ts';
import { type AccountsDatabase, openAccounts } from '../../../src/accounts/store/accounts-database.ts';
import { accountsPath, openSqlite } from '../../../src/accounts/store/sqlite.ts';
import { openTokenSource } from '../../../src/accounts/store/token-source.ts';
import { newTokenSecret } from '../../../src/accounts/token.ts';
import { loadKeyedHash } from '../../../src/base/keyed-hash.ts';
import { openTokenTable, type TokenSource } from '../../../src/ingest/authenticate/token-table.ts';
import type { Signal, Tenant } from '../../../src/ingest/messages.ts';
import {
  HOUR_MS,
  makeOrganization,
  makeTokenOf,
  NOON_MS,
  temporaryDir,
  setLimits,
} from '../../accounts/accounts-fixture.ts';

const NEVER_MS = 3_600_000;
const MINUTE_MS = 60_000;
const LIMITS = { bytesPerSecond: 7, itemsPerSecond: 6, requestsAtOnce: 5, spoolBytes: 4, weight: 3 };

interface Options {
  /** Polling is off unless a test is about it. */
  readonly pollMs?: number;
  /** The source holds the thread so long each time. */
  readonly readTakesMs?: number;
  /** Leaves the database file missing. */
  readonly missing?: boolean;
}

/** A table over a real database; `reads` counts what the table asks of its source, `clock` is the table's. */
async function openTable(options: Options = {}) {
  const dataDir = temporaryDir();
  const accounts = options.missing === true ? undefined : await openAccounts({ dataDir });
  onTestFinished(async () => accounts?.close());
  const pepper = loadPepper(dataDir, { create: true });
  const reads = { changed: 0, changesSince: 0, hashes: 0 };
  const real = openTokenSource(dataDir);
  const source: TokenSource = {
    changed() {
      reads.changed++;
      for (const untilMs = performance.now() + (options.readTakesMs ?? 0); performance.now() < untilMs; );
      return real.changed();
    },
    changesSince(revision) {
      reads.changesSince++;
      return real.changesSince(revision);
    },
    close: () => real.close(),
  };
  const blake = await loadKeyedHash();
  const hash = (key: Uint8Array, message: Uint8Array) => {
    reads.hashes++;
    return blake(key, message);
  };
  const clock = { nowMs: NOON_MS };
  const lines: { level: string; fields: object; message: string }[] = [];
  const write = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const pollMs = options.pollMs ?? NEVER_MS;
  const open = async () => {
    const nowMs = () => clock.nowMs;
    const table = await openTokenTable({ source, pepper: pepper.key, hash, limits: LIMITS, nowMs, log, pollMs });
    onTestFinished(() => table.close());
    return table;
  };
  return { accounts: accounts as AccountsDatabase, dataDir, reads, clock, lines, open, pepper };
}

/** What the table answers: the organization, or the code of its refusal. */
async function answer(
  table: { tenant(authorization: string | undefined, signal: Signal): Tenant | Promise<Tenant> },
  token: string,
  signal: Signal = 'logs',
): Promise<string> {
  try {
    return (await table.tenant(`Bearer ${token}`, signal)).orgId;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** Waits for what polling must bring; the deadline is far beyond it, so that no timing is asserted. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    expect(performance.now(), 'waited 10 s').toBeLessThan(deadline);
    await sleep(20);
  }
}

async function strangerToken(): Promise<string> {
  const pepper = { id: '00000000', key: randomBytes(32) };
  return newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes }).token;
}

describe('a known token', () => {
  it('gives its tenant at once, the same object each time, without asking the source', async () => {
    const { accounts, dataDir, open, reads } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const { token, row } = await makeTokenOf(accounts, dataDir, org.id, { scopes: ['logs', 'traces'] });
    const table = await open();
    const before = { ...reads };
    const tenant = table.tenant(`Bearer ${token}`, 'logs');
    expect(tenant).toEqual({
      orgId: org.id,
      tokenId: row.id,
      placement: org.placement,
      retentionDays: { logs: 7, metrics: 30, traces: 3 },
      scopes: new Set(['logs', 'traces']),
      limits: LIMITS,
    });
    expect(table.tenant(`bearer%20${token}`, 'traces')).toBe(tenant);
    expect(reads).toEqual({ ...before, hashes: before.hashes + 2 });
  });

  it('has the limits of its organization before the defaults, the changed ones after the next refresh', async () => {
    const { accounts, dataDir, open } = await openTable({ pollMs: 10 });
    const org = await makeOrganization(accounts, 'Acme');
    await setLimits(accounts, org.id, { bytesPerSecond: 1_000, requestsAtOnce: 0, spoolMib: 2 });
    const { token } = await makeTokenOf(accounts, dataDir, org.id);
    const table = await open();
    const limits = async () => (await table.tenant(`Bearer ${token}`, 'logs')).limits;
    const own = { bytesPerSecond: 1_000, itemsPerSecond: 6, requestsAtOnce: 0, spoolBytes: 2_097_152, weight: 3 };
    expect(await limits()).toEqual(own);
    await setLimits(accounts, org.id, { bytesPerSecond: undefined, weight: 50 });
    await until(async () => (await limits()).weight === 50);
    expect(await limits()).toEqual({ ...own, bytesPerSecond: 7, weight: 50 });
  });

  it('of another scope, or of a disabled organization, is forbidden', async () => {
    const { accounts, dataDir, open } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const off = await makeOrganization(accounts, 'Off');
    await accounts.organizations.setDisabled(off.id, NOON_MS);
    const narrow = await makeTokenOf(accounts, dataDir, org.id, { scopes: ['metrics'] });
    const disabled = await makeTokenOf(accounts, dataDir, off.id);
    const table = await open();
    expect(await answer(table, narrow.token, 'logs')).toBe('forbidden');
    expect(await answer(table, narrow.token, 'metrics')).toBe(org.id);
    expect(await answer(table, disabled.token)).toBe('forbidden');
  });

  it('is refused while the volume of the day is used up, and taken again when the time has come', async () => {
    const { accounts, dataDir, open, clock } = await openTable({ pollMs: 10 });
    const org = await makeOrganization(accounts, 'Acme');
    const { token } = await makeTokenOf(accounts, dataDir, org.id);
    const table = await open();
    expect(await answer(table, token)).toBe(org.id);
    await accounts.organizations.setRefusedUntil(org.id, NOON_MS + HOUR_MS);
    await until(async () => (await answer(table, token)) === 'volume-used-up');
    const judged = async () => table.tenant(`Bearer ${token}`, 'logs');
    const refusal = { retryable: false, orgId: org.id };
    await expect(judged()).rejects.toMatchObject(refusal);
    clock.nowMs = NOON_MS + HOUR_MS;
    expect(await answer(table, token)).toBe(org.id);
  });

  it('ends when its expiry has come, by the clock alone', async () => {
    const { accounts, dataDir, open, clock } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const { token } = await makeTokenOf(accounts, dataDir, org.id, { expiresAtMs: NOON_MS + 1_000 });
    const table = await open();
    expect(await answer(table, token)).toBe(org.id);
    clock.nowMs += 1_000;
    expect(await answer(table, token)).toBe('unauthenticated');
  });

  it('with another secret is refused', async () => {
    const { accounts, dataDir, open } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const { row } = await makeTokenOf(accounts, dataDir, org.id);
    const forged = await forgedToken(row.id);
    const table = await open();
    expect(await answer(table, forged)).toBe('unauthenticated');
  });
});

/** A well-formed token with that id and a secret that nobody was given. */
async function forgedToken(id: string): Promise<string> {
  const { makeToken } = await import('../../../src/base/token-format.ts');
  const wanted = [...id].map((digit) => DIGITS.indexOf(digit));
  let given = 0;
  const random = (count: number) => Uint8Array.from({ length: count }, () => wanted[given++] ?? 7);
  return makeToken('ing', random).token;
}
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

describe('no token', () => {
  it.each([
    ['no header', undefined],
    ['another scheme', 'Basic dXNlcjpwYXNz'],
    ['a mistyped token', 'Bearer bw_ing_0123456789AB_CDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs000000'],
    ['a token of another kind', undefined],
  ])('is refused before anything is hashed or read: %s', async (what, header) => {
    const { open, reads } = await openTable();
    const table = await open();
    const before = { ...reads };
    const { makeToken } = await import('../../../src/base/token-format.ts');
    const value = what === 'a token of another kind' ? `Bearer ${makeToken('api', randomBytes).token}` : header;
    expect(() => table.tenant(value, 'logs')).toThrow(expect.objectContaining({ code: 'unauthenticated' }));
    expect(reads).toEqual(before);
  });
});

describe('an unknown token', () => {
  it('is refused after one look for it; many at once share few looks', async () => {
    const { open, reads } = await openTable();
    const table = await open();
    const strangers = await Promise.all(Array.from({ length: 200 }, strangerToken));
    reads.changed = 0;
    const answers = await Promise.all(strangers.map((token) => answer(table, token)));
    expect(new Set(answers)).toEqual(new Set(['unauthenticated']));
    expect(reads.changed).toBe(1);
    expect(reads.hashes).toBe(0);
  });

  it('works the moment it is made, without polling', async () => {
    const { accounts, dataDir, open } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const table = await open();
    for (let i = 0; i < 5; i++) {
      const { token } = await makeTokenOf(accounts, dataDir, org.id, { name: `token ${i}` });
      expect(await answer(table, token)).toBe(org.id);
    }
  });

  it('never shows in an error or in the log', async () => {
    const { open, lines } = await openTable();
    const table = await open();
    const token = await strangerToken();
    const wrong: unknown = await Promise.resolve(table.tenant(`Bearer ${token}`, 'logs')).catch(
      (error: unknown) => error,
    );
    expect(`${JSON.stringify(lines)}${(wrong as Error).message}${(wrong as Error).stack}`).not.toContain(
      token.slice(20),
    );
  });

  it('that waits when the table closes is told to come back', async () => {
    const { open } = await openTable();
    const table = await open();
    const waiting = answer(table, await strangerToken());
    table.close();
    expect(await waiting).toBe('shutting-down');
  });
});

describe('changes by another process', () => {
  it('are seen by polling: revoked, disabled, enabled, shortened by a rotation', async () => {
    const { accounts, dataDir, open, clock, reads } = await openTable({ pollMs: 10 });
    const org = await makeOrganization(accounts, 'Acme');
    const other = await makeOrganization(accounts, 'Other');
    const one = await makeTokenOf(accounts, dataDir, org.id, { name: 'one' });
    const two = await makeTokenOf(accounts, dataDir, org.id, { name: 'two' });
    const theirs = await makeTokenOf(accounts, dataDir, other.id);
    const table = await open();
    const is = (token: string, expected: string) => until(async () => (await answer(table, token)) === expected);

    await accounts.tokens.revoke(one.row.id, NOON_MS);
    await is(one.token, 'unauthenticated');
    expect(await answer(table, two.token)).toBe(org.id);

    await accounts.organizations.setDisabled(org.id, NOON_MS);
    await is(two.token, 'forbidden');
    expect(await answer(table, theirs.token)).toBe(other.id);
    await accounts.organizations.setDisabled(org.id, undefined);
    await is(two.token, org.id);

    const { stored } = await secretFor(dataDir);
    const read = reads.changesSince;
    await accounts.tokens.rotate(two.row.id, stored, { overlapMs: HOUR_MS, nowMs: NOON_MS });
    await until(async () => reads.changesSince > read);
    expect(await answer(table, two.token)).toBe(org.id);
    clock.nowMs += HOUR_MS;
    expect(await answer(table, two.token)).toBe('unauthenticated');
  });

  it('are seen when the other is a process of its own', async () => {
    const { accounts, dataDir, open } = await openTable({ pollMs: 10 });
    const org = await makeOrganization(accounts, 'Acme');
    const { token, row } = await makeTokenOf(accounts, dataDir, org.id);
    const table = await open();
    expect(await answer(table, token)).toBe(org.id);
    const database = new URL('../../../src/accounts/store/accounts-database.ts', import.meta.url).href;
    const script = `const { openAccounts } = await import(${JSON.stringify(database)});
      const accounts = await openAccounts({ dataDir: ${JSON.stringify(dataDir)} });
      await accounts.tokens.revoke(${JSON.stringify(row.id)}, Date.now());
      await accounts.close();`;
    execFileSync(process.execPath, ['--input-type=module', '-e', script]);
    await until(async () => (await answer(table, token)) === 'unauthenticated');
  });
});

async function secretFor(dataDir: string) {
  const pepper = loadPepper(dataDir);
  return newTokenSecret('ing', { pepper, hash: await loadKeyedHash(), random: randomBytes });
}

describe('accounts that cannot be read', () => {
  /** Moves the database with its WAL, which holds whole pages, out of the way; what is returned brings it back. */
  function moveAway(path: string): () => void {
    const files = ['', '-wal', '-shm'].map((suffix) => path + suffix).filter((file) => existsSync(file));
    for (const file of files) renameSync(file, `${file}.away`);
    return () => {
      for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { recursive: true, force: true });
      for (const file of files) renameSync(`${file}.away`, file);
    };
  }

  const damages: [string, (path: string) => void][] = [
    ['removed', () => {}],
    ['replaced by what is no database', (path) => writeFileSync(path, 'nothing that SQLite can read '.repeat(200))],
    ['replaced by an empty file', (path) => writeFileSync(path, '')],
    ['replaced by a directory', (path) => mkdirSync(path)],
  ];

  it.each(damages)('%s: known tokens go on for 15 minutes, others are told to come back', async (_what, damage) => {
    const { accounts, dataDir, open, clock, lines, reads } = await openTable({ pollMs: 10 });
    const org = await makeOrganization(accounts, 'Acme');
    const { token } = await makeTokenOf(accounts, dataDir, org.id);
    const table = await open();
    await accounts.close();
    const repair = moveAway(accountsPath(dataDir));
    damage(accountsPath(dataDir));
    expect(await answer(table, await strangerToken())).toBe('accounts-unavailable');
    expect(await answer(table, token)).toBe(org.id);
    clock.nowMs += 15 * MINUTE_MS;
    expect(await answer(table, token)).toBe(org.id);
    clock.nowMs += 1;
    expect(await answer(table, token)).toBe('accounts-unavailable');
    const polled = reads.changed;
    await until(async () => reads.changed > polled + 3);
    expect(lines.filter((line) => line.level === 'error')).toHaveLength(1);
    repair();
    await until(async () => (await answer(table, token)) === org.id);
    expect(await answer(table, await strangerToken())).toBe('unauthenticated');
  });

  it('locked from the start: nobody is refused for good, and all is well when the lock is gone', async () => {
    const { accounts, dataDir, open } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const { token } = await makeTokenOf(accounts, dataDir, org.id);
    await accounts.close();
    const holder = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 20 });
    holder.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE revision_counter SET revision = revision');
    const table = await open();
    expect(await answer(table, token)).toBe('accounts-unavailable');
    expect(await answer(table, await strangerToken())).toBe('accounts-unavailable');
    holder.exec('COMMIT');
    holder.close();
    expect(await answer(table, token)).toBe(org.id);
    expect(await answer(table, await strangerToken())).toBe('unauthenticated');
  });

  it('missing from the start: the refusal is retryable and says when', async () => {
    const { open, lines } = await openTable({ missing: true });
    const table = await open();
    const asked = Promise.resolve(table.tenant(`Bearer ${await strangerToken()}`, 'logs'));
    await expect(asked).rejects.toMatchObject({ code: 'accounts-unavailable', retryable: true, retryAfterMs: 1_000 });
    expect(lines.map((line) => line.level)).toEqual(['error']);
  });

  it('slow: reading takes a small part of the time, whatever polling and strangers ask for', async () => {
    const { accounts, dataDir, open, reads } = await openTable({ pollMs: 1, readTakesMs: 40 });
    const org = await makeOrganization(accounts, 'Acme');
    const { token } = await makeTokenOf(accounts, dataDir, org.id);
    const table = await open();
    const before = reads.changed;
    const startedMs = performance.now();
    while (reads.changed < before + 3) {
      expect(await answer(table, token)).toBe(org.id);
      await sleep(1);
    }
    // After the one at the start, which nobody has to rest from: three reads of 40 ms, two of them after a rest of ten times as
    // long; how long it takes beyond that is the machine's business.
    expect(performance.now() - startedMs).toBeGreaterThan(2 * 400);
  });

  it('put back from a backup: what the backup does not know is gone, and what it knows is back', async () => {
    const { accounts, dataDir, open } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const kept = await makeTokenOf(accounts, dataDir, org.id, { name: 'kept' });
    const backup = `${dataDir}/backup.sqlite`;
    const copier = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 20 });
    copier.exec(`VACUUM INTO '${backup}'`);
    copier.close();
    const lost = await makeTokenOf(accounts, dataDir, org.id, { name: 'lost' });
    const table = await open();
    expect(await answer(table, lost.token)).toBe(org.id);
    await accounts.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(accountsPath(dataDir) + suffix, { force: true });
    renameSync(backup, accountsPath(dataDir));
    await (await openAccounts({ dataDir })).close(); // the service starts again, and turns WAL on
    // Whoever is unknown makes the table look, and it sees that the file is another.
    expect(await answer(table, await strangerToken())).toBe('unauthenticated');
    expect(await answer(table, lost.token)).toBe('unauthenticated');
    expect(await answer(table, kept.token)).toBe(org.id);
  });
});

describe('many tokens', () => {
  it('10,000 are all known after the start, the revoked among them not', async () => {
    const { accounts, dataDir, open, reads, pepper } = await openTable();
    const org = await makeOrganization(accounts, 'Acme');
    const deps = { pepper, hash: await loadKeyedHash(), random: randomBytes };
    const made = Array.from({ length: 10_000 }, () => newTokenSecret('ing', deps));
    const database = openSqlite(accountsPath(dataDir), { readOnly: false, busyMs: 100 });
    const insert = database.prepare('INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, NULL, 1)');
    database.exec('BEGIN');
    for (const [index, { stored }] of made.entries()) {
      const revokedAt = index % 10 === 0 ? NOON_MS : null;
      insert.run(stored.id, stored.digest, stored.pepperId, org.id, `token ${index}`, 'logs', NOON_MS, revokedAt);
    }
    database.exec('COMMIT');
    database.close();
    const table = await open();
    expect(reads.changesSince).toBe(1);
    for (const [index, { token }] of made.entries()) {
      if (index % 10 !== 0) expect(table.tenant(`Bearer ${token}`, 'logs')).toMatchObject({ orgId: org.id });
    }
    expect(await answer(table, made[0]?.token ?? '')).toBe('unauthenticated');
    expect(reads.changesSince).toBe(1);
  });
});
