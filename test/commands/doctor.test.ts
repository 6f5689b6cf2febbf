import { chmodSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bootstrap } from '../../src/accounts/bootstrap.ts';
import { loadPepper } from '../../src/accounts/key-file.ts';
import { openAccounts } from '../../src/accounts/store/accounts-database.ts';
import { type LockFile, takeLock } from '../../src/base/lock-file.ts';
import { makeToken } from '../../src/base/token-format.ts';
import { run } from '../../src/commands/doctor.ts';
import { engineLogin, lockPath, writeServiceState } from '../../src/commands/data-directory.ts';
import { checkCertificate } from '../../src/commands/doctor-machine.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { certificatePath, keyPath } from '../support/certificates.ts';
import { Workplace } from './run-main.ts';

let place: Workplace;
let server: Server | undefined;
let lock: LockFile | undefined;
beforeEach(() => {
  place = new Workplace();
});
afterEach(async () => {
  if (server !== undefined) await new Promise((resolve) => server?.close(resolve));
  server = undefined;
  lock?.release();
  lock = undefined;
  await place.remove();
});

async function doctor(args: string[] = [], env: Record<string, string> = {}, input = '') {
  let output = '';
  const settingsEnv = { ...place.env(env) };
  delete settingsEnv['BACKWORK_TOKEN'];
  const code = await run(args, {
    get settings() {
      return loadSettings(settingsEnv);
    },
    stdout: (text) => {
      output += text;
    },
    stderr: () => undefined,
    env: place.env(env),
    input: Readable.from([input]),
  });
  return { code, output, lines: output.split('\n').filter((line) => /^(ok|warn|problem) /.test(line)) };
}

/** The data directory as the first start leaves it; its first token. */
async function firstStart(): Promise<string> {
  mkdirSync(place.dataDir, { mode: 0o700 });
  engineLogin(place.dataDir);
  const accounts = await openAccounts({ dataDir: place.dataDir });
  const { token } = await bootstrap(accounts, loadSettings({}), loadPepper(place.dataDir, { create: true }));
  await accounts.close();
  return token ?? '';
}

async function busyPort(): Promise<number> {
  const listening = createServer();
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return (listening.address() as { port: number }).port;
}

test('before the first start nothing is wrong, and nothing is made', async () => {
  const { code, output, lines } = await doctor();
  expect(code).toBe(0);
  expect(lines.filter((line) => !line.startsWith('ok '))).toEqual([]);
  expect(output).toContain('does not exist yet; the first start makes it');
  expect(output).toContain('no problem found');
  expect(readdirSync(place.dir)).toEqual([]);
});

test('in an empty directory nothing is wrong, and nothing is made', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  expect((await doctor()).code).toBe(0);
  expect(readdirSync(place.dataDir)).toEqual([]);
});

test('after a start accounts and key are found to fit', async () => {
  await firstStart();
  const { code, lines } = await doctor();
  expect(code).toBe(0);
  expect(lines).toContainEqual(expect.stringMatching(/^ok +accounts +1 organization$/));
  expect(lines).toContainEqual(expect.stringMatching(/^ok +key file +key [0-9a-f]{8}$/));
});

test('each wrong setting is a problem, and the checks that need settings are left out', async () => {
  const { code, lines } = await doctor([], { BACKWORK_WORKERS: 'x', BACKWORK_NOPE: '1' });
  expect(code).toBe(1);
  expect(lines.slice(1)).toEqual([
    expect.stringMatching(/^problem +settings +BACKWORK_WORKERS=x: /),
    expect.stringMatching(/^problem +settings +BACKWORK_NOPE: unknown setting/),
  ]);
});

