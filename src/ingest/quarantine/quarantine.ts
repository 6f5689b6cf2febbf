/**
 * The quarantine's files: keep, decide, withdraw, list, read, remove. What they mean, and in which order the store calls,
 * stands in entry.ts. Every change is durable when its promise has resolved, made under the lock, and may be made again.
 *
 * A failed sync throws 'spool-failed' (see isSyncFailure): the caller's process must end (R9). Every other error leaves
 * things as they were.
 */
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { BackworkError, messageOf } from '../../base/errors.ts';
import { MIB } from '../../base/limits.ts';
import type { RecordHeader, SpoolRecord } from '../messages.ts';
import { crc32InSlices, inflateBody, storeLargeBody } from '../spool/body.ts';
import { RECORD_HEADER_BYTES_MAX } from '../spool/format.ts';
import type { DamagedPiece } from '../spool/reader.ts';
import { encodeRecord, readHead } from '../spool/record.ts';
import { readWhole, replaceFile, type SpoolFiles, synced, writeAll } from '../spool/spool-files.ts';
import {
  damagedId,
  decodeEntry,
  encodeEntry,
  type MissingRows,
  orgDirectory,
  QUARANTINE_MARK,
  type QuarantineEntry,
  type RefusedEntry,
  refusedId,
} from './entry.ts';

/** An entry with all row ranges of the largest request is below 100 KiB. */
const ENTRY_BYTES_MAX = 4 * MIB;
const DISK_BLOCK_BYTES = 4_096;
const COPY_BYTES = MIB;

export interface QuarantineDeps {
  /** `<dataDir>/quarantine`; made when the first entry is. */
  readonly dir: string;
  readonly files: SpoolFiles;
  /** For each organization. */
  readonly bytesMax: number;
  /** The lock of `dir`, among processes and within this one. Throws `locked`. */
  readonly lock: () => Promise<{ release(): void }>;
}

/** Names a request for good. */
export interface RefusedRequest {
  readonly orgId: string;
  readonly spoolId: string;
  readonly sequence: number;
  readonly request: number;
}

export type Kept =
  /** It was not there before: to be counted. `bytes` are those of its file. */
  | { readonly kind: 'kept'; readonly id: string; readonly bytes: number }
  | { readonly kind: 'there'; readonly id: string }
  /** Nothing was written. */
  | { readonly kind: 'full'; readonly bytesHeld: number; readonly bytesNeeded: number };

export class Quarantine {
  private readonly deps: QuarantineDeps;
  /** As far as this process knows; others add and remove, so it is counted again before anything is refused by it. */
  private readonly bytesHeld = new Map<string, number>();

  constructor(deps: QuarantineDeps) {
    this.deps = deps;
  }

  get bytesMax(): number {
    return this.deps.bytesMax;
  }

  /** Adds the missing rows, undecided, to the record's entry, which is made with the first of them. */
  async keep(
    refused: RefusedRequest & { readonly record: SpoolRecord },
    missing: Omit<MissingRows, 'decided'>,
  ): Promise<Kept> {
    const { orgId, spoolId, sequence, request, record } = refused;
    const { signal, receivedAtMs } = record.header;
    const id = refusedId(spoolId, sequence, request);
    // Compressing may take a while: before the lock.
    const buffers = await encodeForQuarantine(request, record);
    const bytes = lengthOf(buffers);
    return this.locked(async () => {
      const there = await this.read(orgId, id);
      const known = there?.kind === 'refused' ? there.missing : [];
      const others = known.filter(({ batchId }) => batchId !== missing.batchId);
      if (others.length === known.length) {
        const full = await this.refusal(orgId, there === undefined ? blocks(bytes) + DISK_BLOCK_BYTES : 0);
        if (full !== undefined) return full;
      }
      const dir = await this.directory(orgId);
      if (there === undefined) await this.writeFile(dir, `${id}.record`, buffers);
      const rows = [...others, { ...missing, decided: false }];
      const fields = { orgId, spoolId, sequence, bytes, request, signal, receivedAtMs };
      await this.writeEntry({ kind: 'refused', id, ...fields, missing: rows });
      if (there !== undefined) return { kind: 'there', id };
      this.add(orgId, blocks(bytes) + DISK_BLOCK_BYTES);
      return { kind: 'kept', id, bytes };
    });
  }

