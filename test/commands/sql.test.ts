import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isLocked, takeLock } from '../../src/base/lock-file.ts';
import { createLog } from '../../src/base/log.ts';
import { CHILD_FILES, engineChild } from '../../src/commands/children.ts';
import { engineLogin, lockPath, writeServiceState } from '../../src/commands/data-directory.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { superviseChild } from '../../src/supervisor.ts';
import { Workplace } from './run-main.ts';

let place: Workplace;
beforeEach(() => {
  place = new Workplace();
});
afterEach(() => place.remove());

test('without a service the engine is started for the query, and what it stored is there the next time', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const created = await place.run(['sql', 'CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a']);
  expect(created).toMatchObject({ code: 0, stdout: '', stderr: '' });
  await place.run(['sql', 'INSERT INTO t VALUES (7), (8)']);
  expect(await place.run(['sql', 'SELECT a, a * 2 FROM t ORDER BY a'])).toMatchObject({
    code: 0,
    stdout: '7\t14\n8\t16\n',
    stderr: '',
  });
  expect(isLocked(lockPath(place.dataDir))).toBe(false);
});

test('the bytes of any format are those of the engine', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const native = await place.run(['sql', 'SELECT toUInt8(number + 254) AS n FROM numbers(2)', '--format', 'Native']);
  expect(native.stdoutBytes).toEqual(Buffer.from('\x01\x02\x01n\x05UInt8\xfe\xff', 'latin1'));
  const named = await place.run(['sql', "SELECT 'é' AS s FORMAT JSONEachRow"]);
  expect(named.stdout).toBe('{"s":"é"}\n');
});

test('what ClickHouse refuses is one line on stderr, exit code 1', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const ended = await place.run(['sql', 'SELECT nothing FROM nowhere']);
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(/^backwork: .*UNKNOWN_TABLE.*\n$/);
});

test('a directory that does not exist is not made', async () => {
  const ended = await place.run(['sql', 'SELECT 1']);
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/^backwork: there is no data directory .*BACKWORK_DATA_DIR\n$/);
  expect(existsSync(place.dataDir)).toBe(false);
});

test('a format that is no name is refused, because it becomes part of the query', async () => {
  const ended = await place.run(['sql', 'SELECT 1', '--format', 'TSV; DROP TABLE t']);
  expect(ended.code).toBe(2);
});

test('a reader of the pipe that has seen enough is no error', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const running = place.start(['sql', 'SELECT number FROM numbers(50000000)']);
  await once(running.process.stdout ?? running.process, 'data');
  running.process.stdout?.destroy();
  expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
});

test('with a service that is still starting, the query waits for its engine and uses that one', async () => {
  mkdirSync(place.dataDir, { mode: 0o700 });
  const lock = await takeLock(lockPath(place.dataDir), 0);
  const asked = place.run(['sql', 'SELECT 1 + 1']);
  const login = engineLogin(place.dataDir);
  expect(login.user).toBe('backwork');
  const settings = loadSettings({ BACKWORK_ENGINE_MEMORY_MIB: '512' });
  const context = { settings, dataDir: place.dataDir, env: place.env(), files: CHILD_FILES };
  const engine = superviseChild(
    engineChild(context, () => 0),
    { log: createLog('test', 'error'), random: Math.random },
  );
  try {
    const port = (await engine.ready)['engine'] ?? 0;
    writeServiceState(place.dataDir, { pid: process.pid, ports: { grpc: 1, http: 2, api: 3, engine: port } });
    expect(await asked).toMatchObject({ code: 0, stdout: '2\n', stderr: '' });
  } finally {
    await engine.stop(5_000);
    lock.release();
  }
});
