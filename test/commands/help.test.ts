import { expect, test } from 'vitest';
import type { CommandContext } from '../../src/commands/command.ts';
import { run } from '../../src/commands/help.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { SETTINGS } from '../../src/settings/settings.ts';

test('the help names every command and every setting', async () => {
  let text = '';
  const context: CommandContext = {
    settings: loadSettings({}),
    stdout: (part) => {
      text += part;
    },
    stderr: () => undefined,
    env: {},
  };
  expect(await run([], context)).toBe(0);
  for (const command of ['serve', 'sql', 'org', 'token', 'doctor', 'version'])
    expect(text).toMatch(new RegExp(`^  ${command} `, 'm'));
  for (const { env, meaning } of Object.values(SETTINGS)) {
    expect(text).toContain(`${env} (`);
    expect(text).toContain(meaning);
  }
});
