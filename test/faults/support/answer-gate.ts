/**
 * Loaded by `node --import` into every process of a service under test: an ingest process stops for as long as the test
 * wants between the sync of a record and its answer, so that the connection is gone when the answer is written. By files of
 * the directory that `ANSWER_GATE` names:
 *
 *   armed   made by the test; taken away by the process whose answer is due
 *   go      made by the test; taken away by that process, which goes on
 *
 * Imported by the test, it is the test's side of it.
 */
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { FAULT_POINTS_KEY, type FaultPoints, NO_FAULT_POINTS } from '../../../src/base/fault-points.ts';

const PATIENCE_MS = 10_000;

export class AnswerGate {
  readonly dir = mkdtempSync(join(tmpdir(), 'backwork-gate-'));
  /** For the environment of the service. */
  readonly env: Readonly<Record<string, string>> = {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${pathToFileURL(import.meta.filename).href}`.trim(),
    ANSWER_GATE: this.dir,
  };

  /** The next answer of any process waits. */
  arm(): void {
    writeFileSync(join(this.dir, 'armed'), '');
  }

  /** Resolves when a record is synced and its answer waits. */
  async due(): Promise<void> {
    await this.#gone('armed');
  }

  /** Lets the answer go; resolves when the process goes on. */
  async open(): Promise<void> {
    writeFileSync(join(this.dir, 'go'), '');
    await this.#gone('go');
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #gone(name: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (existsSync(join(this.dir, name))) {
      if (performance.now() > deadline) throw new Error(`nobody took ${name} within ${PATIENCE_MS} ms`);
      await delay(1);
    }
  }
}

function gated(dir: string): FaultPoints {
  const sleeping = new Int32Array(new SharedArrayBuffer(4));
  return {
    ...NO_FAULT_POINTS,
    reached: (point) => {
      if (point !== 'answer-due' || !taken(dir, 'armed')) return;
      while (!taken(dir, 'go')) Atomics.wait(sleeping, 0, 0, 1);
    },
  };
}

/** True for the one process that took the file away. */
function taken(dir: string, name: string): boolean {
  try {
    renameSync(join(dir, name), join(dir, `${name}.${process.pid}`));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

const own = process.env['ANSWER_GATE'];
if (own !== undefined && (process.argv[1] ?? '').endsWith('ingest-process.ts'))
  Object.assign(globalThis, { [FAULT_POINTS_KEY]: gated(own) });
