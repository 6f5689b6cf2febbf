/**
 * F13: calls to the disk that fail. A sync that returns EIO answers nobody: that process ends and is started again, its
 * spool is recovered, the others go on. A write that returns ENOSPC refuses its requests, and its process lives.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { encodeIds, grpcSender, httpSender, Load } from '../support/load.ts';
import { type ChildName, startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { holds, judgeStored, linesSince, TWO_WORKERS } from './support/spool-service.ts';
import { type Attached, cannotInject, type Injection, inject } from './support/strace.ts';

const EXIT_MS_MAX = 1_000;
/** The supervisor waits up to 10 s before it starts a process that ends again and again. */
const AGAIN_MS_MAX = 15_000;
const PATIENCE_MS = 20_000;
/** A worker with load writes and syncs many times in this time. */
const BUSY_WITHIN_MS = 1_500;

/** `fsync` is of directories, `fdatasync` of files: records, footers, the journal. */
interface Round {
  readonly child: ChildName;
  readonly calls: readonly string[];
  readonly error: 'EIO' | 'ENOSPC';
}
const ROUNDS: readonly Round[] = [
  { child: 'ingest', calls: ['fdatasync'], error: 'EIO' },
  { child: 'ingest', calls: ['pwrite64', 'pwritev'], error: 'ENOSPC' },
  { child: 'store', calls: ['fdatasync'], error: 'EIO' },
  { child: 'ingest', calls: ['fsync'], error: 'EIO' },
  { child: 'store', calls: ['fsync'], error: 'EIO' },
  { child: 'store', calls: ['pwrite64', 'pwritev'], error: 'ENOSPC' },
];
const CI_ROUNDS = 3;
/** What a worker says, by the file that it was about to write. */
const FAILED_WRITES = ['a write to the spool failed', 'batch file dropped', 'a footer could not be written'];

