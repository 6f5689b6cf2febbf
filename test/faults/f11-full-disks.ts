/**
 * F11: disks that fill up, and have room again. The spool's volume full to the last byte in the middle of writes, and full
 * up to the low-water mark because the store does not drain; then the engine's volume. Refusals are retryable, nothing
 * that was acknowledged is lost, and the service accepts and stores again by itself. No process ends but an engine that has
 * found a part of its own not whole: a start is what puts that right.
 */
import { join } from 'node:path';
import { MIB } from '../../src/base/limits.ts';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { encodeIds, Load } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { retryableRefusals } from './support/refusal.ts';
import { cannotMount, SmallDisk } from './support/small-disk.ts';
import { holds, judgeStored, linesSince, linesWith, restarts, TWO_WORKERS } from './support/spool-service.ts';

const SPOOL_MIB = 32;
/** Room for the rows of ten rounds and their merges, and the 16 MiB that an INSERT must leave. */
const ENGINE_MIB = 192;
const AGAIN_MS_MAX = 5_000;
/** Logged with ClickHouse's code. */
const FAILED_INSERT = 'batches wait';
const NOT_WHOLE = 'a part is not whole on the disk';
const PATIENCE_MS = 20_000;

export const f11: Fault = {
  id: 'F11',
  title: "the spool's disk and the engine's are full, then have room again",
  async run(options: FaultOptions): Promise<FaultReport> {
    const dataDir = temporaryDirectory();
    const notRun = cannotMount(dataDir);
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    const spool = new SmallDisk(join(dataDir, 'spool'), SPOOL_MIB);
    const engine = new SmallDisk(join(dataDir, 'engine'), ENGINE_MIB);
    const env = { ...TWO_WORKERS, BACKWORK_SEGMENT_MIB: '1', BACKWORK_SEGMENT_MS: '300' };
    const service = await startService({ dataDir, env });
    try {
      return await fillAndFree(service, { spool, engine }, options);
    } finally {
      await service.stop();
      for (const disk of [spool, engine]) disk.unmount();
      await service.stopAndRemove();
    }
  },
};

interface Disks {
  readonly spool: SmallDisk;
  readonly engine: SmallDisk;
}

class Siege {
  readonly service: TestService;
  readonly load: Load;
  readonly violations: string[] = [];
  readonly againMs: number[] = [];
  private probes = 0;

  constructor(service: TestService, load: Load) {
    this.service = service;
    this.load = load;
  }

  /** Until requests are refused, in the form that both protocols have for it. */
  async untilRefused(what: string): Promise<void> {
    const before = this.load.refused;
    if (!(await holds(() => this.load.refused >= before + 4, PATIENCE_MS)))
      this.violations.push(`${what}: nothing was refused`);
    // The other worker may know of a second ago, and a small record may fit the last page of its segment.
    let wrong: string[] = [];
    const refused = async () => {
      wrong = await retryableRefusals(this.service, this.load.token, () => this.probe());
      return wrong.length === 0;
    };
    if (!(await holds(refused, PATIENCE_MS))) this.violations.push(`${what}: ${wrong.join('; ')}`);
  }

  /** Issued, but whether it is accepted nobody keeps. */
  private probe(): Buffer {
    const id = `probe-${this.probes++}`;
    this.load.issued.add(id);
    return encodeIds([id]);
  }

  /** Until requests are accepted again, by both protocols. */
  async untilAccepted(what: string): Promise<void> {
    const startedMs = performance.now();
    const { grpc, http } = this.load.acknowledgedBy;
    const again = () => this.load.acknowledgedBy.grpc > grpc && this.load.acknowledgedBy.http > http;
    if (!(await holds(again, PATIENCE_MS))) this.violations.push(`${what}: nothing was accepted again`);
    this.againMs.push(performance.now() - startedMs);
  }
}

async function fillAndFree(service: TestService, disks: Disks, { size }: FaultOptions): Promise<FaultReport> {
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const clients = ['grpc', 'http', 'grpc', 'http'] as const;
  const load = new Load({ grpcPort, httpPort, token: service.token, clients, rowsPerRequest: 50, signals: SIGNALS });
  const before = processes(service);
  const engineBefore = service.children('engine');
  const siege = new Siege(service, load);
  load.start();
  try {
    for (let round = 0; round < (size === 'full' ? 10 : 1); round++) {
      await siege.untilAccepted('at the start of a round');
      await fullToTheLastByte(siege, disks.spool);
      await fullToTheMark(siege, disks.spool);
      await fullEngine(siege, disks.engine);
    }
  } finally {
    await load.stop();
    for (const disk of [disks.spool, disks.engine]) disk.free();
  }
  const { figures, violations } = await judgeStored(service, load);
  violations.push(...siege.violations);
  const brokenParts = linesWith(service, NOT_WHOLE).length;
  const mayEnd = brokenParts > 0 ? engineBefore : [];
  const ended = before.filter((pid) => !processes(service).includes(pid) && !mayEnd.includes(pid));
  if (ended.length > 0) violations.push(`${ended.length} processes ended: ${restarts(service).join('\n')}`);
  const againMsMax = Math.round(Math.max(...siege.againMs));
  if (size === 'full' && againMsMax > AGAIN_MS_MAX) violations.push(`accepted again only after ${againMsMax} ms`);
  const codes = linesWith(service, FAILED_INSERT).map((line) => /"storeCode":(\d+)/.exec(line)?.[1] ?? 'none');
  const writesRefused = linesWith(service, 'a write to the spool failed').length;
  return {
    figures: {
      ...figures,
      refused: load.refused,
      writesRefused,
      storeCodes: [...new Set(codes)].join(),
      againMsMax,
      brokenParts,
      processesEnded: ended.length,
    },
    violations,
  };
}

/** Between two looks at the free space: a write meets a disk that has no byte left. */
async function fullToTheLastByte(siege: Siege, disk: SmallDisk): Promise<void> {
  disk.fill();
  await siege.untilRefused('spool full to the last byte');
  disk.free();
  await siege.untilAccepted('after a spool full to the last byte');
}

/** The store stands still, so the spool grows to its low-water mark; when it goes on, it drains what frees the disk. */
async function fullToTheMark(siege: Siege, disk: SmallDisk): Promise<void> {
  const [store] = siege.service.children('store');
  process.kill(store!, 'SIGSTOP');
  try {
    disk.fill(8 * MIB);
    await siege.untilRefused('spool at its low-water mark');
  } finally {
    process.kill(store!, 'SIGCONT');
  }
  await siege.untilAccepted('after the store has drained');
  disk.free();
}

/** INSERTs fail as temporary; what arrives waits in the spool, and is stored when there is room. */
async function fullEngine(siege: Siege, disk: SmallDisk): Promise<void> {
  const { service } = siege;
  const since = new Date().toISOString();
  disk.fill();
  await siege.untilAccepted("while the engine's disk is full");
  const waits = () => {
    disk.fill();
    return linesSince(service, FAILED_INSERT, since).length > 0;
  };
  if (!(await holds(waits, PATIENCE_MS)))
    siege.violations.push('no INSERT failed while the disk of the engine was full');
  disk.free();
}

function processes(service: TestService): number[] {
  return (['ingest', 'store', 'engine'] as const).flatMap((name) => service.children(name));
}
