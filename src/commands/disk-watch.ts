/**
 * What lies on the disk, for the metrics: spools, quarantine, room left and how fast it goes. The supervisor looks, so
 * that the figures are there when ingest or the store is not.
 *
 *   <dataDir>/spool/<worker>/<sequence>.(segment|batches|footer)   counted; the oldest segment's first write is the age
 *   <dataDir>/quarantine/, <dataDir>/spool/<worker>/quarantine/    counted
 *
 * A backlog of days has a million files, and a look at them takes seconds of the disk's time: the next one comes after
 * twenty times what the last one took, and until then its figures stand.
 */
import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { parseFileName, QUARANTINE_NAME } from '../ingest/spool/format.ts';

export interface SpoolFigures {
  /** Name of the directory: the worker's number. */
  readonly worker: string;
  readonly bytes: number;
  readonly segments: number;
  /** Wall clock of the first write to the oldest segment; undefined when there is none. */
  readonly oldestMs: number | undefined;
}

export interface DiskFigures {
  readonly spools: readonly SpoolFigures[];
  readonly quarantineBytes: number;
}

const LOOK_AGAIN_MS_MIN = 1_000;
/** Of the time, a twentieth is spent on looking at most. */
const LOOK_SHARE = 20;
const STATS_AT_ONCE = 32;

/** The disk's room is noted this often, and so far back: what its change is taken from. */
const ROOM_NOTED_EVERY_MS = 10_000;
const ROOM_NOTES_MAX = 61;
/** Over less time than this a merge of the engine looks like a disk that fills. */
const ROOM_RATE_SECONDS_MIN = 30;

export class DiskWatch {
  readonly #dataDir: string;
  readonly #rooms: { readonly atMs: number; readonly freeBytes: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #figures: DiskFigures = { spools: [], quarantineBytes: 0 };
  #looking: Promise<void> | undefined;
  #lookDueMs = 0;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** Begins to note the room that is left; `also` is called as often. Keeps no process alive. */
  start(also: () => void): void {
    void this.#noteRoom();
    this.#timer = setInterval(() => {
      void this.#noteRoom();
      also();
    }, ROOM_NOTED_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** As of the last look, which is done now when it is due. Never rejects. */
  async figures(): Promise<DiskFigures> {
    if (performance.now() >= this.#lookDueMs) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
      await this.#looking;
    }
    return this.#figures;
  }

  /** Room left now, the disk's size, and what went in a second since the oldest note (0 before 30 s); undefined when it is not known. */
  async room(): Promise<{ freeBytes: number; sizeBytes: number; bytesPerSecond: number } | undefined> {
    try {
      const disk = await statfs(this.#dataDir);
      const freeBytes = disk.bavail * disk.bsize;
      const first = this.#rooms[0];
      const seconds = first === undefined ? 0 : (performance.now() - first.atMs) / 1_000;
      const bytesPerSecond =
        first === undefined || seconds < ROOM_RATE_SECONDS_MIN ? 0 : (first.freeBytes - freeBytes) / seconds;
      return { freeBytes, sizeBytes: disk.blocks * disk.bsize, bytesPerSecond };
    } catch {
      return undefined;
    }
  }

  async #noteRoom(): Promise<void> {
    const room = await this.room();
    if (room === undefined) return;
    this.#rooms.push({ atMs: performance.now(), freeBytes: room.freeBytes });
    if (this.#rooms.length > ROOM_NOTES_MAX) this.#rooms.shift();
  }

  async #look(): Promise<void> {
    const startedMs = performance.now();
    const root = join(this.#dataDir, 'spool');
    const workers = (await namesIn(root)).filter((name) => /^\d+$/.test(name));
    const spools: SpoolFigures[] = [];
    let quarantineBytes = await bytesBelow(join(this.#dataDir, QUARANTINE_NAME));
    for (const worker of workers.sort((one, other) => Number(one) - Number(other))) {
      spools.push(await spoolFigures(join(root, worker), worker));
      quarantineBytes += await bytesBelow(join(root, worker, QUARANTINE_NAME));
    }
    this.#figures = { spools, quarantineBytes };
    const tookMs = performance.now() - startedMs;
    this.#lookDueMs = performance.now() + Math.max(LOOK_AGAIN_MS_MIN, LOOK_SHARE * tookMs);
  }
}

async function spoolFigures(dir: string, worker: string): Promise<SpoolFigures> {
  const names = await namesIn(dir);
  let segments = 0;
  let oldest: string | undefined;
  const files = names.filter((name) => {
    const parsed = parseFileName(name);
    if (parsed?.kind !== 'segment') return parsed !== undefined;
    segments++;
    // Names have one length, so that their order is that of the numbers.
    if (oldest === undefined || name < oldest) oldest = name;
    return true;
  });
  const bytes = await bytesOf(files.map((name) => join(dir, name)));
  return { worker, bytes, segments, oldestMs: oldest === undefined ? undefined : await madeAtMs(join(dir, oldest)) };
}

/** When a file was made; where the file system does not keep that, when it was last written: 1 s later at most. */
async function madeAtMs(path: string): Promise<number | undefined> {
  try {
    const { birthtimeMs, mtimeMs } = await stat(path);
    return birthtimeMs > 0 ? Math.min(birthtimeMs, mtimeMs) : mtimeMs;
  } catch {
    return undefined;
  }
}

async function bytesBelow(dir: string): Promise<number> {
  try {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    return await bytesOf(entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)));
  } catch {
    return 0;
  }
}

/** Files that are gone by now count nothing. */
async function bytesOf(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (let first = 0; first < paths.length; first += STATS_AT_ONCE) {
    const some = paths.slice(first, first + STATS_AT_ONCE);
    const sizes = await Promise.all(
      some.map((path) =>
        stat(path).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    bytes += sizes.reduce((sum, size) => sum + size, 0);
  }
  return bytes;
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch {
    return [];
  }
}
