/**
 * Room on the disk: the low-water mark below which ingest refuses (reference R10), and the ballast, a file of zeros
 * that is given up so that footers can be written on a disk that is full after all. It is set aside again as soon as a
 * look finds room for it: a worker that takes a request has it, whether it has sealed anything since or not.
 *
 * `isFull` is asked before every request, so it is answered from a number that is at most FRESH_MS or FRESH_BYTES old;
 * asking is what refreshes it.
 */
import { join } from 'node:path';
import { messageOf } from '../../base/errors.ts';
import { MIB } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { BALLAST_NAME } from './format.ts';
import { type SpoolFiles, writeAll } from './spool-files.ts';

const FRESH_MS = 1_000;
const FRESH_BYTES = 16 * MIB;
const BALLAST_CHUNK_BYTES = MIB;

export interface FreeSpaceDeps {
  readonly files: SpoolFiles;
  readonly dir: string;
  readonly reserveBytes: number;
  readonly ballastBytes: number;
  readonly log: Log;
  /** Monotonic, ms. */
  readonly monotonicMs: () => number;
}

export class FreeSpace {
  private readonly deps: FreeSpaceDeps;
  private freeBytes = 0;
  private measuredAtMs = Number.NEGATIVE_INFINITY;
  private usedSince = 0;
  private measuring: Promise<void> | undefined;
  private hasBallast = false;
  private wantsBallast = false;
  /** What is done to the ballast's file, one after another. Never rejects. */
  private ballast: Promise<void> = Promise.resolve();

  constructor(deps: FreeSpaceDeps) {
    this.deps = deps;
  }

  /** True when this many bytes more would leave less than the reserve. */
  isFull(bytes: number): boolean {
    if (this.usedSince > FRESH_BYTES || this.deps.monotonicMs() - this.measuredAtMs > FRESH_MS) void this.measure();
    return this.freeBytes - this.usedSince - bytes < this.deps.reserveBytes;
  }

  /** Bytes above the reserve, as last measured; below 0 when there are fewer. */
  get roomBytes(): number {
    return this.freeBytes - this.usedSince - this.deps.reserveBytes;
  }

  /** Counts bytes that are about to be written. */
  used(bytes: number): void {
    this.usedSince += bytes;
  }

  /** A write met a full disk: full until the next look. */
  foundFull(): void {
    this.freeBytes = 0;
    this.measuredAtMs = this.deps.monotonicMs();
  }

  /** Looks now, or waits for the look that is under way. Never rejects: the last figure stays when it fails. */
  measure(): Promise<void> {
    this.measuring ??= this.look().finally(() => {
      this.measuring = undefined;
    });
    return this.measuring;
  }

  /** Sets the ballast aside when it is missing and there is room for it above the reserve. */
  setAside(): Promise<void> {
    this.wantsBallast = true;
    this.ballast = this.ballast.then(() => this.makeBallast());
    return this.ballast;
  }

  /** Gives the ballast's room back to the disk. */
  giveUp(): Promise<void> {
    this.ballast = this.ballast.then(() => this.removeBallast());
    return this.ballast;
  }

  private async makeBallast(): Promise<void> {
    const { files, dir, ballastBytes } = this.deps;
    if (this.hasBallast || ballastBytes === 0 || this.isFull(ballastBytes)) return;
    const path = join(dir, BALLAST_NAME);
    try {
      await files.remove(path);
      const file = await files.create(path);
      try {
        const zeros = Buffer.alloc(Math.min(ballastBytes, BALLAST_CHUNK_BYTES));
        for (let at = 0; at < ballastBytes; at += zeros.length) {
          await writeAll(file, [zeros.subarray(0, Math.min(zeros.length, ballastBytes - at))], at);
        }
      } finally {
        await file.close();
      }
      this.used(ballastBytes);
      this.hasBallast = true;
    } catch (error) {
      this.deps.log.warn({ dir, error: messageOf(error) }, 'no room could be set aside for footers');
      await this.removeBallast();
    }
  }

  private async removeBallast(): Promise<void> {
    this.hasBallast = false;
    try {
      await this.deps.files.remove(join(this.deps.dir, BALLAST_NAME));
    } catch (error) {
      this.deps.log.warn({ dir: this.deps.dir, error: messageOf(error) }, 'the ballast could not be removed');
    }
  }

  private async look(): Promise<void> {
    try {
      this.freeBytes = await this.deps.files.freeBytes(this.deps.dir);
    } catch (error) {
      this.deps.log.warn({ dir: this.deps.dir, error: messageOf(error) }, 'free disk space is not known');
    }
    this.usedSince = 0;
    this.measuredAtMs = this.deps.monotonicMs();
    if (this.wantsBallast && !this.hasBallast) void this.setAside();
  }
}
