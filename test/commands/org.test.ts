import { describe, expect, it } from 'vitest';
import { openAccounts } from '../../src/accounts/store/accounts-database.ts';
import { run } from '../../src/commands/org.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { temporaryDir } from '../accounts/accounts-fixture.ts';

/** Runs the command on a data directory; resolves to the code and what was printed. */
async function org(dataDir: string, ...args: string[]) {
  const printed = { stdout: '', stderr: '' };
  const env = { BACKWORK_DATA_DIR: dataDir, BACKWORK_RETENTION_DAYS: '14', BACKWORK_OWN_PLACEMENTS_MAX: '1' };
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
  return { code, ...printed };
}

describe('org create', () => {
  it('makes the database when it is missing and prints the id and nothing else', async () => {
    const dataDir = temporaryDir();
    const { code, stdout } = await org(dataDir, 'create', '--name', 'Acme Corp');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^org_[a-z2-7]{16}\n$/);
    const accounts = await openAccounts({ dataDir, readOnly: true });
    const made = await accounts.organizations.find(stdout.trim());
    await accounts.close();
    expect(made).toMatchObject({ slug: 'acme-corp', retentionDays: { logs: 14, metrics: 14, traces: 14 } });
    expect(made?.placement).toBe(made?.id);
  });

  it('takes slug and retention, and the placement that the settings leave', async () => {
    const dataDir = temporaryDir();
    await org(dataDir, 'create', '--name', 'First');
    await org(dataDir, 'create', '--name', 'Acme', '--slug', 'a1', '--retention-days', '365');
    const { stdout } = await org(dataDir, 'list');
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(lines).toHaveLength(3);
    expect(lines[0]?.slice(0, 4)).toEqual(['ID', 'SLUG', 'NAME', 'PLACEMENT']);
    expect(lines[2]?.slice(1, 7)).toEqual(['a1', 'Acme', 'shared-0', '365', '365', '365']);
    expect(lines[2]?.[8]).toBe('enabled');
  });

  it.each([
    ['no action', []],
    ['an unknown action', ['delete']],
    ['no name', ['create']],
    ['an unknown option', ['create', '--name', 'a', '--color', 'red']],
    ['a word too many', ['list', 'all']],
  ])('is a usage error with %s, and makes nothing', async (_what, args) => {
    const dataDir = temporaryDir();
    const running = org(dataDir, ...args);
    await expect(running).rejects.toMatchObject({
      name: 'BackworkError',
      usage: expect.stringContaining('org create'),
    });
  });

  it.each([
    ['a retention outside the list', 'invalid-input', ['create', '--name', 'b', '--retention-days', '31']],
    ['a bad slug', 'invalid-input', ['create', '--name', 'b', '--slug', 'B!']],
    ['a slug that is taken', 'conflict', ['create', '--name', 'b', '--slug', 'a']],
  ])('refuses %s with %s', async (_what, code, args) => {
    const dataDir = temporaryDir();
    await org(dataDir, 'create', '--name', 'a');
    await expect(org(dataDir, ...args)).rejects.toMatchObject({ code });
  });
});