test('files that others may read are problems with the command that mends them', async () => {
  await firstStart();
  chmodSync(place.dataDir, 0o755);
  chmodSync(join(place.dataDir, 'engine.json'), 0o644);
  chmodSync(join(place.dataDir, 'keys', 'pepper.key'), 0o640);
  const { code, output } = await doctor();
  expect(code).toBe(1);
  expect(output).toMatch(/^warn +data directory .* mode 0755: .* -> chmod 700 /m);
  expect(output).toMatch(/^problem +file modes .*engine\.json has mode 0644: .* -> chmod 600 .*engine\.json$/m);
  expect(output).toMatch(/^problem +file modes .*pepper\.key has mode 0640: .* -> chmod 600 .*pepper\.key$/m);
});

test('a path that is no directory is the one problem that is said', async () => {
  writeFileSync(place.dataDir, '');
  const { code, lines } = await doctor();
  expect(code).toBe(1);
  expect(lines.at(-1)).toMatch(/^problem +data directory .* is not a directory -> set BACKWORK_DATA_DIR/);
});

test('a port that another process has is a problem that names setting and port', async () => {
  const port = await busyPort();
  const { code, lines } = await doctor([], { BACKWORK_OTLP_HTTP_PORT: String(port) });
  expect(code).toBe(1);
  expect(lines).toContainEqual(
    expect.stringMatching(new RegExp(`^problem +port ${port} +BACKWORK_OTLP_HTTP_PORT, .*in use by another process`)),
  );
});

test('the ports of the running service are fine when used, and a problem when nothing listens', async () => {
  await firstStart();
  const grpc = await busyPort();
  lock = await takeLock(lockPath(place.dataDir), 0);
  const env = { BACKWORK_CLICKHOUSE_URL: 'http://u:planted-secret@127.0.0.1:9' };
  writeServiceState(place.dataDir, { pid: 7, ports: { grpc, http: 9, api: 9 } });
  const { code, lines, output } = await doctor([], env);
  expect(code).toBe(1);
  expect(lines).toContainEqual(expect.stringMatching(/^ok +service +runs with process id 7$/));
  expect(lines).toContainEqual(expect.stringMatching(new RegExp(`^ok +port ${grpc} .*used by the service$`)));
  expect(lines).toContainEqual(expect.stringMatching(/^problem +port 9 +BACKWORK_OTLP_HTTP_PORT.*nothing listens/));
  expect(lines).toContainEqual(expect.stringMatching(/^problem +readiness +\/readyz does not answer/));
  expect(lines).toContainEqual(expect.stringMatching(/^problem +ClickHouse +http:\/\/127\.0\.0\.1:9 does not answer/));
  expect(output).not.toContain('planted-secret');
});

test('a disk with less room than ingest leaves alone is a problem', async () => {
  const { code, lines } = await doctor([], { BACKWORK_SPOOL_RESERVE_MIB: '1048576' });
  expect(code).toBe(1);
  expect(lines).toContainEqual(expect.stringMatching(/^problem +disk .*1048576 MiB alone: it refuses now -> free/));
});

test('a damaged accounts database is a problem, and the other checks go on', async () => {
  await firstStart();
  for (const name of ['-wal', '-shm']) rmSync(join(place.dataDir, `accounts.sqlite${name}`), { force: true });
  writeFileSync(join(place.dataDir, 'accounts.sqlite'), 'x'.repeat(8_192));
  const { code, lines } = await doctor();
  expect(code).toBe(1);
  expect(lines).toContainEqual(expect.stringMatching(/^problem +accounts +corrupt: /));
  expect(lines.at(-1)).toMatch(/^ok +spools/);
});

test('a key that live tokens were not made with, and a missing one, are problems', async () => {
  await firstStart();
  rmSync(join(place.dataDir, 'keys'), { recursive: true });
  expect((await doctor()).output).toMatch(/^problem +key file +not-found: /m);
  loadPepper(place.dataDir, { create: true });
  expect((await doctor()).output).toMatch(
    /^problem +key file +it is key [0-9a-f]{8}, and live tokens need [0-9a-f]{8} -> restore/m,
  );
});

