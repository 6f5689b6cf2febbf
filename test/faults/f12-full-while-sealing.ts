/**
 * F12: the disk is full when a segment is sealed. The whole data directory but the engine is on a small disk; requests are
 * acknowledged, then somebody else takes the last byte. The batch file is done without, the footer and the journal use
 * the room set aside for them, and the spool drains to nothing while the disk stays full.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { JOURNAL_MAGIC } from '../../src/ingest/store/journal-notes.ts';
import { Load } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { bindMount, cannotMount, SmallDisk, unmount } from './support/small-disk.ts';
import { holds, judgeStored, linesWith, restarts, TWO_WORKERS, waitingFiles } from './support/spool-service.ts';

const DISK_MIB = 48;
const SEGMENT_MS = 600;
const PATIENCE_MS = 20_000;
const DISK_PAGE_BYTES = 4_096;
const NOTE_HEADER_BYTES = 9;
/** Of a later program: kept as it is. */
const UNKNOWN_KIND = 250;
const ROWS_BEFORE_FULL = 2_000;

export const f12: Fault = {
  id: 'F12',
  title: 'the disk is full while segments are sealed and stored',
  async run(options: FaultOptions): Promise<FaultReport> {
    const root = temporaryDirectory();
    const notRun = cannotMount(root);
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    const dataDir = join(root, 'data');
    const disk = new SmallDisk(dataDir, DISK_MIB);
    // The engine's own disk has room: this is about the spool's.
    bindMount(join(root, 'engine'), join(dataDir, 'engine'));
    writeFileSync(join(dataDir, 'store.journal'), longJournal());
    const env = { ...TWO_WORKERS, BACKWORK_SEGMENT_MIB: '4', BACKWORK_SEGMENT_MS: String(SEGMENT_MS) };
    const service = await startService({ dataDir, env });
    try {
      return await sealWithoutRoom(service, disk, options);
    } finally {
      await service.stop();
      unmount(join(dataDir, 'engine'));
      disk.unmount();
      await service.stopAndRemove();
    }
  },
};

async function sealWithoutRoom(service: TestService, disk: SmallDisk, { size }: FaultOptions): Promise<FaultReport> {
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const acknowledged = new Set<string>();
  const issued = new Set<string>();
  const violations: string[] = [];
  const rounds = size === 'full' ? 20 : 2;
  let drainMsMax = 0;
  for (let round = 0; round < rounds; round++) {
    const load = new Load({
      grpcPort,
      httpPort,
      token: service.token,
      clients: ['grpc', 'http', 'grpc', 'http'],
      rowsPerRequest: 50,
      signals: SIGNALS,
      prefix: `round${round}`,
    });
    load.start();
    await holds(() => load.acknowledged.size >= ROWS_BEFORE_FULL, PATIENCE_MS);
    // In every second round while groups are committed, else between the last one and the sealing.
    if (round % 2 === 0) disk.fill();
    await load.stop();
    disk.fill();
    const startedMs = performance.now();
    // Once all have their footers the filler takes what becomes free, so that the journal needs its own room too.
    let filledAgain = false;
    const drained = () => {
      const waiting = waitingFiles(service.dataDir);
      const sealed = waiting.filter((name) => name.endsWith('.segment')).every((name) => hasFooter(waiting, name));
      // Once: what the journal then gives up is for the journal.
      if (sealed && !filledAgain) disk.fill();
      filledAgain ||= sealed;
      return waiting.length === 0;
    };
    if (!(await holds(drained, PATIENCE_MS)))
      violations.push(
        `round ${round}: on a full disk ${waitingFiles(service.dataDir)} wait\n${service.stderr.slice(-1_500)}`,
      );
    drainMsMax = Math.max(drainMsMax, performance.now() - startedMs);
    disk.free();
    for (const id of load.acknowledged) acknowledged.add(id);
    for (const id of load.issued) issued.add(id);
    // The room set aside is set aside again when a segment is sealed and there is room.
    await settle(service, round, issued, acknowledged);
  }
  const judged = await judgeStored(service, { acknowledged, issued });
  violations.push(...judged.violations);
  if (restarts(service).length > 0) violations.push(`processes ended: ${restarts(service).join('\n')}`);
  const batchFilesLeftOut = linesWith(service, 'batch file').length;
  const footersFromReserve = linesWith(service, 'a footer could not be written; trying again').length;
  const journalsFromReserve = linesWith(service, 'gave up the room set aside for the journal').length;
  if (footersFromReserve === 0) violations.push('no footer needed the room set aside');
  // Two rounds may do without: the store is now and then done before the filler.
  if (size === 'full' && journalsFromReserve === 0) violations.push('the journal never needed the room set aside');
  return {
    figures: {
      rounds,
      ...judged.figures,
      footersFromReserve,
      journalsFromReserve,
      batchFilesLeftOut,
      drainMsMax: Math.round(drainMsMax),
    },
    violations,
  };
}

function hasFooter(waiting: readonly string[], segment: string): boolean {
  return waiting.includes(segment.replace(/segment$/, 'footer'));
}

/** A journal that ends just before a page of the disk: the next notes need one that is not there. */
function longJournal(): Buffer {
  const payload = Buffer.alloc(2 * DISK_PAGE_BYTES - JOURNAL_MAGIC.length - NOTE_HEADER_BYTES - 150);
  const note = Buffer.alloc(NOTE_HEADER_BYTES + payload.length);
  note.writeUInt32LE(payload.length, 0);
  note[8] = UNKNOWN_KIND;
  note.writeUInt32LE(crc32(note.subarray(8)), 4);
  return Buffer.concat([JOURNAL_MAGIC, note]);
}

/** A few rows that are accepted and sealed with room: the state that the next round begins with. */
async function settle(
  service: TestService,
  round: number,
  issued: Set<string>,
  acknowledged: Set<string>,
): Promise<void> {
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const load = new Load({
    grpcPort,
    httpPort,
    token: service.token,
    clients: ['grpc', 'http', 'grpc', 'http'],
    rowsPerRequest: 1,
    prefix: `settle${round}`,
  });
  load.start();
  await holds(() => load.acknowledgedBy.grpc > 10 && load.acknowledgedBy.http > 10, PATIENCE_MS);
  await load.stop();
  await delay(SEGMENT_MS / 2);
  for (const id of load.acknowledged) acknowledged.add(id);
  for (const id of load.issued) issued.add(id);
}
