/**
 * A disk in memory that can lose power (reference F2). What was not synced when it does is decided by a seeded random:
 * of a file, each unsynced 512 B sector survives or not, its length is some length it had since the last sync, or its
 * whole unsynced suffix is gone; of a directory, each name has gone some way through its unsynced changes.
 * After the power is cut no call ever returns.
 */
import type { SpoolFile, SpoolFiles } from '../../src/ingest/spool/spool-files.ts';

/** Whole number from 0 to below `limit`. */
export type Random = (limit: number) => number;

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

const SECTOR_BYTES = 512;

interface Inode {
  now: Buffer;
  synced: Buffer;
  /** Lengths since the last sync. */
  lengths: number[];
}

/** What happened at power cuts, for the counts of a run. */
export interface CrashCounts {
  lostSuffix: number;
  tornSectors: number;
  revertedNames: number;
  cutWrites: number;
}

type NameChange = { readonly group: string; readonly names: readonly [string, Inode | undefined][] };

export class SimulatedDisk implements SpoolFiles {
  private readonly random: Random;
  private names = new Map<string, Inode>();
  private durableNames = new Map<string, Inode>();
  private changes: NameChange[] = [];
  private callsLeft = Number.POSITIVE_INFINITY;
  private off = false;
  private cut = Promise.withResolvers<void>();
  calls = 0;
  /** The disk is full for names that match, this many times; the write then leaves some of its bytes. */
  full: { names: RegExp; times: number } | undefined;

  constructor(random: Random) {
    this.random = random;
  }

  /** The power goes at the n-th call from now; the promise resolves then. */
  powerCutAfter(calls: number): Promise<void> {
    this.callsLeft = calls;
    this.cut = Promise.withResolvers();
    return this.cut.promise;
  }

  /** The power goes within this many calls, if it is to go at all. */
  powerCutWithin(calls: number): void {
    if (this.callsLeft !== Number.POSITIVE_INFINITY) this.callsLeft = Math.min(this.callsLeft, this.random(calls));
  }

  /** The disk when the power is back: a new one, because what still runs on this one is of a process that is dead. */
  afterPowerCut(counts: CrashCounts): SimulatedDisk {
    this.off = true;
    const next = new SimulatedDisk(this.random);
    const survived = new Map(this.durableNames);
    const stopped = new Set<string>();
    for (const { group, names } of this.changes) {
      if (stopped.has(group)) continue;
      if (this.random(2) === 0) {
        stopped.add(group);
        counts.revertedNames++;
        continue;
      }
      for (const [path, inode] of names) set(survived, path, inode);
    }
    for (const inode of new Set(survived.values())) this.loseUnsynced(inode, counts);
    next.names = survived;
    next.durableNames = new Map(survived);
    return next;
  }

  /** The disk after its process was killed, or ended: nothing is lost, and nothing more is synced than before. */
  afterKill(): SimulatedDisk {
    this.off = true;
    const next = new SimulatedDisk(this.random);
    next.names = this.names;
    next.durableNames = this.durableNames;
    next.changes = this.changes;
    return next;
  }

  async makeDirectory(): Promise<void> {
    await this.call();
  }

  async list(dir: string): Promise<string[]> {
    await this.call();
    const inside = [...this.names.keys()].filter((path) => path.startsWith(`${dir}/`));
    return inside.map((path) => path.slice(dir.length + 1)).filter((name) => !name.includes('/'));
  }

  async create(path: string): Promise<SpoolFile> {
    await this.call();
    if (this.names.has(path)) throw Object.assign(new Error(`EEXIST: ${path}`), { code: 'EEXIST' });
    const inode: Inode = { now: Buffer.alloc(0), synced: Buffer.alloc(0), lengths: [0] };
    this.change(path, [[path, inode]]);
    return this.fileOf(inode, path);
  }

