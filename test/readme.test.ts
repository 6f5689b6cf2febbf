/** README.md says what the code does: its settings table, its commands, its scripts and its ports. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { settingsMarkdown } from '../src/settings/load-settings.ts';
import { SETTINGS } from '../src/settings/settings.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const packageFile = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

describe('README.md', () => {
  it('holds the table of settings as the settings themselves write it', () => {
    const between = /<!-- settings:[^\n]*-->\n\n([\s\S]*?)\n<!-- \/settings -->/.exec(readme)?.[1];
    expect(between).toBe(settingsMarkdown());
  });

  it('names only commands that exist', () => {
    const commands = [...readme.matchAll(/npm run -s backwork -- ([a-z]+)/g)].map((match) => match[1]);
    expect(new Set(commands).size).toBeGreaterThan(4);
    for (const command of commands) expect(existsSync(join(root, `src/commands/${command}.ts`)), command).toBe(true);
  });

  it('names only scripts that package.json has', () => {
    const scripts = [...readme.matchAll(/npm (?:run (?:-s )?)?(start|test|[a-z:]+)(?= |\n|`)/g)].map(
      (match) => match[1] ?? '',
    );
    expect(scripts).toContain('verify');
    for (const script of scripts.filter((name) => name !== 'ci'))
      expect(packageFile.scripts, script).toHaveProperty(script);
  });

  it('sends to the ports that are the defaults', () => {
    const ports = [SETTINGS.otlpGrpcPort, SETTINGS.otlpHttpPort, SETTINGS.enginePort].map((setting) => setting.default);
    for (const port of ports) expect(readme).toContain(`127.0.0.1:${port}`);
    expect(readme).toContain(`:${SETTINGS.apiPort.default}/healthz`);
  });
});