export const f13: Fault = {
  id: 'F13',
  title: 'a sync returns EIO, a write returns ENOSPC',
  async run(options: FaultOptions): Promise<FaultReport> {
    const notRun = cannotInject();
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    const service = await startService({ env: { ...TWO_WORKERS, BACKWORK_SEGMENT_MS: '300' } });
    try {
      return await failCalls(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

class Run {
  readonly service: TestService;
  readonly random: Random;
  readonly violations: string[] = [];
  readonly exitMs: number[] = [];
  readonly issued = new Set<string>();
  readonly acknowledged = new Set<string>();
  injected = 0;

  constructor(service: TestService, random: Random) {
    this.service = service;
    this.random = random;
  }

  /** From what the process logged before it ended to the supervisor's word that it has. */
  noteExit(pid: number): void {
    const lines = this.service.stderr.split('\n').flatMap(parsed);
    const last = lines.filter((line) => line.pid === pid).at(-1);
    const end = lines.find(
      (line) => line.time >= (last?.time ?? '') && line.msg.includes('ended and is started again'),
    );
    if (last !== undefined && end !== undefined) this.exitMs.push(Date.parse(end.time) - Date.parse(last.time));
    else this.violations.push(`process ${pid} ended without a word`);
  }
}

async function failCalls(service: TestService, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const run = new Run(service, seededRandom(seed));
  const rounds = size === 'full' ? [...ROUNDS, ...ROUNDS, ...ROUNDS, ...ROUNDS, ...ROUNDS] : ROUNDS.slice(0, CI_ROUNDS);
  await noAnswer(run);
  for (const [number, round] of rounds.entries()) {
    say(`${round.error} at ${round.calls} of ${round.child}`);
    // Connections of its own: a worker that was started again has none of the old ones.
    const load = newLoad(service, number);
    load.start();
    try {
      await goesOn(run, load);
      if (round.error === 'EIO') await failSync(run, load, round);
      else await failWrite(run, load, round);
    } finally {
      await load.stop();
    }
    for (const id of load.issued) run.issued.add(id);
    for (const id of load.acknowledged) run.acknowledged.add(id);
  }
  const { figures, violations } = await judgeStored(service, run);
  violations.push(...run.violations);
  const exitMsMax = Math.max(0, ...run.exitMs);
  if (size === 'full' && exitMsMax > EXIT_MS_MAX) violations.push(`a process ended only after ${exitMsMax} ms`);
  const ended = run.exitMs.length;
  return {
    figures: { ...figures, rounds: rounds.length, injected: run.injected, processesEnded: ended, exitMsMax },
    violations,
  };
}

function newLoad(service: TestService, round: number): Load {
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const clients = ['grpc', 'http', 'grpc', 'http', 'grpc', 'http', 'grpc', 'http'] as const;
  const { token } = service;
  return new Load({ grpcPort, httpPort, token, clients, rowsPerRequest: 10, signals: SIGNALS, prefix: `r${round}` });
}

/** No sync of any worker succeeds: a request over either protocol gets no OK, and each worker that tried has ended. */
async function noAnswer(run: Run): Promise<void> {
  const { service } = run;
  const before = service.children('ingest');
  const everySync = { calls: ['fdatasync'], error: 'EIO', when: '1+' } as const;
  const attached = await Promise.all(before.map((pid) => inject(pid, everySync)));
  const senders = [grpcSender(service.ports.grpc, service.token), httpSender(service.ports.http, service.token)];
  for (const [i, sender] of senders.entries()) {
    const id = `unanswered-${i}`;
    run.issued.add(id);
    if (await sender.send(encodeIds([id]))) run.violations.push('a request was acknowledged whose sync had failed');
    sender.close();
  }
  for (const one of attached) run.injected += one.count();
  await Promise.all(attached.map((one) => one.detach()));
  if (!(await holds(() => newcomers(service, 'ingest', before).length > 0, PATIENCE_MS)))
    run.violations.push('no worker ended although its syncs failed');
  await holds(() => service.children('ingest').length === before.length, PATIENCE_MS);
  for (const pid of before.filter((one) => !service.children('ingest').includes(one))) run.noteExit(pid);
  await acceptedAgain(run, httpSender(service.ports.http, service.token));
}

/** The process that it hits ends and is started again; nobody else is. */
async function failSync(run: Run, load: Load, { child, calls }: Round): Promise<void> {
  const { service, violations, random } = run;
  await holds(() => service.children(child).length > 0, PATIENCE_MS);
  const before = processes(service);
  const { pid, attached } = await injectWhereBusy(run, child, { calls, error: 'EIO', when: String(random.int(1, 3)) });
  const gone = await holds(() => !runs(service, pid), PATIENCE_MS);
  run.injected += attached.count();
  await attached.detach();
  if (!gone) {
    violations.push(`${child} goes on although ${calls} failed ${attached.count()} times`);
    return;
  }
  if (
    !(await holds(
      () => service.children(child).length === before.filter((one) => one.name === child).length,
      AGAIN_MS_MAX,
    ))
  )
    violations.push(`${child} was not started again`);
  await delay(200);
  run.noteExit(pid);
  const others = before.filter((one) => one.pid !== pid && !runs(service, one.pid));
  if (others.length > 0) violations.push(`${others.map(({ name }) => name)} ended with ${child}`);
  await goesOn(run, load);
}

/** The connections of the load may all have gone to one worker; the other one makes no calls then. */
async function injectWhereBusy(
  { service, random }: Run,
  child: ChildName,
  injection: Injection,
): Promise<{ pid: number; attached: Attached }> {
  for (const until = performance.now() + PATIENCE_MS; ; ) {
    const pid = random.pick(service.children(child));
    const attached = await inject(pid, injection);
    const busy = await holds(() => attached.count() > 0 || !runs(service, pid), BUSY_WITHIN_MS);
    if (busy || performance.now() > until) return { pid, attached };
    await attached.detach();
  }
}

/** Requests are refused, nothing else: the process lives and takes what comes. */
async function failWrite(run: Run, load: Load, { child, calls }: Round): Promise<void> {
  const { service, violations, random } = run;
  await holds(() => service.children(child).length > 0, PATIENCE_MS);
  const before = processes(service);
  const since = new Date().toISOString();
  const injection = { calls, error: 'ENOSPC', when: `${random.int(1, 3)}+7` } as const;
  const { attached } = await injectWhereBusy(run, child, injection);
  if (attached.count() === 0) violations.push(`no write of ${child} failed`);
  await delay(300);
  await attached.detach();
  run.injected += attached.count();
  if (child === 'ingest' && !FAILED_WRITES.some((text) => linesSince(service, text, since).length > 0))
    violations.push('a failed write was not reported');
  await goesOn(run, load);
  const gone = before.filter((one) => !runs(service, one.pid));
  if (gone.length > 0) violations.push(`${gone.map(({ name }) => name)} ended because of a full disk`);
}

async function goesOn(run: Run, load: Load): Promise<void> {
  const { grpc, http } = load.acknowledgedBy;
  const again = () => load.acknowledgedBy.grpc > grpc && load.acknowledgedBy.http > http;
  if (!(await holds(again, PATIENCE_MS))) run.violations.push('nothing was accepted any more');
}

async function acceptedAgain(run: Run, sender: ReturnType<typeof httpSender>): Promise<void> {
  let n = 0;
  const accepted = async () => {
    const id = `again-${n++}`;
    run.issued.add(id);
    if (!(await sender.send(encodeIds([id])))) return false;
    run.acknowledged.add(id);
    return true;
  };
  if (!(await holds(accepted, PATIENCE_MS))) run.violations.push('nothing was accepted after the workers had ended');
  sender.close();
}

interface Process {
  readonly name: ChildName;
  readonly pid: number;
}

function processes(service: TestService): Process[] {
  return (['ingest', 'store', 'engine'] as const).flatMap((name) =>
    service.children(name).map((pid) => ({ name, pid })),
  );
}

function runs(service: TestService, pid: number): boolean {
  return processes(service).some((one) => one.pid === pid);
}

function newcomers(service: TestService, name: ChildName, before: readonly number[]): number[] {
  return service.children(name).filter((pid) => !before.includes(pid));
}

function parsed(line: string): { pid: number; time: string; msg: string }[] {
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}