  async open(path: string): Promise<SpoolFile> {
    await this.call();
    const inode = this.names.get(path);
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return this.fileOf(inode, path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.call();
    const inode = this.names.get(from);
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${from}`), { code: 'ENOENT' });
    this.change(to, [
      [from, undefined],
      [to, inode],
    ]);
  }

  async remove(path: string): Promise<void> {
    await this.call();
    if (this.names.has(path)) this.change(path, [[path, undefined]]);
  }

  async syncDirectory(dir: string): Promise<void> {
    await this.call();
    const inside = (path: string): boolean => path.slice(0, path.lastIndexOf('/')) === dir;
    for (const { names } of this.changes) {
      for (const [path, inode] of names) if (inside(path)) set(this.durableNames, path, inode);
    }
    this.changes = this.changes.filter(({ names }) => !names.every(([path]) => inside(path)));
  }

  async freeBytes(): Promise<number> {
    await this.call();
    return 2 ** 40;
  }

  private fileOf(inode: Inode, path: string): SpoolFile {
    return {
      write: async (buffers, position) => {
        const bytes = Buffer.concat(buffers);
        await this.call(() => put(inode, bytes.subarray(0, this.random(bytes.length)), position));
        if (this.full?.names.test(path) && this.full.times-- > 0) {
          put(inode, bytes.subarray(0, this.random(bytes.length)), position);
          throw Object.assign(new Error(`ENOSPC: ${path}`), { code: 'ENOSPC' });
        }
        // Now and then a short write.
        const length = this.random(8) === 0 ? 1 + this.random(bytes.length) : bytes.length;
        put(inode, bytes.subarray(0, length), position);
        return length;
      },
      read: async (position, length) => {
        await this.call();
        return Buffer.from(inode.now.subarray(position, position + length));
      },
      size: async () => {
        await this.call();
        return inode.now.length;
      },
      truncate: async (bytes) => {
        await this.call();
        inode.now = Buffer.from(inode.now.subarray(0, bytes));
        inode.lengths.push(bytes);
      },
      datasync: async () => {
        await this.call();
        inode.synced = Buffer.from(inode.now);
        inode.lengths = [inode.now.length];
      },
      close: () => this.call(),
    };
  }

  /** Counts a call; the one at which the power goes does `half` of its work, and neither it nor a later one returns. */
  private async call(half: () => void = () => {}): Promise<void> {
    if (this.off) await new Promise(() => {});
    this.calls++;
    if (--this.callsLeft < 0) {
      half();
      this.off = true;
      this.cut.resolve();
      await new Promise(() => {});
    }
  }

  private change(path: string, names: readonly [string, Inode | undefined][]): void {
    for (const [name, inode] of names) set(this.names, name, inode);
    // Changes of one name, and of the name it is written under first, happen in their order; others in any.
    this.changes.push({ group: path.replace(/\.tmp$/, ''), names });
  }

  private loseUnsynced(inode: Inode, counts: CrashCounts): void {
    const { now, synced, lengths } = inode;
    if (now.equals(synced) && lengths.length === 1) return;
    const how = this.random(3);
    if (how === 0) {
      counts.lostSuffix++;
      inode.now = Buffer.from(synced);
    } else {
      const length = how === 1 ? now.length : (lengths[this.random(lengths.length)] as number);
      const survived = Buffer.alloc(length);
      synced.copy(survived, 0, 0, Math.min(length, synced.length));
      for (let at = 0; at < length; at += SECTOR_BYTES) {
        const changed = now.compare(
          synced,
          at,
          Math.min(at + SECTOR_BYTES, synced.length),
          at,
          Math.min(at + SECTOR_BYTES, now.length),
        );
        if (changed !== 0 && this.random(3) > 0) now.copy(survived, at, at, Math.min(at + SECTOR_BYTES, now.length));
        else if (changed !== 0) counts.tornSectors++;
      }
      if (length < now.length) counts.cutWrites++;
      inode.now = survived;
    }
    inode.synced = Buffer.from(inode.now);
    inode.lengths = [inode.now.length];
  }
}

function put(inode: Inode, bytes: Buffer, position: number): void {
  if (bytes.length === 0) return;
  const length = Math.max(inode.now.length, position + bytes.length);
  const now = Buffer.alloc(length);
  inode.now.copy(now);
  bytes.copy(now, position);
  inode.now = now;
  inode.lengths.push(length);
}

function set(names: Map<string, Inode>, path: string, inode: Inode | undefined): void {
  if (inode === undefined) names.delete(path);
  else names.set(path, inode);
}
