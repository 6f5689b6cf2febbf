/**
 * A child for tests of the supervisor: writes what happens to it into $CHILD_EVENTS, one line each, and behaves as
 * $CHILD_MODE says for its name (`engine=fatal,ingest=deaf`).
 */
import { appendFileSync, readFileSync } from 'node:fs';

const env = process.env;
const index = env['BACKWORK_WORKER_INDEX'];
const name =
  env['CHILD_NAME'] ?? (index !== undefined ? `ingest ${index}` : env['BACKWORK_ENGINE_DIR'] ? 'engine' : 'store');
const modes = new Map((env['CHILD_MODE'] ?? '').split(',').map((pair) => pair.split('=') as [string, string]));
const mode = modes.get(name);

function note(event: string): void {
  appendFileSync(env['CHILD_EVENTS'] ?? '/dev/null', `${name} ${event}\n`);
}
/** The first start of this name; later ones of mode `once` say nothing and live on. */
function firstOfItsName(): boolean {
  const events = readFileSync(env['CHILD_EVENTS'] ?? '/dev/null', 'utf8');
  return events.split('\n').filter((event) => event.startsWith(`${name} start`)).length === 1;
}
function send(message: object): void {
  process.send?.(message);
}

// Signals to the group are the supervisor's affair.
process.on('SIGTERM', () => undefined);
process.on('SIGINT', () => undefined);
process.on('disconnect', () => {
  note('orphan');
  process.exit(1);
});
process.on('message', (message: { type: string; sequence?: number; question?: number }) => {
  if (message.type === 'metrics') {
    const values = { backwork_commit_records_total: [{ labels: {}, value: process.pid }] };
    if (mode !== 'mute') send({ type: 'metrics', question: message.question, values });
    return;
  }
  note(message.type === 'sealed' ? `sealed ${message.sequence}` : message.type);
  if (message.type === 'stop' && mode !== 'deaf') {
    note('end');
    process.exit(0);
  }
});

note(
  `start threads=${env['UV_THREADPOOL_SIZE']} tz=${env['TZ']} engine=${env['BACKWORK_ENGINE_PORT']} http=${env['BACKWORK_OTLP_HTTP_PORT']} cache=${env['NODE_COMPILE_CACHE']} pid=${process.pid}`,
);
if (mode === 'fatal') {
  send({ type: 'fatal', message: `${name}: no restart helps` });
} else if (mode === 'late fatal') {
  send({ type: 'ready' });
  send({ type: 'fatal', message: `${name}: no restart helps` });
} else if (mode === 'crash') {
  process.exit(3);
} else if (mode !== 'silent' && (mode !== 'once' || firstOfItsName())) {
  const port = (variable: string, chosen: number) => Number(env[variable]) || chosen;
  const ports =
    name === 'engine'
      ? { engine: port('BACKWORK_ENGINE_PORT', 7001) }
      : { grpc: port('BACKWORK_OTLP_GRPC_PORT', 7002), http: port('BACKWORK_OTLP_HTTP_PORT', 7003) };
  send({ type: 'ready', ports });
  setInterval(() => send(name === 'engine' ? { type: 'alive' } : { type: 'storing', reason: '' }), 250);
  if (name.startsWith('ingest')) {
    const accepting = () =>
      send({ type: 'accepting', accepting: mode !== 'full', reason: mode === 'full' ? 'the spool is full' : '' });
    accepting();
    setInterval(accepting, 250);
    send({ type: 'sealed', spoolDir: '/spool/0', sequence: 41 });
  }
}
