/**
 * The store's one small file: what it decided by itself, synced before anything depends on it, so that every restart
 * decides the same (reference R8). The notes and their bytes are in journal-notes.ts.
 *
 * Promise: when `write` has resolved, the notes are on the disk. A torn tail is cut when the file is opened; a damaged
 * note in the middle is skipped. Losing notes loses no row and doubles none: rows are told apart by their BatchIds.
 *
 * Disk full: a file of zeros stands beside the journal and is given up for it, a piece at a time, because somebody else may
 * take what is given up before the journal has used it; when all of it is used up, `write`
 * throws `store-temporary` and nothing was noted. A failed sync is final (R9): every later `write` throws the same.
 */
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf } from '../../base/errors.ts';
import { type FaultPoints, NO_FAULT_POINTS } from '../../base/fault-points.ts';
import type { Log } from '../../base/log.ts';
import type { SpoolFile, SpoolFiles } from '../spool/spool-files.ts';
import {
  encodeNote,
  JOURNAL_MAGIC,
  type JournalContent,
  JournalState,
  type Note,
  readJournal,
  requireKnownVersion,
} from './journal-notes.ts';

/** The file is rewritten without what is over when it is this large, and twice what it was when last rewritten. */
const REWRITE_BYTES_MIN = 1024 * 1024;
const REWRITE_GROWTH = 2;
const FULL_RETRY_MS = 200;
/** Room for the keys of the largest segment and some thousand notes: removing a segment frees more than its notes take. */
const BALLAST_BYTES = 4 * 1024 * 1024;
const BALLAST_PIECE_BYTES = 256 * 1024;
/** Each append looks whether what was given up can be set aside again: so much must be free, that footers keep theirs. */
const BALLAST_ROOM_BYTES = 2 * BALLAST_BYTES;

export interface Journal {
  /** What the notes mean that were written so far. */
  readonly state: JournalState;
  /** Appends and syncs. Throws `store-temporary` when the disk is full, and what the sync threw for ever after it failed. */
  write(notes: readonly Note[]): Promise<void>;
  /** Appends; the next `write` or the kernel syncs it. A full disk loses the note, which is logged once. */
  note(notes: readonly Note[]): Promise<void>;
  close(): Promise<void>;
}

export interface JournalDeps {
  readonly path: string;
  readonly files: SpoolFiles;
  /** Wall clock: how long notes of removed segments are kept. */
  readonly nowMs: () => number;
  readonly log: Log;
  /** A sync failed: what is on the disk is unknown, and the process must end (R9). */
  readonly onFatal: (error: unknown) => void;
  readonly faults?: FaultPoints;
}

/** Opens or makes the journal. Throws `newer-format`; a file that is no journal is renamed aside and logged as an error. */
export async function openJournal(deps: JournalDeps): Promise<Journal> {
  const { files } = deps;
  const bytes = await readFileIfThere(files, deps.path);
  const content = bytes === undefined ? undefined : await readOrSetAside(deps.path, bytes, files, deps.log);
  if (content !== undefined && bytes !== undefined) {
    const tornBytes = bytes.length - content.wholeBytes;
    if (tornBytes > 0)
      deps.log.warn({ path: deps.path, offset: content.wholeBytes, tornBytes }, 'cut the torn tail of the journal');
    if (content.damagedNotes > 0)
      deps.log.error({ path: deps.path, notes: content.damagedNotes }, 'skipped damaged notes of the journal');
  }
  const journal = new JournalOnDisk(deps, content?.state ?? new JournalState());
  await journal.start(content?.wholeBytes);
  return journal;
}

/** Throws `newer-format` when a later program wrote it. Changes nothing. */
export async function requireKnownJournal(path: string, files: SpoolFiles): Promise<void> {
  const start = await readFileIfThere(files, path, JOURNAL_MAGIC.length);
  if (start !== undefined) requireKnownVersion(start);
}

async function readOrSetAside(
  path: string,
  bytes: Buffer,
  files: SpoolFiles,
  log: Log,
): Promise<JournalContent | undefined> {
  try {
    return readJournal(bytes);
  } catch (error) {
    if (!(error instanceof BackworkError) || error.code !== 'corrupt') throw error;
    const aside = `${path}.damaged-${randomBytes(4).toString('hex')}`;
    await files.rename(path, aside);
    log.error({ path, aside, reason: error.message }, 'set a damaged journal aside and began a new one');
    return undefined;
  }
}

