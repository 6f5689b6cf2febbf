/**
 * `sql "<query>"`: one query, its result in any ClickHouse format, byte for byte as the engine wrote it.
 *
 * Who answers: the server of BACKWORK_CLICKHOUSE_URL; else the engine of the service that runs on the data directory,
 * which may be starting or restarting (waited for up to READY_WITHIN_MS); else, when no service runs, an engine of its
 * own, started under the directory's lock and stopped after the query. Whoever holds the lock may change meanwhile, so
 * both are tried in turn until one answers.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, retryLater } from '../base/errors.ts';
import { type LockFile, takeLock } from '../base/lock-file.ts';
import { createLog } from '../base/log.ts';
import { type ClickHouse, connectClickHouse } from '../engine/clickhouse.ts';
import { superviseChild } from '../supervisor.ts';
import { CHILD_FILES, engineChild } from './children.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';
import {
  createDataDirectory,
  engineLogin,
  lockPath,
  readEngineLogin,
  readServiceState,
  type StoreTarget,
  storeTarget,
} from './data-directory.ts';
import { requirePlatform } from './platform.ts';

const USAGE = 'sql "<query>" [--format <any ClickHouse format>]';
const READY_WITHIN_MS = 30_000;
const POLL_MS = 200;
const ENGINE_STOP_MS = 5_000;

interface Query {
  readonly sql: string;
  readonly format: string;
  readonly output: Writable;
}

/** Resolves to 0 when the whole result is written. Throws what ClickHouse answered, or `store-unreachable`. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const { words, text } = readArguments(args, { format: 'text' }, USAGE, 1);
  const output = context.output ?? process.stdout;
  const format = text['format'] ?? defaultFormat(output);
  // The name becomes part of the query.
  if (!/^\w+$/.test(format)) throw new UsageError(`"${format}" is not the name of a format`, USAGE);
  const query = { sql: words[0] ?? '', format, output };
  const deadline = performance.now() + READY_WITHIN_MS;
  if (context.settings.clickhouseUrl !== '') return runOnServer(query, context, deadline);
  const dataDir = resolve(context.settings.dataDir);
  if (!existsSync(dataDir)) {
    const advice = 'start the service first, or set BACKWORK_DATA_DIR';
    throw new BackworkError('not-found', `there is no data directory ${dataDir}: ${advice}`);
  }
  for (;;) {
    const lock = await lockIfFree(dataDir);
    if (lock !== undefined) return runOnOwnEngine(query, context, dataDir, lock);
    if (await runOnService(query, context, dataDir)) return 0;
    if (performance.now() > deadline) throw unreachable('the engine of the running service');
    await sleep(POLL_MS);
  }
}

/** Aligned for people, plain for pipes. */
function defaultFormat(output: Writable): string {
  return 'isTTY' in output && output.isTTY === true ? 'PrettyCompactMonoBlock' : 'TabSeparated';
}

async function runOnServer(query: Query, context: CommandContext, deadline: number): Promise<number> {
  while (!(await answers(query, storeTarget(context.settings, undefined, 0)))) {
    if (performance.now() > deadline) throw unreachable('the server of BACKWORK_CLICKHOUSE_URL');
    await sleep(POLL_MS);
  }
  return 0;
}

async function runOnService(query: Query, context: CommandContext, dataDir: string): Promise<boolean> {
  const login = readEngineLogin(dataDir);
  const port = readServiceState(dataDir)?.ports.engine ?? context.settings.enginePort;
  // A service on its very first start has not come so far yet, or not learned its port.
  if (login === undefined || port === 0) return false;
  return answers(query, storeTarget(context.settings, login, port));
}

async function runOnOwnEngine(query: Query, context: CommandContext, dataDir: string, lock: LockFile): Promise<number> {
  try {
    requirePlatform(true);
    createDataDirectory(dataDir);
    const login = engineLogin(dataDir);
    const { settings, env } = context;
    const level = settings.logLevel === 'debug' ? 'debug' : 'warn';
    const quiet = { ...env, BACKWORK_LOG_LEVEL: level };
    const engine = superviseChild(
      engineChild({ settings, dataDir, env: quiet, files: CHILD_FILES }, () => 0),
      { log: createLog('sql', level), random: Math.random },
    );
    try {
      const ports = await Promise.race([engine.ready, sleep(READY_WITHIN_MS, undefined, { ref: false })]);
      const port = ports?.['engine'];
      if (port === undefined || !(await answers(query, storeTarget(settings, login, port)))) {
        throw unreachable('the engine started for this query');
      }
      return 0;
    } finally {
      await engine.stop(ENGINE_STOP_MS);
    }
  } finally {
    lock.release();
  }
}

/** True when the query ran; false when nobody is there yet, and then nothing was written. */
async function answers(query: Query, target: StoreTarget): Promise<boolean> {
  const clickhouse = connectClickHouse(target);
  try {
    if (!(await clickhouse.ping())) return false;
    await print(clickhouse, query);
    return true;
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'store-unreachable') return false;
    throw error;
  } finally {
    await clickhouse.close();
  }
}

async function print(clickhouse: ClickHouse, { sql, format, output }: Query): Promise<void> {
  const result = await clickhouse.stream(sql, format);
  try {
    await pipeline(result, output, { end: false });
  } catch (error) {
    // The reader of a pipe has seen enough.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
}

async function lockIfFree(dataDir: string): Promise<LockFile | undefined> {
  try {
    return await takeLock(lockPath(dataDir), 0);
  } catch (error) {
    if (error instanceof BackworkError && error.code === 'locked') return undefined;
    throw error;
  }
}

function unreachable(what: string): BackworkError {
  return retryLater('store-unreachable', `${what} did not answer within ${READY_WITHIN_MS / 1_000} s`);
}
