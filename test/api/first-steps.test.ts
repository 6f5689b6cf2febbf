/** The curl lines of the README's "People, organizations and tokens", run as they stand, against the whole service. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { startService } from '../support/service.ts';

const README = join(import.meta.dirname, '../../README.md');

it('take a new user from sign-up to a row in ClickHouse to a rotated token', async () => {
  const [, script = ''] = /<!-- first steps[^>]*-->\s*```sh\n([\s\S]*?)```/.exec(readFileSync(README, 'utf8')) ?? [];
  expect(script).toContain('/rotation');
  const service = await startService();
  const dir = mkdtempSync(join(tmpdir(), 'backwork-first-steps-'));
  try {
    const lines = script
      .replaceAll('127.0.0.1:8080', `127.0.0.1:${service.ports.api}`)
      .replaceAll('127.0.0.1:4318', `127.0.0.1:${service.ports.http}`);
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', lines], { cwd: dir });
    const answers = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(answers).toMatchObject([
      { outcome: 'ready' },
      { email: 'ada@example.com', emailVerified: true },
      {},
      { name: 'shop', live: true, token: expect.stringMatching(/^bw_ing_/) },
    ]);
    const rows = await service.queryUntil<{ n: string }>(
      "SELECT toString(count()) AS n FROM otel_logs WHERE Body = 'first steps'",
      ([row]) => row?.n === '1',
    );
    expect(rows).toEqual([{ n: '1' }]);
    await revokedAtOnce(service.ports, answers[3]?.['id'] as string, answers[3]?.['token'] as string, dir);
    expect(service.stderr).not.toMatch(/ada@example|seven green|bw_(ing|api)_/);
  } finally {
    await service.stopAndRemove();
    rmSync(dir, { recursive: true, force: true });
  }
}, 60_000);

/** The service takes the token that the script made, until it is revoked; then it says 401 within a second. */
async function revokedAtOnce(ports: { api: number; http: number }, id: string, token: string, dir: string) {
  const send = async () => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(`http://127.0.0.1:${ports.http}/v1/logs`, { method: 'POST', headers, body: '{}' });
    return answer.status;
  };
  expect(await send()).toBe(200);
  const api = `http://127.0.0.1:${ports.api}`;
  const cookies = readFileSync(join(dir, 'cookies.txt'), 'utf8');
  const [, cookie] = /__Host-bw_session\t(\S+)/.exec(cookies) ?? [];
  const headers = { cookie: `__Host-bw_session=${cookie}`, origin: api };
  const revoked = await fetch(`${api}/api/v1/organizations/default/tokens/${id}`, { method: 'DELETE', headers });
  expect(await revoked.text().then((text) => `${revoked.status} ${text}`)).toMatch(/^200/);
  const deadline = performance.now() + 5_000;
  while ((await send()) !== 401 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await send()).toBe(401);
}
