/**
 * Damaged bytes of segments (reference R3): copied to quarantine once, told once, whoever meets them: recovery in an
 * ingest process, or the store when it converts records again.
 */
import { join } from 'node:path';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { StoreEvents } from '../messages.ts';
import { fileName, readSegmentHeader, SEGMENT_HEADER_BYTES } from '../spool/format.ts';
import type { CorruptRecord, DamagedPiece, readRecords } from '../spool/reader.ts';
import { isSyncFailure, type SpoolFiles } from '../spool/spool-files.ts';
import { damagedId } from './entry.ts';
import type { Quarantine } from './quarantine.ts';

export interface PieceDeps {
  readonly quarantine: Pick<Quarantine, 'keepPiece'>;
  readonly log: Log;
  readonly events?: Pick<StoreEvents, 'quarantined'> | undefined;
}

/** Never throws but for a failed sync: without a copy the record is as lost as with one. */
export class DamagedPieces {
  private readonly deps: PieceDeps;
  /** Those of which there is no copy, so that they are told once in the life of a process. */
  private readonly told = new Set<string>();

  constructor(deps: PieceDeps) {
    this.deps = deps;
  }

  async keep(piece: DamagedPiece): Promise<void> {
    const { orgId, spoolId, sequence, offset, bytes, reason } = piece;
    const id = damagedId(spoolId, sequence, offset);
    if (this.told.has(id)) return;
    const fields = { id, orgId, sequence, offset, bytes, reason };
    try {
      const kept = await this.deps.quarantine.keepPiece(piece);
      if (kept.kind === 'there') return;
      if (kept.kind === 'full') this.told.add(id);
      const copied = kept.kind === 'kept' ? 'a copy is in quarantine' : 'quarantine has no room for a copy';
      this.deps.log.error({ ...fields, copied }, 'a corrupt record was passed over');
    } catch (error) {
      if (isSyncFailure(error)) throw error;
      this.told.add(id);
      const copied = `no copy: ${messageOf(error)}`;
      this.deps.log.error({ ...fields, copied }, 'a corrupt record was passed over');
    }
    this.deps.events?.quarantined({ orgId, reason: 'damaged', bytes });
  }
}

/** `readRecords` for the store: what it passes over is kept here when all of the range was read. */
export function readingPieces(read: typeof readRecords, pieces: DamagedPieces, nowMs: () => number) {
  return async function* (
    files: SpoolFiles,
    dir: string,
    sequence: number,
    range?: { readonly first: number; readonly last: number },
  ): ReturnType<typeof readRecords> {
    const damaged: CorruptRecord[] = [];
    yield* read(files, dir, sequence, range, (found) => damaged.push(found));
    if (damaged.length > 0) await keepAll(files, join(dir, fileName(sequence, 'segment')), damaged, pieces, nowMs());
  };
}

async function keepAll(
  files: SpoolFiles,
  path: string,
  damaged: readonly CorruptRecord[],
  pieces: DamagedPieces,
  atMs: number,
): Promise<void> {
  const file = await files.open(path, 'read');
  try {
    const state = readSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES));
    const spoolId = state.kind === 'valid' ? state.header.spoolId : '';
    const read = (offset: number, length: number) => file.read(offset, length);
    for (const { orgId, sequence, offset, bytes, reason } of damaged)
      await pieces.keep({ orgId, spoolId, sequence, offset, bytes, reason, atMs, read });
  } finally {
    await file.close();
  }
}
