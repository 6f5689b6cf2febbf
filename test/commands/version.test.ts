import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { backworkVersion, run } from '../../src/commands/version.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';

test('the version is that of package.json, with those of Node and the platform', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  let text = '';
  const stdout = (part: string) => {
    text += part;
  };
  expect(await run([], { settings: loadSettings({}), stdout, stderr: () => undefined, env: {} })).toBe(0);
  expect(backworkVersion()).toBe(version);
  expect(text).toBe(`backwork ${version}\nnode ${process.versions.node}\n${process.platform} ${process.arch}\n`);
});
