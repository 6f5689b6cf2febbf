/**
 * A disk in memory on which simulated processes write and which can lose power, fill up and fail (reference F2).
 *
 * What was not synced when the power goes is decided by a seeded random: of a file, each 512 B sector changed since its
 * last sync survives or not, its length is some length it had since then, or its whole unsynced suffix is gone; of the
 * names in directories, each has gone some way through its unsynced changes. A sync that fails (EIO) leaves what was
 * dirty marked as clean, durable or not: a later sync does not mend it.
 *
 * A dead process's calls never return and change nothing. What the power cut does to each file is told in classes.
 */
import { dirname } from 'node:path';
import type { SpoolFile, SpoolFiles } from '../../src/ingest/spool/spool-files.ts';
import type { Random } from './random.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

const SECTOR_BYTES = 512;
/** A ballast file. */
const ZEROS = Buffer.alloc(8 * 1_048_576);
const BALLAST_BYTES_MIN = 65_536;

/** What a call does to the disk. */
export type DiskCall = 'read' | 'write' | 'name' | 'sync';

export interface DiskHooks {
  /** Before each call. `half` does a part of it, as when its process ends inside it; the hook may end processes. */
  before(owner: Owner, call: DiskCall, path: string, half: () => void): void;
  /** Virtual time that the call takes, before or after it has its effect. 0: none. */
  latencyMs(call: DiskCall): number;
  /** An error for this call to fail with. */
  failure(owner: Owner, call: DiskCall, path: string): 'EIO' | undefined;
}

/** What a power cut did, in how many files; names: in how many directories' changes. */
export interface CutCounts {
  /** A segment file whose unsynced end survived in part. */
  tornRecords: number;
  /** A file of backwork's whose unsynced end is gone, in part or as a whole. */
  lostSuffixes: number;
  /** A sector or a name that survived while one that was written before it did not. */
  reorderedWrites: number;
  /** A footer that is not what was written: shorter, or with sectors missing. */
  cutFooters: number;
  /** The journal, likewise. */
  cutJournals: number;
}

export const NO_CUTS: CutCounts = {
  tornRecords: 0,
  lostSuffixes: 0,
  reorderedWrites: 0,
  cutFooters: 0,
  cutJournals: 0,
};

const SEGMENT = /\.segment$/;
const FOOTER = /\.footer(\.tmp)?$/;
const JOURNAL = /\/store\.journal(\.tmp)?$/;

interface Inode {
  now: Buffer;
  bytes: number;
  durable: Buffer;
  /** Sectors written since the last sync. */
  dirty: Set<number>;
  /** Lengths since the last sync. */
  lengths: number[];
  /** A sync failed and left it clean: what is on the disk is not what is read. */
  lied: boolean;
  /** A ballast file: so many zeros and nothing else, which need not be kept. */
  zeros: number;
  links: number;
}

interface NameChange {
  readonly group: string;
  readonly names: readonly (readonly [path: string, inode: Inode | undefined])[];
}

type Names = Map<string, Map<string, Inode>>;

export class SimulatedDisk {
  /** Bytes of all files may not grow beyond. */
  capacityBytes = Number.POSITIVE_INFINITY;
  usedBytes = 0;
  private readonly random: Random;
  private readonly time: VirtualTime;
  private readonly hooks: DiskHooks;
  private names: Names = new Map();
  private durableNames: Names = new Map();
  private changes: NameChange[] = [];

  constructor(random: Random, time: VirtualTime, hooks: DiskHooks) {
    this.random = random;
    this.time = time;
    this.hooks = hooks;
  }

  /** The disk as this process sees it. */
  filesOf(owner: Owner): SpoolFiles {
    return {
      makeDirectory: (dir) => this.call(owner, 'name', dir, () => {}),
      list: (dir) => this.call(owner, 'read', dir, () => [...(this.names.get(dir)?.keys() ?? [])]),
      create: (path) => this.call(owner, 'name', path, () => this.create(owner, path)),
      open: (path) => this.call(owner, 'read', path, () => this.fileOf(owner, this.find(path), path)),
      rename: (from, to) => this.call(owner, 'name', to, () => this.rename(from, to)),
      remove: (path) => this.call(owner, 'name', path, () => this.remove(path)),
      syncDirectory: (dir) => this.call(owner, 'sync', dir, () => this.syncNames(dir)),
      freeBytes: (dir) => this.call(owner, 'read', dir, () => Math.min(2 ** 40, this.capacityBytes - this.usedBytes)),
    };
  }

  /** Names in a directory, now. */
  list(dir: string): Iterable<string> {
    return this.names.get(dir)?.keys() ?? [];
  }

