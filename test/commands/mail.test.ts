import { expect, it } from 'vitest';
import { run } from '../../src/commands/mail.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { mailedLink, openTestApi } from '../api/v1/v1-fixture.ts';

async function mail(dataDir: string, ...args: string[]): Promise<string> {
  let stdout = '';
  const env = { BACKWORK_DATA_DIR: dataDir };
  const code = await run(args, {
    settings: loadSettings(env, { cores: 2, memoryMib: 4_096 }),
    stdout: (text) => {
      stdout += text;
    },
    stderr: () => undefined,
    env,
  });
  expect(code).toBe(0);
  return stdout;
}

it('mail list and show print what waits, with its link', async () => {
  const api = await openTestApi();
  expect(await mail(api.dataDir, 'list')).toBe('ID\tKIND\tTO\tSINCE\tATTEMPTS\n');
  await api.user('known@example.com');
  await api.caller().post('/password-reset/mail', { email: 'known@example.com' });
  const [, row = ''] = (await mail(api.dataDir, 'list')).split('\n');
  const [id = '', kind, to] = row.split('\t');
  expect([kind, to]).toEqual(['reset-password', 'known@example.com']);
  expect(await mail(api.dataDir, 'show', id)).toContain(`#${await mailedLink(api.plane, 'reset-password')}\n`);
  await expect(mail(api.dataDir, 'show', 'x')).rejects.toThrow('no mail x waits');
  await expect(mail(api.dataDir)).rejects.toThrow('list or show?');
});
