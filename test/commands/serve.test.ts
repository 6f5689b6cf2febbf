import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeLock } from '../../src/base/lock-file.ts';
import { lockPath, readServiceState } from '../../src/commands/data-directory.ts';
import { Workplace } from './run-main.ts';

let place: Workplace;
let server: Server | undefined;
beforeEach(() => {
  place = new Workplace();
});
afterEach(async () => {
  if (server !== undefined) await new Promise((resolve) => server?.close(resolve));
  server = undefined;
  await place.remove();
});

async function busyPort(): Promise<string> {
  const listening = createServer();
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return String((listening.address() as { port: number }).port);
}

function tokenIn(text: string): string | undefined {
  return /\bbw_ing_\w{62}\b/.exec(text)?.[0];
}

test('the first start says where everything is, shows the token once with a line that works, and stops in order', async () => {
  // On all addresses, so that the warning of plain text is due.
  const first = place.start(['serve'], { BACKWORK_OTLP_HOST: '0.0.0.0' });
  await first.printed('backwork is ready');
  const token = tokenIn(first.stdout()) ?? '';
  expect(first.stdout().trimEnd().split('\n').at(-1)).toMatch(/^backwork is ready after \d+\.\d s/);
  const ports = readServiceState(place.dataDir)?.ports;
  expect(first.stdout()).toContain(`OTLP/gRPC   http://127.0.0.1:${ports?.grpc}`);
  expect(first.stdout()).toContain(`ClickHouse  http://127.0.0.1:${ports?.engine}`);

  const [curl] = /^curl (.*\\\n)*.*$/m.exec(first.stdout()) ?? [];
  const answer = await promisify(execFile)('bash', ['-c', curl ?? 'false']);
  expect(answer.stdout).toMatch(/^HTTP\/1\.1 200 /);
  expect((await fetch(`http://127.0.0.1:${ports?.api}/readyz`)).status).toBe(200);
  const query = ['sql', 'SELECT ServiceName, Body FROM otel_logs'];
  await expect.poll(async () => (await place.run(query)).stdout, { timeout: 15_000 }).toBe('curl\tHello from curl\n');

  first.process.kill('SIGTERM');
  const ended = await first.ended;
  expect(ended.code).toBe(0);
  expect(ended.stderr).toMatch(/"level":"warn".*plain text/);
  expect(ended.stderr).not.toContain(token.slice(-49));
  expect(ended.stderr).not.toMatch(/"level":"error"/);
  expect(readServiceState(place.dataDir)).toBeUndefined();

  const second = place.start(['serve']);
  await second.printed('backwork is ready');
  expect(tokenIn(second.stdout())).toBeUndefined();
  expect(second.stdout()).toContain('token create --org default');
  second.process.kill('SIGINT');
  expect((await second.ended).code).toBe(0);

  for (const name of ['', 'engine.json', 'keys/pepper.key', 'accounts.sqlite', 'cache', 'service.lock']) {
    expect(statSync(join(place.dataDir, name)).mode & 0o077, name).toBe(0);
  }
}, 60_000);

test('a second start on the same directory is refused in one line that names it', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const lock = await takeLock(lockPath(place.dataDir), 0);
  const ended = await place.run(['serve']);
  lock.release();
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(new RegExp(`^backwork: another backwork runs on ${place.dataDir} .*\\n$`));
});

test.each(['BACKWORK_OTLP_GRPC_PORT', 'BACKWORK_OTLP_HTTP_PORT', 'BACKWORK_ENGINE_PORT'])(
  'a busy port of %s is refused in one line, before anything is made',
  async (setting) => {
    const port = await busyPort();
    const ended = await place.run(['serve'], { [setting]: port });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(new RegExp(`^backwork: ${setting}: port ${port} on 127\\.0\\.0\\.1 is in use.*\\n$`));
    expect(readdirSync(place.dataDir)).not.toContain('accounts.sqlite');
  },
);

test('a first start that fails after its token was made shows the token all the same', async () => {
  const port = await busyPort();
  const ended = await place.run(['serve'], { BACKWORK_API_PORT: port });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toContain(`backwork: BACKWORK_API_PORT: port ${port} on 127.0.0.1 is in use`);
  expect(tokenIn(ended.stdout)).toBeDefined();
});

test('a data directory that is a file is refused in one line', async () => {
  writeFileSync(place.dataDir, '');
  const ended = await place.run(['serve']);
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(/^backwork: BACKWORK_DATA_DIR: cannot write to .*\n$/);
});

test('a newer data format is refused in one line', async () => {
  mkdirSync(join(place.dataDir, 'spool', '0'), { recursive: true, mode: 0o700 });
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(join(place.dataDir, 'accounts.sqlite'));
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE schema_version (version INTEGER)');
  database.exec('INSERT INTO schema_version VALUES (999)');
  database.close();
  const ended = await place.run(['serve']);
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(/^backwork: .*accounts\.sqlite has format 999, this program knows .*\n$/);
});

test('plain text on an address that is not loopback is refused when TLS is required', async () => {
  const ended = await place.run(['serve'], { BACKWORK_OTLP_HOST: '0.0.0.0', BACKWORK_REQUIRE_TLS: '1' });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toContain('BACKWORK_OTLP_HOST=0.0.0.0');
});

test('an engine that is killed is started again, and the service goes on', async () => {
  const running = place.start(['serve']);
  await running.printed('backwork is ready');
  const { stdout } = await promisify(execFile)('pgrep', ['-P', String(running.process.pid), '-f', 'engine-process']);
  process.kill(Number(stdout.trim()), 'SIGKILL');
  expect(await place.run(['sql', 'SELECT 42'])).toMatchObject({ code: 0, stdout: '42\n' });
  running.process.kill('SIGTERM');
  expect((await running.ended).code).toBe(0);
}, 60_000);
