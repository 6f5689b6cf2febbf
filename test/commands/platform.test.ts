import { expect, test } from 'vitest';
import { platformProblem, thisPlatform } from '../../src/commands/platform.ts';

const LINUX = { system: 'linux', arch: 'x64', node: '26.10.0', glibc: '2.36' };

test('Linux with glibc is supported, embedded and not', () => {
  expect(platformProblem(LINUX, true)).toBeUndefined();
  expect(platformProblem(LINUX, false)).toBeUndefined();
});

test('this machine reports its own C library', () => {
  expect(platformProblem(thisPlatform(), true)).toBeUndefined();
});

test.each([
  ['an old Node', { ...LINUX, node: '20.19.1' }, /Node 20\.19\.1 is too old, 26 or newer/],
  ['musl', { ...LINUX, glibc: undefined }, /glibc.*BACKWORK_CLICKHOUSE_URL/],
  ['Windows', { ...LINUX, system: 'win32', glibc: undefined }, /Windows is not supported/],
  ['a processor without chDB', { ...LINUX, arch: 'riscv64' }, /no build for linux riscv64/],
])('%s gets one line that says what to do', (_, platform, line) => {
  const problem = platformProblem(platform, true);
  expect(problem).toMatch(line);
  expect(problem).not.toContain('\n');
});

test('musl does with a ClickHouse server, because no chDB is needed', () => {
  expect(platformProblem({ ...LINUX, glibc: undefined }, false)).toBeUndefined();
});
