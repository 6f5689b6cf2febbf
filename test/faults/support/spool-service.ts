/** A service over spools that a test has made or damaged: started, watched for processes that end, judged by its rows. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { judge, STORED_IDS, type StoredRow } from '../../support/load.ts';
import type { TestService } from '../../support/service.ts';
import { segmentFiles } from './made-spool.ts';

/** Two workers, as every fault of the spool and the store is run. */
export const TWO_WORKERS = { BACKWORK_WORKERS: '2' } as const;

export interface Expected {
  /** Each must be stored once. */
  readonly acknowledged: ReadonlySet<string>;
  /** Nothing else may be stored. */
  readonly issued: ReadonlySet<string>;
}

export interface StoredFigures {
  readonly acknowledged: number;
  readonly stored: number;
  readonly lost: number;
  readonly doubled: number;
}

/** Waits until every expected row is there and the spools are empty, then judges. */
export async function judgeStored(
  service: TestService,
  expected: Expected,
  options: { readonly withinMs?: number; readonly mayStay?: readonly string[] } = {},
): Promise<{ figures: StoredFigures; violations: string[] }> {
  const { withinMs = 60_000, mayStay = [] } = options;
  const deadline = performance.now() + withinMs;
  const violations: string[] = [];
  let rows: StoredRow[] = [];
  for (;;) {
    const waiting = waitingFiles(service.dataDir).filter((name) => !mayStay.some((one) => name.includes(one)));
    rows = waiting.length > 0 ? [] : await service.query<StoredRow>(STORED_IDS).catch(() => []);
    if (waiting.length === 0 && rows.length >= expected.acknowledged.size) break;
    if (performance.now() > deadline) {
      const some = waiting.slice(0, 5).join(', ');
      violations.push(`after ${withinMs} ms ${waiting.length} files wait (${some})\n${service.stderr.slice(-3_000)}`);
      rows = await service.query<StoredRow>(STORED_IDS);
      break;
    }
    await delay(100);
  }
  const judged = judge(expected.acknowledged, expected.issued, rows);
  for (const [name, ids] of Object.entries(judged))
    if (ids.length > 0) violations.push(`${ids.length} items ${name}: ${ids.slice(0, 5).join(', ')}`);
  const { lost, doubled } = judged;
  const figures = {
    acknowledged: expected.acknowledged.size,
    stored: rows.length,
    lost: lost.length,
    doubled: doubled.length,
  };
  return { figures, violations };
}

/** `<spool>/<name>` of every file of a segment that is not removed yet. */
export function waitingFiles(dataDir: string): string[] {
  const root = join(dataDir, 'spool');
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((number) => segmentFiles(join(root, number)).map((name) => `${number}/${name}`));
}

/** A process that ended and was started again although nobody ended it: the log says so. */
export function restarts(service: TestService): string[] {
  return linesWith(service, 'the process ended and is started again');
}

/** Lines of the log that hold this text. */
export function linesWith(service: Pick<TestService, 'stderr'>, text: string): string[] {
  return service.stderr.split('\n').filter((line) => line.includes(text));
}

/** The same, of those that were logged from this moment on (ISO). The log keeps its end alone, so lines cannot be counted over a long run. */
export function linesSince(service: Pick<TestService, 'stderr'>, text: string, since: string): string[] {
  return linesWith(service, text).filter((line) => (/"time":"([^"]+)"/.exec(line)?.[1] ?? '') >= since);
}

/** Polls until it holds; false when that does not come. */
export async function holds(what: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (!(await what())) {
    if (performance.now() > deadline) return false;
    await delay(20);
  }
  return true;
}
