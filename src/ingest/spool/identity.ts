/**
 * `spool.json`: which spool this directory is and which sequence numbers may have been used. Numbers are set aside in
 * blocks, so that the file is synced once in SEQUENCE_BLOCK segments and a start skips what a crash may have used: bytes
 * of an old generation never come back under a new number (reference R2).
 */
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BackworkError } from '../../base/errors.ts';
import { FORMAT_VERSION } from './format.ts';
import { readWhole, replaceFile, type SpoolFiles } from './spool-files.ts';

export interface SpoolIdentity {
  /** 32 hex digits, random: one spool, wherever its directory is moved. */
  readonly spoolId: string;
  /** First number of the run that wrote this. Whatever is lower was sealed before that run began. */
  readonly firstSequence: number;
  /** Numbers below may have been used. */
  readonly reservedSequence: number;
}

export const IDENTITY_NAME = 'spool.json';
export const SEQUENCE_BLOCK = 4_096;
const IDENTITY_BYTES_MAX = 4_096;
const CRC_PART = /^(\{.*),"crc":"([0-9a-f]{8})"\}\n$/s;

/** Throws 'newer-format'. */
export async function readIdentity(files: SpoolFiles, dir: string): Promise<SpoolIdentity | 'missing' | 'damaged'> {
  const bytes = await readWhole(files, join(dir, IDENTITY_NAME), IDENTITY_BYTES_MAX);
  if (bytes === undefined) return 'missing';
  const match = CRC_PART.exec(bytes.toString('utf8'));
  if (match === null || hex32(crc32(match[1] as string)) !== match[2]) return 'damaged';
  const fields = JSON.parse(`${match[1]}}`) as { format: number } & SpoolIdentity;
  if (fields.format > FORMAT_VERSION) {
    const text = `spool ${dir} has format ${fields.format}; this program knows up to ${FORMAT_VERSION}`;
    throw new BackworkError('newer-format', text);
  }
  const { spoolId, firstSequence, reservedSequence } = fields;
  return { spoolId, firstSequence, reservedSequence };
}

/** After it returned the identity is durable. */
export async function writeIdentity(files: SpoolFiles, dir: string, identity: SpoolIdentity): Promise<void> {
  await replaceFile(files, dir, join(dir, IDENTITY_NAME), encodeIdentity(identity));
}

export function encodeIdentity(identity: SpoolIdentity, format: number = FORMAT_VERSION): Buffer {
  const fields = JSON.stringify({ format, ...identity }).slice(0, -1);
  return Buffer.from(`${fields},"crc":"${hex32(crc32(fields))}"}\n`);
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}
