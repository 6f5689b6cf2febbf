/**
 * The embedded engine's process: chDB behind its door, on loopback. A child of the supervisor, so that a query which
 * takes all memory, or a crash of the engine, ends neither ingest nor the API.
 *
 *   in   BACKWORK_ENGINE_DIR         data directory of the engine
 *        BACKWORK_ENGINE_PORT        on 127.0.0.1; 0 for any free one
 *        BACKWORK_ENGINE_FILE        engine.json: {"user", "password"} of the door
 *        BACKWORK_ENGINE_MEMORY_MIB  what the engine may use
 *        UV_THREADPOOL_SIZE=32       a thread for each query that runs (session-pool.ts)
 *   out  ready {ports: {engine}} | fatal {message}; alive once a second; metrics when it is asked
 *   end  SIGTERM or `stop`: the door closes, what runs is killed, exit 0. Loss of IPC: SIGKILL to itself at once, for
 *        an engine without its supervisor holds the directory's lock against the next one.
 */
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { BackworkError, messageOf } from './base/errors.ts';
import { createLog } from './base/log.ts';
import { answerWithMetrics } from './base/metrics-process.ts';
import { startDoor } from './engine/http-door.ts';
import type { BrokenPart } from './engine/part-check.ts';
import type { ChildMessage, SupervisorMessage } from './process-messages.ts';

/** process.exit hangs while a query of chDB runs, and a killed one may take its time to notice. */
const STOP_MS_MAX = 5_000;
/**
 * An INSERT can wait, an acknowledgement should not: with both at one priority the engine's threads, which take all cores
 * while they insert, add 4 to 8 ms to p99 of it (2 cores, 32,000 spans a second, `npm run bench -- durability`). For this
 * process alone, and before the engine makes its threads, which inherit it.
 */
const NICENESS = 10;
/** How often the supervisor hears that this process lives. */
const ALIVE_INTERVAL_MS = 1_000;

const log = createLog('engine', process.env['BACKWORK_LOG_LEVEL'] ?? 'info');

setPriority(NICENESS);

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

try {
  const door = await startDoor({ ...readEnvironment(process.env), log, onBrokenPart });
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), STOP_MS_MAX);
    void door.close().then(() => process.exit(0));
  };
  // A signal to the process group reaches this process too; with a supervisor, its `stop` decides, in order.
  process.on('SIGTERM', () => process.send === undefined && stop());
  process.on('SIGINT', () => undefined);
  process.on('message', (message: SupervisorMessage) => {
    if (message.type === 'stop') stop();
  });
  answerWithMetrics({ process: 'engine' });
  setInterval(() => send({ type: 'alive' }), ALIVE_INTERVAL_MS);
  log.info({ port: door.port }, 'engine ready');
  send({ type: 'ready', ports: { engine: door.port } });
} catch (error) {
  const message = error instanceof BackworkError ? error.message : `the engine cannot start: ${messageOf(error)}`;
  log.error({ error }, 'engine cannot start');
  // The message must have left before the process ends.
  send({ type: 'fatal', message }, () => process.exit(1));
}

/** Nothing more is answered by an engine that did not notice what its disk said; the supervisor starts the next one. */
function onBrokenPart({ table, name, reason }: BrokenPart): void {
  log.error({ table, part: name, reason }, 'a part is not whole on the disk: the engine is started again');
  process.kill(process.pid, 'SIGKILL');
}

function readEnvironment(env: NodeJS.ProcessEnv) {
  const required = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === '') throw new BackworkError('bad-setting', `${name} is not set`);
    return value;
  };
  const file = JSON.parse(readFileSync(required('BACKWORK_ENGINE_FILE'), 'utf8')) as { user: string; password: string };
  return {
    dataDir: required('BACKWORK_ENGINE_DIR'),
    port: Number(required('BACKWORK_ENGINE_PORT')),
    memoryMib: Number(required('BACKWORK_ENGINE_MEMORY_MIB')),
    user: file.user,
    password: file.password,
  };
}

/** Without a supervisor (started by hand) there is nobody to tell. */
function send(message: ChildMessage, sent: () => void = () => undefined): void {
  if (process.send === undefined) sent();
  else process.send(message, sent);
}