class JournalOnDisk implements Journal {
  readonly state: JournalState;
  private readonly path: string;
  private readonly files: SpoolFiles;
  private readonly log: Log;
  private readonly deps: JournalDeps;
  private file: SpoolFile | undefined;
  private sizeBytes = 0;
  private rewrittenBytes = 0;
  private ballastBytes = 0;
  private noteLossLogged = false;
  private failure: unknown;
  /** Appends run one after another; this is the last of them, and never rejects. */
  private tail: Promise<void> = Promise.resolve();

  constructor(deps: JournalDeps, state: JournalState) {
    this.deps = deps;
    this.path = deps.path;
    this.files = deps.files;
    this.log = deps.log;
    this.state = state;
  }

  /** `wholeBytes`: of the file that is there. A full disk that holds no journal yet is waited for. */
  async start(wholeBytes: number | undefined): Promise<void> {
    for (let attempt = 0; !(await this.began(wholeBytes)); attempt++) {
      if (attempt === 0) {
        this.log.warn({ path: this.path }, 'the disk is full: waiting for room for the journal');
        await this.files.remove(this.ballastPath);
        this.ballastBytes = 0;
      } else await sleep(FULL_RETRY_MS);
    }
    await this.restoreBallast();
  }

  /** False: there is no room for it. Without room to rewrite the one that is there, its torn tail is cut in place. */
  private async began(wholeBytes: number | undefined): Promise<boolean> {
    try {
      await this.rewrite(undefined);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      if (wholeBytes === undefined || wholeBytes === 0) return false;
      const file = await this.files.open(this.path, 'write');
      await file.truncate(wholeBytes);
      // After a sync that failed in an earlier run the next one alone proves nothing (R9): the same bytes once more, unless
      // the file system copies on write and has no room even for that.
      await writeWhole(file, await file.read(0, wholeBytes), 0).catch((reason: unknown) => {
        if (!isDiskFull(reason)) throw reason;
      });
      await file.datasync();
      this.file = file;
      this.sizeBytes = wholeBytes;
      this.rewrittenBytes = wholeBytes;
    }
    return true;
  }

  write(notes: readonly Note[]): Promise<void> {
    return notes.length === 0 ? Promise.resolve() : this.inTurn(() => this.append(notes, true));
  }

  async note(notes: readonly Note[]): Promise<void> {
    try {
      await this.inTurn(() => this.append(notes, false));
      this.noteLossLogged = false;
    } catch (error) {
      if (!(error instanceof BackworkError)) throw error;
      if (!this.noteLossLogged)
        this.log.warn({ path: this.path, reason: error.message }, 'a note for the journal was lost');
      this.noteLossLogged = true;
    }
  }

  async close(): Promise<void> {
    await this.inTurn(async () => {
      const { file } = this;
      this.file = undefined;
      await file?.close();
    });
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.tail.then(work);
    this.tail = done.catch(() => {});
    return done;
  }

