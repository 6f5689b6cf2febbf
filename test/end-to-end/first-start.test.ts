import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand, startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_LOG_LEVEL: 'debug' } });
});
afterAll(() => service.stopAndRemove());

describe('a first start', () => {
  it('prints endpoints, the token once, and a curl line that answers 200 as pasted', async () => {
    expect(service.stdout.match(/bw_ing_\w+/g)).toHaveLength(2); // alone, and in the curl line
    const lines = service.stdout.split('\n');
    const start = lines.findIndex((line) => line.startsWith('curl '));
    const curl = lines.slice(start, start + 3).join('\n');
    const answer = await shell(curl);
    expect(answer).toContain('200 OK');
    expect(answer.trimEnd().endsWith('{}')).toBe(true);
    const shown = await service.queryUntil<{ Body: string }>('SELECT Body FROM otel_logs', (rows) => rows.length === 1);
    expect(shown).toEqual([{ Body: 'Hello from curl' }]);
    const sql = await service.command('sql', 'SELECT count() FROM otel_logs');
    expect(sql).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('keeps what it made for itself from other users of the machine, and the token from every file', () => {
    for (const path of ['.', 'keys', 'spool', 'engine'])
      expect(statSync(join(service.dataDir, path)).mode & 0o077).toBe(0);
    for (const path of ['engine.json', 'keys/pepper.key'])
      expect(statSync(join(service.dataDir, path)).mode & 0o077).toBe(0);
    const files = readdirSync(service.dataDir, { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    );
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      const bytes = readFileSync(join(file.parentPath, file.name));
      expect(bytes.includes(service.token), file.name).toBe(false);
    }
    expect(service.stderr).not.toContain(service.token);
  });

  it('answers liveness and readiness on the API port', async () => {
    for (const path of ['healthz', 'readyz']) {
      expect((await fetch(`http://127.0.0.1:${service.ports.api}/${path}`)).status).toBe(200);
    }
  });

  it('refuses a second start on the same directory with one line', async () => {
    const second = await runCommand({ ...process.env, BACKWORK_DATA_DIR: service.dataDir }, ['serve']);
    expect(second.code).toBe(1);
    expect(second.stderr.trim().split('\n')).toHaveLength(1);
    expect(second.stderr).toContain('another backwork runs on');
  }, 30_000);
});

function shell(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('bash', ['-c', command], (error, stdout) => (error === null ? resolve(stdout) : reject(error)));
  });
}
