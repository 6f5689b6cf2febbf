/**
 * F14: writes that take fewer bytes than they were given, and calls that a signal interrupts. They are gone on with until
 * all is written, or the request is refused: nothing is half acknowledged.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { Load } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { judgeStored, linesWith, restarts, TWO_WORKERS } from './support/spool-service.ts';
import { type Attached, cannotInject, inject } from './support/strace.ts';

const AGENT = pathToFileURL(join(import.meta.dirname, 'support/file-agent.ts')).href;
const ROWS_MIN = 1_000;

export const f14: Fault = {
  id: 'F14',
  title: 'writes are short, calls are interrupted',
  async run(options: FaultOptions): Promise<FaultReport> {
    const nodeOptions = `${process.env['NODE_OPTIONS'] ?? ''} --import=${AGENT}`.trim();
    const agent = { NODE_OPTIONS: nodeOptions, FILE_AGENT: String(options.seed) };
    const service = await startService({ env: { ...TWO_WORKERS, BACKWORK_SEGMENT_MS: '300', ...agent } });
    try {
      return await interrupt(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

async function interrupt(service: TestService, { size, say }: FaultOptions): Promise<FaultReport> {
  const notTraced = cannotInject();
  if (notTraced !== undefined) say(`no interrupted calls: ${notTraced}`);
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const clients = ['grpc', 'http', 'grpc', 'http'] as const;
  const load = new Load({ grpcPort, httpPort, token: service.token, clients, rowsPerRequest: 50, signals: SIGNALS });
  const pids = [...service.children('ingest'), ...service.children('store')];
  const calls = ['pwrite64', 'pwritev', 'fdatasync', 'fsync'];
  let attached: readonly Attached[] = [];
  load.start();
  try {
    await delay(size === 'full' ? 20_000 : 1_500);
    if (notTraced === undefined) {
      // Every second call of each thread: the one that goes on after it goes through.
      attached = await Promise.all(pids.map((pid) => inject(pid, { calls, error: 'EINTR', when: '1+2' })));
      await delay(size === 'full' ? 20_000 : 1_500);
    }
  } finally {
    await load.stop();
  }
  const { figures, violations } = await judgeStored(service, load);
  // Only now, with nothing to write: a call that strace lets go of while it injects returns ENOSYS.
  let interrupted = 0;
  for (const one of attached) interrupted += one.count();
  await Promise.all(attached.map((one) => one.detach()));
  const ended = restarts(service);
  if (ended.length > 0) violations.push(`processes ended: ${ended.join('\n')}`);
  if (figures.acknowledged < ROWS_MIN) violations.push(`only ${figures.acknowledged} rows were acknowledged`);
  if (notTraced === undefined && interrupted === 0) violations.push('no call was interrupted');
  const refusedWrites = linesWith(service, 'a write to the spool failed').length;
  return {
    figures: { ...figures, interrupted, refused: load.refused, refusedWrites, restarts: ended.length },
    violations,
  };
}