  private async append(notes: readonly Note[], sync: boolean): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    if (this.file === undefined) throw new BackworkError('shutting-down', 'the journal is closed');
    const bytes = Buffer.concat(notes.map(encodeNote));
    await this.appendBytes(this.file, bytes);
    if (sync) {
      await this.file.datasync().catch((error: unknown) => this.fail(error));
      (this.deps.faults ?? NO_FAULT_POINTS).reached('journal-written');
    }
    this.sizeBytes += bytes.length;
    for (const note of notes) this.state.apply(note);
    if (this.ballastBytes < BALLAST_BYTES && (await this.hasRoomForBallast())) await this.restoreBallast();
    if (this.sizeBytes > Math.max(REWRITE_BYTES_MIN, REWRITE_GROWTH * this.rewrittenBytes)) await this.rewriteIfRoom();
  }

  private async appendBytes(file: SpoolFile, bytes: Buffer): Promise<void> {
    for (;;) {
      try {
        return await writeWhole(file, bytes, this.sizeBytes);
      } catch (error) {
        await this.cutBack(file);
        if (!isDiskFull(error) || !(await this.giveUpBallast(bytes.length))) throw this.noRoom(bytes, error);
      }
    }
  }

  /** A note that was half written must not stand before the next one. */
  private async cutBack(file: SpoolFile): Promise<void> {
    await file.truncate(this.sizeBytes).catch((error: unknown) => this.fail(error));
  }

  /** The kernel may have dropped the pages: a second sync that succeeds would prove nothing. */
  private fail(error: unknown): never {
    this.failure = error;
    this.deps.onFatal(error);
    throw error;
  }

  private noRoom(bytes: Buffer, cause: unknown): BackworkError {
    const message = `${bytes.length} bytes of the journal ${this.path} cannot be written: ${messageOf(cause)}`;
    return new BackworkError('store-temporary', message, { retryable: true, cause });
  }

  private async rewriteIfRoom(): Promise<void> {
    try {
      await this.rewrite(this.deps.nowMs());
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      // Asked again when it has grown as much once more; until then it only is larger than it must be.
      this.rewrittenBytes = this.sizeBytes;
    }
  }

  private async rewrite(nowMs: number | undefined): Promise<void> {
    const bytes = this.state.encode(nowMs);
    await replaceFile(this.files, this.path, bytes);
    const before = this.file;
    this.file = await this.files.open(this.path, 'write');
    await before?.close();
    this.sizeBytes = bytes.length;
    this.rewrittenBytes = bytes.length;
  }

  private get ballastPath(): string {
    return `${this.path}.ballast`;
  }

  private async hasRoomForBallast(): Promise<boolean> {
    const free = await this.files.freeBytes(dirname(this.path)).catch(() => 0);
    return free >= BALLAST_ROOM_BYTES;
  }

  private async restoreBallast(): Promise<void> {
    try {
      const there = await readFileIfThere(this.files, this.ballastPath);
      if (there?.length !== BALLAST_BYTES) await replaceFile(this.files, this.ballastPath, Buffer.alloc(BALLAST_BYTES));
      this.ballastBytes = BALLAST_BYTES;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.log.warn({ path: this.ballastPath, reason: messageOf(error) }, 'no room to set aside for the journal');
    }
  }

  /** Frees room for so many bytes at least. False when there is none left. */
  private async giveUpBallast(bytes: number): Promise<boolean> {
    if (this.ballastBytes === 0) return false;
    if (this.ballastBytes === BALLAST_BYTES)
      this.log.warn({ path: this.ballastPath }, 'the disk is full: gave up the room set aside for the journal');
    this.ballastBytes = Math.max(0, this.ballastBytes - Math.max(BALLAST_PIECE_BYTES, 2 * bytes));
    if (this.ballastBytes === 0) await this.files.remove(this.ballastPath);
    else await this.cutBallast();
    return true;
  }

  private async cutBallast(): Promise<void> {
    const file = await this.files.open(this.ballastPath, 'write');
    try {
      await file.truncate(this.ballastBytes);
    } finally {
      await file.close();
    }
  }
}

function isDiskFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The whole file, undefined when there is none. */
async function readFileIfThere(
  files: SpoolFiles,
  path: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Promise<Buffer | undefined> {
  let file: SpoolFile;
  try {
    file = await files.open(path, 'read');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return await file.read(0, Math.min(await file.size(), bytesMax));
  } finally {
    await file.close();
  }
}

/** Beside, synced, renamed over `path`, and the name synced: the old content or the new, never half of it. */
async function replaceFile(files: SpoolFiles, path: string, bytes: Buffer): Promise<void> {
  const beside = `${path}.tmp`;
  await files.remove(beside);
  try {
    const file = await files.create(beside);
    try {
      await writeWhole(file, bytes, 0);
      await file.datasync();
    } finally {
      await file.close();
    }
    await files.rename(beside, path);
  } catch (error) {
    await files.remove(beside);
    throw error;
  }
  await files.syncDirectory(dirname(path));
}

async function writeWhole(file: SpoolFile, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += await file.write([bytes.subarray(at)], position + at);
}
