import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { pepperPath } from '../../src/accounts/key-file.ts';
import { parseToken } from '../../src/base/token-format.ts';
import { run as runOrg } from '../../src/commands/org.ts';
import { run as runToken } from '../../src/commands/token.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { temporaryDir } from '../accounts/accounts-fixture.ts';

async function print(run: typeof runToken, dataDir: string, args: readonly string[]) {
  const printed = { stdout: '', stderr: '' };
  const env = { BACKWORK_DATA_DIR: dataDir };
  const code = await run(args, {
    settings: loadSettings(env, { cores: 2, memoryMib: 4_096 }),
    stdout: (text) => {
      printed.stdout += text;
    },
    stderr: (text) => {
      printed.stderr += text;
    },
    env,
  });
  expect(code).toBe(0);
  return printed;
}

/** A data directory with organization `acme`; `token` runs the command on it. */
async function withOrganization() {
  const dataDir = temporaryDir();
  const orgId = (await print(runOrg, dataDir, ['create', '--name', 'Acme'])).stdout.trim();
  const token = (...args: string[]) => print(runToken, dataDir, args);
  /** Rows of `list` as objects, by the names in its header line. */
  const list = async () => {
    const [header = [], ...rows] = (await token('list', '--org', 'acme')).stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    return rows.map((row) => Object.fromEntries(header.map((name, index) => [name, row[index]])));
  };
  const create = async (...args: string[]) => {
    const { stdout, stderr } = await token('create', '--org', 'acme', '--name', 'edge', ...args);
    expect(stderr).toBe('');
    expect(stdout.endsWith('\n')).toBe(true);
    const made = parseToken(stdout.slice(0, -1));
    expect(made?.kind).toBe('ing');
    return made?.id ?? '';
  };
  return { dataDir, orgId, token, list, create };
}

describe('token create', () => {
  it('prints the token and nothing else, for an organization by slug or id', async () => {
    const { create, list, token, orgId } = await withOrganization();
    const id = await create();
    await token('create', '--org', orgId, '--name', 'other', '--scopes', 'traces,logs');
    const rows = await list();
    expect(rows[0]).toMatchObject({ ID: id, NAME: 'edge', SCOPES: 'logs,metrics,traces', EXPIRES: '-', STATE: 'live' });
    expect(rows[1]).toMatchObject({ NAME: 'other', SCOPES: 'logs,traces', ROTATED_FROM: '-' });
  });

  it.each([
    ['2099-01-31', '2099-01-31T00:00:00.000Z'],
    ['2099-01-31T12:30Z', '2099-01-31T12:30:00.000Z'],
    ['2099-01-31T12:30:15+02:00', '2099-01-31T10:30:15.000Z'],
  ])('reads the expiry %s', async (text, expires) => {
    const { create, list } = await withOrganization();
    await create('--expires', text);
    expect(await list()).toMatchObject([{ EXPIRES: expires, STATE: 'live' }]);
  });

  it('reads an expiry as a time from now', async () => {
    const { create, list } = await withOrganization();
    await create('--expires', '90d');
    const [row] = await list();
    const lifetimeMs = Date.parse(row?.['EXPIRES'] ?? '') - Date.parse(row?.['CREATED'] ?? '');
    expect(lifetimeMs).toBe(90 * 86_400_000);
  });

  it('does not replace a lost key while tokens that need it are live', async () => {
    const { create, dataDir } = await withOrganization();
    await create();
    rmSync(pepperPath(dataDir));
    await expect(create()).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('backup') });
  });
});

describe('token rotate and revoke', () => {
  it('print the new token alone, keep the old one for 24 hours, and end it when told', async () => {
    const { create, token, list } = await withOrganization();
    const old = await create();
    const { stdout, stderr } = await token('rotate', old);
    const next = parseToken(stdout.trim())?.id;
    expect(stdout).toHaveLength(70);
    expect(stderr).toContain(`token ${old} ends at 20`);
    const [first, second] = await list();
    expect(first).toMatchObject({ ID: old, STATE: 'live' });
    expect(second).toMatchObject({ ID: next, STATE: 'live', ROTATED_FROM: old, EXPIRES: '-' });
    const overlapMs = Date.parse(first?.['EXPIRES'] ?? '') - Date.parse(second?.['CREATED'] ?? '');
    expect(overlapMs).toBe(86_400_000);
    await token('revoke', old);
    expect(await list()).toMatchObject([{ STATE: 'revoked' }, { STATE: 'live' }]);
  });

  it('end the old one at once with no overlap', async () => {
    const { create, token, list } = await withOrganization();
    const old = await create();
    expect((await token('rotate', old, '--overlap', '0')).stderr).toContain(`${old} is revoked`);
    expect(await list()).toMatchObject([{ STATE: 'revoked' }, { STATE: 'live' }]);
  });
});

describe('token arguments', () => {
  it.each([
    ['no action', []],
    ['an unknown action', ['show']],
    ['no organization', ['create', '--name', 'a']],
    ['no name', ['create', '--org', 'acme']],
    ['an unreadable expiry', ['create', '--org', 'acme', '--name', 'a', '--expires', 'tomorrow']],
    ['a day that does not exist', ['create', '--org', 'acme', '--name', 'a', '--expires', '2099-13-01']],
    ['no id', ['revoke']],
    ['an id of another form', ['revoke', '0123456789']],
    ['an overlap without a unit', ['rotate', '0123456789AB', '--overlap', '24']],
  ])('are a usage error: %s', async (_what, args) => {
    const { token } = await withOrganization();
    await expect(token(...args)).rejects.toMatchObject({ usage: expect.stringContaining('token rotate TOKEN_ID') });
  });

  it.each([
    ['an unknown organization', 'not-found', ['create', '--org', 'nobody', '--name', 'a']],
    ['an unknown scope', 'invalid-input', ['create', '--org', 'acme', '--name', 'a', '--scopes', 'profiles']],
    ['an expiry that is past', 'invalid-input', ['create', '--org', 'acme', '--name', 'a', '--expires', '2020-01-01']],
    ['an unknown token', 'not-found', ['revoke', '0123456789AB']],
    ['an overlap over seven days', 'invalid-input', ['rotate', 'ID', '--overlap', '169h']],
  ])('are refused: %s, %s', async (_what, code, args) => {
    const { token, create } = await withOrganization();
    const id = await create();
    await expect(token(...args.map((arg) => (arg === 'ID' ? id : arg)))).rejects.toMatchObject({ code });
  });

  it('never show a token that was given for an id', async () => {
    const { token, dataDir } = await withOrganization();
    const whole = (await print(runToken, dataDir, ['create', '--org', 'acme', '--name', 'a'])).stdout.trim();
    const error = await token('revoke', whole).catch((thrown: Error) => thrown);
    expect((error as Error).message).toContain('12 characters');
    expect((error as Error).message).not.toContain(whole.slice(20));
  });
});

describe('the command line', () => {
  it('prints the token alone on stdout of a process, and exits with 2 on wrong arguments', async () => {
    const { dataDir } = await withOrganization();
    const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
    const env = { ...process.env, BACKWORK_DATA_DIR: dataDir };
    const node = (...args: string[]) =>
      execFileSync(process.execPath, [main, ...args], { env, encoding: 'utf8', stdio: 'pipe' });
    const token = node('token', 'create', '--org', 'acme', '--name', 'from a process');
    expect(parseToken(token.slice(0, -1))?.kind).toBe('ing');
    expect(node('token', 'list', '--org', 'acme')).toContain('from a process');
    expect(() => node('token', 'create')).toThrow(expect.objectContaining({ status: 2, stdout: '' }));
  });
});
