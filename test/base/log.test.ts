import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BackworkError } from '../../src/base/errors.ts';
import { createLog } from '../../src/base/log.ts';

let dir: string;
let fd: number;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-log-'));
  fd = openSync(join(dir, 'log'), 'a');
});
afterEach(() => {
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

function lines(): Record<string, unknown>[] {
  const text = readFileSync(join(dir, 'log'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line is one JSON object with time, level, name and the fields given, written before the call returns', () => {
  createLog('store', 'info', fd).warn({ segment: 7 }, 'slow');
  expect(lines()).toEqual([
    { level: 'warn', time: expect.stringMatching(/Z$/), pid: process.pid, name: 'store', segment: 7, msg: 'slow' },
  ]);
});

test('what is below the level is not written', () => {
  const log = createLog('store', 'warn', fd);
  log.info({}, 'one');
  log.debug({}, 'two');
  log.error({}, 'three');
  expect(lines().map((line) => line['msg'])).toEqual(['three']);
});

test('an error is written by code and message, without a stack unless the level is debug', () => {
  const error = new BackworkError('corrupt', 'bad at 7');
  createLog('store', 'info', fd).error({ error }, 'failed');
  createLog('store', 'debug', fd).error({ error }, 'failed');
  expect(lines()[0]?.['error']).toEqual({ code: 'corrupt', message: 'bad at 7' });
  expect(lines()[1]?.['error']).toEqual({
    code: 'corrupt',
    message: 'bad at 7',
    stack: expect.stringContaining('bad at 7'),
  });
});