  /** All processes must be dead. */
  losePower(): CutCounts {
    const counts = { ...NO_CUTS };
    const stopped = new Set<string>();
    for (const { group, names } of this.changes) {
      if (stopped.has(group)) continue;
      if (this.random(2) === 0) {
        stopped.add(group);
        continue;
      }
      if (stopped.size > 0) counts.reorderedWrites++;
      for (const [path, inode] of names) set(this.durableNames, path, inode);
    }
    this.names = new Map([...this.durableNames].map(([dir, inside]) => [dir, new Map(inside)]));
    this.changes = [];
    this.usedBytes = 0;
    for (const [dir, inside] of this.names) {
      for (const [name, inode] of inside) {
        this.loseUnsynced(`${dir}/${name}`, inode, counts);
        inode.links = 1;
        this.usedBytes += inode.bytes + inode.zeros;
      }
    }
    return counts;
  }

  private async call<T>(
    owner: Owner,
    call: DiskCall,
    path: string,
    effect: () => T,
    half = () => {},
    failed = half,
  ): Promise<T> {
    if (!owner.alive) return await never();
    const ms = this.hooks.latencyMs(call);
    const late = ms > 0 && this.random(2) === 0;
    if (late) await this.time.pause(owner, ms);
    this.hooks.before(owner, call, path, half);
    if (!owner.alive) return await never();
    const failure = this.hooks.failure(owner, call, path);
    if (failure !== undefined) {
      failed();
      throw diskError(failure, path);
    }
    const result = effect();
    if (ms > 0 && !late) await this.time.pause(owner, ms);
    return result;
  }

  private create(owner: Owner, path: string): SpoolFile {
    if (this.names.get(dirname(path))?.has(path.slice(path.lastIndexOf('/') + 1))) throw diskError('EEXIST', path);
    if (this.usedBytes >= this.capacityBytes) throw diskError('ENOSPC', path);
    const empty = { now: Buffer.alloc(0), bytes: 0, durable: Buffer.alloc(0) };
    const inode: Inode = { ...empty, dirty: new Set(), lengths: [0], lied: false, zeros: 0, links: 0 };
    this.change(path, [[path, inode]]);
    return this.fileOf(owner, inode, path);
  }

  private find(path: string): Inode {
    const inode = this.names.get(dirname(path))?.get(path.slice(path.lastIndexOf('/') + 1));
    if (inode === undefined) throw diskError('ENOENT', path);
    return inode;
  }

  private rename(from: string, to: string): void {
    const inode = this.find(from);
    this.change(to, [
      [from, undefined],
      [to, inode],
    ]);
  }

  private remove(path: string): void {
    if (this.names.get(dirname(path))?.has(path.slice(path.lastIndexOf('/') + 1)))
      this.change(path, [[path, undefined]]);
  }

  private syncNames(dir: string): void {
    if (this.changes.length === 0) return;
    const inside = (path: string): boolean => dirname(path) === dir;
    for (const { names } of this.changes) {
      for (const [path, inode] of names) if (inside(path)) set(this.durableNames, path, inode);
    }
    this.changes = this.changes.filter(({ names }) => !names.every(([path]) => inside(path)));
  }

  private fileOf(owner: Owner, inode: Inode, path: string): SpoolFile {
    return {
      write: (buffers, position) => {
        const bytes = buffers.length === 1 ? buffers[0]! : Buffer.concat(buffers);
        const part = (): Uint8Array => bytes.subarray(0, this.random(bytes.length));
        const half = (): void => void this.put(inode, part(), position);
        return this.call(owner, 'write', path, () => this.write(inode, bytes, position, path), half);
      },
      read: (position, length) =>
        this.call(owner, 'read', path, () =>
          inode.zeros > 0
            ? ZEROS.subarray(0, Math.min(length, inode.zeros))
            : Buffer.from(inode.now.subarray(position, Math.min(inode.bytes, position + length))),
        ),
      size: () => this.call(owner, 'read', path, () => inode.bytes + inode.zeros),
      truncate: (bytes) => this.call(owner, 'write', path, () => this.resize(inode, bytes)),
      datasync: () =>
        this.call(
          owner,
          'sync',
          path,
          () => this.sync(inode, false),
          () => {},
          () => this.sync(inode, true),
        ),
      close: async () => {
        if (!owner.alive) await never();
      },
    };
  }

  /** Bytes taken: now and then fewer than given. */
  private write(inode: Inode, bytes: Uint8Array, position: number, path: string): number {
    const growth = Math.max(0, position + bytes.length - inode.bytes);
    const room = this.capacityBytes - this.usedBytes - growth;
    if (growth > 0 && room < 0 && inode.links > 0) {
      if (!isBallast(bytes)) this.put(inode, bytes.subarray(0, Math.max(0, bytes.length + room)), position);
      throw diskError('ENOSPC', path);
    }
    if (position === 0 && isBallast(bytes)) {
      inode.zeros = bytes.length;
      if (inode.links > 0) this.usedBytes += bytes.length;
      return bytes.length;
    }
    return this.put(inode, this.random(8) === 0 ? bytes.subarray(0, 1 + this.random(bytes.length)) : bytes, position);
  }

