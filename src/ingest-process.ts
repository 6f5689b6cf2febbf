/**
 * One ingest worker: accept → authenticate → convert → spool, composed. It opens the accounts database read-only, owns one
 * spool directory, and shares its ports with the other workers.
 *
 * It starts from the spool outwards (recovery first, ports last) and stops from the ports inwards. When a sync fails or an
 * invariant breaks it ends at once, and its spool is recovered by the process that the supervisor starts in its place.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { loadPepper } from './accounts/key-file.ts';
import { openTokenSource } from './accounts/store/token-source.ts';
import { BackworkError, messageOf } from './base/errors.ts';
import { faultPointsInForce } from './base/fault-points.ts';
import { loadKeyedHash } from './base/keyed-hash.ts';
import { LIMIT_EXCHANGE_MS, MIB, REFUSED_BODY_DRAIN_BYTES_MAX } from './base/limits.ts';
import { takeLock } from './base/lock-file.ts';
import { createLog, type Log } from './base/log.ts';
import { planMemory } from './base/memory-plan.ts';
import { answerWithMetrics } from './base/metrics-process.ts';
import { type AcceptDeps, type AcceptServer, MONOTONIC_CLOCK, type RequestLog } from './ingest/accept/accept-server.ts';
import { createGrpcServer } from './ingest/accept/grpc-server.ts';
import { createHints } from './ingest/accept/hints.ts';
import { createHttpServer } from './ingest/accept/http-server.ts';
import { TlsFiles } from './ingest/accept/tls-files.ts';
import { openTokenTable } from './ingest/authenticate/token-table.ts';
import { BuilderPool } from './ingest/convert/builder-pool.ts';
import { BuilderSet } from './ingest/convert/builders.ts';
import { CONVERTER_VERSION } from './ingest/convert/convert.ts';
import { encodeRecords } from './ingest/convert/reconvert.ts';
import type { RequestPath } from './ingest/messages.ts';
import { IngestMetrics } from './ingest/metrics/ingest-metrics.ts';
import { decodeNames, OrganizationNames } from './ingest/metrics/organization-names.ts';
import { RowSpill } from './ingest/large/large-rows.ts';
import { LargeWork } from './ingest/large/large-work.ts';
import { OrganizationLimiter } from './ingest/limits/organization-limiter.ts';
import type { OrganizationReport } from './ingest/limits/organization-use.ts';
import { SpoolUse } from './ingest/limits/spool-use.ts';
import { openQuarantine } from './ingest/quarantine/store-quarantine.ts';
import { createPipeline } from './ingest/pipeline.ts';
import { realSpoolFiles } from './ingest/spool/spool-files.ts';
import { listSegmentFiles, readWaiting } from './ingest/spool/waiting-segments.ts';
import { openSpool, type Spool } from './ingest/spool/writer.ts';
import type { ChildMessage, SupervisorMessage } from './process-messages.ts';
import {
  corsOrigins,
  loadSettings,
  organizationDefaults,
  otlpTlsPaths,
  spoolReserveBytes,
} from './settings/load-settings.ts';
import type { Settings } from './settings/settings.ts';

/** How often the supervisor hears whether a request sent now would be accepted. */
const ACCEPTING_INTERVAL_MS = 250;

const settings = loadSettings(process.env);
const memory = planMemory(settings);
const workerIndex = Number(process.env['BACKWORK_WORKER_INDEX'] ?? '0');
const faults = faultPointsInForce();
const events = new IngestMetrics(new OrganizationNames(decodeNames(process.env['BACKWORK_ORGANIZATION_NAMES'])));
const log = createLog(`ingest ${workerIndex}`, settings.logLevel);

try {
  await run();
} catch (error) {
  log.error({ reason: messageOf(error) }, 'the ingest process cannot start');
  // A failed sync wants a new process and a new look at the disk (R9); anything else that is final wants the operator.
  const wantsOperator = error instanceof BackworkError && !error.retryable && error.code !== 'spool-failed';
  if (wantsOperator) send({ type: 'fatal', message: error.message });
  // The message has to reach the supervisor before the process ends.
  setTimeout(() => process.exit(1), 50);
}

