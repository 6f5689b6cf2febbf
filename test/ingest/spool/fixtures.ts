/**
 * What the tests of the spool share: rows that are easy to account for, requests that carry their own id, a log that
 * collects, and files that record or fail calls.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeLock } from '../../../src/base/lock-file.ts';
import type { Log } from '../../../src/base/log.ts';
import type { EncodedBatch, RecordHeader, SegmentRows, SpoolRecord } from '../../../src/ingest/messages.ts';
import { type StoredBody, storeBody } from '../../../src/ingest/spool/body.ts';
import { listSealed, readBatch, readFooter, readRecords } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles, type SpoolFile, type SpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { openSpool, type Spool, type SpoolDeps } from '../../../src/ingest/spool/writer.ts';

/** A row is the request's id (u32) and the request's index in the segment (u32); one batch for each placement. */
export class IdRows implements SegmentRows {
  bytes = 0;
  full = false;
  /** Thrown by encode, when set. */
  broken: Error | undefined;
  private pending: { id: number; placement: string }[] = [];
  private readonly byPlacement = new Map<string, number[]>();
  private readonly table: string;

  constructor(table = 'otel_logs') {
    this.table = table;
  }

  write(id: number, placement: string): void {
    this.pending.push({ id, placement });
    this.bytes += 8;
  }

  assign(requestIndex: number): void {
    for (const { id, placement } of this.pending) {
      const rows = this.byPlacement.get(placement) ?? [];
      rows.push(id, requestIndex);
      this.byPlacement.set(placement, rows);
    }
    this.pending = [];
  }

  *encodeInSteps(newBatchId: () => string): Generator<EncodedBatch, void, void> {
    if (this.broken !== undefined) throw this.broken;
    for (const [placement, rows] of this.byPlacement) {
      yield {
        table: this.table,
        partition: { placement, retentionDays: 30, expiresOnDay: 20_800 },
        batchId: newBatchId(),
        firstRequest: rows[1] as number,
        lastRequest: rows.at(-1) as number,
        rowFrom: 0,
        rowCount: rows.length / 2,
        bytes: new Uint8Array(Uint32Array.from(rows).buffer),
      };
    }
  }
}

/** The same batches from the records. */
export async function* encodeIdRecords(
  records: AsyncIterable<{ index: number; record: SpoolRecord }>,
  newBatchId: () => string,
): AsyncGenerator<EncodedBatch, void, void> {
  const rows = new IdRows();
  for await (const { index, record } of records) {
    const own = record.header.ownBatches ? new IdRows('own') : undefined;
    (own ?? rows).write(record.body.readUInt32LE(0), record.header.placement);
    (own ?? rows).assign(index);
    if (own !== undefined) yield* own.encodeInSteps(newBatchId);
  }
  yield* rows.encodeInSteps(newBatchId);
}

export function header(fields: Partial<RecordHeader> = {}): RecordHeader {
  return {
    orgId: 'org_aaaabbbbccccdddd',
    tokenId: 'tok123456789',
    placement: 'shared-0',
    signal: 'logs',
    receivedAtMs: 1_795_456_000_123,
    retentionDays: 30,
    expiresOnDay: 20_800,
    itemsAccepted: 1,
    itemsRejected: 0,
    bytesReceived: 4,
    fingerprint: Buffer.alloc(16, 7),
    ownBatches: false,
    ...fields,
  };
}

/** The body of request `id`: its id, then bytes that follow from it. Half of them are worth compressing. */
export function bodyOf(id: number, bytes: number): Buffer {
  const body = Buffer.alloc(Math.max(4, bytes));
  let state = id * 2_654_435_761;
  for (let at = 4; at < body.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    body[at] = id % 2 === 0 ? state >>> 24 : (state >>> 24) & 3;
  }
  body.writeUInt32LE(id, 0);
  return body;
}

/** Appends request `id` with its one row; `durable` as the spool gives it. */
export function send(
  spool: Spool<IdRows>,
  id: number,
  options: { bytes?: number; own?: boolean; placement?: string } = {},
): { durable: Promise<void>; answered(): void; body: StoredBody } {
  const { bytes = 100, own = false, placement = 'shared-0' } = options;
  const body = storeBody(bodyOf(id, bytes));
  const ownRows = own ? new IdRows('own') : undefined;
  (ownRows ?? spool.rows).write(id, placement);
  const fields = { placement, ownBatches: own, fingerprint: body.fingerprint, bytesReceived: body.rawBytes };
  const { durable, answered } = spool.append(header(fields), body, ownRows);
  return { durable, answered, body };
}

export interface CollectedLog extends Log {
  readonly lines: { level: string; message: string; fields: Record<string, unknown> }[];
}

export function collectLog(): CollectedLog {
  const lines: CollectedLog['lines'] = [];
  const at =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push({ level, message, fields: { ...fields } });
    };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export interface TestSpool {
  readonly dir: string;
  readonly log: CollectedLog;
  readonly sealed: number[];
  readonly fatal: Error[];
  open(overrides?: Partial<SpoolDeps<IdRows>>): Promise<Spool<IdRows>>;
  remove(): void;
}