test('sealed segments that wait for long are a warning with their number and age', async () => {
  await firstStart();
  const spool = join(place.dataDir, 'spool', '0');
  mkdirSync(spool, { recursive: true });
  for (const name of ['1.footer', '1.segment', '2.footer']) writeFileSync(join(spool, name), 'x'.repeat(1024 * 1024));
  expect((await doctor()).output).toMatch(/^ok +spools +2 sealed segments wait, 3 MiB in all$/m);
  const old = new Date(Date.now() - 3_600_000);
  utimesSync(join(spool, '1.footer'), old, old);
  const { code, output } = await doctor();
  expect(code).toBe(0);
  expect(output).toMatch(/^warn +spools +2 sealed segments wait, 3 MiB in all, the oldest for 360\d s -> /m);
});

test('a token is judged as ingest would, by its organization, and never printed', async () => {
  const token = await firstStart();
  const secret = token.slice(20);
  const good = await doctor(['--token'], {}, `${token}\n`);
  expect(good.code).toBe(0);
  expect(good.output).toMatch(
    /^ok +token +\w{12} of organization default \(org_\w{16}\): may send logs, metrics, traces$/m,
  );
  const mistyped = await doctor(['--token'], {}, `${token.slice(0, -1)}!`);
  expect(mistyped.output).toMatch(/^problem +token +not a token of backwork, or mistyped: 69 characters/m);
  const accounts = await openAccounts({ dataDir: place.dataDir });
  await accounts.tokens.revoke(token.slice(7, 19), Date.now());
  await accounts.close();
  const revoked = await doctor(['--token'], { BACKWORK_TOKEN: token });
  expect(revoked.code).toBe(1);
  expect(revoked.output).toMatch(/^problem +token +\w{12} of organization default .*: revoked on 20/m);
  for (const { output } of [good, mistyped, revoked]) expect(output).not.toContain(secret.slice(0, 8));
});

test('a token with the id of one of ours and another secret is unknown', async () => {
  const id = (await firstStart()).slice(7, 19);
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  const forIdThenSecret = (bytes: number) =>
    bytes === id.length ? Buffer.from([...id].map((digit) => digits.indexOf(digit))) : Buffer.alloc(bytes, 1);
  const forged = makeToken('ing', forIdThenSecret);
  expect(forged.id).toBe(id);
  const { code, output } = await doctor(['--token'], { BACKWORK_TOKEN: forged.token });
  expect(code).toBe(1);
  expect(output).toMatch(new RegExp(`^problem +token +${id}: unknown here`, 'm'));
});

test('a token of another installation is unknown here', async () => {
  const token = await firstStart();
  await place.remove();
  place = new Workplace();
  await firstStart();
  const { code, output } = await doctor(['--token'], { BACKWORK_TOKEN: token });
  expect(code).toBe(1);
  expect(output).toMatch(/^problem +token +\w{12}: unknown here -> make another: npm run -s backwork -- token create/m);
});

test('the certificate of the OTLP ports is looked at: until when, and whether it can be served', async () => {
  await firstStart();
  const good = {
    BACKWORK_OTLP_TLS_CERT_FILE: certificatePath('server-1'),
    BACKWORK_OTLP_TLS_KEY_FILE: keyPath('server-1'),
  };
  expect((await doctor()).output).not.toContain('certificate');
  expect((await doctor([], good)).output).toMatch(
    /^ok +certificate +\S+server-1\.crt, until 2120-01-01 \(\d+ days\)$/m,
  );
  const bad = await doctor([], { ...good, BACKWORK_OTLP_TLS_KEY_FILE: keyPath('server-2') });
  expect(bad.code).toBe(1);
  expect(bad.output).toMatch(
    /^problem +certificate +TLS private key file \S+: is not the key of .* -> the service does/m,
  );
  const settings = loadSettings(good);
  const levels = [14, 13, -1].map(
    (days) => checkCertificate(settings, Date.UTC(2120, 0, 1) - days * 86_400_000)[0]?.level,
  );
  expect(levels).toEqual(['ok', 'warn', 'problem']);
});
