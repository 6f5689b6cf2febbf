/** What children of `child.ts` wrote down, and a log that can be read. */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLog, type Log } from '../../src/base/log.ts';

export const CHILD_FILE = fileURLToPath(new URL('./child.ts', import.meta.url));

export interface Recorder {
  readonly dir: string;
  readonly eventsPath: string;
  readonly log: Log;
  /** Lines that the children wrote, in order. */
  events(): string[];
  /** Lines of the log. */
  logged(): Record<string, unknown>[];
  /** Resolves when the events have `count` lines that match. */
  seen(pattern: RegExp, count?: number): Promise<string[]>;
  remove(): void;
}

export function createRecorder(): Recorder {
  const dir = mkdtempSync(join(tmpdir(), 'backwork-supervisor-'));
  const eventsPath = join(dir, 'events');
  const logPath = join(dir, 'log');
  const fd = openSync(logPath, 'a');
  const events = () => (existsSync(eventsPath) ? readFileSync(eventsPath, 'utf8').split('\n').slice(0, -1) : []);
  return {
    dir,
    eventsPath,
    log: createLog('test', 'debug', fd),
    events,
    logged: () =>
      readFileSync(logPath, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    async seen(pattern, count = 1) {
      for (;;) {
        const found = events().filter((event) => pattern.test(event));
        if (found.length >= count) return found;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    remove: () => {
      closeSync(fd);
      rmSync(dir, { recursive: true });
    },
  };
}