async function run(): Promise<void> {
  const spoolDir = join(settings.dataDir, 'spool', String(workerIndex));
  const tls = await openTls();
  const spool = await open(spoolDir);
  const pepper = loadPepper(settings.dataDir);
  const tokens = await openTokenTable({
    source: openTokenSource(settings.dataDir),
    pepper: pepper.key,
    hash: await loadKeyedHash(),
    limits: organizationDefaults(settings),
    nowMs: Date.now,
    log,
  });
  const limits = startLimits(spool, spoolDir);
  const large = await openLargeWork(spoolDir);
  const path = createPipeline({
    tokens,
    spool,
    limiter: limits.limiter,
    spoolUse: limits.spoolUse,
    large,
    inFlightBytesMax: memory.inFlightBytesMax,
    bytesPerSecondMax: settings.ingestBytesPerSecond,
    bodyBytesMax: settings.bodyMib * MIB,
    nowMs: Date.now,
    faults,
    events,
  });
  const deps = acceptDeps(path, () => spool.refusal(0) === undefined, tls);
  const grpc = createGrpcServer(deps);
  const http = createHttpServer(deps);
  const ports = await listen(grpc, http);
  const reporting = setInterval(() => reportAccepting(spool), ACCEPTING_INTERVAL_MS);
  onStop(async () => {
    clearInterval(reporting);
    limits.stop();
    tls?.close();
    send({ type: 'accepting', accepting: false, reason: 'shutting down' });
    await Promise.all([grpc.drain(), http.drain()]);
    await large.close();
    await spool.close();
    tokens.close();
  });
  const worker = String(workerIndex);
  answerWithMetrics({ process: 'ingest', worker }, (sheet) => {
    events.collect(sheet);
    sheet.add('backwork_in_flight_bytes', path.inFlightBytes(), { worker });
    sheet.add('backwork_ingest_memory_ceiling_bytes', settings.ingestMemoryMib * MIB, { worker });
  });
  send({ type: 'ready', ports });
  reportAccepting(spool);
}

/** What both ports are made with. */
function acceptDeps(path: RequestPath, isServing: () => boolean, tls: TlsFiles | undefined): AcceptDeps {
  const bodyBytesMax = settings.bodyMib * MIB;
  return {
    path,
    log: requestLog(settings, log),
    corsOrigins: corsOrigins(settings),
    events,
    limits: {
      bodyBytesMax,
      // A client whose body is over the limit by less than the limit again still gets to see the refusal.
      refusedDrainBytesMax: Math.max(REFUSED_BODY_DRAIN_BYTES_MAX, 2 * bodyBytesMax),
    },
    onFault: (error) => log.error({ reason: messageOf(error), stack: stackOf(error) }, 'a fault of ours'),
    hint: createHints({
      nowMs: () => MONOTONIC_CLOCK.nowMs(),
      say: (kind, message, unsaid) => log.warn({ hint: kind, unsaid }, message),
    }),
    isServing,
    ...(tls === undefined ? {} : { tls }),
  };
}

/** undefined: the ports are plain text. Throws `bad-setting` when the files cannot be served. */
async function openTls(): Promise<TlsFiles | undefined> {
  const paths = otlpTlsPaths(settings);
  if (paths === undefined) return undefined;
  return TlsFiles.open({ paths, log, nowMs: Date.now, warnsOfExpiry: workerIndex === 0 });
}

/** Takes the spool's lock, recovers what an earlier process left, opens a segment. */
async function open(dir: string): Promise<Spool<BuilderSet>> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const pool = new BuilderPool(memory.poolBytesMax);
  const { dataDir, quarantineMib } = settings;
  const quarantine = openQuarantine({
    dataDir,
    files: realSpoolFiles,
    bytesMax: quarantineMib * MIB,
    takeLock,
    nowMs: Date.now,
    log,
    events,
  });
  const disk = await statfs(dir);
  return openSpool({
    dir,
    files: realSpoolFiles,
    log,
    takeLock,
    segmentBytesMax: settings.segmentMib * MIB,
    segmentAgeMs: settings.segmentMs,
    segmentRowBytesMax: memory.segmentRowBytesMax,
    rowBytesMax: memory.rowBytesMax,
    reserveBytes: spoolReserveBytes(settings, disk.blocks * disk.bsize),
    newRows: () => new BuilderSet({ cutWhenFull: false, pool }),
    encodeRecords,
    converterVersion: CONVERTER_VERSION,
    onSealed: (sequence) => send({ type: 'sealed', spoolDir: dir, sequence }),
    onFatal: (error) => {
      log.error({ reason: error.message }, 'the spool cannot promise durability any more: this process ends');
      process.exit(1);
    },
    nowMs: Date.now,
    faults,
    events,
    keepPiece: quarantine.keepPiece,
  });
}

