import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  createDataDirectory,
  engineLogin,
  readEngineLogin,
  readServiceState,
  removeServiceState,
  storeTarget,
  writeServiceState,
} from '../../src/commands/data-directory.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-data-'));
});
afterEach(() => {
  chmodSync(dir, 0o700);
  rmSync(dir, { recursive: true });
});

test('the directory is made for its owner only, with its parents', () => {
  const path = createDataDirectory(join(dir, 'a', 'b'));
  expect(statSync(path).mode & 0o777).toBe(0o700);
});

test('a path that cannot be a directory is refused in one line that names the setting', () => {
  writeFileSync(join(dir, 'file'), '');
  expect(() => createDataDirectory(join(dir, 'file'))).toThrow(/^BACKWORK_DATA_DIR: cannot write to .*file.*$/);
});

test('a read-only file system is refused', () => {
  // /sys refuses root too, unlike a directory without write permission.
  expect(() => createDataDirectory('/sys/kernel')).toThrow(/^BACKWORK_DATA_DIR: cannot write to/);
});

test('user and password of the engine are made once, for the owner only', () => {
  expect(readEngineLogin(dir)).toBeUndefined();
  const login = engineLogin(dir);
  expect(login.password).toHaveLength(32);
  expect(engineLogin(dir)).toEqual(login);
  expect(readEngineLogin(dir)).toEqual(login);
  expect(statSync(join(dir, 'engine.json')).mode & 0o777).toBe(0o600);
});

test('a damaged engine.json is said without its text', () => {
  for (const text of ['{"user":"planted-secret"', '{"user":"planted-secret"}', '[]', '']) {
    writeFileSync(join(dir, 'engine.json'), text);
    expect(() => readEngineLogin(dir)).toThrow(expect.objectContaining({ code: 'corrupt' }));
    expect(() => readEngineLogin(dir)).not.toThrow(/planted-secret/);
  }
});

test('what the service listens on is read back until it is removed', () => {
  expect(readServiceState(dir)).toBeUndefined();
  const state = { pid: 7, ports: { grpc: 1, http: 2, api: 3, engine: 4 } };
  writeServiceState(dir, state);
  expect(readServiceState(dir)).toEqual(state);
  expect(readFileSync(join(dir, 'service.json'), 'utf8')).toContain('"pid":7');
  removeServiceState(dir);
  removeServiceState(dir);
  expect(readServiceState(dir)).toBeUndefined();
});

test('the store is the embedded engine, or the server of the URL with its user, password and database', () => {
  const login = { user: 'backwork', password: 'p' };
  expect(storeTarget(loadSettings({}), login, 8123)).toEqual({
    url: 'http://127.0.0.1:8123',
    user: 'backwork',
    password: 'p',
    database: 'default',
  });
  const server = loadSettings({ BACKWORK_CLICKHOUSE_URL: 'https://me:a%40b@db.example:8443/otel' });
  expect(storeTarget(server, undefined, 0)).toEqual({
    url: 'https://db.example:8443',
    user: 'me',
    password: 'a@b',
    database: 'otel',
  });
  const bare = loadSettings({ BACKWORK_CLICKHOUSE_URL: 'http://db.example:8123' });
  expect(storeTarget(bare, undefined, 0)).toMatchObject({ user: 'default', password: '', database: 'default' });
});
