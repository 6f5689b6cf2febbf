/**
 * Spool directories as ingest leaves them, made record by record out of the spool's own encoders, so that a fault can
 * damage exactly one byte of a file whose every offset it knows. Each request holds items that carry their ids.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../../src/base/log.ts';
import { CONVERTER_VERSION } from '../../../src/ingest/convert/convert.ts';
import { encodeRecords } from '../../../src/ingest/convert/reconvert.ts';
import type { RecordHeader, Signal } from '../../../src/ingest/messages.ts';
import { storeBody } from '../../../src/ingest/spool/body.ts';
import { encodeSegmentHeader, fileName } from '../../../src/ingest/spool/format.ts';
import { encodeIdentity, IDENTITY_NAME } from '../../../src/ingest/spool/identity.ts';
import { encodeRecord } from '../../../src/ingest/spool/record.ts';
import { type RecoveryReport, recoverSpool } from '../../../src/ingest/spool/recover-spool.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { expiresOnDay } from '../../../src/tables/retention.ts';
import { encodeIds } from '../../support/load.ts';

export interface MadeRequest {
  /** One item each. */
  readonly ids: readonly string[];
  readonly signal?: Signal;
  /** Instead of the items of `ids`: the request's protobuf. */
  readonly body?: Buffer;
  readonly header?: Partial<RecordHeader>;
}

export interface MadeSegment {
  readonly sequence: number;
  readonly path: string;
  readonly mark: Buffer;
  readonly bytes: Buffer;
  /** One for each request. */
  readonly records: readonly { readonly offset: number; readonly bytes: number; readonly headBytes: number }[];
}

/** Spools from here on have no worker in these tests: the store adopts them. */
export const FIRST_ORPHAN = 10;
export const MADE_SEQUENCE = 3;
const ORG_ID = 'org_aaaabbbbccccdddd';

export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** A spool directory with one segment that was not sealed, as a kill leaves it. */
export function makeSpool(
  dir: string,
  requests: readonly MadeRequest[],
  options: { readonly spoolId?: string; readonly sequence?: number } = {},
): MadeSegment {
  const spoolId = options.spoolId ?? randomBytes(16).toString('hex');
  const sequence = options.sequence ?? MADE_SEQUENCE;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const identity = { spoolId, firstSequence: 1, reservedSequence: 4_097 };
  writeFileSync(join(dir, IDENTITY_NAME), encodeIdentity(identity));
  const segment = encodeSegment(dir, spoolId, sequence, requests);
  writeFileSync(segment.path, segment.bytes);
  return segment;
}

/** Seals what is unsealed there with the real converter; the identity stays that of the run that wrote it. */
export async function sealSpool(dir: string, log: Log = SILENT): Promise<RecoveryReport> {
  const identity = readFileSync(join(dir, IDENTITY_NAME));
  const report = await recoverSpool({
    dir,
    files: realSpoolFiles,
    log,
    encodeRecords,
    converterVersion: CONVERTER_VERSION,
    nowMs: Date.now,
    onSealed: () => {},
  });
  writeFileSync(join(dir, IDENTITY_NAME), identity);
  return report;
}

/** Names of a spool's files that stand for a segment: none when everything is stored. */
export function segmentFiles(dir: string): string[] {
  return readdirSync(dir).filter((name) => /^\d{16}\./.test(name));
}

export function made(segment: MadeSegment, kind: 'batches' | 'footer' | 'footer.tmp'): string {
  return segment.path.replace(/segment$/, kind);
}

function encodeSegment(dir: string, spoolId: string, sequence: number, requests: readonly MadeRequest[]): MadeSegment {
  const mark = randomBytes(16);
  const parts = [encodeSegmentHeader({ spoolId, sequence, mark })];
  const records: { offset: number; bytes: number; headBytes: number }[] = [];
  let offset = parts[0]!.length;
  for (const [index, request] of requests.entries()) {
    const record = recordBytes(mark, index, request);
    records.push({ offset, bytes: record.length, headBytes: record.readUInt32LE(16) });
    parts.push(record);
    offset += record.length;
  }
  const path = join(dir, fileName(sequence, 'segment'));
  return { sequence, path, mark, bytes: Buffer.concat(parts), records };
}

/** A record as it stands in a segment of this mark. */
export function recordBytes(mark: Buffer, index: number, request: MadeRequest): Buffer {
  const signal = request.signal ?? 'logs';
  const body = storeBody(request.body ?? encodeIds(request.ids, signal));
  const receivedAtMs = Date.now();
  const header: RecordHeader = {
    orgId: ORG_ID,
    tokenId: 'tok123456789',
    placement: 'shared-0',
    signal,
    receivedAtMs,
    retentionDays: 30,
    expiresOnDay: expiresOnDay(receivedAtMs, 30),
    itemsAccepted: request.ids.length,
    itemsRejected: 0,
    bytesReceived: body.rawBytes,
    fingerprint: body.fingerprint,
    ownBatches: false,
    ...request.header,
  };
  return Buffer.concat(encodeRecord(mark, index, header, body));
}