/** Requests over 1 MiB; their rows wait beside the segments. */
async function openLargeWork(dir: string): Promise<LargeWork> {
  const spill = new RowSpill({ files: realSpoolFiles, dir, keptBytesMax: memory.largeKeptBytesMax });
  await spill.clear();
  const compileCacheDir = process.env['NODE_COMPILE_CACHE'];
  return new LargeWork({ cutBytes: memory.largeCutBytes, spill, compileCacheDir });
}

/** Who may use what, over all workers: counted here, told to the others through the supervisor. */
function startLimits(spool: Spool<BuilderSet>, dir: string) {
  const defaults = organizationDefaults(settings);
  const nowMs = () => performance.now();
  const limiter = new OrganizationLimiter({
    workers: settings.workers,
    defaults,
    spoolRoomBytes: () => spool.roomBytes,
    sealingIsBehind: () => spool.sealingIsBehind,
    nowMs,
  });
  const listSegments = () => listSegmentFiles(realSpoolFiles, dir);
  const spoolUse = new SpoolUse({ listSegments, use: (orgId) => limiter.use(orgId), nowMs });
  const exchange = setInterval(() => {
    const organizations = limiter.report();
    if (settings.workers > 1) send({ type: 'use', organizations });
    void spoolUse.look();
  }, LIMIT_EXCHANGE_MS);
  process.on('message', (message: SupervisorMessage) => {
    if (message.type === 'use') limiter.heard(message.worker, message.organizations as OrganizationReport[]);
  });
  let stopped = false;
  const { sealed, kept } = spool.recovered;
  const count = async (): Promise<void> => {
    const waiting = readWaiting({ files: realSpoolFiles, dir, log }, [...kept, ...sealed], () => !stopped);
    for await (const segment of waiting) spoolUse.found(segment);
  };
  count().catch((error) => log.warn({ reason: messageOf(error) }, 'what waits in the spool was not counted'));
  const stop = (): void => {
    stopped = true;
    clearInterval(exchange);
  };
  return { limiter, spoolUse, stop };
}

async function listen(grpc: AcceptServer, http: AcceptServer): Promise<Record<string, number>> {
  const host = settings.otlpHost;
  const reusePort = settings.workers > 1;
  return {
    grpc: await grpc.listen({ host, port: settings.otlpGrpcPort, reusePort }),
    http: await http.listen({ host, port: settings.otlpHttpPort, reusePort }),
  };
}

function reportAccepting(spool: Spool<BuilderSet>): void {
  const refusal = spool.refusal(0);
  send({ type: 'accepting', accepting: refusal === undefined, reason: refusal?.message ?? '' });
}

/** Allow-listed fields, and only at level debug: a line a request is the operator's choice. */
function requestLog(inForce: Settings, target: Log): RequestLog {
  if (inForce.logLevel !== 'debug') return { request: () => undefined };
  return { request: (fields) => target.debug(fields, 'request') };
}

/** The stack of what was thrown where nothing of the user's can be in it: the message's line is left out. */
function stackOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return error.stack
    ?.split('\n')
    .filter((line) => line.trimStart().startsWith('at '))
    .join('\n');
}

function onStop(stop: () => Promise<void>): void {
  let stopping = false;
  process.on('message', (message: SupervisorMessage) => {
    if (message.type !== 'stop' || stopping) return;
    stopping = true;
    stop().then(
      () => process.exit(0),
      (error) => {
        log.error({ reason: messageOf(error) }, 'stopping failed');
        process.exit(1);
      },
    );
  });
}

// Without its supervisor nobody restarts it or tells the store: everything answered is on disk, so it simply ends.
process.on('disconnect', () => process.exit(1));
// A signal to the process group reaches the children too: the supervisor's `stop` decides, in order.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => undefined);

function send(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
