import { afterEach, beforeEach, expect, test } from 'vitest';
import { Workplace } from './commands/run-main.ts';

let place: Workplace;
beforeEach(() => {
  place = new Workplace();
});
afterEach(() => place.remove());

test('a command that works ends with 0 and prints on stdout only', async () => {
  const ended = await place.run(['version']);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(/^backwork \d+\.\d+\.\d+\nnode 26\./);
});

test('wrong settings are all reported at once and nothing starts', async () => {
  const bad = { BACKWORK_WORKERS: 'many', BACKWORK_OTLP_HTTP_PORT: '99999', BACKWORK_SEGMENT_MSS: '1' };
  const ended = await place.run(['serve'], bad);
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  for (const name of Object.keys(bad)) expect(ended.stderr).toMatch(new RegExp(`^ {2}${name}.*$`, 'm'));
  expect(ended.stderr).not.toMatch(/\bat .*\.ts:\d+/);
});

test('a stack is printed at log level debug only', async () => {
  const ended = await place.run(['serve'], { BACKWORK_WORKERS: 'many', BACKWORK_LOG_LEVEL: 'debug' });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/\bat .*\.ts:\d+/);
});

test.each([['--help'], ['-h'], ['help'], ['serve', '--help']])(
  '%s %s is the help, with wrong settings too',
  async (...args) => {
    const ended = await place.run(args, { BACKWORK_WORKERS: 'many' });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toContain('BACKWORK_WORKERS');
  },
);

test.each([
  [[], /^backwork: no command is given\nusage: /],
  [['dance'], /^backwork: there is no command "dance"\nusage: /],
  [['version', 'now'], /^backwork: 1 arguments given, 0 expected\nusage: version\n$/],
  [['sql'], /^backwork: 0 arguments given, 1 expected\nusage: sql /],
  [['sql', 'SELECT 1', '--colour'], /^backwork: Unknown option '--colour'.*\nusage: sql /],
])('%j is not understood: exit code 2 and the usage', async (args, stderr) => {
  const ended = await place.run(args);
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toMatch(stderr);
});