  private put(inode: Inode, bytes: Uint8Array, position: number): number {
    if (bytes.length === 0) return 0;
    const end = position + bytes.length;
    this.resize(inode, Math.max(inode.bytes, end));
    inode.now.set(bytes, position);
    for (let at = Math.floor(position / SECTOR_BYTES); at * SECTOR_BYTES < end; at++) inode.dirty.add(at);
    return bytes.length;
  }

  private resize(inode: Inode, bytes: number): void {
    if (bytes === inode.bytes) return;
    if (bytes > inode.now.length) {
      const larger = Buffer.alloc(Math.max(bytes, 1_024, 2 * inode.now.length));
      inode.now.copy(larger, 0, 0, inode.bytes);
      inode.now = larger;
    } else if (bytes < inode.bytes) inode.now.fill(0, bytes, inode.bytes);
    if (inode.links > 0) this.usedBytes += bytes - inode.bytes;
    inode.bytes = bytes;
    inode.lengths.push(bytes);
  }

  /** A failed one takes some of what was dirty to the disk, and calls all of it clean. */
  private sync(inode: Inode, fails: boolean): void {
    const { now, bytes, dirty } = inode;
    const changed = dirty.size > 0 || inode.lengths.length > 1;
    if (!changed) return;
    const length = fails && this.random(2) === 0 ? inode.durable.length : bytes;
    const durable = Buffer.alloc(length);
    inode.durable.copy(durable, 0, 0, Math.min(length, inode.durable.length));
    for (const sector of dirty) {
      if (!fails || this.random(2) === 0) copySector(now.subarray(0, bytes), durable, sector);
    }
    inode.durable = durable;
    dirty.clear();
    inode.lied ||= fails;
    inode.lengths = [bytes];
  }

  private change(path: string, names: NameChange['names']): void {
    for (const [name, inode] of names) {
      const before = this.names.get(dirname(name))?.get(name.slice(name.lastIndexOf('/') + 1));
      if (before !== undefined && --before.links === 0) this.usedBytes -= before.bytes + before.zeros;
      set(this.names, name, inode);
      if (inode !== undefined && inode.links++ === 0) this.usedBytes += inode.bytes + inode.zeros;
    }
    // Changes of one name, and of the name it is written under first, happen in their order; others in any.
    this.changes.push({ group: path.replace(/\.tmp$/, ''), names });
  }

  private loseUnsynced(path: string, inode: Inode, counts: CutCounts): void {
    const { dirty, durable, lengths } = inode;
    const now = inode.now.subarray(0, inode.bytes);
    if (dirty.size === 0 && lengths.length === 1 && !inode.lied) return;
    if (dirty.size > 0 || lengths.length > 1) {
      const survived = this.survivor(inode, now, counts);
      if (!survived.equals(now)) countCut(path, survived, durable, now, counts);
      inode.durable = survived;
    }
    inode.now = Buffer.from(inode.durable);
    inode.bytes = inode.now.length;
    inode.dirty = new Set();
    inode.lengths = [inode.bytes];
    inode.lied = false;
  }

  private survivor({ dirty, durable, lengths }: Inode, now: Buffer, counts: CutCounts): Buffer {
    const how = this.random(3);
    if (how === 0) return durable;
    const survived = Buffer.alloc(how === 1 ? now.length : lengths[this.random(lengths.length)]!);
    durable.copy(survived, 0, 0, Math.min(survived.length, durable.length));
    let lost = false;
    let reordered = false;
    for (const sector of [...dirty].sort((one, other) => one - other)) {
      if (sector * SECTOR_BYTES >= survived.length) continue;
      if (this.random(3) === 0) lost = true;
      else {
        copySector(now, survived, sector);
        reordered ||= lost;
      }
    }
    if (reordered) counts.reorderedWrites++;
    return survived;
  }
}

function countCut(path: string, survived: Buffer, durable: Buffer, now: Buffer, counts: CutCounts): void {
  const [segment, footer, journal] = [SEGMENT.test(path), FOOTER.test(path), JOURNAL.test(path)];
  if (segment && !survived.equals(durable)) counts.tornRecords++;
  if (footer) counts.cutFooters++;
  if (journal) counts.cutJournals++;
  if ((segment || footer || journal) && survived.length < now.length) counts.lostSuffixes++;
}

function isBallast(bytes: Uint8Array): boolean {
  return bytes.length >= BALLAST_BYTES_MIN && ZEROS.subarray(0, bytes.length).equals(bytes);
}

function copySector(from: Buffer, to: Buffer, sector: number): void {
  const end = Math.min(from.length, to.length, (sector + 1) * SECTOR_BYTES);
  if (sector * SECTOR_BYTES < end) from.copy(to, sector * SECTOR_BYTES, sector * SECTOR_BYTES, end);
}

function set(names: Names, path: string, inode: Inode | undefined): void {
  const dir = dirname(path);
  const name = path.slice(dir.length + 1);
  let inside = names.get(dir);
  if (inside === undefined) {
    inside = new Map();
    names.set(dir, inside);
  }
  if (inode === undefined) inside.delete(name);
  else inside.set(name, inode);
}

function diskError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

function never(): Promise<never> {
  return new Promise(() => {});
}