  /** Copies damaged bytes, once. */
  async keepPiece(piece: DamagedPiece): Promise<Kept> {
    const { orgId, spoolId, sequence, offset, bytes, reason, atMs } = piece;
    const id = damagedId(spoolId, sequence, offset);
    return this.locked(async () => {
      if ((await this.read(orgId, id)) !== undefined) return { kind: 'there', id };
      const full = await this.refusal(orgId, blocks(bytes) + DISK_BLOCK_BYTES);
      if (full !== undefined) return full;
      const dir = await this.directory(orgId);
      await this.copy(dir, `${id}.piece`, piece);
      await this.writeEntry({ kind: 'damaged', id, orgId, spoolId, sequence, bytes, offset, reason, atMs });
      this.add(orgId, blocks(bytes) + DISK_BLOCK_BYTES);
      return { kind: 'kept', id, bytes };
    });
  }

  /** The journal says that the store never sends this batch again. An entry that is gone was replayed or dropped. */
  async decide({ orgId, spoolId, sequence, request }: RefusedRequest, batchId: string): Promise<void> {
    await this.change(orgId, refusedId(spoolId, sequence, request), (entry) =>
      entry.missing.map((rows) => (rows.batchId === batchId ? { ...rows, decided: true } : rows)),
    );
  }

  /** These rows are stored, or were never decided: the record is missing from one batch less. The last one takes the entry along. */
  async withdraw(orgId: string, id: string, batchIds: ReadonlySet<string>): Promise<void> {
    await this.change(orgId, id, (entry) => entry.missing.filter(({ batchId }) => !batchIds.has(batchId)));
  }

  /** Removes an entry; false when there was none. */
  async remove(entry: QuarantineEntry): Promise<boolean> {
    return this.locked(async () => {
      if ((await this.read(entry.orgId, entry.id)) === undefined) return false;
      await this.removeFiles(entry);
      return true;
    });
  }

  /** Every entry, of one organization or of all, by id. One that cannot be read is told to `onUnreadable` and left alone. */
  async *entries(
    orgId?: string,
    onUnreadable: (reason: string) => void = () => {},
  ): AsyncGenerator<QuarantineEntry, void, void> {
    const { dir, files } = this.deps;
    const directories = orgId === undefined ? (await files.list(dir)).sort() : [orgDirectory(orgId)];
    for (const name of directories) {
      if (name.includes('.') || name === 'lock') continue;
      for (const file of (await files.list(join(dir, name))).sort()) {
        if (!file.endsWith('.json')) continue;
        try {
          const entry = await this.readAt(join(dir, name, file));
          if (entry !== undefined) yield entry;
        } catch (error) {
          onUnreadable(messageOf(error));
        }
      }
      await turn();
    }
  }

  /** Undefined: there is no such entry. Throws 'corrupt', 'newer-format'. */
  read(orgId: string, id: string): Promise<QuarantineEntry | undefined> {
    return this.readAt(join(this.deps.dir, orgDirectory(orgId), `${id}.json`));
  }

  /** The record of a refused request. Throws 'not-found', 'corrupt'. */
  async readRecord(entry: RefusedEntry): Promise<SpoolRecord> {
    const path = join(this.deps.dir, orgDirectory(entry.orgId), `${entry.id}.record`);
    const bytes = await readWhole(this.deps.files, path, entry.bytes);
    if (bytes === undefined) throw new BackworkError('not-found', `no file ${path}`);
    const record = await decodeFromQuarantine(bytes);
    if (record === undefined) throw new BackworkError('corrupt', `${path} is damaged`);
    return record;
  }

  private async locked<T>(work: () => Promise<T>): Promise<T> {
    await this.makeDirectory(this.deps.dir);
    const lock = await this.deps.lock();
    try {
      return await work();
    } finally {
      lock.release();
    }
  }

  private async change(
    orgId: string,
    id: string,
    missingAfter: (entry: RefusedEntry) => readonly MissingRows[],
  ): Promise<void> {
    await this.locked(async () => {
      const entry = await this.read(orgId, id);
      if (entry === undefined || entry.kind !== 'refused') return;
      const missing = missingAfter(entry);
      if (missing.length === 0) await this.removeFiles(entry);
      else await this.writeEntry({ ...entry, missing });
    });
  }