/** A spool in a fresh directory. Nothing is sealed by age unless a test asks for it. */
export function testSpool(): TestSpool {
  const root = mkdtempSync(join(tmpdir(), 'bw-spool-'));
  const dir = join(root, 'spool', '0');
  const log = collectLog();
  const sealed: number[] = [];
  const fatal: Error[] = [];
  return {
    dir,
    log,
    sealed,
    fatal,
    open: (overrides = {}) => openSpool({ ...depsFor(dir, { log, sealed, fatal }), ...overrides }),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

export function depsFor(dir: string, seen: { log: Log; sealed: number[]; fatal: Error[] }): SpoolDeps<IdRows> {
  return {
    dir,
    files: realSpoolFiles,
    log: seen.log,
    segmentBytesMax: 1_048_576,
    segmentAgeMs: 3_600_000,
    reserveBytes: 1,
    takeLock,
    newRows: () => new IdRows(),
    encodeRecords: encodeIdRecords,
    converterVersion: 3,
    onSealed: (sequence) => seen.sealed.push(sequence),
    onFatal: (error) => seen.fatal.push(error),
    nowMs: () => 1_795_456_000_000,
  };
}

export interface StoredRow {
  readonly id: number;
  readonly batchId: string;
}

/**
 * What the store would see: every record and every row of every sealed segment. Checks on the way that each request of
 * a footer has its record and each good record its row, once, in a batch that claims its index.
 */
export async function readAll(
  files: SpoolFiles,
  dir: string,
  sequences?: readonly number[],
): Promise<{ ids: number[]; rows: StoredRow[] }> {
  const ids: number[] = [];
  const rows: StoredRow[] = [];
  for (const sequence of sequences ?? (await listSealed(files, dir))) {
    const footer = await readFooter(files, dir, sequence);
    const idAt = new Map<number, number>();
    for await (const { index, record } of readRecords(files, dir, sequence)) {
      const id = record.body.readUInt32LE(0);
      if (!record.body.equals(bodyOf(id, record.body.length))) throw new Error(`request ${id} is not whole`);
      const request = footer.requests[index];
      if (request?.orgId !== record.header.orgId) throw new Error(`segment ${sequence}: no request ${index} in footer`);
      idAt.set(index, id);
      ids.push(id);
    }
    const known = footer.requests.filter(({ orgId }) => orgId !== '').length;
    if (known !== idAt.size) throw new Error(`segment ${sequence}: ${known} requests, ${idAt.size} records`);
    const here = new Set<number>();
    for (const batch of footer.batches) {
      const bytes = (await readBatch(files, dir, sequence, batch)) ?? (await again(files, dir, sequence, batch));
      if (bytes.length !== 8 * batch.rowCount) throw new Error(`batch ${batch.batchId}: ${bytes.length} bytes`);
      for (let at = 0; at < bytes.length; at += 8) {
        const id = bytes.readUInt32LE(at);
        const index = bytes.readUInt32LE(at + 4);
        if (idAt.get(index) !== id)
          throw new Error(`row of ${id} claims request ${index}, which is ${idAt.get(index)}`);
        if (index < batch.firstRequest || index > batch.lastRequest) throw new Error(`row ${id} outside its batch`);
        if (here.has(index)) throw new Error(`request ${index} has two rows`);
        here.add(index);
        rows.push({ id, batchId: batch.batchId });
      }
    }
    if (here.size !== idAt.size) throw new Error(`segment ${sequence}: ${idAt.size} records, ${here.size} rows`);
  }
  return { ids, rows };
}

/** A batch from its records, as the store converts it again. */
async function again(
  files: SpoolFiles,
  dir: string,
  sequence: number,
  batch: { table: string; firstRequest: number; lastRequest: number; partition: { placement: string } },
): Promise<Buffer> {
  const rows: number[] = [];
  const range = { first: batch.firstRequest, last: batch.lastRequest };
  for await (const { index, record } of readRecords(files, dir, sequence, range)) {
    const { header: head, body } = record;
    if (head.placement !== batch.partition.placement || head.ownBatches !== (batch.table === 'own')) continue;
    rows.push(body.readUInt32LE(0), index);
  }
  return Buffer.from(Uint32Array.from(rows).buffer);
}

/** A call to the files, as the hook sees it before it is made: `write 0000…1.segment`, `datasync …`, `syncDirectory …`. */
export type FileHook = (call: string, name: string) => Promise<void> | void;

/** The real files, each call announced first; what the hook throws, the call throws. */
export function hookedFiles(hook: FileHook, files: SpoolFiles = realSpoolFiles): SpoolFiles {
  const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const wrap = (file: SpoolFile, name: string): SpoolFile => ({
    write: async (buffers, position) => {
      await hook('write', name);
      return file.write(buffers, position);
    },
    read: (position, length) => file.read(position, length),
    size: () => file.size(),
    truncate: async (bytes) => {
      await hook('truncate', name);
      return file.truncate(bytes);
    },
    datasync: async () => {
      await hook('datasync', name);
      return file.datasync();
    },
    close: () => file.close(),
  });
  return {
    ...files,
    create: async (path) => {
      await hook('create', nameOf(path));
      return wrap(await files.create(path), nameOf(path));
    },
    open: async (path, access) => wrap(await files.open(path, access), nameOf(path)),
    rename: async (from, to) => {
      await hook('rename', nameOf(to));
      return files.rename(from, to);
    },
    remove: async (path) => {
      await hook('remove', nameOf(path));
      return files.remove(path);
    },
    syncDirectory: async (dir) => {
      await hook('syncDirectory', nameOf(dir));
      return files.syncDirectory(dir);
    },
  };
}

export function diskError(code: 'ENOSPC' | 'EIO'): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** Turns of the event loop until `what` holds; fails after about 10 s. */
export async function until(what: () => boolean, name: string): Promise<void> {
  for (let turns = 0; turns < 10_000; turns++) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`never happened: ${name}`);
}
