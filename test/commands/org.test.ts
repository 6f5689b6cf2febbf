import { describe, expect, it } from 'vitest';
import { openAccounts } from '../../src/accounts/store/accounts-database.ts';
import { run } from '../../src/commands/org.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { temporaryDir } from '../accounts/accounts-fixture.ts';

/** Runs the command on a data directory; resolves to the code and what was printed. */
async function org(dataDir: string, ...args: string[]) {
  const printed = { stdout: '', stderr: '' };
  const env = {
    BACKWORK_DATA_DIR: dataDir,
    BACKWORK_RETENTION_DAYS: '14',
    BACKWORK_OWN_PLACEMENTS_MAX: '1',
    BACKWORK_ORG_ITEMS_PER_SECOND: '5000',
  };
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

describe('org limits', () => {
  async function limitsOf(dataDir: string, ...args: string[]): Promise<string[][]> {
    const { stdout } = await org(dataDir, 'limits', ...args);
    const lines = stdout.trim().split('\n');
    return lines.map((line) => line.split('\t'));
  }

  it('prints what is in force and where it comes from, changes what is named, and takes it back', async () => {
    const dataDir = temporaryDir();
    await org(dataDir, 'create', '--name', 'Acme');
    const defaults = [
      ['LIMIT', 'IN_FORCE', 'FROM'],
      ['bytes-per-second', 'none', 'default'],
      ['items-per-second', '5000', 'default'],
      ['requests-at-once', 'none', 'default'],
      ['spool-mib', 'none', 'default'],
      ['weight', '10', 'default'],
    ];
    expect(await limitsOf(dataDir, 'acme')).toEqual(defaults);
    const options = ['--bytes-per-second', '1000000', '--items-per-second=0', '--requests-at-once', '9'];
    expect(await limitsOf(dataDir, 'acme', ...options, '--spool-mib', '64', '--weight', '20')).toEqual([
      ['LIMIT', 'IN_FORCE', 'FROM'],
      ['bytes-per-second', '1000000', 'organization'],
      ['items-per-second', 'none', 'organization'],
      ['requests-at-once', '9', 'organization'],
      ['spool-mib', '64', 'organization'],
      ['weight', '20', 'organization'],
    ]);
    const back = ['bytes-per-second', 'items-per-second', 'requests-at-once', 'spool-mib', 'weight'];
    expect(await limitsOf(dataDir, 'acme', ...back.flatMap((name) => [`--${name}`, 'default']))).toEqual(defaults);
  });

  it.each([
    ['an unknown organization', 'not-found', ['nobody']],
    ['a value that is no number', 'invalid-input', ['acme', '--spool-mib', '1g']],
    ['a weight of 0', 'invalid-input', ['acme', '--weight', '0']],
    ['no organization', 'invalid-input', []],
  ])('refuses %s with %s', async (_what, code, args) => {
    const dataDir = temporaryDir();
    await org(dataDir, 'create', '--name', 'Acme');
    await expect(org(dataDir, 'limits', ...args)).rejects.toMatchObject({ code });
  });
});

describe('org plan', () => {
  it('puts an organization on a plan, overrides it one by one, and says what that does to stored rows', async () => {
    const dataDir = temporaryDir();
    await org(dataDir, 'create', '--name', 'Acme');
    const plan = async (...args: string[]) => {
      const { stdout, stderr } = await org(dataDir, 'plan', 'acme', ...args);
      return {
        inForce: Object.fromEntries(
          stdout
            .trim()
            .split('\n')
            .slice(1)
            .map((line) => line.split('\t')),
        ),
        stderr,
      };
    };
    expect((await plan()).inForce).toMatchObject({ plan: 'self-hosted', 'logs-days': '14', 'bytes-per-day': 'none' });
    const team = await plan('--plan', 'free', '--logs-days', '90');
    expect(team.inForce).toMatchObject({ plan: 'free', 'logs-days': '90', 'traces-days': '3', placement: 'shared-0' });
    expect(team.stderr).toMatch(
      /^logs: what arrives from now on is kept 90 days instead of 14; stored rows keep the 14/,
    );
    expect(team.stderr).toMatch(/\ntraces: .* 3 days instead of 14; stored rows that are older are hidden at once/);
    const back = await plan('--logs-days', 'default', '--bytes-per-day', '0', '--placement', 'own');
    expect(back.inForce).toMatchObject({ 'logs-days': '3', 'bytes-per-day': 'none', placement: 'own' });
    await expect(plan('--plan', 'gold')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(plan('--placement', 'moon')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(plan('--logs-days', '2')).rejects.toMatchObject({ code: 'invalid-input' });
    expect((await plan()).inForce).toEqual(back.inForce);
  });
});
