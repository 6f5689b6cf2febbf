/**
 * Sealed segments for the store, made by the real spool. A request's body is the JSON of its rows, and its rows are
 * written as Native blocks of a small table by the writer at the end of this file, so that what the table holds in the
 * end can be compared with what was sent, id by id.
 */
import { cp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from '../../../src/base/lock-file.ts';
import type { EncodedBatch, FooterBatch, Partition, SegmentRows, SpoolRecord } from '../../../src/ingest/messages.ts';
import { storeBody } from '../../../src/ingest/spool/body.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { openSpool } from '../../../src/ingest/spool/writer.ts';
import { string, TENANCY, TENANCY_INDEXES, type Table, uint64 } from '../../../src/tables/column.ts';
import { recordingLog } from './recording-log.ts';

/** Rows of one request that go to one (table, partition). */
export interface Rows {
  readonly table: string;
  readonly partition: Partition;
  readonly ids: readonly number[];
  /** Bytes of text in each row, to make large batches. */
  readonly textBytes?: number;
}
export type Request = readonly Rows[];

const DAY_MS = 86_400_000;
export const TODAY = Math.floor(Date.now() / DAY_MS);

export function smallTable(name: string): Table {
  return {
    name,
    columns: [...TENANCY, uint64('Id'), string('Text')],
    derived: [],
    indexes: TENANCY_INDEXES,
    orderBy: '(OrgId, Id)',
  };
}

export function partition(placement: string, changes: Partial<Partition> = {}): Partition {
  return { placement, retentionDays: 30, expiresOnDay: TODAY + 30, ...changes };
}

export function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

export interface SealOptions {
  /** Requests carry the fingerprints of their bodies; without it they are no one's copies. */
  readonly fingerprints?: boolean;
  /** Their answers are known to have been sent. */
  readonly answered?: boolean;
  /** Now, else. */
  readonly receivedAtMs?: number;
}

/** Seals one segment for each list of requests, in the spool directory; returns their sequences. */
export async function sealSegments(
  dir: string,
  segments: readonly (readonly Request[])[],
  options: SealOptions = {},
): Promise<number[]> {
  const sealed: number[] = [];
  const spool = await open(dir, 20, (sequence) => sealed.push(sequence));
  for (const [index, requests] of segments.entries()) {
    const appended = requests.map(async (request) => {
      spool.rows.add(request);
      const body = storeBody(Buffer.from(JSON.stringify(request)));
      const header = headerOf(request);
      const fingerprint = options.fingerprints === true ? body.fingerprint : header.fingerprint;
      const { receivedAtMs = header.receivedAtMs } = options;
      const { durable, answered } = spool.append({ ...header, fingerprint, receivedAtMs }, body);
      if (options.answered === true) answered();
      await durable;
    });
    await Promise.all(appended);
    while (sealed.length <= index) await sleep(5);
  }
  await spool.close();
  return sealed;
}

/** A spool as a killed worker leaves it: this body was acknowledged, and its segment is not sealed. */
export async function leaveUnsealed(dir: string, body: Buffer): Promise<void> {
  const alive = `${dir}-alive`;
  const spool = await open(alive, 60_000, () => {});
  await spool.append(headerOf([{ table: 'unused', partition: partition('org_a'), ids: [1] }]), storeBody(body)).durable;
  await cp(alive, dir, { recursive: true });
  await spool.close();
  await rm(alive, { recursive: true });
}

/** What the convert room's reencodeBatch is in production. */
export async function reencode(
  records: AsyncIterable<{ index: number; record: SpoolRecord }>,
  batch: FooterBatch,
  without: ReadonlySet<number> = new Set(),
): Promise<{ bytes: Uint8Array; rowCount: number }> {
  const ids: number[] = [];
  let textBytes = 0;
  for await (const { index, record } of records) {
    if (without.has(index)) continue;
    for (const rows of JSON.parse(record.body.toString()) as Request) {
      if (keyOf(rows) !== keyOf(batch)) continue;
      ids.push(...rows.ids);
      textBytes = rows.textBytes ?? 0;
    }
  }
  return { bytes: nativeBlock(batch.partition, batch.batchId, ids, textBytes), rowCount: ids.length };
}

function open(dir: string, segmentAgeMs: number, onSealed: (sequence: number) => void) {
  return openSpool<TestRows>({
    dir,
    files: realSpoolFiles,
    log: recordingLog(),
    takeLock,
    segmentBytesMax: 64 * 1024 * 1024,
    segmentAgeMs,
    reserveBytes: 0,
    newRows: () => new TestRows(),
    encodeRecords,
    converterVersion: 1,
    onSealed,
    onFatal: (error) => {
      throw error;
    },
    nowMs: Date.now,
  });
}

async function* encodeRecords(
  records: AsyncIterable<{ index: number; record: SpoolRecord }>,
  newBatchId: () => string,
): AsyncGenerator<EncodedBatch> {
  const rows = new TestRows();
  for await (const { index, record } of records) {
    rows.add(JSON.parse(record.body.toString()) as Request);
    rows.assign(index);
  }
  yield* rows.encodeInSteps(newBatchId);
}

class TestRows implements SegmentRows {
  readonly bytes = 0;
  readonly full = false;
  private added: Request = [];
  private readonly assigned: { readonly index: number; readonly rows: Rows }[] = [];

  add(request: Request): void {
    this.added = request;
  }

  assign(index: number): void {
    for (const rows of this.added) this.assigned.push({ index, rows });
    this.added = [];
  }

  *encodeInSteps(newBatchId: () => string): Generator<EncodedBatch, void, void> {
    for (const group of Map.groupBy(this.assigned, ({ rows }) => keyOf(rows)).values()) {
      const { table, partition: where, textBytes = 0 } = group[0]!.rows;
      const ids = group.flatMap(({ rows }) => rows.ids);
      const batchId = newBatchId();
      yield {
        table,
        partition: where,
        batchId,
        firstRequest: group[0]!.index,
        lastRequest: group.at(-1)!.index,
        rowFrom: 0,
        rowCount: ids.length,
        bytes: nativeBlock(where, batchId, ids, textBytes),
      };
    }
  }
}

function headerOf(request: Request) {
  const { placement, retentionDays, expiresOnDay } = request[0]!.partition;
  return {
    orgId: 'org_test',
    tokenId: 'token',
    signal: 'logs' as const,
    receivedAtMs: Date.now(),
    placement,
    retentionDays,
    expiresOnDay,
    itemsAccepted: request.reduce((sum, rows) => sum + rows.ids.length, 0),
    itemsRejected: 0,
    bytesReceived: 1,
    fingerprint: Buffer.alloc(16),
    ownBatches: false,
  };
}

function keyOf({ table, partition: where }: { table: string; partition: Partition }): string {
  return `${table} ${where.placement} ${where.retentionDays} ${where.expiresOnDay}`;
}

/** A block of smallTable's columns; ClickHouse turns String into LowCardinality by itself. */
export function nativeBlock(where: Partition, batchId: string, ids: readonly number[], textBytes = 0): Buffer {
  const repeat = (value: Buffer) => Buffer.concat(ids.map(() => value));
  const u16 = (value: number) => Buffer.from(Uint16Array.of(value).buffer);
  const u64 = (value: bigint) => Buffer.from(BigUint64Array.of(value).buffer);
  const columns: [name: string, type: string, data: Buffer][] = [
    ['OrgId', 'String', repeat(text('org_test'))],
    ['Placement', 'String', repeat(text(where.placement))],
    ['RetentionDays', 'UInt16', repeat(u16(where.retentionDays))],
    ['ExpiresOn', 'Date', repeat(u16(where.expiresOnDay))],
    ['ReceivedAt', 'DateTime64(3)', repeat(u64(BigInt(Date.now())))],
    ['BatchId', 'UInt64', repeat(u64(BigInt(`0x${batchId}`)))],
    ['Id', 'UInt64', Buffer.from(BigUint64Array.from(ids, BigInt).buffer)],
    ['Text', 'String', repeat(text('x'.repeat(textBytes)))],
  ];
  const parts = columns.flatMap(([name, type, data]) => [text(name), text(type), data]);
  return Buffer.concat([varuint(columns.length), varuint(ids.length), ...parts]);
}

function text(value: string): Buffer {
  return Buffer.concat([varuint(value.length), Buffer.from(value)]);
}

function varuint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
