import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/commands/notice.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';
import { temporaryDir } from '../accounts/accounts-fixture.ts';

function commandLine(dataDir: string) {
  return async (input: string, ...args: string[]): Promise<string> => {
    let stdout = '';
    const env = { BACKWORK_DATA_DIR: dataDir };
    const code = await run(args, {
      settings: loadSettings(env, { cores: 2, memoryMib: 4_096 }),
      stdout: (text) => {
        stdout += text;
      },
      stderr: () => undefined,
      input: Readable.from([input]),
      env,
    });
    expect(code).toBe(0);
    return stdout;
  };
}

describe('notice', () => {
  it('publish takes the text from stdin, list shows it, withdraw takes it back', async () => {
    const notice = commandLine(temporaryDir());
    const id = (await notice('Prices.\n', 'publish', '--title', 'Prices change', '--effective', '2027-01-31')).trim();
    expect(id).toMatch(/^ntc_[a-z2-7]{16}$/);
    const [head, row, ...rest] = (await notice('', 'list')).split('\n');
    expect([head, rest]).toEqual(['ID\tPUBLISHED\tEFFECTIVE\tTITLE', ['']]);
    expect(row?.split('\t')).toEqual([id, expect.stringMatching(/^\d{4}-.*Z$/), '2027-01-31', 'Prices change']);
    await notice('', 'withdraw', id);
    expect((await notice('', 'list')).split('\n')).toHaveLength(2);
    await expect(notice('', 'withdraw', id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it.each([
    ['', ['publish', '--title', 'x', '--effective', '2027-01-31']],
    ['text', ['publish', '--title', ' ', '--effective', '2027-01-31']],
    ['text', ['publish', '--title', 'a\nb', '--effective', '2027-01-31']],
    ['text', ['publish', '--title', 'x', '--effective', 'tomorrow']],
    ['text', ['publish', '--title', 'x']],
    ['text', ['print']],
    ['text', []],
  ])('with %j and %j is refused', async (input, args) => {
    await expect(commandLine(temporaryDir())(input, ...args)).rejects.toMatchObject({ code: 'invalid-input' });
  });
});