  private async readAt(path: string): Promise<QuarantineEntry | undefined> {
    const bytes = await readWhole(this.deps.files, path, ENTRY_BYTES_MAX);
    return bytes === undefined ? undefined : decodeEntry(bytes, path);
  }

  private async writeEntry(entry: QuarantineEntry): Promise<void> {
    const dir = join(this.deps.dir, orgDirectory(entry.orgId));
    await replaceFile(this.deps.files, dir, join(dir, `${entry.id}.json`), encodeEntry(entry));
  }

  /** The entry's own file first: without it the other one is nothing. */
  private async removeFiles(entry: QuarantineEntry): Promise<void> {
    const { files } = this.deps;
    const dir = join(this.deps.dir, orgDirectory(entry.orgId));
    await files.remove(join(dir, `${entry.id}.json`));
    await synced(files.syncDirectory(dir), dir);
    await files.remove(join(dir, `${entry.id}.${entry.kind === 'refused' ? 'record' : 'piece'}`));
    this.add(entry.orgId, -(blocks(entry.bytes) + DISK_BLOCK_BYTES));
  }

  private async directory(orgId: string): Promise<string> {
    const dir = join(this.deps.dir, orgDirectory(orgId));
    await this.makeDirectory(dir);
    return dir;
  }

  /** Its name is durable too. */
  private async makeDirectory(dir: string): Promise<void> {
    const { files } = this.deps;
    await files.makeDirectory(dir);
    await synced(files.syncDirectory(dirname(dir)), dirname(dir));
  }

  private async writeFile(dir: string, name: string, buffers: readonly Uint8Array[]): Promise<void> {
    await this.write(join(dir, name), (file) => writeAll(file, buffers, 0));
  }

  private async copy(dir: string, name: string, { read, offset, bytes }: DamagedPiece): Promise<void> {
    await this.write(join(dir, name), async (file) => {
      for (let at = 0; at < bytes; at += COPY_BYTES) {
        const part = await read(offset + at, Math.min(COPY_BYTES, bytes - at));
        await writeAll(file, [part], at);
      }
    });
  }

  /** What a crash or a full disk left of an earlier attempt is overwritten. */
  private async write(path: string, fill: (file: Awaited<ReturnType<SpoolFiles['create']>>) => Promise<void>) {
    const { files } = this.deps;
    await files.remove(path);
    const file = await files.create(path);
    try {
      await fill(file);
      await synced(file.datasync(), path);
    } catch (error) {
      await files.remove(path);
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Undefined: there is room. */
  private async refusal(orgId: string, bytesNeeded: number): Promise<Extract<Kept, { kind: 'full' }> | undefined> {
    if (bytesNeeded === 0) return undefined;
    const name = orgDirectory(orgId);
    const known = this.bytesHeld.get(name);
    if (known !== undefined && known + bytesNeeded <= this.deps.bytesMax) return undefined;
    let bytesHeld = 0;
    for await (const entry of this.entries(name)) bytesHeld += blocks(entry.bytes) + DISK_BLOCK_BYTES;
    this.bytesHeld.set(name, bytesHeld);
    return bytesHeld + bytesNeeded <= this.deps.bytesMax ? undefined : { kind: 'full', bytesHeld, bytesNeeded };
  }

  private add(orgId: string, bytes: number): void {
    const name = orgDirectory(orgId);
    const known = this.bytesHeld.get(name);
    if (known !== undefined) this.bytesHeld.set(name, known + bytes);
  }
}

async function encodeForQuarantine(request: number, { header, body }: SpoolRecord): Promise<Buffer[]> {
  return encodeRecord(QUARANTINE_MARK, request, header satisfies RecordHeader, await storeLargeBody(body));
}

async function decodeFromQuarantine(bytes: Buffer): Promise<SpoolRecord | undefined> {
  const state = readHead(bytes.subarray(0, RECORD_HEADER_BYTES_MAX), 0, bytes.length, QUARANTINE_MARK);
  if (state.kind !== 'head') return undefined;
  const { headBytes, bodyBytes, bodyCrc, header } = state.head;
  const stored = bytes.subarray(headBytes, headBytes + bodyBytes);
  if ((await crc32InSlices(stored)) !== bodyCrc) return undefined;
  const body = await inflateBody(state.head, stored);
  return body === undefined ? undefined : { header, body };
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}

/** As the disk counts a file. */
function blocks(bytes: number): number {
  return Math.ceil(bytes / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES;
}
